"""Claims as a picture: a difference and its interval each, beside zero, as SVG for both schemes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

Entry = dict[str, Any]
WIDTH, LEFT, RIGHT, ROW = 720, 300, 84, 26
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24231f}.quiet{fill:#66635a}.head{font-weight:600}"
    ".zero{stroke:#b9b4a6}.shown{stroke:#47693a;fill:#47693a}.tie{stroke:#77736a;fill:#77736a}"
    ".contradicted{stroke:#9a4b12;fill:#9a4b12}@media(prefers-color-scheme:dark){"
    "text{fill:#e9e6dd}.quiet{fill:#a29e92}.zero{stroke:#4a473f}.shown{stroke:#a9c78b;fill:#a9c78b}"
    ".tie{stroke:#a29e92;fill:#a29e92}.contradicted{stroke:#e8ad76;fill:#e8ad76}}"
)


def forest(groups: Sequence[tuple[str, Sequence[tuple[str, Entry]]]], title: str) -> str:
    """Groups of named claims under their headings; what reaches beyond the scale gets an arrow.

    >>> one = {"mean_difference": 0.1, "interval_90": [0.0, 0.2], "verdict": "shown"}
    >>> forest([("head", [("a < b", one)])], "t").count("a &lt; b")
    1
    """
    bounds = sorted(abs(x) for _, rows in groups for _, one in rows for x in one["interval_90"])
    most = max(bounds[round(0.95 * (len(bounds) - 1))], 1e-9)
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    half = (WIDTH - LEFT - RIGHT) / 2 - 8
    parts, y = [], 26
    parts.append(f'<text x="{middle - 8}" y="16" text-anchor="end" class="quiet">← does not</text>')
    parts.append(f'<text x="{middle + 8}" y="16" class="quiet">holds →</text>')
    for head, rows in groups:
        y += ROW
        parts.append(f'<text x="0" y="{y}" class="head">{escape(head)}</text>')
        for name, one in rows:
            y += ROW - 4
            parts += _row(name, one, y, middle, half, most)
        y += 8
    line = f'<line class="zero" x1="{middle}" x2="{middle}" y1="24" y2="{y}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 6}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>{line}{''.join(parts)}</svg>\n"
    )


def _row(name: str, one: Entry, y: int, middle: float, half: float, most: float) -> list[str]:
    def place(value: float) -> float:
        return round(middle + half * max(-1.0, min(1.0, value / most)), 1)

    low, high = one["interval_90"]
    x1, x2, at = place(low), place(high), place(one["mean_difference"])
    kind, up = one["verdict"], y - 4
    return [
        f'<text x="{LEFT - 14}" y="{y}" text-anchor="end">{escape(name)}</text>',
        f'<line class="{kind}" stroke-width="2" x1="{x1}" x2="{max(x2, x1 + 1)}" '
        f'y1="{up}" y2="{up}"/>',
        f'<circle class="{kind}" cx="{at}" cy="{up}" r="4"/>',
        *(
            f'<path class="{kind}" d="M{x} {up - 4}l{4 * s} 4l{-4 * s} 4z"/>'
            for value, x, s in ((low, x1, -1), (high, x2, 1))
            if abs(value) > most
        ),
        f'<text x="{WIDTH}" y="{y}" text-anchor="end" class="quiet">'
        f"{one['mean_difference']:+.3f}</text>",
    ]
