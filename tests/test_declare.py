"""A declaration says a call three ways, and all three mean the same."""

from __future__ import annotations

import pytest

from fallow import cli, verbs
from fallow.declare import Given, Option, yaml_value
from fallow.files import plain_yaml

VALUES = {str: "a b=c", int: 7, float: 0.25, list: ["one", "two words"], dict: {"new 1": "oak"}}


def everything(of):
    """A call that says something of every parameter a form has."""
    given = {}
    for one in of.parameters:
        if one.option is Given.SETTINGS:
            given["settings"] = {"batch": 8, "name": "on", "rate": 1e-5, "sides": [1, 2]}
        elif isinstance(one.option, Option):
            read = one.option.read
            value = one.default is False or one.default is None if read is bool else None
            given[one.name] = value if read is bool else VALUES.get(read, "-a/path")
            if one.option.choices:
                given[one.name] = one.option.choices[-1]
    return given


@pytest.mark.parametrize("name", verbs.names())
def test_words_are_read_by_the_shell_as_they_were_meant(name):
    of = verbs.declaration(name)
    given = everything(of)
    words = of.words(given)
    said = cli.command(of, words).make_context(name, list(words)).params
    for key, value in given.items():
        if key == "settings":
            assert cli._values(said["set_"]) == value
        elif isinstance(value, dict):
            assert said[key] == [f"{k}={v}" for k, v in value.items()]
        else:
            assert (said[key] if isinstance(value, list) else type(value)(said[key])) == value


@pytest.mark.parametrize("name", verbs.names())
def test_a_call_in_python_is_one_that_can_be_made(name):
    of, seen = verbs.declaration(name), {}
    given = everything(of)

    def called(*places, **named):
        import inspect

        seen.update(inspect.signature(of.function).bind(*places, **named).arguments)

    text = of.call(given)
    eval(text, {"fallow": type("fallow", (), {name: staticmethod(called)})})
    assert seen == {k: v for k, v in given.items() if k in seen}
    left = {p.name: p.default for p in of.parameters if p.name in given.keys() - seen.keys()}
    assert {key: given[key] for key in left} == left


def test_what_is_as_it_is_anyway_goes_without_saying():
    of = verbs.declaration("learn")
    assert of.words({"source": "photos/", "seed": 0, "where": None}) == ["photos/"]
    assert of.call({"source": "photos/", "seed": 0, "settings": {}}) == "fallow.learn('photos/')"


def test_a_folder_is_named_after_what_was_asked():
    assert verbs.declaration("learn").folder({"source": "in/photos"}) == "photos-learn"
    assert verbs.declaration("align").folder({"source": "photos"}) == "photos-clip"
    assert verbs.declaration("learn").folder({"source": "a", "method": "swav"}) == "a-swav"
    assert verbs.declaration("embed").folder({"source": "photos"}) is None


def test_what_looks_like_an_option_is_none():
    of = verbs.declaration("learn")
    assert of.words({"source": "-p", "where": "-1 < x"}) == ["--where=-1 < x", "--", "-p"]


def test_a_yes_can_be_said_no_to():
    of = verbs.declaration("grade")
    assert of.words({"enhancer": "gamma", "source": "p", "floors": False})[2:] == ["--no-floors"]
    assert of.words({"enhancer": "gamma", "source": "p", "floors": True}) == ["gamma", "p"]


@pytest.mark.parametrize("value", ["on", "null", "", 1e-5, [0.5, None], {"a": ["b: c"]}, "ä"])
def test_a_setting_is_read_back_as_it_was(value):
    assert plain_yaml(yaml_value(value)) == value
