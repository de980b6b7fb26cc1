"""A verb's form, drawn from its declaration and its system's settings, and judged before it runs.

Nothing a form says is opened here: not one file is looked for, so that nobody learns from an answer
what lies on this machine. Words become a run only when the user presses start.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fallow.declare import Declaration, Given, Option, Parameter, pairs, yaml_value
from fallow.methods import settings_of, slugs
from fallow.problems import Problem, SettingProblem, did_you_mean
from fallow.studio.desk import Desk

LONGEST = 4000  # letters of one value
SETTINGS = "settings."  # before the name of a field that is a system's setting


@dataclass
class Judged:
    """What a form says, as the verb wants it; and what is wrong, by field."""

    given: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def form(of: Declaration, desk: Desk, slug: str = "") -> dict[str, Any]:
    """What a page needs to draw a verb's form; `slug` is the system whose settings it shows."""
    known = slugs(of.systems) if of.systems else []
    shown = slug if slug in known else of.system_of({of.system: slug} if slug else {})
    kind, presets = _settings_of(of.systems, shown) if shown in known else (None, {})
    return {
        "schema": of.schema(),
        "example": of.example,
        "order": _order(of),
        "seldom": [p.name for p in of.parameters if _seldom(p)],
        "systems": known,
        "system": of.system if _named(of) else "",
        "shown": shown if shown in known else "",
        "settings": _described(kind) if kind is not None and _tellable(of) else [],
        "presets": sorted(presets),
        "open": source_of(of, desk),
    }


def _settings_of(room: str, slug: str) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Settings and presets; none of what only goes with other systems."""
    try:
        return settings_of(room, slug)
    except SettingProblem:
        return None, {}


def _order(of: Declaration) -> list[str]:
    """Fields: what is told by its place, what is needed, and the others as they are declared."""
    asked = [p for p in of.parameters if isinstance(p.option, Option)]
    return [p.name for p in sorted(asked, key=lambda p: (not _argument(p), not p.required))]


def _argument(one: Parameter) -> bool:
    return isinstance(one.option, Option) and one.option.argument


def _seldom(one: Parameter) -> bool:
    return isinstance(one.option, Option) and one.option.seldom and not one.required


def _help(one: Parameter) -> str:
    return one.option.help if isinstance(one.option, Option) else ""


def _named(of: Declaration) -> bool:
    """Whether a parameter says which system is meant."""
    return bool(of.systems) and of.system in (p.name for p in of.parameters)


def _tellable(of: Declaration) -> bool:
    return any(p.option is Given.SETTINGS for p in of.parameters)


def source_of(of: Declaration, desk: Desk) -> dict[str, str]:
    """The open collection, under the name the verb has for pictures to work on."""
    where = desk.images.source if desk.images is not None else ""
    for one in of.parameters:
        if one.name == "source" and isinstance(one.option, Option) and one.option.read is str:
            return {one.name: where} if where and one.option.argument else {}
    return {}


def _described(kind: Any) -> list[dict[str, Any]]:
    """Settings as fields: name, what it means, its default as YAML says it, its choices."""
    described = kind.model_json_schema().get("properties", {})
    found = []
    for name, one in kind.model_fields.items():
        schema = described.get(name, {})
        kinds = [schema, *schema.get("anyOf", [])]
        choices: list[Any] = next((k["enum"] for k in kinds if "enum" in k), [])
        if any(k.get("type") == "boolean" for k in kinds):
            choices = ["true", "false"]
        value = None if one.is_required() else one.get_default(call_default_factory=True)
        found.append({
            "name": name,
            "description": one.description or "",
            "default": "" if value is None else _plain(value),
            "choices": [str(choice) for choice in choices],
        })  # fmt: skip
    return found


def _plain(value: Any) -> str:
    return yaml_value(list(value) if isinstance(value, tuple | set) else value)


def judge(of: Declaration, said: Mapping[str, Any], desk: Desk) -> Judged:
    """Read a form: texts become what the verb wants, and every mistake gets its sentence."""
    found = Judged()
    known = {p.name: p for p in of.parameters if isinstance(p.option, Option)}
    for name, value in said.items():
        if name == "settings" or value in (None, "", [], {}):
            continue
        if name not in known:
            found.problems[name] = f"there is no option {name!r}: {did_you_mean(name, known)}"
            continue
        try:
            found.given[name] = _read(known[name], value)
        except Problem as problem:
            found.problems[name] = str(problem)
    for one in known.values():
        if one.required and one.name not in (*found.given, *found.problems):
            found.problems[one.name] = f"this is needed: {_help(one)}"
    told = said.get("settings") or {}
    if isinstance(told, dict):
        _judge_system(of, known, told, found)
    else:
        found.problems["settings"] = "settings are names with values"
    _judge_where(desk, source_of(of, desk), found)
    return found


def _read(one: Parameter, value: Any) -> Any:
    option = one.option
    assert isinstance(option, Option)
    if isinstance(value, list | dict) and (option.read is not list and option.read is not dict):
        raise SettingProblem("one value, please")
    texts = value if isinstance(value, list) else [value]
    for text in map(str, texts):
        if len(text) > LONGEST or any(ord(letter) < 32 for letter in text):
            raise SettingProblem(f"up to {LONGEST} letters on one line, please")
    if option.read is bool:
        if str(value).lower() not in ("true", "false"):
            raise SettingProblem(f"yes or no, not {value!r}")
        return str(value).lower() == "true"
    if option.read in (int, float):
        try:
            number = float(str(value).replace(",", ""))
            if not math.isfinite(number):
                raise ValueError
            if number.is_integer():
                return int(number)
            return option.read(str(number))
        except ValueError:
            kind = "a whole number" if option.read is int else "a number"
            raise SettingProblem(f"{value!r} is not {kind}") from None
    if option.read is list:
        return [str(text).strip() for text in texts if str(text).strip()]
    if option.read is dict:
        return pairs([str(text) for text in texts if str(text).strip()], one.name)
    text = str(value).strip()
    if option.choices and text not in option.choices:
        raise SettingProblem(f"{text!r} cannot be: {did_you_mean(text, option.choices)}")
    if option.executes and "{" in text:
        raise SettingProblem("a command of one's own is started from the shell, not from a page")
    return text


def _judge_system(
    of: Declaration, known: Mapping[str, Parameter], said: Mapping[str, Any], found: Judged
) -> None:
    """The system, its preset and its settings."""
    if not of.systems:
        return
    there, named = slugs(of.systems), of.system_of(found.given)
    # a few have no file of their own, such as plain: the help names them
    if (
        of.system in found.given
        and named not in there
        and named not in re.findall(r"\w+", _help(known[of.system]))
    ):
        hint = did_you_mean(named, there)
        found.problems[of.system] = f"there is no {of.system} {named!r}: {hint}"
        return
    if of.system in found.given and named in there and _settings_of(of.systems, named)[0] is None:
        found.problems[of.system] = f"{named} goes with the others and is none by itself"
        return
    told = _settings(said, found)
    budget: dict[str, Any] = {k: found.given[k] for k in ("minutes", "epochs") if k in found.given}
    preset = found.given.get("preset")
    if not (told or budget or preset):
        return
    # where the verb chooses, or has a system for each of its questions, one that agrees is enough
    asked = [named] if _named(of) and named else there
    wrong = [_wrong(of.systems, slug, preset, told, budget) for slug in asked if slug in there]
    if wrong and all(wrong):
        first = min(wrong, key=len)
        found.problems |= {k if k in known else SETTINGS + k: text for k, text in first.items()}
    if told:
        found.given["settings"] = told


def _settings(said: Mapping[str, Any], found: Judged) -> dict[str, Any]:
    """Settings as the shell would read them behind `--set`."""
    import yaml

    from fallow.files import plain_yaml

    told = {}
    for name, text in said.items():
        if str(text).strip():
            try:
                told[name] = plain_yaml(str(text)[:LONGEST])
            except yaml.YAMLError:
                found.problems[SETTINGS + name] = f"{text!r} cannot be read as a value"
    return told


def _wrong(
    room: str, slug: str, preset: str | None, told: Mapping[str, Any], budget: Mapping[str, Any]
) -> dict[str, str]:
    from fallow.train.method import setting_problems  # brings torch

    kind, presets = _settings_of(room, slug)
    if kind is None:
        return {"": f"{slug} has no settings"}
    if preset is not None and preset not in presets:
        hint = did_you_mean(preset, presets) if presets else "it has none"
        return {"preset": f"{slug} has no preset {preset!r}: {hint}"}
    asked = {name: value for name, value in budget.items() if name in kind.model_fields}
    before = presets[preset] if preset else {}
    return setting_problems(kind, {**before, **told, **asked})


def _judge_where(desk: Desk, own: Mapping[str, str], found: Judged) -> None:
    """A condition on the open collection can be tried on what is known of it."""
    text = found.given.get("where")
    if text is None or desk.images is None or not own:
        return
    if any(found.given.get(name) != value for name, value in own.items()):
        return  # other pictures have other columns
    if "labels" in found.given and re.search(r"\blabel", text):
        return  # the labels come with the run
    try:
        if not len(desk.images.where(text)):
            found.problems["where"] = "no picture is like this"
    except Problem as problem:
        found.problems["where"] = str(problem)


def fresh(name: str, taken: Sequence[str]) -> str:
    """A folder's name that nothing has yet, beside those of other runs.

    >>> fresh("no-such-folder", ["no-such-folder"])
    'no-such-folder-2'
    """
    numbered = (name if k == 1 else f"{name}-{k}" for k in range(1, 10_000))
    return next(n for n in numbered if n not in taken and not (Path(os.getcwd()) / n).exists())
