"""The page of runs in a browser: start, stop, resume, report; forms; comparison."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fallow import verbs
from fallow.studio.queue import Queue, Run

LONG = 120_000  # milliseconds a process may take to begin or end


@pytest.fixture
def open_page(page, studio):
    def go(words: str) -> Any:
        page.goto(f"http://127.0.0.1:{studio.port}/#/{words}")
        page.wait_for_selector('html[data-shown="runs"]')
        return page

    page.wait_for_selector("html[data-shown]")
    return go


def test_a_run_is_started_stopped_and_resumed(open_page, studio, tmp_path):
    page = open_page("runs?new=learn&method=simclr&encoder=resnet8%2F8&epochs=100000")
    page.fill("#field-out", str(tmp_path / "run"))
    page.click("summary:has-text('Settings of simclr')")
    page.fill("[id='field-settings.batch']", "16")
    page.fill("[id='field-settings.size']", "16")
    page.wait_for_selector(".meaning code:has-text('--set size=16')")
    page.click("button:has-text('Start')")
    page.wait_for_selector(".run-details .chart svg", timeout=LONG)
    page.click("[data-act=stop]")
    page.wait_for_selector("[data-act=resume]:has-text('Resume')", timeout=LONG)
    page.wait_for_selector("pre.log:has-text('stopped at step')")
    assert page.locator(".views img").evaluate("image => image.decode().then(() => true)")
    page.click("[data-act=resume]")
    page.wait_for_selector("pre.log:has-text('resuming at step')", timeout=LONG)
    page.click("[data-act=stop]")
    page.wait_for_selector("[data-act=resume]", timeout=LONG)
    [run] = Queue(studio.desk.place / "queue").runs()
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run.state, run.words[0]) == ("stopped", studio.desk.images.source)
    assert (about["settings"]["batch"], about["settings"]["epochs"]) == (16, 100000)
    page.click("[data-act=remove]")
    page.click("dialog button:has-text('Remove it')")
    page.wait_for_selector("text=Nothing has run here yet")
    assert (tmp_path / "run" / "checkpoint.pt").is_file()


def test_mistakes_stand_beside_their_fields(open_page):
    page = open_page("runs?new=learn&method=simclear")
    page.wait_for_selector("#wrong-method:has-text('did you mean simclr?')")
    assert page.get_attribute("#field-method", "aria-invalid") == "true"
    page.click("summary:has-text('Seldom needed')")
    page.fill("#field-where", "lable = 'disc'")
    page.wait_for_selector("#wrong-where:has-text('did you mean label?')")
    page.click("button:has-text('Start')")
    page.wait_for_selector(".go .note:has-text('method, where')")
    # the sentence may be there from typing; the focus moves once the server has judged the click
    page.wait_for_selector(":focus:is(#field-method, #field-where)")
    assert "new=learn" in page.url
    page.fill("#field-method", "swav")
    page.fill("#field-where", "label = 'cross'")
    command = page.locator(".meaning code >> nth=0")
    command.locator("text=--method").wait_for()
    page.locator(".field-row.bad").first.wait_for(state="detached")
    assert "--method swav --where \"label = 'cross'\" --out" in command.text_content()
    python = page.locator(".meaning code >> nth=1").text_content()
    assert "method='swav', where=\"label = 'cross'\"" in python


def test_a_verb_is_found_by_what_it_is_for(open_page):
    page = open_page("runs?new")
    shown = page.locator(".verb:visible b")
    page.fill("input[type=search]", "encoder unlabelled")
    assert shown.all_inner_texts() == ["learn"]
    assert page.locator(".purpose:visible h3").all_inner_texts() == ["Learn"]
    shown.click()
    page.wait_for_selector("#field-source")
    assert page.input_value("#field-source").endswith("pictures")


def test_verbs_stand_under_what_people_come_for(open_page):
    page = open_page("runs?new")
    page.wait_for_selector(".verb")
    assert page.locator(".purpose h3").all_inner_texts() == list(verbs.PURPOSES)
    for title, names in verbs.by_purpose().items():
        there = page.locator(f".purpose[aria-label='{title}'] .verb b").all_inner_texts()
        assert there == [name for name in names if name != "studio"]
    said = page.locator(".verb:has(b:text-is('spot')) span").inner_text()
    assert said == verbs.summary("spot")


def test_what_few_need_is_folded_away_unless_it_is_said(open_page):
    page = open_page("runs?new=segment&method=bcp")
    page.wait_for_selector("#field-masks")
    assert page.locator("#field-minutes").is_visible()
    assert not page.locator("#field-concepts").is_visible()
    page = open_page("runs?new=segment&classes=classes.yaml")
    page.wait_for_selector("#field-classes")
    assert page.locator("#field-classes").is_visible()


@pytest.fixture  # asked for before the page, so that the page has gone when the runs go
def two(studio, tmp_path):
    """Two runs that have ended, of different settings."""
    queue = Queue(studio.desk.place / "queue")
    made = []
    for name, rate in (("one", 0.1), ("two", 0.2)):
        folder = tmp_path / name
        folder.mkdir()
        lines = [{"step": k, "loss": 4 - rate * k, "spread": 0.5} for k in range(1, 30)]
        text = "\n".join(json.dumps(line) for line in lines) + "\n"
        (folder / "metrics.jsonl").write_text(text)
        about = {"method": "SimCLR", "settings": {"learning_rate": rate, "batch": 8}}
        (folder / "run.json").write_text(json.dumps(about))
        (folder / "report.html").write_text(f"<h1>Report of {name}</h1><script>said = 1</script>")
        run = Run(
            id=f"run-{name}", verb="learn", given={"source": "a", "epochs": "3"}, words=["a"],
            cwd=str(tmp_path), out=name, added=1.0, began=1.0, ended=9.0, state="done",
        )  # fmt: skip
        queue.files(run).mkdir(exist_ok=True)
        made.append(run)
    with queue.changing() as runs:
        runs += made
    yield made
    for run in made:
        queue.remove(run.id)


def test_two_runs_are_compared(two, open_page):
    page = open_page("runs?run=run-one")
    page.locator(".chart svg").first.wait_for()
    page.select_option(".run-actions select", label="learn two")
    page.wait_for_selector(".chart path.curve-1")
    assert page.locator(".chart path").count() == 4  # loss and spread, of both
    told = page.locator("section[aria-label='Settings that differ'] td").all_inner_texts()
    assert told == ["0.1", "0.2"]
    assert page.locator(".chart text.unit >> nth=0").text_content() == "step"
    assert page.locator(".chart figcaption .of-1").first.inner_text() == "-1.8"
    assert (
        page.locator("section[aria-label='Collapse watch']")
        .inner_text()
        .endswith("which this run did not reach.")
    )
    label = page.get_attribute(".chart svg >> nth=0", "aria-label")
    assert label == "Loss, one: from 3.9 to 1.1; two: from 3.8 to -1.8 at step 29"
    page.click("a:has-text('Again, changed')")
    page.wait_for_selector("#field-epochs")
    assert page.input_value("#field-epochs") == "3"
    assert page.input_value("#field-source") == "a"


def test_a_report_is_shown_in_a_frame_that_reaches_nothing(two, open_page):
    page = open_page("runs?run=run-two")
    page.frame_locator("iframe").locator("h1:has-text('Report of two')").wait_for()
    inner = next(one for one in page.frames if one.url.endswith("/run-two/report"))
    assert inner.evaluate("said") == 1  # its own scripts run
    assert inner.evaluate("origin") == "null"
    reach = "() => { try { return parent.document.title } catch { return 'nothing' } }"
    assert inner.evaluate(reach) == "nothing"


def test_the_list_is_walked_by_keys(two, open_page):
    page = open_page("runs?run=run-two")
    page.wait_for_selector(".run[aria-current]:has-text('two')")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".run[aria-current]:has-text('one')")
    assert "run=run-one" in page.url
    page.keyboard.press("n")
    page.wait_for_selector(".verbs")
    page.keyboard.press("Tab")  # out of the field, where keys are letters
    page.keyboard.press("Escape")
    page.wait_for_selector(".run[aria-current]")


@pytest.mark.parametrize("words", ["runs?run=run-two&with=run-one", "runs?new", "runs?new=learn"])
def test_axe_finds_nothing_on_runs(two, open_page, findings_of_axe, words):
    page = open_page(words)
    page.locator(".chart svg, .verb, .field-row").first.wait_for()
    for closed in page.locator("details:not([open]) > summary").all():
        if closed.is_visible() and closed.inner_text() != "Report":
            closed.click()
    assert findings_of_axe(page) == []


def test_a_tablet_shows_runs_without_a_sideways_scroll(two, open_page):
    for words in ("runs?run=run-one", "runs?new", "runs?new=spot"):
        page = open_page(words)
        page.set_viewport_size({"width": 820, "height": 1100})
        page.locator(".chart svg, .verb, .field-row").first.wait_for()
        wide = "() => document.getElementById('page').scrollWidth - innerWidth"
        assert page.evaluate(wide) <= 0, words
