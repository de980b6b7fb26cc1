"""Who wants to hear of news, what each has heard of, and signed links to stop it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fallow.catalogue.cards import Card, cards
from fallow.catalogue.own import place
from fallow.files import data_dir, fingerprint, locked, write_json
from fallow.problems import SettingProblem, SourceProblem

MOST = 10_000
Found = TypeVar("Found")


@dataclass
class Subscriber:
    """An address and the state of every card it has heard of."""

    address: str
    heard: dict[str, str]


def addressed(text: str) -> str:
    """An address one can write to; what could smuggle headers into a mail is none.

    >>> addressed(" Jane@Example.org ")
    'Jane@example.org'
    """
    said = text.strip()
    fine = re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)*"
                        r"[A-Za-z0-9-]{1,63}", said)  # fmt: skip
    if not fine or len(said) > 254 or ".." in said:
        raise SettingProblem(f"{text[:60]!r} is no mail address: write it like jane@example.org")
    name, _, host = said.rpartition("@")
    return f"{name}@{host.lower()}"


def subscribe(text: str) -> bool:
    """Tell this address of news from now on; whether it is new here."""
    address = addressed(text)

    def change(held: list[Subscriber]) -> bool:
        if any(one.address == address for one in held):
            return False
        if len(held) >= MOST:
            raise SettingProblem(f"there are {MOST:,} subscribers: that is as many as fit here")
        held.append(Subscriber(address, states()))
        return True

    return _changed(change)


def unsubscribe(text: str) -> bool:
    """Tell it no more; whether it was told."""
    address = addressed(text)

    def change(held: list[Subscriber]) -> bool:
        kept = [one for one in held if one.address != address]
        there, held[:] = len(kept) < len(held), kept
        return there

    return _changed(change)


def subscribers() -> list[Subscriber]:
    return _read(data_dir() / "papers" / "subscribers.json")


def told(address: str, heard: dict[str, str]) -> None:
    """It has heard of everything in this state now."""

    def change(held: list[Subscriber]) -> None:
        for one in held:
            if one.address == address:
                one.heard = heard

    _changed(change)


def states() -> dict[str, str]:
    """A short name for what is known of every card: another one means news."""
    return {one.slug: state(one) for one in cards()}


def state(one: Card) -> str:
    return fingerprint(json.dumps([one.title, one.built, one.evidence]).encode())[:12]


def signature(what: str) -> str:
    """What only the holder of the key can write under an address, or under "feed"."""
    made = hmac.new(_key(), what.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(made.digest()).decode().rstrip("=")


def signed(what: str, said: str) -> bool:
    """Whether that was written here, told without a hint of how near it was.

    >>> signed("feed", signature("feed")), signed("a@b.org", signature("feed"))
    (True, False)
    """
    if not (data_dir() / "papers" / "key").is_file():
        return False  # nothing was ever signed; asking changes nothing
    return hmac.compare_digest(signature(what).encode(), said.encode(errors="replace"))


def _file() -> Path:
    return place() / "subscribers.json"


def _key() -> bytes:
    file = place() / "key"
    with locked(place() / "key.lock"):
        if not file.is_file():
            # nobody else may read it: whoever can may unsubscribe others
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as target:
                target.write(secrets.token_bytes(32))
    found = file.read_bytes()
    if len(found) != 32:
        raise SourceProblem(f"{file} is damaged: delete it, and links sent so far stop working")
    return found


def _changed(change: Callable[[list[Subscriber]], Found]) -> Found:
    with locked(place() / "subscribers.lock"):
        held = _read(_file())
        found = change(held)
        rows = [{"address": one.address, "heard": one.heard} for one in held]
        write_json(_file(), rows)
        os.chmod(_file(), 0o600)
    return found


def _read(file: Path) -> list[Subscriber]:
    if not file.is_file():
        return []
    try:
        held: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return [Subscriber(addressed(one["address"]), dict(one["heard"])) for one in held]
    except (OSError, ValueError, KeyError, TypeError, SettingProblem):
        raise SourceProblem(f"{file} cannot be read: put it right, or move it away") from None
