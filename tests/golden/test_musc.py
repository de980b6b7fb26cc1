"""MuSc: patch features, mutual scores, look-alikes, the whole chain, and the dense measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fallow.measure import dense
from fallow.methods.spot import musc

from .cases import close, golden


def layers(case):
    """Maps of each layer without the class token, standardised, in order of their number."""
    names = sorted(
        (name for name in case.inputs if name.startswith("tokens_layer")),
        key=lambda name: int(name.removeprefix("tokens_layer")),
    )
    maps = []
    for name in names:
        tokens = case.tensor(name)[:, 1:]
        side = round(tokens.shape[1] ** 0.5)
        maps.append(musc.standardised(tokens.unflatten(1, (side, -1))))
    return maps


@golden("musc", "lnamd")
def test_neighbourhoods(case):
    maps = layers(case)
    degrees = {int(name[1 : name.index("_")]) for name in case.outputs}
    checked = set()
    for degree in degrees:
        unit = torch.stack([musc.neighbourhoods(each, degree) for each in maps], 2)  # B L S C
        close(unit, case.outputs[f"r{degree}_unit"], atol=1e-5)
        checked.add(f"r{degree}_unit")
        if (name := f"r{degree}_raw_image0") in case.outputs:
            raw = [musc.surroundings(each, degree)[0].flatten(0, 1) for each in maps]
            close(torch.stack(raw, 1), case.outputs[name], atol=1e-5)
            checked.add(name)
    assert checked == set(case.outputs)


def repeats(features):
    """Whether some patch occurs twice: the originals' distance of equal ones is rounding noise."""
    flat = features.reshape(-1, features.shape[-1])
    return len(np.unique(flat, axis=0)) < len(flat)


@golden("musc", "msm", without=("msm_few",))
def test_mutual_scores(case):
    features = case.tensor("Z")
    interval = tuple(case.inputs["range"].tolist())
    found = musc.mutual_scores(features, interval)
    assert case.outputs
    for expected in case.outputs.values():
        close(found, expected, atol=5e-4 if repeats(case.inputs["Z"]) else 1e-5)


@golden("musc", "msm_few")
def test_few_images_have_scores_where_the_original_has_none(case):
    features = case.tensor("Z")
    found = musc.mutual_scores(features)
    for name, expected in case.outputs.items():
        assert "nan" not in name or np.isnan(expected).all()
    plain = torch.stack(
        [
            torch.stack([torch.cdist(a, b).amin(1) for j, b in enumerate(features) if j != i]).amin(
                0
            )
            for i, a in enumerate(features)
        ]
    )
    close(found, plain, atol=1e-5)


@golden("musc", "rscin")
def test_look_alikes(case):
    windows = case.inputs["klist"].tolist()
    scores, vectors = case.tensor("scores"), case.tensor("tokens")
    close(musc.over_lookalikes(scores, vectors, windows), case.outputs["scores"], atol=1e-5)
    # the stand-alone script adds the image on its own
    alone = sorted({1, *windows})
    close(musc.over_lookalikes(scores, vectors, alone), case.outputs["scores_mobile"], atol=1e-5)


@golden("musc", "chain")
def test_chain(case):
    maps, size = layers(case), int(case.number("size"))
    per_degree = []
    for degree in case.inputs["r_list"].tolist():
        scores = [musc.mutual_scores(musc.neighbourhoods(each, degree)) for each in maps]
        per_degree.append(torch.stack(scores).mean(0))
    scores = torch.stack(per_degree).mean(0)  # N L
    close(scores, case.outputs["patch_scores"], atol=1e-5)
    up = musc.upsampled(scores.unflatten(1, maps[0].shape[1:3]), (size, size))
    close(up[0], case.outputs["map0"], atol=1e-5)
    images = up.amax((1, 2))
    close(images, case.outputs["image_scores"], atol=1e-5)
    windows = case.inputs["klist"].tolist()
    smooth = musc.over_lookalikes(images, case.tensor("image_tokens"), windows)
    close(smooth, case.outputs["image_scores_rscin"], atol=1e-5)


def same(found, expected):
    """Equal, or undefined where the original gives 0 for a class that is not there."""
    if found is None:
        assert expected == 0
    else:
        assert found == pytest.approx(float(expected), abs=1e-5)


@golden("musc", "met")
def test_measures(case):
    marked = [mask[0] for mask in case.inputs["gt_px"]]
    maps = [one[0] for one in case.inputs["pr_px"]]
    truth, scores = case.inputs["gt_sp"], case.inputs["pr_sp"]
    undefined = not truth.any()
    checked = set()
    for name, expected in case.outputs.items():
        if name == "image_auroc_f1_ap":
            measures = (dense.auroc, dense.f1_max, dense.average_precision)
            found = [measure(truth, scores) for measure in measures]
        elif name == "pixel_auroc_f1_ap_aupro200":
            flat = [np.concatenate([each.ravel() for each in part]) for part in (marked, maps)]
            measures = (dense.auroc, dense.f1_max, dense.average_precision)
            found = [measure(*flat) for measure in measures]
            found.append(dense.aupro_in_steps(marked, maps))
        elif name.startswith("aupro_exact_"):
            limit = float(name.removeprefix("aupro_exact_"))
            found, expected = [dense.aupro(marked, maps, limit)], [expected]
        else:
            pytest.fail(f"unknown output {name}")
        assert undefined == (None in found)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
        checked.add(name)
    assert checked
