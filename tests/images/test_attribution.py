"""Licences in words and addresses, whom to believe, contradictions, files beside a picture."""

from __future__ import annotations

import json

import pytest

from fallow.images.attribution import attribution, beside, known_fields, statements
from fallow.images.licences import Licence, allowed, licences
from fallow.images.metadata import Metadata
from fallow.images.segments import LARGEST

NAMED = {
    "CC BY 2.0": ["CC-BY-2.0"],
    "cc-by-sa-4.0": ["CC-BY-SA-4.0"],
    "CC BY-NC": ["CC-BY-NC"],
    "cc by nc nd 3.0": ["CC-BY-NC-ND-3.0"],
    "CC0": ["CC0-1.0"],
    "Creative Commons Zero": ["CC0-1.0"],
    "http://creativecommons.org/publicdomain/zero/1.0/": ["CC0-1.0"],
    "https://creativecommons.org/publicdomain/mark/1.0/": ["PDM-1.0"],
    "https://creativecommons.org/licenses/by/3.0/de/": ["CC-BY-3.0-DE"],
    "https://creativecommons.org/licenses/by-nc-sa/2.0/deed.en": ["CC-BY-NC-SA-2.0"],
    "Creative Commons Attribution 4.0 International License (CC BY 4.0)": ["CC-BY-4.0"],
    "Attribution-NonCommercial-ShareAlike License": ["CC-BY-NC-SA"],
    "Attribution-NoDerivs 2.0 Generic": ["CC-BY-ND-2.0"],
    "public domain": ["PDM-1.0"],
    "(c) Ann. All rights reserved.": ["all-rights-reserved"],
    "CC BY 2.0 or CC BY-NC 2.0": ["CC-BY-2.0", "CC-BY-NC-2.0"],
    "photo by Ann": [],
    "attribution, please": [],
    "": [],
}


@pytest.mark.parametrize("text", NAMED)
def test_a_text_names_its_licences(text):
    assert [one.id for one in licences(text)] == NAMED[text]


def test_an_address_leads_back_to_its_licence():
    for family in ("CC-BY", "CC-BY-SA", "CC-BY-NC-ND"):
        for version in ("2.0", "4.0"):
            one = Licence(family, version)
            assert licences(one.url) == (one,)
    assert licences(Licence("CC0", "1.0").url) == (Licence("CC0", "1.0"),)
    assert Licence("CC-BY").url == ""  # which terms these are, nobody knows


def test_a_family_lets_no_stricter_one_through():
    assert allowed(Licence("CC-BY", "4.0"), ["CC-BY"])
    assert not allowed(Licence("CC-BY-NC", "4.0"), ["CC-BY"])
    assert not allowed(Licence("CC-BY", "4.0"), ["CC-BY-2.0", "CC-BY-SA"])


def test_who_is_believed_first():
    said = [("table", {"creator": "Ann"}), ("xmp", {"creator": "Bob", "licence": "CC BY 4.0"})]
    found = attribution(said, ["CC-BY"])
    assert (found.creator, found.others, found.licence) == ("Ann", ("Bob",), "CC-BY-4.0")
    assert found.licence_url == "https://creativecommons.org/licenses/by/4.0/"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ([("xmp", {"licence": "CC BY 4.0"})], "no_attribution"),
        ([("xmp", {"creator": "Ann"})], "no_licence"),
        ([("xmp", {"creator": "Ann", "licence": "CC BY-NC 4.0"})], "licence_not_allowed"),
        ([("xmp", {"creator": "Ann", "licence": "CC BY 4.0", "rights": "All rights reserved"})],
         "licence_conflict"),
        ([("table", {"creator": "Ann", "licence": "CC BY 4.0"}),
          ("exif", {"rights": "CC BY-NC 4.0"})], "licence_conflict"),
        ([("table", {"creator": "Ann", "licence": "CC BY-NC 4.0 or CC BY 4.0"})], ""),
        ([("exif", {"creator": "Ann", "rights": "(c) Ann, CC BY 4.0"})], ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(said, problem):
    assert attribution(said, ["CC-BY"]).problem == problem


def test_what_is_not_needed_may_be_missing():
    assert attribution([], ["CC-BY"], need=()).problem == ""
    found = attribution([("xmp", {"licence": "CC0"})], ["CC0"], need=("licence", "source_url"))
    assert found.problem == "no_source_url"


def test_tables_of_others_are_understood():
    row = {"ImageID": "1", "License": "CC BY 2.0", "Author": "Ann", "OriginalURL": "https://x/1"}
    found = known_fields(row)
    assert found == {"licence": "CC BY 2.0", "creator": "Ann", "source_url": "https://x/1"}
    assert known_fields({"unickname": "ann", "datetaken": "2020"})["creator"] == "ann"


def test_files_beside_a_picture_speak_after_the_table():
    names = frozenset(["a/b.jpg", "a/b.jpg.xmp", "a/b.json", "a/c.xmp"])
    assert beside("a/b.jpg", names) == ["a/b.jpg.xmp", "a/b.json"]
    sidecar = json.dumps({"author": "Ann", "license": "CC BY 4.0"}).encode()
    said = statements({"creator": "Bob"}, [("b.json", sidecar)], Metadata())
    assert [source for source, _ in said] == ["table", "b.json"]
    assert attribution(said, ["CC-BY"]).creator == "Bob"


@pytest.mark.parametrize("data", [b"{", b"[1]", b"[" * 100_000, b" " * (LARGEST + 1)])
def test_a_broken_file_beside_says_nothing(data):
    assert statements({}, [("a.json", data)], Metadata()) == []
    assert statements({}, [("a.xmp", data)], Metadata()) == []
