"""The structure filter on higra's trees, and on scikit-image's.

Trees are grown by the library; what it has no function for is written here with numpy, and with a
loop over regions where their order matters.
"""

import time
from importlib.metadata import version

import numpy as np
from serve import serve

ready = {}


def higra_graph(shape):
    import higra

    touching = np.ones((3,) * len(shape))
    touching[(1,) * len(shape)] = 0
    around = higra.mask_2_neighbours(touching)
    return higra.get_nd_regular_implicit_graph(shape, around)


def higra_tree(image, tree):
    import higra

    grow = {"max": higra.component_tree_max_tree, "min": higra.component_tree_min_tree}[tree]
    nodes, levels = grow(higra_graph(image.shape), image)
    return nodes, levels, higra.attribute_area(nodes)


def higra_alone(nodes, counted):
    """Whether a node's parent has one counted child; the root is not alone."""
    import higra

    children = higra.accumulate_parallel(nodes, counted, higra.Accumulators.sum)
    alone = higra.propagate_parallel(nodes, children) == 1
    alone[nodes.root()] = False
    return alone


def higra_once(image, tree, area):
    """One tree: small regions are not counted as children."""
    import higra

    nodes, levels, size = higra_tree(image, tree)
    small = size < area
    small[nodes.root()] = False
    counted = (~small).astype(np.float64)
    counted[: nodes.num_leaves()] = 0
    gone = small | higra_alone(nodes, counted)
    gone[: nodes.num_leaves()] = True
    return higra.reconstruct_leaf_data(nodes, levels, gone)


def higra_twice(image, tree, area):
    """The published order: filter by area, then grow the tree of the result."""
    import higra

    nodes, levels, size = higra_tree(image, tree)
    image = higra.reconstruct_leaf_data(nodes, levels, size < area)
    nodes, levels, _ = higra_tree(image, tree)
    counted = np.ones(nodes.num_vertices())
    counted[: nodes.num_leaves()] = 0
    return higra.reconstruct_leaf_data(nodes, levels, higra_alone(nodes, counted))


def skimage(image, tree, area):
    from skimage.morphology import max_tree

    bright = image if tree == "max" else 255 - image
    parent, order = max_tree(bright, connectivity=image.ndim)
    flat, parent = bright.reshape(-1), parent.reshape(-1)
    first = flat[parent] != flat
    first[order[0]] = True
    node_of = np.where(first, np.arange(len(flat)), parent)  # the pixel that stands for the region
    size = np.bincount(node_of, minlength=len(flat))
    regions = order[first[order]][1:].tolist()  # parents before children, without the root
    root, up = int(order[0]), parent.tolist()
    size, children = size.tolist(), [0] * len(flat)
    for region in reversed(regions):
        above = up[region]
        size[above] += size[region]
        children[above] += size[region] >= area
    level = flat.tolist()
    for region in regions:
        above = up[region]
        if size[region] < area or children[above] == 1:
            level[region] = level[above]
    assert level[root] == flat[root]
    out = np.array(level, np.uint8)[node_of].reshape(image.shape)
    return out if tree == "max" else 255 - out


ROUTES = {
    "higra": (higra_once, "higra"),
    "higra, as published": (higra_twice, "higra"),
    "scikit-image": (skimage, "scikit-image"),
}


def prepare(peer, stored, area):
    ready["images"], ready["area"] = np.load(stored), area
    ready["route"], package = ROUTES[peer]
    return {"version": version(package)}


def once(place, tree, target):
    """Writes the filtered image to the .npy file `target`."""
    np.save(target, ready["route"](ready["images"][place], tree, ready["area"]))
    return {}


def rate(seconds):
    """Images per second, bright and dark in turn."""
    done, begin = 0, time.perf_counter()
    while done < 2 or time.perf_counter() - begin < seconds:
        image = ready["images"][done // 2 % len(ready["images"])]
        ready["route"](image, ("max", "min")[done % 2], ready["area"])
        done += 1
    return {"rate": done / (time.perf_counter() - begin)}


if __name__ == "__main__":
    serve(np.__version__, {"prepare": prepare, "once": once, "rate": rate})
