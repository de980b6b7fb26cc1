"""What is said of a card, the same in the shell, the feed and the digest."""

from __future__ import annotations

from datetime import date

from fallow.catalogue.cards import Card, claims_of


def figures(one: Card) -> str:
    """What was measured, in a few words.

    >>> from fallow.catalogue import card
    >>> figures(card("faces").model_copy(update={"claims": ("never asked",)}))
    'Not measured here yet.'
    """
    held = one.evidence
    if one.mine:
        return "A card of your own."
    if not held:
        return "Not measured here yet." if one.built else "Not built yet."
    many = {"tie": "ties"}
    told = ", ".join(
        f"{count} {many.get(verdict, verdict) if count > 1 else verdict}"
        for verdict, count in held.items()
    )
    return f"Measured here: {told}."


def when(one: Card) -> str:
    """
    >>> from fallow.catalogue import card
    >>> when(card("swav")), when(card("advclip"))
    ('June 2020', '2023')
    """
    if "-" not in one.date:
        return one.date
    year, month = map(int, one.date.split("-"))
    return f"{date(year, month, 1):%B} {year}"


def origin(one: Card) -> str:
    """When, where and by how many.

    >>> from fallow.catalogue import card
    >>> origin(card("musc"))
    'January 2024, ICLR 2024, 4 authors, arXiv 2401.16753'
    """
    by = "" if one.authors is None else f"{one.authors} author{'s' * (one.authors != 1)}"
    number = f"arXiv {one.arxiv}" if one.arxiv else one.doi and f"doi {one.doi}"
    return ", ".join(part for part in (when(one), one.venue, by, number) if part)


def whole(one: Card) -> list[str]:
    """Everything on one card, line by line.

    >>> from fallow.catalogue import card
    >>> whole(card("musc"))[4]
    'systems: spot/musc'
    """
    lines = [one.title, origin(one), "", one.idea]
    if one.systems:
        lines += [f"systems: {', '.join(one.systems)}" + " (not built yet)" * (not one.built)]
    lines += [f"run: {one.run}"] * bool(one.run) + [f"paper: {one.link}"] * bool(one.link)
    lines += ["", figures(one)]
    for claim in claims_of(one):
        low, high = claim["interval"]
        lines.append(
            f"  {claim['verdict']:<12} {claim['difference']:+.3f} ({low:+.3f} to {high:+.3f})  "
            f"{claim['claim']}"
        )
    return lines
