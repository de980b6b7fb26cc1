"""Concept lists: synonyms, everyday things, order of classes, and what is refused."""

import pytest

from fallow.encoders.concepts import EVERYDAY_THINGS, concepts, read_concepts
from fallow.problems import SettingProblem


def test_lists_and_synonyms():
    found = concepts({"plane": "aeroplane, airplane ,glider", "ground": ["grass", "runway"]})
    assert found.classes == ("plane", "ground")
    assert found.entries == (("aeroplane, airplane, glider",), ("grass", "runway"))
    assert found.sizes == [1, 2]
    assert found.flat == ["aeroplane, airplane, glider", "grass", "runway"]


def test_everyday_things_leave_out_what_is_named():
    found = concepts({"Street_Lamp": "tree", "background": ["mist", "everyday"]})
    background = found.entries[1]
    assert background[0] == "mist"
    assert set(background[1:]) == set(EVERYDAY_THINGS) - {"tree", "street lamp"}
    assert len(set(EVERYDAY_THINGS)) == len(EVERYDAY_THINGS) > 150
    assert not found.notes


def test_a_short_background_is_noted():
    assert "everyday" in concepts({"car": "car", "background": ["sky"]}).notes[0]
    assert not concepts({"car": "car", "sky": "sky"}).notes


def test_order_of_the_masks():
    found = concepts({"sky": "sky", "car": ["car", "bus"]})
    assert found.ordered(["car", "sky"]).flat == ["car", "bus", "sky"]
    with pytest.raises(SettingProblem, match="did you mean cars"):
        found.ordered(["cars", "sky"])
    with pytest.raises(SettingProblem, match="no entry for the class road"):
        found.ordered(["car", "sky", "road"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "empty"),
        ({"car": 3}, "words or a list of words"),
        ({"car": []}, "words or a list of words"),
        ({"car": [" , "]}, "words or a list of words"),
        ({"car": "car", "lorry": "lorry, Car"}, "stands for car and for lorry"),
    ],
)
def test_what_is_refused(given, said):
    with pytest.raises(SettingProblem, match=said) as caught:
        concepts(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["car: [", "- car", "car: !!python/object/apply:os.getcwd []", "car: \x00"]
)
def test_files_that_are_refused(tmp_path, text):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(SettingProblem) as caught:
        read_concepts(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(SettingProblem, match="cannot read concepts"):
        read_concepts(tmp_path / "none.yaml")
