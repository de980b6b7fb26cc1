"""The settings reference: every verb with its options, as its declaration says them."""

from __future__ import annotations

from collections.abc import Callable

from fallow import verbs
from fallow.declare import Declaration, Option
from fallow.methods import slugs

Grid = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]


def reference(note: str, grid: Grid, pages: dict[str, str]) -> str:
    """One chapter for each verb; `pages` are the systems' own, by verb/slug."""
    parts = [
        note + "# Settings",
        "Every verb is the same word in Python and in the shell. What a system can be told "
        "besides stands on its own page; in the shell it is said with `--set name=value` or "
        "a YAML file behind `--settings`.",
    ]
    for name in verbs.names():
        parts += chapter(verbs.declaration(name), grid, pages)
    return "\n\n".join(parts) + "\n"


def chapter(of: Declaration, grid: Grid, pages: dict[str, str]) -> list[str]:
    rows = []
    for one in of.parameters:
        if isinstance(one.option, Option):
            flag = (
                one.name if one.option.argument else f"--{one.name.rstrip('_').replace('_', '-')}"
            )
            choices = f" ({', '.join(one.option.choices)})" if one.option.choices else ""
            default = "needed" if one.required else _default(one.default)
            rows.append((f"`{flag}`", default, one.option.help + choices))
    parts = [f"## {of.name}", of.text, f"```\n{of.example}\n```"]
    parts.append(grid(("option", "otherwise", "what it says"), rows))
    systems = [pages[key] for slug in (slugs(of.systems) if of.systems else [])
               if (key := f"{of.systems}/{slug}") in pages]  # fmt: skip
    if systems:
        parts.append("Systems: " + ", ".join(systems) + ".")
    return parts


def _default(value: object) -> str:
    if value is None or value in ("", ()):
        return "-"
    return f"`{value}`"
