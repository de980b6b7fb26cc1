"""Declarations as shell commands; one sentence and exit code 2 for what a user can put right."""

from __future__ import annotations

import errno
import inspect
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from fallow import verbs
from fallow.declare import Declaration, Given, Option, Parameter, pairs
from fallow.files import plain_yaml
from fallow.problems import Problem, SettingProblem, did_you_mean, out_of_memory

# typer carries its own click in some versions and uses the installed one in others
UsageError: Any = typer.BadParameter.__mro__[1]
FILE, SINGLE = "settings", "set_"  # the two options that `settings` is in the shell


class Verbs(TyperGroup):
    """The commands; a verb's module is imported when it is called, not to list it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(verbs.names())

    def get_command(self, ctx: Any, name: str) -> Any:
        return TyperCommand(name, help=verbs.summary(name)) if name in verbs.names() else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in verbs.names():
            return args[0], command(verbs.declaration(args[0]), args[1:]), args[1:]
        if args and not args[0].startswith("-"):
            hint = did_you_mean(args[0], verbs.names())
            raise SettingProblem(f"there is no verb {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)


def command(of: Declaration, words: Sequence[str] = ()) -> Any:
    """The shell's command of a declaration; its help shows the settings of the system in `words`.

    >>> command(verbs.declaration("embed")).name
    'embed'
    """

    class Verb(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            super().format_help(ctx, formatter)
            formatter.write(_more(of, words))

    def run(**said: Any) -> None:
        _call(of, said)

    asked = [each for one in of.parameters for each in _options(one)]
    run.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in asked}
    run.__doc__ = of.text
    one = typer.Typer(add_completion=False, rich_markup_mode=None)
    one.command(of.name, cls=Verb)(run)
    return typer.main.get_command(one)


def _options(one: Parameter) -> list[inspect.Parameter]:
    """A parameter as the shell asks for it: none, one, or two for settings."""
    if one.option is Given.SETTINGS:
        return [
            _option(FILE, Path | None, typer.Option(None, help="YAML file of settings")),
            _option(SINGLE, list[str] | None, typer.Option(None, "--set", help="name=value")),
        ]
    if not isinstance(one.option, Option):
        return []
    read, many = one.option.read, one.option.read in (list, dict)
    kind: Any = list[str] if many else read
    default: Any = ... if one.required else one.default
    if default is None or (many and not one.required):
        kind, default = kind | None, None
    make = typer.Argument if one.option.argument else typer.Option
    names = []
    if not one.option.argument:
        names = [f"{one.flag}/--no{one.flag[1:]}" if one.refusable else one.flag]
    choices = list(one.option.choices)
    complete = (lambda: choices) if choices else None
    text = f"{one.option.help} ({', '.join(choices)})" if choices else one.option.help
    return [_option(one.name, kind, make(default, *names, help=text, autocompletion=complete))]


def _option(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _call(of: Declaration, said: dict[str, Any]) -> None:
    """Call the verb with what the shell said, and tell what came out."""
    given: dict[str, Any] = {}
    for one in of.parameters:
        if one.option is Given.TELL:
            given[one.name] = typer.echo
        elif one.option is Given.BAR:
            given[one.name] = sys.stderr.isatty()
        elif one.option is Given.SETTINGS:
            given[one.name] = {**_yaml(said[FILE]), **_values(said[SINGLE] or [])}
        else:
            given[one.name] = said[one.name]
            if isinstance(one.option, Option) and one.option.read is dict and said[one.name]:
                given[one.name] = pairs(said[one.name], one.name)
    if "out" in given and given["out"] is None and (folder := of.folder(given)):
        given["out"] = Path(folder)
    result = of.function(**given)
    for line in result.lines():
        typer.echo(line)


def _more(of: Declaration, words: Sequence[str]) -> str:
    """What follows the options in a verb's help: an example, and a system's settings."""
    text = f"\nExample:\n  {of.example}\n"
    flag = f"--{of.system}"
    said = [after for word, after in pairwise(words) if word == flag]
    said += [word.removeprefix(f"{flag}=") for word in words if word.startswith(f"{flag}=")]
    slug = of.system_of({of.system: said[-1]} if said else {})
    if not of.systems:
        return text
    if not slug:
        return f"{text}\nSettings of a method: fallow {of.name} {flag} NAME --help\n"
    from fallow.methods import settings_of

    kind, presets = settings_of(of.systems, slug)
    lines = [f"\nSettings of {slug} (--set name=value):"]
    for name, field in kind.model_fields.items():
        value = field.get_default(call_default_factory=True)
        default = "" if field.is_required() else f" [{value}]"
        lines.append(f"  {name}{default}  {field.description or ''}".rstrip())
    if presets:
        lines.append(f"Presets: {', '.join(presets)}")
    return text + "\n".join(lines) + "\n"


def _yaml(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        found = plain_yaml(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SettingProblem(f"cannot read settings from {path}: {error}") from None
    if not isinstance(found, dict):
        raise SettingProblem(f"{path} must hold lines like  batch: 128")
    return found


def _values(words: list[str]) -> dict[str, Any]:
    import yaml

    def read(name: str, value: str) -> Any:
        try:
            return plain_yaml(value)
        except yaml.YAMLError:
            raise SettingProblem(f"cannot read the value in --set {name}={value!r}") from None

    return {name: read(name, value) for name, value in pairs(words, "set").items()}


SPARE = 4 * 2**20  # bytes that are given up when memory runs out, so that this can be said

app = typer.Typer(name="fallow", cls=Verbs, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _about() -> None:
    """Put unlabelled images to work."""


def main() -> None:
    """Run the command line."""
    spare = bytearray(SPARE)
    code, said = 2, ""
    try:
        code = typer.main.get_command(app).main(prog_name="fallow", standalone_mode=False)
    except (Problem, UsageError) as error:
        said = error.format_message() if isinstance(error, UsageError) else str(error)
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" of {error.filename}" if error.filename else ""
        said = f"the disk{where} is full: free some space, and run it again"
    except Exception as error:
        if not out_of_memory(error):
            raise
        spare.clear()
        said = (
            "memory does not suffice for this: end other programs, or choose a smaller encoder, "
            "size or batch; what was written before is whole"
        )
    if said:  # what failed is let go of by now
        typer.echo(f"fallow: {said}", err=True)
    sys.exit(code or 0)
