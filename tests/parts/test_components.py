"""Largest components and the two ways a teacher follows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fallow.parts.components import largest_components
from fallow.parts.teacher import follow, follow_all_state, in_mode, twin
from fallow.problems import SettingProblem


def test_each_class_and_image_on_its_own():
    labels = torch.zeros(2, 5, 7, dtype=torch.int64)
    labels[0, :2, :2] = 1
    labels[0, 4, 0] = 1
    labels[0, 3:, 4:] = 2
    labels[0, 0, 6] = 2
    found = largest_components(labels)
    assert found.dtype == torch.int64
    assert int((found[0] == 1).sum()) == 4
    assert int((found[0] == 2).sum()) == 6
    assert int(found[1].sum()) == 0


def test_the_first_of_equals_stays():
    labels = np.array([[[0, 1, 0, 1], [0, 1, 0, 1]]])
    assert largest_components(labels)[0].tolist() == [[0, 1, 0, 0], [0, 1, 0, 0]]


def test_connectivity():
    diagonal = np.eye(4, dtype=int)[None]
    assert largest_components(diagonal).sum() == 4
    assert largest_components(diagonal, connectivity=4).sum() == 1
    corner = np.zeros((1, 2, 2, 2), int)
    corner[0, 0, 0, 0] = corner[0, 1, 1, 1] = 1
    assert largest_components(corner, connectivity=26).sum() == 2
    assert largest_components(corner, connectivity=18).sum() == 1
    with pytest.raises(SettingProblem, match="4, 8 in 2 dimensions"):
        largest_components(diagonal, connectivity=26)


def test_all_state_averages_statistics_and_parameters_alone_do_not():
    student = nn.BatchNorm1d(2)
    teachers = [twin(student), twin(student)]
    student.weight.data += 1
    student.running_mean += 2
    student.num_batches_tracked += 7
    follow(teachers[0], student, 0.75)
    follow_all_state(teachers[1], student, 0.75)
    assert teachers[0].weight.tolist() == teachers[1].weight.tolist() == [1.25, 1.25]
    assert teachers[0].running_mean.tolist() == [0.0, 0.0]
    assert teachers[1].running_mean.tolist() == [0.5, 0.5]
    assert int(teachers[1].num_batches_tracked) == 7


def test_a_mode_is_left_as_it_was_found_even_after_an_error():
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    network[1].eval()

    def fail():
        with in_mode(network, training=False):
            assert not network[0].training
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert network[0].training
    assert not network[1].training
