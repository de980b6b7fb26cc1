"""GPC: accuracy, semi-supervised k-means, the mixture's tests, prototypes, and the losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fallow.inventory import normals, splits
from fallow.inventory.semi import nearest, semi_kmeans
from fallow.losses.contrastive import nt_xent, supcon
from fallow.losses.distillation import neglect
from fallow.losses.prototypes import prototype_contrast, prototype_scores
from fallow.measure import clustering_accuracy, discovery_accuracy, discovery_accuracy_v1
from fallow.methods.discover.gpc import concentration
from fallow.methods.discover.simgcd import SimGCD, taught_by_itself, teacher_temperature
from fallow.vectors.space import unit

from .cases import DOUBLE, close, golden


@golden("gpc", "supcon")
def test_contrast_of_classes(case):
    features = case.tensor("feats", gradient=True)  # B 2 D
    labels = case.tensor("labels")
    rows = torch.cat(features.unbind(1))
    loss = supcon(rows, labels.repeat(2), 0.07)
    close(loss, case.outputs["loss"], rtol=1e-5, atol=1e-5)
    loss.backward()
    # the original does not scale its unit rows again: only what lies along the sphere compares
    given, expected = features.detach().numpy(), case.outputs["grad"]
    along = expected - (expected * given).sum(-1, keepdims=True) * given
    close(features.grad, along, rtol=1e-4, atol=1e-5)


@golden("gpc", "supcon")
def test_rows_that_are_not_used_change_nothing(case):
    features, labels = case.tensor("feats"), case.tensor("labels")
    rows = torch.cat(features.unbind(1))
    more = torch.cat([rows, torch.randn(5, rows.shape[1], generator=torch.manual_seed(0))])
    names = torch.cat([labels.repeat(2), labels[:1].repeat(5)])
    used = torch.arange(len(more)) < len(rows)
    close(supcon(more, names, 0.07, used=used), case.outputs["loss"], rtol=1e-5, atol=1e-5)


@golden("gpc", "nce")
def test_contrast_of_views(case):
    features, heat = case.tensor("feats", gradient=True), case.number("T")
    loss = nt_xent(*features.chunk(2), heat)
    close(loss, case.outputs["loss"], rtol=1e-5, atol=1e-5)
    loss.backward()
    close(features.grad, case.outputs["grad"], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        units = F.normalize(features)
        cosines, count = units @ units.T / heat, len(units)
        other = [(row + count // 2) % count for row in range(count)]
        rows = [
            [cosines[r, other[r]], *(cosines[r, c] for c in range(count) if c not in (r, other[r]))]
            for r in range(count)
        ]
    close(np.array(rows, np.float32), case.outputs["logits"], atol=1e-5)


@golden("gpc", "acc")
def test_accuracy(case):
    given = case.inputs["y"], case.inputs["pred"]
    old = case.inputs["oldmask"]
    close(clustering_accuracy(*given), case.outputs["cluster_acc"], rtol=DOUBLE)
    close(np.array(discovery_accuracy_v1(*given, old)), case.outputs["v1"], rtol=DOUBLE)
    close(np.array(discovery_accuracy(*given, old)), case.outputs["v2"], rtol=DOUBLE)


def semi(case, starts=50):
    labelled, free = case.inputs["l"], case.inputs["u"]
    vectors = np.concatenate([labelled, free])
    known = np.r_[case.inputs["lt"].astype(np.int64), np.full(len(free), -1)]
    return vectors, known, semi_kmeans(vectors, known, int(case.number("k")), starts=starts)


def renaming(found, expected, old):
    """The place of every expected cluster among the found: old ones stay, new ones may differ."""
    names = {}
    for name in np.unique(expected):
        names[int(name)] = int(np.bincount(found[expected == name]).argmax())
    assert all(names[k] == k for k in names if k < old)
    return names


@golden("gpc", "sskm")
def test_semi_supervised_k_means(case):
    _, known, found = semi(case)
    expected = case.outputs["labels"]
    names = renaming(found.member, expected, len(found.classes))
    assert [names[int(k)] for k in expected] == found.member.tolist()
    order = [names[k] for k in range(len(found.centres))]
    close(found.centres[order], case.outputs["centers"], atol=1e-5)
    close(found.inertia, case.outputs["inertia"], rtol=1e-5, atol=1e-5)
    assert found.classes.tolist() == sorted(set(known[known >= 0]))


@golden("gpc", "niw")
def test_split_and_merge(case):
    one, two = case.inputs["x1"].astype(np.float64), case.inputs["x2"].astype(np.float64)
    whole = np.concatenate([one, two])
    nu, kappa, scale = case.inputs["nu_kappa_scale"].tolist()
    by_spread = bool(case.number("data_std"))
    before = normals.prior(whole, scale, nu=nu, kappa=kappa, by_spread=by_spread)
    close(before.psi, case.outputs["psi_diag"], rtol=1e-5, atol=1e-6)
    parts = [normals.moments(x) for x in (one, two)]
    means, covariances = zip(*(normals.posterior(part, before) for part in parts), strict=True)
    close(np.stack(means), case.outputs["post_mus"], rtol=1e-5, atol=1e-5)
    close(np.stack(covariances), case.outputs["post_covs"], rtol=1e-5, atol=1e-5)
    found = [normals.evidence(part, before) for part in (normals.joined(*parts), *parts)]
    close(np.array(found), case.outputs["logml_all_1_2"], rtol=1e-3, atol=1e-3)
    ratio = splits.log_split(*parts, before)
    close(ratio, case.outputs["logH_split"], rtol=1e-3, atol=1e-3)
    draw = np.random.default_rng(0)
    accepted = splits.accepted(ratio, draw), splits.accepted(-ratio, draw)
    assert list(accepted) == case.outputs["accept_split_merge"].astype(bool).tolist()


@golden("gpc", "proto")
def test_prototypes(case):
    vectors, known, found = semi(case)
    classes = found.classes
    member = nearest(vectors, found.centres)
    member[known >= 0] = np.searchsorted(classes, known[known >= 0])
    expected = case.outputs["assign"]
    names = renaming(member, expected, len(classes))
    assert [names[int(k)] for k in expected] == member.tolist()
    order = [names[k] for k in range(len(found.centres))]
    density = concentration(vectors, found.centres, member, case.number("temperature"))
    close(unit(found.centres)[order], case.outputs["centroids_unit"], atol=1e-5)
    close(density[order], case.outputs["density"], rtol=1e-4, atol=1e-5)
    centres = torch.from_numpy(unit(found.centres)[order])
    spread = torch.from_numpy(density[order].astype(np.float32))
    target = torch.from_numpy(case.outputs["labels"]).long()
    query = case.tensor("q", gradient=True)
    close(prototype_scores(query, centres, spread), case.outputs["logits_q"], atol=1e-5)
    other = prototype_contrast(case.tensor("kview"), centres, spread, target)
    loss = (prototype_contrast(query, centres, spread, target) + other) / 2
    close(loss, case.outputs["loss"], rtol=1e-4, atol=1e-5)
    loss.backward()
    given, wanted = query.detach().numpy(), case.outputs["grad_q"]
    along = wanted - (wanted * given).sum(-1, keepdims=True) * given
    close(query.grad, along, rtol=1e-4, atol=1e-5)


@golden("gpc", "simgcd")
def test_simgcd(case):
    s = SimGCD.Settings()
    epoch = int(case.number("epoch"))
    heat = teacher_temperature(epoch, s.first_teacher, s.last_teacher, s.sharpen)
    assert heat == pytest.approx(float(case.outputs["teacher_temp"]), abs=1e-7)
    logits = case.tensor("logits", gradient=True)
    own, spread = taught_by_itself(logits, heat), neglect(logits)
    close(own, case.outputs["cluster_loss"], rtol=1e-5, atol=1e-5)
    close(spread, case.outputs["memax"], rtol=1e-5, atol=1e-5)
    (own + 2 * spread).backward()
    close(logits.grad, case.outputs["grad_total"], rtol=1e-4, atol=1e-5)
