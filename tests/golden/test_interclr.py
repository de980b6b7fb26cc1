"""InterCLR: both losses, the choice of negatives, the bank, its clusters and the queue."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from fallow.losses.margin import margin_nce
from fallow.parts.memory import Clusters, Queue
from fallow.parts.negatives import anywhere, hard, semi_easy, semi_hard

from .cases import FOLDER, HERE, cases, close, golden


@golden("interclr", "intra")
def test_intra(case):
    temperature, margin, arc = case.inputs["meta"].tolist()
    q, queue = case.tensor("q", True), case.tensor("queue").T
    loss = margin_nce(q, case.tensor("k"), queue, temperature, margin=margin, arc=arc)
    loss.backward()
    close(loss, case.outputs["loss"])
    close(q.grad, case.outputs["grad_q"], atol=1e-6)


def memory_of(case):
    labels = case.tensor("labels")
    memory = Clusters(*case.inputs["feats"].shape, count=int(labels.max()) + 1)
    memory.start(case.tensor("feats"), labels)
    return memory


@golden("interclr", "inter")
def test_inter(case):
    """The loss on the images that the original drew."""
    temperature, _, _, margin, arc = case.inputs["meta"].tolist()
    memory, q = memory_of(case), case.tensor("q", True)
    close(memory.features, case.outputs["bank"], atol=1e-6)
    close(memory.centroids, case.outputs["centroids"], atol=1e-6)
    positive = memory.features[case.tensor("pos_idx")]
    negatives = memory.features[case.tensor("neg_idx")]
    loss = margin_nce(q, positive, negatives, temperature, margin=margin, arc=arc)
    loss.backward()
    close(loss, case.outputs["loss"])
    close(q.grad, case.outputs["grad_q"], atol=1e-6)


@golden("interclr", "inter")
def test_draws(case):
    """Ours come from where the original's came from; the file does not name its strategy."""
    _, count, pool, _, _ = case.inputs["meta"].tolist()
    count, pool = int(count), int(pool)
    memory, index = memory_of(case), case.tensor("idx")
    labels, own = memory.labels, memory.labels[index]
    similarity = F.normalize(case.tensor("q"), dim=1) @ memory.features.T
    theirs = case.tensor("neg_idx")
    assert (labels[case.tensor("pos_idx")] == own).all()
    assert (labels[theirs] != own[:, None]).all()

    torch.manual_seed(0)
    assert (labels[memory.mates(index)] == own).all()
    nearest = similarity.topk(pool, dim=1).indices
    farthest = (-similarity).topk(pool, dim=1).indices
    everywhere = torch.arange(len(labels)).expand(len(index), -1)
    for draw, among in (
        (semi_hard(similarity, own, labels, pool, count), nearest),
        (semi_easy(similarity, own, labels, pool, count), farthest),
        (anywhere(own, labels, count), everywhere),
    ):
        slots, valid = draw
        assert slots.shape == theirs.shape
        for row, line in enumerate(slots):
            others = among[row][labels[among[row]] != own[row]]
            if len(others) >= count:
                assert set(line.tolist()) <= set(others.tolist())
                assert valid[row].all()
            assert len(set(line[valid[row]].tolist())) == int(valid[row].sum())
            assert (labels[line[valid[row]]] != own[row]).all()


def test_hardest_negatives_are_the_recorded_ones():
    """Where the original took the most similar images of other clusters, so must we."""
    found = 0
    for case in cases("interclr", "inter"):
        memory, index, theirs = memory_of(case), case.tensor("idx"), case.tensor("neg_idx")
        labels, own = memory.labels, memory.labels[index]
        similarity = F.normalize(case.tensor("q"), dim=1) @ memory.features.T
        least = similarity.gather(1, theirs).amin(1, keepdim=True)
        closer = (labels != own[:, None]) & (similarity >= least)
        if (closer.sum(1) == theirs.shape[1]).all():
            slots, valid = hard(similarity, own, labels, theirs.shape[1])
            assert valid.all()
            assert torch.equal(slots.sort(1).values, theirs.sort(1).values)
            found += 1
    if FOLDER.resolve() == HERE.resolve():
        assert found


def in_order(labels, centroids):
    """Clusters named by their first image: 2-means may call either half the second."""
    names = list(dict.fromkeys(labels.tolist()))
    place = torch.full((len(centroids),), -1)
    place[names] = torch.arange(len(names))
    return place[labels], centroids[names]


@golden("interclr", "mem")
def test_memory(case):
    momentum, count, smallest = case.inputs["meta"].tolist()
    shape = case.inputs["feats"].shape
    memory = Clusters(*shape, count=int(count), smallest=int(smallest), momentum=momentum)
    memory.start(case.tensor("feats"), case.tensor("labels"))
    close(memory.features, case.outputs["init_bank"], atol=1e-6)
    close(memory.centroids, case.outputs["init_centroids"], atol=1e-6)
    changed = memory.update(case.tensor("upd_idx"), case.tensor("upd_feat"))
    close(changed, case.outputs["change_ratio"])
    close(memory.features, case.outputs["upd_bank"], atol=1e-6)
    close(memory.labels, case.outputs["upd_labels"])
    memory.recentre()
    close(memory.centroids, case.outputs["upd_centroids"], atol=1e-6)
    memory.repair()
    ours = in_order(memory.labels, memory.centroids)
    theirs = in_order(
        *(torch.from_numpy(case.outputs[f"small_{x}"]) for x in ("labels", "centroids"))
    )
    close(memory.sizes.sort().values, np.sort(case.outputs["small_sizes"]))
    close(ours[0], theirs[0].numpy())
    close(ours[1], theirs[1].numpy(), atol=1e-6)


@golden("interclr", "queue")
def test_queue(case):
    start = case.tensor("queue").T  # L D
    queue = Queue(*start.shape)
    queue.keys.copy_(start)
    for keys in case.tensor("keys"):
        queue.enqueue(F.normalize(keys, dim=1))
    close(queue.keys.T, case.outputs["queue"])
    assert int(queue.pointer) == int(case.outputs["ptr"].item())
