"""Whole files or none, and locks the system drops."""

import os

import pytest

from fallow.files import atomic_write, cache_dir, fingerprint, locked, plain_yaml


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_write(target) as file:
        file.writelines([b"new, but", None])
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]
    with atomic_write(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_yaml_reads_words_as_words_and_truth_as_truth():
    text = "{a: off, b: on, c: no, d: Yes, e: true, f: False, g: 3, h: null}"
    words = {"a": "off", "b": "on", "c": "no", "d": "Yes"}
    assert plain_yaml(text) == words | {"e": True, "f": False, "g": 3, "h": None}


def test_cache_dir_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("FALLOW_CACHE")
    assert cache_dir().name == "fallow"


def test_a_held_lock_is_seen(tmp_path):
    with locked(tmp_path / "door") as first, locked(tmp_path / "door", wait=False) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path / "door", wait=False) as third:
        assert third


def test_fingerprints_differ():
    assert len(fingerprint(b"")) == 32
    assert fingerprint(b"a") != fingerprint(b"b")
