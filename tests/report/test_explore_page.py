"""The explore report holds every finding, and stays small."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import report_sample
from report_sample import Outline

from fallow.report import explore, explore_copies, explore_map, explore_page
from fallow.report import page as pages
from fallow.report.explore import PICTURES


@pytest.fixture(scope="module")
def found() -> dict:
    return report_sample.findings(240)


@pytest.fixture(scope="module")
def page(found: dict) -> str:
    return explore_page(found)


def embedded(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))


def section(page: str, anchor: str) -> str:
    return re.search(rf'<section id="{anchor}".*?</section>', page, re.S).group(0)


def test_page_is_well_formed_and_alone(page: str) -> None:
    outline = Outline(page)
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert outline.count("h1") == 1
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)


def test_every_image_is_on_the_map(page: str, found: dict) -> None:
    values = embedded(page)
    assert values["path"] == [item["path"] for item in found["items"]]
    assert min(values["x"]) == 0
    assert max(values["x"]) == 1
    x = np.array([item["x"] for item in found["items"]])
    assert np.argsort(values["x"]).tolist() == np.argsort(x.round(9)).tolist()
    assert all(len(tile) == 5 for tile in values["tile"])
    titles = [colouring["title"] for colouring in values["colourings"]]
    assert titles == [
        "group", "label", "finding", "sharpness", "brightness", "outlier", "megapixels"
    ]  # fmt: skip


def test_group_codes_name_their_groups(page: str, found: dict) -> None:
    values = embedded(page)
    group = values["colourings"][0]
    for code, item in zip(group["codes"], found["items"], strict=True):
        assert group["names"][code] == f"Group {item['group'] + 1}"


def test_the_best_copy_comes_first_and_is_marked(page: str, found: dict) -> None:
    near = found["changed_copies"][0]
    part = section(page, "changed-copies").split('class="set"')[1]
    assert re.findall(r'data-item="(\d+)"', part)[0] == str(near["keep"])
    assert part.count("proposed to keep") == 1
    assert part.index("proposed to keep") < part.index(f'data-item="{near["items"][0]}"')
    assert part.index("half size") < part.index("mirrored")


def test_pictures_much_alike_are_shown_and_none_is_proposed(page: str, found: dict) -> None:
    part = section(page, "much-alike").split('class="set"')[1]
    shown = [int(number) for number in re.findall(r'data-item="(\d+)"', part)]
    assert shown == found["much_alike"][0]["items"]
    assert "proposed to keep" not in part


def test_copy_buttons_name_the_spare_copies(page: str, found: dict) -> None:
    spare = [i for same in found["exact_duplicates"] for i in same[1:]]
    listed = re.search(r'data-paths="([^"]*)"', section(page, "exact-duplicates")).group(1)
    assert [int(word) for word in listed.split()] == spare


@pytest.mark.parametrize("name", ["outliers", "quality", "suspected-wrong-labels", "groups"])
def test_lists_show_their_images(page: str, found: dict, name: str) -> None:
    shown = {int(number) for number in re.findall(r'data-item="(\d+)"', section(page, name))}
    wanted = {
        "outliers": set(found["outliers"]),
        "quality": {i for indices in found["quality"].values() for i in indices},
        "suspected-wrong-labels": {suspect["item"] for suspect in found["suspects"]},
        "groups": {i for group in found["groups"] for i in group["representatives"]},
    }[name]
    assert wanted
    assert shown == wanted


def test_numbers_and_sentences_are_there(page: str, found: dict) -> None:
    text = "".join(Outline(page).words)
    for sentence in [*found["headlines"], found["encoder"]["note"]]:
        assert sentence in text
    assert "the file ends before the picture does" in text
    assert "confirm the label of 87% of the labelled images" in text
    assert "90% sure" in text
    assert "No image is too bright." in text


def test_an_empty_folder_still_makes_a_page() -> None:
    text = "".join(Outline(explore_page({"name": "nothing", "items": []})).words)
    for line in (
        "No image could be read, so there is no map.",
        "The images form no groups.",
        "No two files are identical.",
        "No file is a changed copy of another.",
        "No image stands far from the others.",
        "No image is blurry.",
        "The images have no labels to check.",
        "Every file could be read.",
        "Everything ran with the defaults.",
    ):
        assert line in text


def test_one_image_without_position_label_or_thumbnail() -> None:
    item = {"id": "a", "path": "a.jpg", "width": 8, "height": 8, "bytes": None, "label": None,
            "x": float("nan"), "y": None, "group": -1, "outlier": None, "sharpness": float("nan"),
            "brightness": np.float32(0.5), "flags": []}  # fmt: skip
    groups = [{"group": -1, "size": 1, "representatives": [0], "labels": {}}]
    page = explore_page({"name": "one", "items": [item], "thumbnails": [b""], "groups": groups})
    values = embedded(page)
    assert (values["x"], values["y"], values["tile"]) == ([0.5], [0.5], [0])
    assert "No group" in page
    assert "nan" not in json.dumps(values).lower()


def test_hostile_names_stay_text(found: dict) -> None:
    bad = '</script><script>alert(1)</script>"><img src=x onerror=alert(1)>.jpg'
    items = [dict(item, path=bad, label=bad, flags=[bad]) for item in found["items"]]
    groups = [dict(group, labels={bad: 3}) for group in found["groups"]]
    hostile = found | {
        "name": bad, "items": items, "groups": groups, "headlines": [bad], "settings": {bad: bad},
        "counts": {bad: 1}, "problems": [{"path": bad, "reason": bad}],
        "suspects": [{"item": 0, "label": bad, "suggested": bad, "confidence": 0.5}],
        "quality": {bad: [1]}, "encoder": {"name": bad, "note": bad},
    }  # fmt: skip
    outline = Outline(explore_page(hostile))
    assert outline.count("img") == 0
    assert outline.count("script") == 3  # data and the two that ship
    assert not [attrs for _, attrs in outline.tags if any(name.startswith("on") for name in attrs)]


def test_many_images_stay_small_and_the_page_says_what_is_left_out() -> None:
    found = report_sample.findings(20_000)
    page = explore_page(found)
    values = embedded(page)
    assert len(page.encode()) < 25e6
    assert len(values["path"]) == 20_000
    assert sum(tile != 0 for tile in values["tile"]) == PICTURES
    assert f"{20_000 - PICTURES:,} of 20,000 images are shown as dots only" in page
    listed = {i for indices in found["quality"].values() for i in indices} | set(
        found["outliers"][:180]
    )
    assert all(values["tile"][index] for index in listed)


def test_elements_grow_with_what_is_listed_and_not_with_the_images(monkeypatch) -> None:
    made = []

    def counted(plain):
        def element(*children, **attributes):
            made.append(1)
            return plain(*children, **attributes)

        return element

    for module in (pages, explore, explore_copies, explore_map):
        monkeypatch.setattr(module, "element", counted(module.element))
    counts = []
    for images in (1200, 4800):
        made.clear()
        explore_page(report_sample.findings(images))
        counts.append(len(made))
    assert counts[1] < 2 * counts[0]
