"""The case finder itself: what it finds, and that it cannot find nothing in silence."""

from __future__ import annotations

import numpy as np
import pytest

from . import cases as module


def test_cases_are_found_by_key(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    arrays = {"a_x_in_v": 1.0, "a_x_out_w": 2.0, "a_y_in": 3.0, "a_y_out_w": 4.0, "ab_in_v": 5.0}
    np.savez(tmp_path / "s.npz", **arrays, a_x_in_long_name=6.0, b_in=0.0, b_out=1.0)
    found = {case.name: case for case in module.cases("s", "a")}
    assert set(found) == {"a_x", "a_y"}
    assert set(found["a_x"].inputs) == {"v", "long_name"}
    assert found["a_y"].number("") == 3.0
    assert [case.name for case in module.cases("s", "a", without=("a_x",))] == ["a_y"]
    assert [case.name for case in module.cases("s", "b")] == ["b"]


def test_own_folder_without_cases_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "FOLDER", module.HERE)
    with pytest.raises(LookupError, match="no case zebra"):
        module.golden("swav", "zebra")
    with pytest.raises(LookupError):
        module.golden("zebra", "loss")


def test_missing_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        module.golden("swav", "loss")


def test_close_is_strict():
    module.close(np.array([1.0, 0.0]), np.array([1.00009, 1e-7]))
    with pytest.raises(AssertionError):
        module.close(np.array([1.0]), np.array([1.0002]))
    with pytest.raises(AssertionError):
        module.close(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(AssertionError):
        module.close(np.ones((2, 1)), np.ones(2))
