"""A verb is declared once: its signature is the Python call, the shell command and a form."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, wraps
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from fallow.files import owned
from fallow.problems import SettingProblem, did_you_mean


@dataclass(frozen=True)
class Option:
    """What a parameter means to those who do not write Python."""

    help: str
    read: Any = str  # what a shell or a form gives: str, Path, int, float, bool, list, dict
    argument: bool = False  # told by its place, not by its name
    required: bool = False  # outside Python, where a value may go without a name of a file
    choices: tuple[str, ...] = ()
    executes: bool = False  # a command may stand here: only a shell may say one
    seldom: bool = False  # few people need it: a form folds it away


class Given(Enum):
    """Parameters nobody is asked for: the face that calls the verb has them."""

    TELL = "one line on what is going on"
    BAR = "whether somebody watches a progress bar"
    SETTINGS = "settings of the system: a file of them, single ones over it"


def silent(line: str) -> None:
    """What `tell` is when nobody listens."""


Address = str | PathLike[str]
Source = Annotated[Any, Option("folder, archive, manifest or address of images", argument=True)]
Labels = Annotated[Any, Option("CSV with the columns path and label", Path)]
Where = Annotated[str | None, Option("only these, e.g. \"split = 'train'\"", seldom=True)]
EncoderName = Annotated[Any, Option("tiny, resnet18, vit-tiny/4, hf:NAME or a run")]
Minutes = Annotated[float | None, Option("wall-clock budget", float)]
Epochs = Annotated[float | None, Option("passes over the images", float)]
Out = Annotated[Address | None, Option("folder for the report and all that was found", Path)]
Preset = Annotated[str | None, Option("paper: the authors' settings", seldom=True)]
Settings = Annotated[Mapping[str, Any] | None, Given.SETTINGS]
Seed = Annotated[int, Option("same seed, same result", int, seldom=True)]
Engine = Annotated[
    str, Option("this machine alone, or Ray's workers", choices=("here", "ray"), seldom=True)
]
Workers = Annotated[
    int | None, Option("of engine ray at once; all there are if left out", int, seldom=True)
]
Sharded = Annotated[
    bool, Option("ranks of torchrun hold a share of the weights each", bool, seldom=True)
]
Tell = Annotated[Callable[[str], None], Given.TELL]
Bar = Annotated[bool, Given.BAR]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a verb, with its place in all three faces."""

    name: str
    option: Option | Given
    default: Any

    @property
    def required(self) -> bool:
        if self.default is inspect.Parameter.empty:
            return True
        return isinstance(self.option, Option) and self.option.required

    @property
    def flag(self) -> str:
        """How a shell calls it."""
        # what is a word of Python's own ends with a line there, such as for_
        return f"--{self.name.rstrip('_').replace('_', '-')}"

    @property
    def refusable(self) -> bool:
        """Whether a shell can also say no to it: `--no-flag`."""
        return (
            isinstance(self.option, Option)
            and self.option.read is bool
            and self.default is not False
        )


@dataclass(frozen=True)
class Declaration:
    """What a verb is, read from its signature and its docstring."""

    function: Callable[..., Any]
    example: str  # a line for the shell
    out: str | Callable[[str, Mapping[str, Any]], str | None]  # the shell's folder; {name}: source
    systems: str  # the room of its systems in `methods`, if it has any
    system: str  # the parameter that names one, or the one there is

    @property
    def name(self) -> str:
        return self.function.__name__

    @cached_property
    def writes_a_folder(self) -> bool:
        """Whether `out` is a folder that is filled file by file."""
        return any(one.name == "out" and one.option == get_args(Out)[1] for one in self.parameters)

    @property
    def text(self) -> str:
        """The docstring without its examples."""
        return inspect.cleandoc(self.function.__doc__ or "").split(">>>")[0].strip()

    @cached_property
    def parameters(self) -> list[Parameter]:
        space = vars(sys.modules[self.function.__module__])
        found = []
        for name, one in inspect.signature(self.function).parameters.items():
            hint = one.annotation
            if isinstance(hint, str):
                hint = eval(hint, dict(space))  # nosec B307
            marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
            mark = next((m for m in marks if isinstance(m, Option | Given)), None)
            if mark is not None:
                found.append(Parameter(name, mark, one.default))
        return found

    def system_of(self, given: Mapping[str, Any]) -> str:
        """The system a call asks for; empty where the verb chooses one itself."""
        if not self.systems or self.system not in (p.name for p in self.parameters):
            return self.system
        default = next(p.default for p in self.parameters if p.name == self.system)
        return given.get(self.system) or default or ""

    def folder(self, given: Mapping[str, Any]) -> str | None:
        """Where the shell writes when nobody says where."""
        first = next((p.name for p in self.parameters if isinstance(p.option, Option)), "")
        name = stem(str(given.get(first, "")))
        said = {p.name: p.default for p in self.parameters if not p.required} | dict(given)
        if callable(self.out):
            return self.out(name, said)
        words = {key: self.name if value is None else value for key, value in said.items()}
        return self.out.format(**{**words, "name": name}) or None

    def words(self, given: Mapping[str, Any]) -> list[str]:
        """What a shell says after the verb to mean this call; defaults go without saying."""
        said: list[str] = []
        places: list[str] = []
        for one in self.parameters:
            value = given.get(one.name)
            if value is None:
                continue
            if one.option is Given.SETTINGS:
                said += [w for k, v in value.items() for w in ("--set", f"{k}={yaml_value(v)}")]
            elif isinstance(one.option, Option) and one.option.argument:
                places += map(str, value if one.option.read is list else [value])
            elif isinstance(one.option, Option) and value != one.default:
                said += _said(one, one.option, value)
        if any(word.startswith("-") for word in places):
            return [*said, "--", *places]
        return [*places, *said]

    def call(self, given: Mapping[str, Any]) -> str:
        """The same call in Python."""
        said = []
        for one in self.parameters:
            value = given.get(one.name)
            if value is None or (isinstance(one.option, Given) and not value):
                continue
            if isinstance(one.option, Option) and one.option.argument:
                said.append(repr(value))
            elif value != one.default:
                said.append(f"{one.name}={value!r}")
        return f"fallow.{self.name}({', '.join(said)})"

    def schema(self) -> dict[str, Any]:
        """The form, as a JSON schema; Python-only parameters are not in it."""
        fields = {}
        for one in self.parameters:
            if isinstance(one.option, Option):
                fields[one.name] = _field(one.option, one.default)
        return {
            "title": self.name,
            "description": self.text,
            "type": "object",
            "properties": fields,
            "required": [p.name for p in self.parameters if p.required],
        }


def _said(one: Parameter, option: Option, value: Any) -> list[str]:
    """One option as words."""
    if option.read is bool:
        return [one.flag if value else f"--no{one.flag[1:]}"]
    if option.read is list:
        values = [str(each) for each in value]
    elif option.read is dict:
        values = [f"{key}={each}" for key, each in value.items()]
    else:
        values = [str(value)]
    # a value that looks like an option is tied to its own
    return [
        w for v in values for w in ([f"{one.flag}={v}"] if v.startswith("-") else [one.flag, v])
    ]


def yaml_value(value: Any) -> str:
    """A setting's value in one line, as `--set` reads it.

    >>> yaml_value([1, 0.5]), yaml_value("on"), yaml_value(1e-5)
    ('[1, 0.5]', "'on'", '1.0e-05')
    """
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return text.removesuffix("...\n").strip()


FILES = (".csv", ".parquet", ".npy")  # endings of an `out` that is one file
_TYPES = {int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


def _field(option: Option, default: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _TYPES.get(option.read, "string"), "description": option.help}
    if option.choices:
        found["enum"] = list(option.choices)
    if isinstance(default, str | int | float | bool):
        found["default"] = default
    return found


Function = TypeVar("Function", bound=Callable[..., Any])


def verb(
    *,
    example: str,
    out: str | Callable[[str, Mapping[str, Any]], str | None] = "",
    systems: str = "",
    system: str = "",
) -> Callable[[Function], Function]:
    """Declare a function as a verb; while it writes to a folder, no other process may.

    >>> @verb(example="fallow greet photos/")
    ... def greet(source: Source, seed: Seed = 0) -> str:
    ...     "Say how many there are."
    ...     return f"hello {source}"
    >>> greet("x"), declared(greet).schema()["properties"]["seed"]["type"]
    ('hello x', 'integer')
    """

    def mark(function: Function) -> Function:
        @wraps(function)
        def alone(*given: Any, **named: Any) -> Any:
            folder = named.get("out") if of.writes_a_folder else None
            if str(folder).endswith(FILES):  # discover writes labels it was told to accept
                folder = None
            first = os.environ.get("RANK", "0") == "0"  # the other ranks write nothing
            with owned(folder) if folder is not None and first else nullcontext():
                return function(*given, **named)

        of = Declaration(alone, example, out, systems, system)
        alone.declaration = of  # type: ignore[attr-defined]
        return cast(Function, alone)

    return mark


def declared(function: Callable[..., Any]) -> Declaration:
    """The declaration of a verb."""
    return function.declaration  # type: ignore[attr-defined, no-any-return]


def parts_below(out: Any, engine: str, workers: int | None) -> Path | None:
    """Where workers keep their parts until the result is written; None for this machine alone.

    >>> parts_below("found", "ray", 4).as_posix()
    'found/parts'
    """
    if engine != "ray":
        without_workers(engine, workers)
        return None
    if out is None:
        raise SettingProblem("engine ray keeps its parts in the folder out=: name one")
    return Path(out) / "parts"


def without_workers(engine: str, workers: int | None) -> None:
    """Refuse an engine that is none, and workers where there is one machine.

    >>> without_workers("here", 4)
    Traceback (most recent call last):
    ...
    fallow.problems.SettingProblem: workers=4 needs engine ray
    """
    if engine != "here":
        raise SettingProblem(
            f"there is no engine {engine}: {did_you_mean(engine, ['here', 'ray'])}"
        )
    if workers is not None:
        raise SettingProblem(f"workers={workers} needs engine ray")


def stem(source: str) -> str:
    """A name for what comes from a source.

    >>> stem("photos/"), stem("s3://pool/birds.tar.gz"), stem(".")
    ('photos', 'birds', 'images')
    """
    return Path(source.rstrip("/\\")).name.split(".")[0] or "images"


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """`name=value` words as a mapping.

    >>> pairs(["new 1=oak"], "accept")
    {'new 1': 'oak'}
    """
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise SettingProblem(f"--{option} wants name=value, not {word!r}")
        found[name.strip()] = value.strip()
    return found
