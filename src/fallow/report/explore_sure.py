"""How sure an exploration is, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fallow.report.page import Page, table

VAGUE = 0.25  # of images at borders from which groups are called vague
GAIN = 0.02  # in agreement that is worth more labels, or colours beside the encoder
MUCH = 0.1  # by which an encoder is ahead of plain colours if it sees things


def sure_section(page: Page, found: Mapping[str, Any]) -> None:
    """A few rows: what was said, how firm it is, what would help."""
    rows = lines(found.get("sure") or {}, (found.get("labels") or {}).get("interval"))
    page.section(
        "How sure is this",
        table(["finding", "how firm", "what would change it"], rows) if rows else None,
        intro="Counted by judging again with parts of what is there.",
        empty="There is too little here for a second opinion.",
    )


def lines(sure: Mapping[str, Any], interval: Any = None) -> list[tuple[str, str, str]]:
    """The section's rows.

    >>> lines({"borders": 0.4})[0][1]
    '40% of the images have mostly neighbours of other groups'
    """
    rows = []
    borders = sure.get("borders")
    if borders is not None:
        said = f"{borders:.0%} of the images have mostly neighbours of other groups"
        advice = "borders are vague: another number of groups would be as good"
        rows.append(("groups", said, advice if borders > VAGUE else "little: borders are clear"))
    if total := sure.get("grouped", 0):
        rows += _groups(total, sure["kept"], sure["coloured"], list(sure["numbers"]))
    firm, listed = sure.get("strangers") or (0, 0)
    if listed:
        said = f"{firm:,} of {listed:,} stand apart without colours and with colours alike"
        left = listed - firm
        advice = f"{left:,} hang on colours and textures alone, or on none" if left else "little"
        rows.append(("images that stand apart", said, advice))
    held, listed = sure.get("doubts") or (0, 0)
    if listed:
        said = f"{held:,} of {listed:,} are listed with either half of the labels alone, too"
        close = sure.get("close", 0)
        more = f"{close:,} more are nearly as doubtful" if close else "no other label comes near"
        rows.append(("wrong labels", said, more))
    curve: list[float] = list(sure.get("curve") or [])
    if len(curve) == 3 and sure.get("seen"):
        said = (
            "images confirm {:.0%} with a quarter of the labels, {:.0%} with half, {:.0%} with all"
        )
        doubled = sure["doubled"]
        worth = doubled - curve[-1] >= GAIN
        advice = f"twice the labels would bring about {doubled:.0%}"
        advice += "" if worth else ": hardly worth it"
        rows.append(("what labels teach", said.format(*curve), advice))
    seen = sure.get("seen") or {}
    if seen:
        said = (
            f"{seen['encoder']:.0%} of the labels follow from the encoder, "
            f"{seen['statistics']:.0%} from plain colours and textures, "
            f"{seen['both']:.0%} from both"
        )
        missed = seen["both"] - seen["encoder"] >= GAIN
        close = seen["encoder"] - seen["statistics"] < MUCH
        advice = "the encoder adds much; one trained on such pictures may add more"
        if missed:
            advice = (
                "the encoder misses what plain colours tell: a better one would change the lists"
            )
        elif close:
            advice = (
                "the encoder sees little more than colours: a better one would change the lists"
            )
        rows.append(("how images are seen", said, advice))
    return rows


def _groups(
    total: int, kept: int, coloured: int, numbers: list[float]
) -> list[tuple[str, str, str]]:
    """What becomes of groups with fewer images, and with nothing but colours.

    >>> [row[2] for row in _groups(9, 7, 3, [4.0, 6.5, 9.0])]  # doctest: +NORMALIZE_WHITESPACE
    ['a quarter of the images forms 4 groups, half 6.5, all 9: more would show more groups',
     'the other 6 hang on the encoder: another one would draw them otherwise']
    """
    more = "there are too few images to say whether more would show more groups"
    if numbers:
        more = "a quarter of the images forms {:g} groups, half {:g}, all {:g}: ".format(*numbers)
        grows = sorted(numbers) == numbers and numbers[-1] >= numbers[-2] + 1
        more += "more would show more groups" if grows else "more would change little"
    others = f"the other {total - coloured} hang on the encoder"
    if not coloured:
        others = "all hang on the encoder"
    others += ": another one would draw them otherwise"
    if coloured == total:
        others = "little: any encoder that sees colours draws them so"
    return [
        (
            "groups of fewer images",
            f"{kept} of {total} form again when half of the images are grouped alone",
            more,
        ),
        (
            "groups by colours",
            f"{coloured} of {total} form again from colours and textures",
            others,
        ),
    ]
