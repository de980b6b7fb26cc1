"""The command line: light start, one sentence and exit code 2 for bad input."""

from __future__ import annotations

import subprocess
import sys

import pytest


def fallow(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "fallow", *words], capture_output=True, text=True, timeout=120
    )


def refused(*words: str) -> str:
    done = fallow(*words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip()
    assert line.startswith("fallow: ")
    assert len(line.splitlines()) == 1
    return line


def test_help_lists_the_verbs_and_what_they_are_for():
    done = fallow("--help")
    assert done.returncode == 0
    for verb in ("explore", "embed", "learn", "probe", "cache", "demo"):
        assert verb in done.stdout
    assert "Masks for all pictures" in done.stdout


def test_help_of_a_verb_shows_an_example_and_the_settings_of_a_method():
    done = fallow("learn", "--method", "swav", "--help")
    assert "fallow learn photos/ --method swav" in done.stdout
    assert "Settings of swav" in done.stdout
    assert "prototypes" in done.stdout
    assert "Presets: paper" in done.stdout
    assert "Settings of musc" in fallow("spot", "--help").stdout


def test_help_of_verbs_does_not_import_them():
    code = (
        "import sys, fallow.cli\n"
        "sys.argv = ['fallow', '--help']\n"
        "try: fallow.cli.main()\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('fallow.verbs.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_imports_neither_torch_nor_tables():
    code = (
        "import sys, fallow, fallow.cli\n"
        "heavy = {'torch', 'numba', 'sklearn', 'lancedb', 'pyarrow', 'scipy'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lern", "x"], "learn"),
        (["explore", "no-such-folder"], "no-such-folder"),
        (["learn", "."], "image"),
        (["explore"], "source"),
    ],
)
def test_mistakes_get_one_sentence(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says.lower() in refused(*words).lower()


def test_mistyped_method_setting_and_encoder(tmp_path):
    from fallow.images.samples import demo

    demo(tmp_path / "pictures", seed=0)
    learn = ["learn", str(tmp_path / "pictures"), "--out", str(tmp_path / "run")]
    assert "did you mean simclr" in refused(*learn, "--method", "simcrl")
    assert "did you mean temperature" in refused(*learn, "--set", "temprature=1")
    assert "name=value" in refused(*learn, "--set", "temperature")
    assert "cannot read the value" in refused(*learn, "--set", "temperature={")
    assert "'auto', 'on' or 'off'" in refused(*learn, "--set", "compile=maybe")
    assert "resnet18" in refused(*learn, "--encoder", "resnet19")
    assert not (tmp_path / "run").exists()


def test_explore_says_what_it_found_and_where_the_report_is(tmp_path):
    from fallow.images.samples import shapes, write

    write(shapes(24, side=32), tmp_path / "pictures")
    done = fallow("explore", str(tmp_path / "pictures"), "--out", str(tmp_path / "found"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("24 images")
    assert lines[-1] == f"report: {tmp_path / 'found' / 'report.html'}"
    assert (tmp_path / "found" / "report.html").stat().st_size > 20_000
