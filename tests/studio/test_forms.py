"""Forms of all verbs: drawn from their declarations, judged field by field, and said three ways."""

from __future__ import annotations

import pytest

from fallow import cli, verbs
from fallow.images.samples import shapes
from fallow.methods import rooms, slugs
from fallow.studio import forms
from fallow.studio.desk import Desk, Verbs

NAMES = [name for name in verbs.names() if name != "studio"]


@pytest.fixture(scope="module")
def desk():
    opened = Desk.opened(shapes(12, side=24), verbs=Verbs(verbs.names(), verbs.declaration))
    opened.images.source = "/photos"
    return opened


def judge(desk, verb, **given):
    return forms.judge(verbs.declaration(verb), given, desk)


def filled(of):
    """A form with something in each needed field, as texts."""
    form = of.schema()
    choices = {name: one["enum"][0] for name, one in form["properties"].items() if "enum" in one}
    return {name: choices.get(name, "gamma") for name in form["required"]}


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_has_a_form_that_can_be_filled(desk, name):
    of = verbs.declaration(name)
    form = forms.form(of, desk)
    needed, order = form["schema"]["required"], form["order"]
    assert sorted(order) == sorted(form["schema"]["properties"])
    at_the_top = [name for name in order if name not in form["seldom"]]
    assert set(needed) <= set(at_the_top)
    assert len(at_the_top) <= 12
    empty = forms.judge(of, {}, desk)
    assert set(empty.problems) == set(form["schema"]["required"])
    assert all(text.startswith("this is needed: ") for text in empty.problems.values())
    judged = forms.judge(of, filled(of), desk)
    assert judged.problems == {}
    words = of.words(judged.given)
    cli.command(of, words).make_context(name, list(words))


@pytest.mark.parametrize("room", rooms())
def test_settings_of_systems_are_fields_that_take_their_defaults(desk, room):
    of = verbs.declaration(room)
    for slug in slugs(room):
        fields = forms.form(of, desk, slug)["settings"]
        said = {one["name"]: one["default"] for one in fields if one["default"]}
        given = filled(of) | {"settings": said}
        if of.system in of.schema()["properties"]:
            given[of.system] = slug
        wanted = {"host": "fyi goes with the others and is none by itself"} if slug == "fyi" else {}
        assert judge(desk, room, **given).problems == wanted, slug


def test_the_open_collection_is_the_source(desk):
    opened = {name: forms.form(verbs.declaration(name), desk)["open"] for name in NAMES}
    assert opened["learn"] == opened["spot"] == opened["grade"] == {"source": "/photos"}
    # what another thing than pictures is meant by, or pictures of another kind
    assert opened["separate"] == opened["adapt"] == opened["compare"] == {}


@pytest.mark.parametrize(
    ("verb", "field", "value", "sentence"),
    [
        ("learn", "epochs", "many", "'many' is not a number"),
        ("learn", "seed", "1.5", "'1.5' is not a whole number"),
        ("learn", "minutes", "-3", "setting minutes: Input should be greater than 0"),
        ("learn", "method", "simclear", "there is no method 'simclear': did you mean simclr?"),
        ("learn", "preset", "papr", "simclr has no preset 'papr': did you mean paper?"),
        ("learn", "soruce", "x", "there is no option 'soruce': did you mean source?"),
        ("learn", "where", "lable = 'disc'", "there is no column lable: did you mean label?"),
        ("learn", "where", "width > 9999", "no picture is like this"),
        ("learn", "encoder", "a\nb", "up to 4000 letters on one line, please"),
        ("learn", "encoder", "a" * 4001, "up to 4000 letters on one line, please"),
        ("spot", "for_", "oddity", "'oddity' cannot be: did you mean odd?"),
        ("spot", "in_steps", "perhaps", "yes or no, not 'perhaps'"),
        ("discover", "accept", ["oak"], "--accept wants name=value, not 'oak'"),
        ("grade", "enhancer", "rm {input} {output}",
         "a command of one's own is started from the shell, not from a page"),
    ],
)  # fmt: skip
def test_a_mistake_stands_beside_its_field(desk, verb, field, value, sentence):
    given = {**filled(verbs.declaration(verb)), "source": "/photos", field: value}
    if field == "preset":
        given["method"] = "simclr"
    problems = judge(desk, verb, **given).problems
    assert problems == {field: sentence}


def test_settings_are_read_as_the_shell_reads_them(desk):
    said = {"batch": "32", "temperature": "0.2", "compile": "off"}
    judged = judge(desk, "learn", source="a", method="simclr", settings=said)
    assert judged.given["settings"] == {"batch": 32, "temperature": 0.2, "compile": "off"}
    wrong = judge(desk, "learn", source="a", method="simclr",
                  settings={"batch": "none", "temprature": "1", "size": "[1"})  # fmt: skip
    assert wrong.problems == {
        "settings.batch": "setting batch: Input should be a valid integer, unable to parse string "
        "as an integer",
        "settings.temprature": "there is no setting 'temprature': did you mean temperature?",
        "settings.size": "'[1' cannot be read as a value",
    }


def test_a_setting_of_one_of_several_systems_will_do(desk):
    # spot chooses by what is looked for, learn by the images
    assert judge(desk, "spot", source="a", settings={"window": "2"}).problems == {}
    assert judge(desk, "learn", source="a", settings={"prototypes": "30"}).problems == {}
    assert list(judge(desk, "learn", source="a", settings={"zebra": "30"}).problems) == [
        "settings.zebra"
    ]


def test_a_condition_is_tried_on_the_open_collection_alone(desk):
    assert judge(desk, "learn", source="/other", where="split = 'train'").problems == {}
    assert judge(desk, "learn", source="/photos", where="label = 'disc'").problems == {}
    given = judge(desk, "learn", source="/photos", where="label = 'owl'", labels="l.csv")
    assert given.problems == {}


def test_systems_without_a_file_are_known_by_the_help(desk):
    assert judge(desk, "develop", source="a", method="plain").problems == {}
    assert judge(desk, "discover", source="a", method="kmeans").problems == {}


def test_a_folder_is_new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos-learn").mkdir()
    assert forms.fresh("photos-learn", ["photos-learn-2"]) == "photos-learn-3"
