"""`papers`: the published systems behind the verbs, searched, kept up with, and added to."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa

from fallow import catalogue, declare
from fallow.catalogue import sentences, subscribers
from fallow.catalogue.digest import STUDIO, deliver
from fallow.catalogue.feed import atom
from fallow.catalogue.find import EVIDENCE
from fallow.files import atomic_write
from fallow.methods import find, slugs
from fallow.outcomes import Result, counted, writable
from fallow.problems import SettingProblem, did_you_mean

# families of self-supervised learning, and what a member aims at
FAMILIES = {
    "contrastive": "the other view of the image, against other images",
    "clustering": "the balanced code of the other view",
    "self-distillation": "what a slowly following teacher says, without negatives",
    "generative": "what was masked: pixels or features",
    "predictive": "the features of a part, from another part",
    "hybrid": "agreement of views and masked parts together",
    "supervised": "names that people gave: what the others are measured by",
}

COLUMNS = {
    "verb": pa.string(), "slug": pa.string(), "name": pa.string(), "title": pa.string(),
    "date": pa.string(), "authors": pa.int32(), "venue": pa.string(), "arxiv": pa.string(),
    "doi": pa.string(), "idea": pa.string(), "systems": pa.list_(pa.string()), "run": pa.string(),
    "built": pa.bool_(),
}  # fmt: skip


@declare.verb(example='fallow papers "scratches on products, no labels"')
def papers(
    query: Annotated[
        str, declare.Option("what you are looking for, or a paper's name", argument=True)
    ] = "",
    *,
    verb: Annotated[str, declare.Option("only papers behind this verb")] = "",
    evidence: Annotated[
        str, declare.Option("only those with such a verdict", choices=EVIDENCE)
    ] = "",
    year: Annotated[str, declare.Option("2023, 2021-2023 or 2021-")] = "",
    taxonomy: Annotated[
        bool, declare.Option("the methods of learn by what they predict", bool, seldom=True)
    ] = False,
    add: Annotated[
        declare.Address | None, declare.Option("cards of your own: a .bib or .json file", Path)
    ] = None,
    feed: Annotated[
        declare.Address | None, declare.Option("write them as an Atom feed", Path)
    ] = None,
    subscribe: Annotated[str, declare.Option("address that wants to hear of news")] = "",
    unsubscribe: Annotated[str, declare.Option("address that no longer does")] = "",
    digest: Annotated[
        str, declare.Option("write the news to this folder, or send by smtp://host:port")
    ] = "",
    sender: Annotated[
        str, declare.Option("who the mails are from", seldom=True)
    ] = "fallow@localhost",
    studio: Annotated[
        str, declare.Option("where a studio ends subscriptions", seldom=True)
    ] = STUDIO,
) -> Result:
    """Find the paper for a question, by words and by meaning, and see what was measured of it.

    Without a question all papers are listed. `add` keeps cards of your own. Whoever subscribes
    hears, by `digest`, of papers and measurements that came since; the list stays on this machine.

    >>> papers("find defects without labels").table.column("slug").to_pylist()[0]
    'musc'
    """
    if taxonomy:
        return families()
    if subscribe or unsubscribe:
        return subscription(subscribe, unsubscribe)
    if digest:
        return sent(digest, sender, studio)
    new = [] if add is None else catalogue.add(add)
    if verb and verb not in (known := sorted({one.verb for one in catalogue.cards()})):
        raise SettingProblem(f"there are no papers behind {verb!r}: {did_you_mean(verb, known)}")
    hits = catalogue.find(query, catalogue.Filter(verb, evidence, year))
    shown = [hit.card for hit in hits] if query or not new else new
    if feed is not None:
        return fed(Path(feed), shown)
    cards = [one.told() for one in shown]
    return Result(table_of(shown), headlines=lines_of(query, shown, new), findings={"cards": cards})


def lines_of(query: str, shown: list[catalogue.Card], new: list[catalogue.Card]) -> list[str]:
    """A line for each card, or all there is to say of one that was called by its name."""
    lines = [f"{counted(len(new), 'card')} kept"] * bool(new)
    named = [one for one in shown if query.strip().lower() in (one.slug, one.name.lower())]
    if named:
        return lines + sentences.whole(named[0])
    if not shown:
        return [*lines, "no paper answers that: ask with other words, or with fewer filters"]
    lines += [f"{one.verb:<9} {one.slug:<13} {one.date:<8} {one.title}" for one in shown]
    if not query:
        lines += [f"{name.replace('/', ' '):<23} without a card" for name in catalogue.uncarded()]
    return lines


def table_of(shown: list[catalogue.Card]) -> pa.Table:
    columns: dict[str, Any] = {
        name: pa.array([getattr(one, name) for one in shown], kind)
        for name, kind in COLUMNS.items()
    }
    return pa.table(columns | {"evidence": pa.array(map(sentences.figures, shown), pa.string())})


def fed(file: Path, shown: list[catalogue.Card]) -> Result:
    writable(file.parent)
    with atomic_write(file) as target:
        target.write(atom(among=shown))
    return Result(table_of(shown), headlines=[f"{counted(len(shown), 'paper')} in {file}"])


def subscription(wants: str, wants_no_more: str) -> Result:
    if wants:
        new = subscribers.subscribe(wants)
        line = f"{wants} will hear of news" if new else f"{wants} was told of news already"
    else:
        gone = subscribers.unsubscribe(wants_no_more)
        line = f"{wants_no_more} hears no more" if gone else f"{wants_no_more} was not subscribed"
    return Result(pa.table({"address": [wants or wants_no_more]}), headlines=[line])


def sent(to: str, sender: str, studio: str) -> Result:
    who = deliver(to, sender, studio)
    where = "sent" if "://" in to else f"written to {to}"
    line = f"{counted(len(who), 'digest')} {where}" if who else "nothing new for anybody"
    return Result(pa.table({"address": pa.array(who, pa.string())}), headlines=[line])


def families() -> Result:
    """The methods of `learn` by family, each with what it predicts from what.

    >>> table = families().table
    >>> [
    ...     name
    ...     for name, family in zip(*(table.column(k).to_pylist() for k in ("method", "family")))
    ...     if family == "clustering"
    ... ]
    ['msn', 'swav']
    """
    rows = [_row(slug, find("learn", slug)) for slug in slugs("learn")]
    order = list(FAMILIES)
    rows.sort(key=lambda row: (order.index(row["family"]), row["method"]))
    return Result(pa.Table.from_pylist(rows), headlines=_lines(rows), findings={"methods": rows})


def _row(slug: str, kind: Any) -> dict[str, Any]:
    return {
        "family": kind.family,
        "method": slug,
        "predicts": kind.predicts,
        "summary": (inspect.getdoc(kind) or "").splitlines()[0],
        "transformer_only": kind.needs_transformer,
    }


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for family, aim in FAMILIES.items():
        members = [row for row in rows if row["family"] == family]
        if members:
            lines.append(f"{family}: {aim}")
            lines += [f"  {row['method']:<11} {row['predicts']}" for row in members]
    return lines
