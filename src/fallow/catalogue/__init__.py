"""The published systems as cards: what each is for, what was measured of it, and finding one."""

from fallow.catalogue.cards import VERDICTS, Card, add, card, cards, claims_of, uncarded
from fallow.catalogue.find import Filter, Hit, find

__all__ = [
    "VERDICTS",
    "Card",
    "Filter",
    "Hit",
    "add",
    "card",
    "cards",
    "claims_of",
    "find",
    "uncarded",
]
