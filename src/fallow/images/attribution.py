"""Who made a picture and what one may do with it, from everything that says so.

The user's own table comes first, then a file beside the picture, then what is in the picture: XMP,
IPTC, EXIF. Nothing is guessed; where two of them contradict each other, that is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fallow.images.licences import Licence, allowed, licences
from fallow.images.metadata import ORDER, Metadata, metadata_of_xmp
from fallow.images.segments import LARGEST

# what other people's tables call our fields
NAMES = {
    "creator": ("creator", "author", "artist", "photographer", "unickname", "byline", "owner_name"),
    "creator_url": ("creator_url", "authorprofileurl", "author_url", "profile"),
    "licence": ("licence", "license", "license_url", "licence_url", "cc_license"),
    "rights": ("rights", "copyright"),
    "title": ("title", "caption_title", "headline"),
    "source_url": ("source_url", "originallandingurl", "originalurl", "landing_url", "page_url",
                   "url"),
    "date": ("date", "datetaken", "date_taken", "created"),
}  # fmt: skip
SIDECARS = (".xmp", ".json")


@dataclass(frozen=True)
class Attribution:
    """What has to be printed beside a picture, who says so, and what is wrong with it."""

    creator: str = ""
    licence: str = ""  # an id such as CC-BY-4.0
    licence_url: str = ""
    title: str = ""
    source_url: str = ""
    creator_url: str = ""
    date: str = ""
    said_by: str = ""  # where the licence was found
    problem: str = ""  # "" or a reason to leave the picture out
    detail: str = ""
    others: tuple[str, ...] = field(default=())  # creators that were named, too

    def plain(self) -> dict[str, Any]:
        """What is known, as JSON can hold it."""
        return {name: value for name, value in asdict(self).items() if value}

    def line(self, path: str) -> str:
        """What must stand beside the picture.

        >>> Attribution("Ann", "CC-BY-2.0", "https://x/by/2.0/", title="A cat").line("a.jpg")
        'a.jpg: "A cat" by Ann, CC-BY-2.0 (https://x/by/2.0/)'
        """
        what = f'"{self.title}" by ' if self.title else "by "
        where = f" ({self.licence_url})" if self.licence_url else ""
        source = f", {self.source_url}" if self.source_url else ""
        return f"{path}: {what}{self.creator or 'unknown'}, {self.licence}{where}{source}"


def attribution(
    statements: Sequence[tuple[str, Mapping[str, str]]],
    policy: Sequence[str],
    need: Sequence[str] = ("creator", "licence"),
) -> Attribution:
    """The attribution that follows from what each source says, most trusted first.

    >>> said = [("table", {"creator": "Ann"}), ("xmp", {"licence": "CC BY 4.0"})]
    >>> found = attribution(said, ["CC-BY"])
    >>> found.creator, found.licence, found.said_by, found.problem
    ('Ann', 'CC-BY-4.0', 'xmp', '')
    >>> attribution([("exif", {"rights": "(c) Ann"})], ["CC-BY"]).problem
    'no_licence'
    """
    fields: dict[str, str] = {}
    creators: list[str] = []
    for _, said in statements:
        for name, value in said.items():
            fields.setdefault(name, value)
        if said.get("creator"):
            creators.append(said["creator"])
    found = _licences(statements)
    chosen, said_by, problem, detail = _chosen(found, policy)
    for name in need:
        if not problem and name != "licence" and not fields.get(name):
            problem = "no_attribution" if name == "creator" else f"no_{name}"
    if not chosen and "licence" not in need and problem == "no_licence":
        problem = ""
    return Attribution(
        creator=fields.get("creator", ""),
        licence=chosen.id if chosen else "",
        licence_url=chosen.url if chosen else "",
        title=fields.get("title", ""),
        source_url=fields.get("source_url", ""),
        creator_url=fields.get("creator_url", ""),
        date=fields.get("date", ""),
        said_by=said_by,
        problem=problem,
        detail=detail,
        others=tuple(dict.fromkeys(name for name in creators[1:] if name != creators[0])),
    )


def statements(
    given: Mapping[str, Any], beside: Sequence[tuple[str, bytes]], inside: Metadata
) -> list[tuple[str, dict[str, str]]]:
    """What the user's table, files beside the picture and the picture itself say, in this order."""
    found = [("table", known_fields(given))]
    for name, data in beside:
        found.append((name, _sidecar(name, data)))
    found += [(block, dict(inside.said[block])) for block in ORDER if block in inside.said]
    return [(source, said) for source, said in found if said]


def known_fields(given: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a row of anybody's table, by the names they give them.

    >>> known_fields({"Author": "Ann", "License": "https://x", "width": 3, "Title": None})
    {'creator': 'Ann', 'licence': 'https://x'}
    """
    words = {key.strip().lower().replace(" ", "_"): value for key, value in given.items()}
    found = {}
    for name, others in NAMES.items():
        for other in others:
            value = words.get(other)
            if value is not None and str(value).strip():
                found[name] = str(value).strip()
                break
    return found


def beside(path: str, names: frozenset[str]) -> list[str]:
    """Files beside a picture that describe it: a.jpg.xmp or a.xmp, and the same with .json."""
    stem = path.rpartition(".")[0] or path
    return [base + ending for ending in SIDECARS for base in (path, stem) if base + ending in names]


def _sidecar(name: str, data: bytes) -> dict[str, str]:
    """The fields of a file beside a picture; one that cannot be read says nothing."""
    if len(data) > LARGEST:
        return {}
    if name.endswith(".xmp"):
        return metadata_of_xmp(data)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return known_fields(found) if isinstance(found, dict) else {}


def _licences(
    statements: Sequence[tuple[str, Mapping[str, str]]],
) -> list[tuple[str, tuple[Licence, ...]]]:
    """Every statement that names a licence; rights count where the licence itself is left open."""
    found = []
    for source, said in statements:
        for name in ("licence", "rights"):
            named = licences(said.get(name))
            if named:
                found.append((source, named))
    return found


def _chosen(
    found: Sequence[tuple[str, tuple[Licence, ...]]], policy: Sequence[str]
) -> tuple[Licence | None, str, str, str]:
    """The licence, who says so, and what speaks against it."""
    if not found:
        return None, "", "no_licence", ""
    source, named = found[0]
    fit = [one for one in named if allowed(one, policy)]
    if not fit:
        return named[0], source, "licence_not_allowed", named[0].id
    for other, theirs in found[1:]:
        if not any(allowed(one, policy) for one in theirs):
            detail = f"{source} says {fit[0].id}, {other} says {theirs[0].id}"
            return fit[0], source, "licence_conflict", detail
    return fit[0], source, "", ""
