"""What pictures are judged by: each other, known-good ones, those a run kept, or references."""

from __future__ import annotations

from typing import NamedTuple

from fallow.images import Images
from fallow.methods.shared.crowd import Crowd
from fallow.methods.shared.kinds import kinds, within
from fallow.methods.shared.oddness import Bank, Found, Judge, Ordinary, Tell
from fallow.methods.shared.paired import Paired
from fallow.outcomes.doubts import groups_said, met_references
from fallow.outcomes.sentences import counted


class Compared(NamedTuple):
    """What was found, by comparison with what."""

    found: Found
    mode: str
    others: str  # what they were compared with, in words
    ends: Ordinary | None = None  # where the ordinary ends, if that is known
    bank: Bank | None = None  # by which later ones can be judged
    notes: tuple[str, ...] = ()


def among_each_other(judge: Judge, images: Images, seed: int, tell: Tell) -> Compared:
    """Pictures that judge each other; where there are clear groups, each within its own."""
    found, bank = judge.among(images, seed, tell)
    others = f"each other ({len(found.rows):,} images)"
    member = kinds(found.vectors, seed) if isinstance(judge, Crowd) else None
    if member is None or not isinstance(judge, Crowd):
        return Compared(found, "mutual", others, bank=bank)
    found = within(judge, images, found, member, seed, tell)
    return Compared(found, "mutual", others, notes=(groups_said(member),))


def against_good(judge: Judge, images: Images, good: Images, seed: int, tell: Tell) -> Compared:
    """Pictures judged by known-good ones."""
    bank, ends = judge.good(good, seed, tell)
    others = f"{counted(len(good), 'good image')} in {good.name}"
    return Compared(judge.against(images, bank, tell), "good", others, ends, bank)


def against_kept(
    judge: Judge, images: Images, bank: Bank, ends: Ordinary, name: str, tell: Tell
) -> Compared:
    """Pictures judged by those that a run kept."""
    others = f"the images kept in {name}"
    return Compared(judge.against(images, bank, tell), "against", others, ends)


def beside_references(judge: Judge, images: Images, references: Images, tell: Tell) -> Compared:
    """Pictures judged by a reference each."""
    paired = Paired(judge.encoder, judge.how, judge.settings)
    found, met = paired.beside(images, references, tell)
    others = f"{'its own' if met.by_name else 'the most similar'} reference in {references.name}"
    return Compared(found, "reference", others, notes=tuple(met_references(met)))
