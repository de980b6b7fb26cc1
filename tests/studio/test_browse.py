"""Results show pictures in a notebook, and open the studio on themselves."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fallow.images.samples import shapes
from fallow.outcomes import Result
from fallow.outcomes.browsing import browsed
from fallow.problems import SourceProblem
from fallow.studio.desk import Desk


class Seen(Result):
    """A result that knows its pictures."""

    def __init__(self, table: pa.Table, images: Any, **more: Any) -> None:
        super().__init__(table, **more)
        self.images = images


def test_a_notebook_shows_pictures_and_text_stays_text() -> None:
    images = shapes(20, side=24)
    shown = Seen(pa.table({"row": [5, 3]}), images, headlines=["<b>2</b>"])._repr_html_()
    assert len(re.findall('<img alt="" src="data:image/jpeg;base64,', shown)) == 2
    assert "&lt;b&gt;2" in shown
    everything = Seen(images.table, images)._repr_html_()
    assert everything.count("<img") == 12
    assert Result(images.table)._repr_html_().count("<img") == 0


def test_explore_shows_every_group(explored: Path) -> None:
    from fallow.verbs.explore import explore

    result = explore(shapes(24, side=24), encoder="tiny")
    firsts = [group["representatives"][0] for group in result.findings["groups"]]
    thumbnails = result.findings["thumbnails"]
    assert result.pictures_shown(len(firsts)) == [thumbnails[place] for place in firsts]


def test_a_result_opens_the_studio_on_itself(explored: Path) -> None:
    running = browsed(explored, browser=False)
    try:
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(running.address.partition("?")[0])
        assert "token=" in running._repr_html_()
    finally:
        running.stop()
    assert running.process.returncode is not None


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceProblem, match="the studio did not start: "):
        browsed(tmp_path / "nothing", browser=False)


def test_a_run_whose_pictures_are_gone_shows_what_it_kept(explored: Path, tmp_path: Path) -> None:
    import shutil

    moved = shutil.copytree(explored, tmp_path / "run")
    facts = (moved / "settings.json").read_text()
    gone = facts.replace(str(explored.parent / "pictures"), str(tmp_path / "gone"))
    assert gone != facts
    (moved / "settings.json").write_text(gone)
    alone, whole = Desk.opened(moved), Desk.opened(explored)
    assert alone.images is None
    assert alone.pixels(7).shape == (48, 48, 3)
    difference = alone.pixels(7).astype(int) - whole.pixels(7)
    assert np.abs(difference).mean() < 8  # it was kept as a JPEG
    given = Desk.opened(moved, explored.parent / "pictures")
    assert (given.pixels(7) == whole.pixels(7)).all()


def test_a_trained_run_has_its_sources_pictures(tmp_path: Path) -> None:
    import json

    from fallow.outcomes import save_picture

    save_picture(tmp_path / "pictures" / "a.png", shapes(1, side=24)[0])
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"source": str(tmp_path / "pictures")}))
    assert Desk.opened(run).base.column("path").to_pylist() == ["a.png"]
    (run / "run.json").write_text("{}")
    assert len(Desk.opened(run)) == 0
    (run / "run.json").write_text("{")
    with pytest.raises(SourceProblem, match="run the verb again"):
        Desk.opened(run)
