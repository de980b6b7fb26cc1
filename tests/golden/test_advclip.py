"""AdvCLIP: neighbourhoods, contrast, the patch's objective and place, networks, measures."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import nn

from fallow.losses.hinge import class_contrast
from fallow.losses.topology import contrast_of_rows, topology_deviation
from fallow.measure.response import changed_share
from fallow.measure.retrieval import mean_average_precision, recall_at_k
from fallow.methods.stress.advclip import Critic, Generator, Settings, objective
from fallow.parts.patch import lower_right, mask_of, pasted

from .arrays import arrays
from .cases import close, golden


@golden("advclip", "topo")
def test_topology(case):
    found, target = case.tensor("output", gradient=True), case.tensor("target", gradient=True)
    loss = topology_deviation(found, target)
    close(loss, case.outputs["loss"], 1e-7)
    loss.backward()
    close(found.grad, case.outputs["grad_output"], 1e-6)
    close(target.grad, case.outputs["grad_target"], 1e-6)


def test_contrast_of_the_same_rows():
    held = arrays("advclip")
    numbers = [m[1] for key in held if (m := re.fullmatch(r"nce(\d+)_out_loss", key))]
    for number in numbers:
        query = torch.from_numpy(held[f"topo{number}_in_output"]).requires_grad_()
        key = torch.from_numpy(held[f"topo{number}_in_target"]).requires_grad_()
        loss = contrast_of_rows(query, key)
        close(loss, held[f"nce{number}_out_loss"], 1e-7)
        loss.backward()
        close(query.grad, held[f"nce{number}_out_grad_query"], 1e-6)
        close(key.grad, held[f"nce{number}_out_grad_key"], 1e-6)


@golden("advclip", "genobj")
def test_objective(case):
    clean, texts = case.tensor("clean_image"), case.tensor("clean_text")
    patched = case.tensor("patched_image", gradient=True)
    found = objective(clean, patched, texts)
    close(found.away, case.outputs["adv"], 1e-7)
    close(found.topology, case.outputs["topo"], 1e-7)
    total = found.total(Settings())
    close(total, case.outputs["total"], 1e-7)
    total.backward()
    close(patched.grad, case.outputs["grad_patched"], 1e-6)


@golden("advclip", "mask")
def test_place(case):
    square = lower_right(224, case.number("fraction"))
    assert square.side == int(case.outputs["side"])
    assert [square.top, square.left] == case.outputs["topleft_rowcol"].tolist()
    mask = mask_of(square, 224)
    assert mask.sum().item() == float(case.outputs["sum"])
    rows = mask[0].nonzero()
    low, high = rows.min(0).values.tolist(), rows.max(0).values.tolist()
    assert sorted([*low, *high]) == sorted(case.outputs["bbox_inclusive"].tolist())


def test_what_a_patch_changes():
    held = arrays("advclip")
    changed = int(held["apply_out_changed_pixels"])
    square = next(
        square
        for share in (0.01, 0.03, 0.05)
        if changed % (3 * (square := lower_right(224, share)).side ** 2) == 0
    )
    count = changed // (3 * square.side**2)
    pictures = torch.zeros(count, 3, 224, 224)
    assert (pasted(pictures, torch.ones(3, 224, 224), square) != 0).sum() == changed


def test_published_bounds():
    held = arrays("advclip")
    close(np.clip(held["clamp_in"], -2.117904, 2.64), held["clamp_out"], 1e-6)


def ranked(queries, bank, labels, first, best):
    """The mean where of equally near rows, which may come in any order, the right come first."""
    found = []
    for query, label in zip(queries, labels, strict=True):
        order = np.argsort((labels == label) == (not best), kind="stable")
        one = mean_average_precision(
            query[None], label[None], gallery=bank[order], gallery_labels=labels[order], first=first
        )
        found.append(one)
    return np.mean(found)


@golden("advclip", "map")
def test_classes_found(case):
    image, text, labels = (case.inputs[name] for name in ("image", "text", "labels"))
    for name, expected in case.outputs.items():
        way, first = re.fullmatch(r"(i2t|t2i)_k(\d+)_cos", name).groups()
        queries, bank = (image, text) if way == "i2t" else (text, image)
        bounds = [ranked(queries, bank, labels, int(first) or None, best) for best in (0, 1)]
        # recorded with four digits
        assert bounds[0] - 6e-5 <= float(expected) <= bounds[1] + 6e-5
        assert bounds[1] - bounds[0] < 0.06


def test_classes_among_the_first():
    held = arrays("advclip")
    image, text, labels = (held[f"map_in_{name}"] for name in ("image", "text", "labels"))
    found = recall_at_k(image, labels, (1, 5, 10), gallery=text, gallery_labels=labels)
    close(100 * np.array(list(found.values())), held["recall_out_r1_r5_r10_cos"], 1e-6)


@golden("advclip", "fooling")
def test_fooled(case):
    clean, patched = case.inputs["clean_logits"], case.inputs["patched_logits"]
    share = changed_share(clean.argmax(1), patched.argmax(1))
    close(100 * share, case.outputs["percent"], 1e-6)


@golden("advclip", "contrastive")
def test_class_contrast(case):
    image = case.tensor("image", gradient=True)
    (name,) = [name for name in case.outputs if name.startswith("loss_margin")]
    margin = float(name.removeprefix("loss_margin"))
    labels = case.tensor("labels")
    loss = class_contrast(image, case.tensor("text"), labels, margin)
    # the original adds the margin for pairs of one class, too, which teaches nothing
    constant = margin * float((labels[:, None] == labels).sum()) / len(labels)
    close(loss + constant, case.outputs[name], 1e-7)
    loss.backward()
    close(image.grad, case.outputs["grad_image"], 1e-6)


def loaded(network: nn.Module, held, letter: str) -> nn.Module:
    """Recorded weights in our layers, kind by kind in order."""
    prefix = f"{letter}_w_"
    given = [(key.removeprefix(prefix), held[key]) for key in held if key.startswith(prefix)]
    state = network.state_dict()
    assert len(state) == len(given)
    for (ours, value), (theirs, array) in zip(state.items(), given, strict=True):
        assert ours.rsplit(".", 1)[1] == theirs.rsplit(".", 1)[1]
        assert tuple(value.shape) == array.shape
        state[ours] = torch.from_numpy(array).to(value.dtype)
    network.load_state_dict(state)
    return network


def narrow(network: nn.Module, held, letter: str) -> nn.Module:
    """The network with as many channels as the recorded one, which is small."""
    prefix = f"{letter}_w_"
    shapes = iter(
        held[key].shape for key in held
        if key.startswith(prefix) and key.endswith(".weight") and held[key].ndim == 4
    )  # fmt: skip
    norms = iter(
        held[key].shape[0]
        for key in held
        if key.startswith(prefix) and key.endswith("running_mean")
    )
    for name, module in list(network.named_modules()):
        parent = network.get_submodule(name.rpartition(".")[0])
        if isinstance(module, nn.ConvTranspose2d):
            inputs, outputs = next(shapes)[:2]
            made = nn.ConvTranspose2d(
                inputs, outputs, module.kernel_size, module.stride, module.padding
            )
        elif isinstance(module, nn.Conv2d):
            outputs, inputs = next(shapes)[:2]
            made = nn.Conv2d(inputs, outputs, module.kernel_size, module.stride, module.padding)
        elif isinstance(module, nn.BatchNorm2d):
            made = nn.BatchNorm2d(next(norms))
        else:
            continue
        setattr(parent, name.rpartition(".")[2], made)
    return network


def test_generator():
    held = arrays("advclip")
    latent = torch.from_numpy(held["G_in_z"])
    made = loaded(narrow(Generator(len(latent), 224), held, "G"), held, "G").train()
    found = made(latent)
    assert list(found.shape) == held["G_out_shape"].tolist()
    sample = found[0, :, ::16, ::16].detach()
    np.testing.assert_allclose(sample, held["G_out_sample_stride16"], atol=1e-4)
    values = [found.mean().item(), found.std().item()]
    np.testing.assert_allclose(values, held["G_out_mean_std"], atol=1e-4)


def test_critic():
    held = arrays("advclip")
    critic = loaded(narrow(Critic(224), held, "D"), held, "D").train()
    shape = held["D_out_shape"].tolist()
    found = critic(torch.randn(shape[0], 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert list(found.shape) == shape
    assert ((found > 0) & (found < 1)).all()
