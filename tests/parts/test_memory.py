"""Queues, bank and teacher: order, wrapping, saving."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from fallow.parts.memory import Bank, FrontQueue, Queue, whole_batches
from fallow.parts.teacher import follow, follow_with_buffers, twin


def numbered(first, count):
    return torch.arange(first, first + count, dtype=torch.float32)[:, None].repeat(1, 2)


def test_queue_starts_with_random_unit_rows():
    queue = Queue(64, 8, seed=1)
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(64))
    assert torch.equal(queue.keys, Queue(64, 8, seed=1).keys)
    assert not torch.equal(queue.keys, Queue(64, 8, seed=2).keys)


def test_queue_wraps_even_when_batches_do_not_divide_it():
    queue = Queue(5, 2)
    queue.enqueue(numbered(1, 3))
    queue.enqueue(numbered(4, 3))
    assert queue.keys[:, 0].tolist() == [6, 2, 3, 4, 5]
    assert int(queue.pointer) == 1


def test_batch_longer_than_the_queue_leaves_its_newest():
    queue = Queue(3, 2)
    queue.enqueue(numbered(1, 7))
    assert sorted(queue.keys[:, 0].tolist()) == [5, 6, 7]
    queue.enqueue(numbered(8, 1))
    assert sorted(queue.keys[:, 0].tolist()) == [6, 7, 8]


def test_front_queue_is_newest_first_and_full_only_at_the_end():
    queue = FrontQueue(4, 2, crops=2)
    for batch in range(3):
        rows = numbered(10 * (batch + 1), 2)
        assert queue.full == (batch >= 2)
        queue.enqueue(torch.stack([rows, -rows]))
    assert queue.full
    assert queue.rows[0, :, 0].tolist() == [30, 31, 20, 21]
    assert queue.rows[1, :, 0].tolist() == [-30, -31, -20, -21]
    assert torch.equal(queue.share(), queue.rows)


def test_memories_resume_from_their_state():
    for make in (lambda: Queue(6, 2), lambda: FrontQueue(6, 2), lambda: Bank(6, 2)):
        first, second = make(), make()
        for memory in (first, second):
            steps = range(2) if memory is second else range(1)
            for step in steps:
                advance(memory, step)
        fresh = make()
        fresh.load_state_dict(first.state_dict())
        advance(fresh, 1)
        for name, value in second.state_dict().items():
            assert torch.equal(value, fresh.state_dict()[name]), name


def advance(memory, step):
    rows = numbered(1 + 4 * step, 4)
    if isinstance(memory, Bank):
        memory.update(torch.arange(4) + step, rows, torch.arange(4))
    elif isinstance(memory, FrontQueue):
        memory.enqueue(rows[None])
    else:
        memory.enqueue(rows)


def test_whole_batches():
    assert whole_batches(3840, 512) == 3584
    assert whole_batches(10, 16) == 0


def test_bank_blends_and_labels():
    bank = Bank(5, 3, momentum=0.25)
    before = bank.features.clone()
    new = torch.tensor([[0.0, 0.0, 2.0]])
    bank.update(torch.tensor([2]), new, torch.tensor([7]))
    expected = F.normalize(0.75 * before[2] + 0.25 * new[0], dim=0)
    torch.testing.assert_close(bank.features[2], expected)
    assert bank.labels.tolist() == [-1, -1, 7, -1, -1]
    assert torch.equal(bank.features[[0, 1, 3, 4]], before[[0, 1, 3, 4]])


def test_bank_fill_normalises():
    bank = Bank(3, 2)
    bank.fill(torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1, 1]))
    torch.testing.assert_close(bank.features.norm(dim=1), torch.ones(3))
    assert bank.labels.tolist() == [0, 1, 1]


def test_teacher_follows_parameters_but_not_buffers():
    student = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    teacher = twin(student)
    with torch.no_grad():
        student[0].weight += 1
        student[1].running_mean += 5
    start = teacher[0].weight.clone()
    follow(teacher, student, 0.9)
    torch.testing.assert_close(teacher[0].weight, 0.9 * start + 0.1 * student[0].weight)
    assert teacher[1].running_mean.tolist() == [0, 0]
    assert student[0].weight.requires_grad
    follow_with_buffers(teacher, student, 1.0)
    assert teacher[1].running_mean.tolist() == [5, 5]
