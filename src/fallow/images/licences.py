"""Which licence a text or address names, and which licences a policy lets through."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

CREATIVE = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
CLOSED = "all-rights-reserved"


@dataclass(frozen=True)
class Licence:
    """A licence's family, as SPDX calls it, its version if it was given, and its address."""

    family: str  # "CC-BY-SA", "CC0", "PDM", "all-rights-reserved" ...
    version: str = ""
    where: str = ""  # a jurisdiction the terms were ported to

    @property
    def id(self) -> str:
        """Family, version and jurisdiction in one word."""
        return "-".join(part for part in (self.family, self.version, self.where) if part)

    @property
    def url(self) -> str:
        """Where the terms stand, for those of Creative Commons."""
        base, tail = "https://creativecommons.org", f"/{self.where.lower()}" if self.where else ""
        if self.family in ("CC0", "PDM"):
            kind = {"CC0": "zero", "PDM": "mark"}[self.family]
            return f"{base}/publicdomain/{kind}/{self.version or '1.0'}/"
        if self.family.startswith("CC-") and self.version:
            kind = self.family.removeprefix("CC-").lower()
            return f"{base}/licenses/{kind}/{self.version}{tail}/"
        return ""


def licences(text: str | None) -> tuple[Licence, ...]:
    """Every licence a text names, in the order in which it does; none if it names none.

    >>> [one.id for one in licences("http://creativecommons.org/licenses/by-nc/2.0/deed.en")]
    ['CC-BY-NC-2.0']
    >>> [one.id for one in licences("Creative Commons Attribution-ShareAlike 4.0 International")]
    ['CC-BY-SA-4.0']
    >>> licences("(c) 2020 Ann Other")
    ()
    """
    if not text:
        return ()
    found: dict[int, Licence] = {}
    rest = text
    for pattern, make in _PATTERNS:
        for match in pattern.finditer(rest):
            found[match.start()] = make(match)
        rest = pattern.sub(lambda match: "\x00" * len(match[0]), rest)  # named once, read once
    named = [found[place] for place in sorted(found)]
    # a name without a version says nothing beside the same with one
    full = {one.family for one in named if one.version}
    return tuple(dict.fromkeys(one for one in named if one.version or one.family not in full))


def allowed(licence: Licence, patterns: Iterable[str]) -> bool:
    """Whether a licence is among those allowed: a family in any version, or one version.

    >>> cc = Licence("CC-BY", "2.0")
    >>> allowed(cc, ["CC-BY"]), allowed(cc, ["CC-BY-4.0"]), allowed(Licence("CC-BY-NC"), ["CC-BY"])
    (True, False, False)
    """
    forms = {licence.family, f"{licence.family}-{licence.version}", licence.id}
    return bool(forms & {pattern.strip() for pattern in patterns})


def _address(match: re.Match[str]) -> Licence:
    where = (match["where"] or "").upper()
    return Licence(f"CC-{match['kind'].upper()}", match["version"] or "", where)


def _short(match: re.Match[str]) -> Licence:
    kind = re.sub(r"[\s_]+", "-", match["kind"].strip().upper())
    return Licence(f"CC-{kind}", match["version"] or "")


def _long(match: re.Match[str]) -> Licence:
    words = match["kind"].lower()
    kind = "BY"
    for name, letters in (("commercial", "NC"), ("alike", "SA"), ("deriv", "ND")):
        if name in words:
            kind += f"-{letters}"
    return Licence(f"CC-{kind}", match["version"] or "")


_VERSION = r"(?:[\s-]*v?(?P<version>[1-4]\.\d))?"
_KIND = r"by(?:[\s_-]+nc)?(?:[\s_-]+(?:sa|nd))?"
_LONG = (
    r"(?P<kind>attribution(?:[\s,-]+non[\s-]*commercial)?"
    r"(?:[\s,-]+(?:share[\s-]*alike|no[\s-]*deriv\w*))?)"
)
_PATTERNS = tuple(
    (re.compile(pattern, re.I), make)
    for pattern, make in (
        (r"creativecommons\.org/publicdomain/zero/?(?P<version>\d\.\d)?",
         lambda m: Licence("CC0", m["version"] or "1.0")),
        (r"creativecommons\.org/publicdomain/mark/?(?P<version>\d\.\d)?",
         lambda m: Licence("PDM", m["version"] or "1.0")),
        (r"creativecommons\.org/licenses/(?P<kind>by(?:-nc)?(?:-sa|-nd)?)"
         r"(?:/(?P<version>\d\.\d)(?:/(?P<where>igo|[a-z]{2})\b)?)?", _address),
        (r"\b(?:cc[\s_-]?0|cc[\s-]zero|creative\s+commons\s+zero)\b(?:[\s-]*1\.0)?",
         lambda m: Licence("CC0", "1.0")),
        (rf"\bcc[\s_-]+(?P<kind>{_KIND})\b{_VERSION}", _short),
        (rf"\bcreative\s+commons\s+{_LONG}\b{_VERSION}", _long),
        (rf"\b{_LONG}{_VERSION}(?=\s+(?:licen[cs]e|international|generic|unported)\b)", _long),
        (r"public\s+domain(?:\s+mark)?(?:\s+1\.0)?", lambda m: Licence("PDM", "1.0")),
        (r"all\s+rights\s+reserved", lambda m: Licence(CLOSED)),
    )
)  # fmt: skip
