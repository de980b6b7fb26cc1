"""The compiled part of the structure filter: the tree of an image's level sets, and its pruning.

A max-tree is grown by flooding: always go on at the highest level that is open, climb at once
when a higher neighbour shows up, and close a component when nothing of its level is open any
more. A component closes after everything inside it, so one pass also knows its size and how many
of its parts are large enough. Nodes are numbered as they appear; `order` lists them as they close,
the root last. Pixels count unsigned: a signed index may be negative, and asking costs a third.
"""

# mypy: disable-error-code="no-untyped-def, call-overload"
from __future__ import annotations

import numpy as np
from numba import njit

_options = {"cache": True, "nogil": True, "error_model": "numpy"}
# an open pixel is stored with the number of neighbours already seen
_SHIFT, _STEPS, _ONE = np.uint64(5), np.uint64(31), np.uint64(1)


@njit(inline="always")
def _close(node, up, closed, parent, order, size, children, least):
    parent[node] = up
    order[closed] = node
    size[up] += size[node]
    if size[node] >= least:
        children[up] += 1


@njit(**_options)
def grow(state, first, offsets, start, least):
    """The max-tree of `state`: levels 0 and up inside, -1 on a frame all around; it is used up.

    `first` (levels + 1) says where the open pixels of each level are kept, `offsets` leads to
    the neighbours. Returns the node of every pixel, then level, parent, size and number of
    children of at least `least` pixels of every node, and the order in which they closed.
    """
    count = first[-1]
    node_of = np.zeros(state.shape[0], np.int32)  # the frame is painted too
    level_of = np.empty(count, np.int16)
    parent = np.empty(count, np.int32)
    order = np.empty(count, np.int32)
    size = np.empty(count, np.int32)
    children = np.empty(count, np.int32)
    opened = np.empty(count, np.uint64)
    top = first[:-1].copy()
    branch = np.empty(first.shape[0], np.int32)  # the open components, each inside the one before
    neighbours = np.uint64(offsets.shape[0])
    pixel, step = start, np.uint64(0)
    nodes, closed, depth = 1, 0, 0
    level = np.int64(state[pixel])
    state[pixel] = -1
    branch[0], level_of[0], size[0], children[0] = 0, level, 0, 0
    while True:
        while step < neighbours:
            other = pixel + offsets[step]
            step += _ONE
            its = np.int64(state[other])
            if its < 0:
                continue
            state[other] = -1
            if its <= level:
                opened[top[its]] = other << _SHIFT
                top[its] += 1
            else:
                opened[top[level]] = (pixel << _SHIFT) | step
                top[level] += 1
                pixel, level, step = other, its, np.uint64(0)
                depth += 1
                branch[depth], level_of[nodes] = nodes, level
                size[nodes], children[nodes] = 0, 0
                nodes += 1
        node = branch[depth]
        node_of[pixel] = node
        size[node] += 1

        lower = level
        while lower >= 0 and top[lower] == first[lower]:
            lower -= 1
        if lower < 0:
            break
        top[lower] -= 1
        pixel, step = opened[top[lower]] >> _SHIFT, opened[top[lower]] & _STEPS
        while level > lower:
            node = branch[depth]
            if depth > 0 and level_of[branch[depth - 1]] >= lower:
                depth -= 1
            else:
                branch[depth], level_of[nodes] = nodes, lower
                size[nodes], children[nodes] = 0, 0
                nodes += 1
            _close(node, branch[depth], closed, parent, order, size, children, least)
            closed += 1
            level = np.int64(level_of[branch[depth]])
    while depth > 0:
        depth -= 1
        _close(branch[depth + 1], branch[depth], closed, parent, order, size, children, least)
        closed += 1
    order[closed] = branch[0]
    return (
        node_of, level_of[:nodes], parent[:nodes], size[:nodes], children[:nodes], order[:nodes]
    )  # fmt: skip


@njit(**_options)
def levels_of_large(level_of, parent, size, order, least):
    """The level each node ends at when small ones join their parents; how many are left."""
    levels = level_of.copy()
    left = 1
    for place in range(order.shape[0] - 2, -1, -1):
        node = order[place]
        if size[node] >= least:
            left += 1
        else:
            levels[node] = levels[parent[node]]
    return levels, left


@njit(**_options)
def levels_of_branching(level_of, parent, size, children, order, least, spared):
    """As above, and an only child joins its parent too unless it is spared."""
    levels = level_of.copy()
    left = 1
    for place in range(order.shape[0] - 2, -1, -1):
        node = order[place]
        if size[node] >= least and (children[parent[node]] > 1 or spared[node]):
            left += 1
        else:
            levels[node] = levels[parent[node]]
    return levels, left


@njit(**_options)
def paint(node_of, colours, out):
    """Every pixel in the colour of its node; the frame is painted too, with anything."""
    for pixel in range(out.shape[0]):
        out[pixel] = colours[node_of[pixel]]
