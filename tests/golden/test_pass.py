"""PASS: balanced codes, SwAV's and MoCo's steps through the methods, RetinaFace's faces."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fallow.annotations.boxes import unsuppressed
from fallow.encoders import Encoder
from fallow.encoders.base import Preprocessing
from fallow.losses import info_nce, sinkhorn
from fallow.losses.contrastive import queue_logits
from fallow.methods.learn.swav import SwAV
from fallow.parts.memory import FrontQueue, Queue
from fallow.parts.teacher import follow
from fallow.regions.people import anchors, decoded, decoded_points
from fallow.train import Batch, Now, make_settings
from fallow.train.method import Facts

from .cases import close, golden


@golden("pass", "swav_sinkhorn")
def test_codes(case):
    found = sinkhorn(case.tensor("scores"), case.number("epsilon"), int(case.number("iters")))
    close(found, case.outputs["Q"], atol=1e-6)


class Shown(nn.Module):
    """An encoder that shows what it is given."""

    def __init__(self, dimension):
        super().__init__()
        self.dimension = dimension

    def forward(self, x):
        return x


def views(embedding, crops, size):
    """Embeddings, crop after crop, as one group for each resolution."""
    groups = list(embedding.split([size * count for count in crops]))
    each = [view for group in groups for view in group.split(size)]
    return Batch(groups, each, torch.arange(size), -torch.ones(size), torch.empty(0))


@golden("pass", "swav_loss")
def test_swav_method(case):
    embedding, start = case.tensor("embedding", True), case.tensor("prototypes")
    crops = case.inputs["nmb_crops"].tolist()
    size, width = len(embedding) // sum(crops), embedding.shape[1]
    encoder = Encoder(Shown(width), name="shown", preprocessing=Preprocessing(8, 8))
    values = {
        "prototypes": len(start), "projection": width, "batch": size, "queue_from_epoch": 0,
        "temperature": case.number("temperature"), "epsilon": case.number("epsilon"),
        "iterations": int(case.number("iters")),
    }  # fmt: skip
    method = SwAV(encoder, make_settings(SwAV.Settings, values), Facts(count=size, side=8))
    method.head = nn.Identity()
    with torch.no_grad():
        method.prototypes.weight.copy_(start)
    if "queue" in case.inputs:
        past = case.tensor("queue")  # 2 L D
        method.queue = FrontQueue(past.shape[1], width, crops=len(past))
        method.queue.rows.copy_(past)
        method.queue.filled.fill_(past.shape[1])
    loss = method.loss(views(embedding, crops, size), Now(0, 0, 0.0, 1)).total
    loss.backward()
    close(loss, case.outputs["loss"])
    close(method.prototypes.weight, case.outputs["prototypes_normalised"])
    close(method.prototypes.weight.grad, case.outputs["grad_prototypes"])
    # the method scales embeddings to length 1: what points along one has no effect
    unit = F.normalize(embedding.detach())
    expected = torch.from_numpy(case.outputs["grad_embedding"])
    expected = expected - (expected * unit).sum(1, keepdim=True) * unit
    close(embedding.grad, expected, atol=1e-6)
    if "queue" in case.outputs:
        close(method.queue.rows, case.outputs["queue"], atol=1e-6)


def linear(case, which):
    weight, bias = case.tensor(f"w_{which}").float(), case.tensor(f"b_{which}").float()
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


@golden("pass", "mocov2_step")
def test_moco_steps(case):
    query, key = linear(case, "q"), linear(case, "k")
    start = case.tensor("queue").T  # L D
    queue = Queue(*start.shape)
    queue.keys.copy_(start)
    temperature, momentum = case.number("T"), case.number("m")
    pairs = [(case.tensor("x_q"), case.tensor("x_k")), (case.tensor("x_k"), case.tensor("x_q"))]
    for name, (one, two) in zip(("logits", "logits_2nd"), pairs, strict=True):
        follow(key, query, momentum)
        with torch.no_grad():
            keys = F.normalize(key(two), dim=1)
        asked = query(one)
        close(queue_logits(asked, keys, queue.keys, temperature), case.outputs[name], atol=1e-5)
        if name == "logits":
            loss = info_nce(asked, keys, queue.keys, temperature)
            loss.backward()
            close(loss, case.outputs["loss"])
            close(query.weight.grad, case.outputs["grad_w_q"])
        queue.enqueue(keys)
    close(queue.keys.T, case.outputs["queue_after2"])
    assert int(queue.pointer) == int(case.outputs["ptr_after2"].item())
    close(key.weight, case.outputs["w_k_after2"])


@golden("pass", "retinaface_decode")
def test_faces_are_decoded(case):
    around = anchors(*case.inputs["image_hw"].tolist())
    close(around, case.outputs["priors"], rtol=1e-6)
    places = case.inputs["loc"].astype(np.float64)
    close(decoded(places, around), case.outputs["boxes"], atol=1e-5)
    points = case.inputs["landm"].astype(np.float64)
    close(decoded_points(points, around), case.outputs["landms"], atol=1e-5)


@golden("pass", "retinaface_nms")
def test_faces_are_told_apart(case):
    found = case.inputs["dets"].astype(np.float64)
    kept = unsuppressed(found[:, :4], found[:, 4], case.number("thresh"), edge=1)
    np.testing.assert_array_equal(kept, case.outputs["keep"])
