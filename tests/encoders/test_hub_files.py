"""What is said where a hub cannot be reached, breaks off, or its packages are missing."""

import pytest

from fallow.encoders import encoder
from fallow.encoders.hub_files import from_cache_or_hub
from fallow.problems import MissingPackage, Problem

pytest.importorskip("transformers")


def test_neither_cache_nor_network(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Problem, match="neither in the local cache") as caught:
        encoder("hf:fallow-tests/no-such-model")
    assert "\n" not in str(caught.value)


def test_interrupted_download(monkeypatch):
    class ReadTimeout(OSError):
        pass

    def fetch(local):
        raise (OSError("not cached") if local else ReadTimeout("timed out"))

    with pytest.raises(Problem, match="interrupted"):
        from_cache_or_hub("some/model", fetch)


def test_missing_packages(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(MissingPackage, match=r"fallow\[hub\]"):
        encoder("hf:some/model")
    with pytest.raises(MissingPackage, match="timm"):
        encoder("timm:some_model")
