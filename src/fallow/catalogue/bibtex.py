"""A reader of BibTeX: entries with their fields, LaTeX turned into text. It never recurses."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from fallow.problems import SourceProblem

LARGEST = 4 << 20  # characters of a file
DEEPEST = 100  # braces within braces
MOST = 10_000  # entries of a file

NAMES = "jan feb mar apr may jun jul aug sep oct nov dec"
MONTHS = {name: str(k + 1) for k, name in enumerate(NAMES.split())}
# what stands alone for a letter; accents are put on letters below
LETTERS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "aa": "å", "AA": "Å", "o": "ø", "O": "Ø",
    "l": "ł", "L": "Ł", "i": "ı", "j": "ȷ", "dh": "ð", "DH": "Ð", "th": "þ", "TH": "Þ",
    "textendash": "–", "textemdash": "—", "textquoteright": "’", "textquoteleft": "‘",
    "ldots": "…", "dots": "…", "textasciitilde": "~", "slash": "/",
}  # fmt: skip
ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306",
    ".": "\u0307", '"': "\u0308", "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323",
    "c": "\u0327", "k": "\u0328", "b": "\u0331",
}  # fmt: skip
ACCENTED = re.compile(
    r"\\(?:([`'^~=.\"])\s*|([uvHrdckb])(?:\s+|(?=\{)))"  # the accent, then its letter, which
    r"(?:\{\s*(\\?[^\W\d_])\s*\}|(\\[ij])(?![a-zA-Z])|([^\W\d_]))"  # may be in braces or dotless
)


@dataclass
class Entry:
    """One entry: @kind{key, name = value, …}, names in lower case."""

    kind: str
    key: str
    fields: dict[str, str] = field(default_factory=dict)


def entries(text: str) -> list[Entry]:
    """All entries of a file, in their order; what stands between them is a comment.

    >>> [one] = entries('@article{a1, title = {On {S}orting}, year = 2020, author = "A and B"}')
    >>> one.kind, one.key, one.fields
    ('article', 'a1', {'title': 'On Sorting', 'year': '2020', 'author': 'A and B'})
    """
    if len(text) > LARGEST:
        raise SourceProblem(f"this BibTeX has more than {LARGEST:,} characters: split the file")
    scan, found, known = _Scan(text), [], dict(MONTHS)
    while (at := text.find("@", scan.at)) >= 0:
        scan.at = at + 1
        kind = scan.word().lower()
        close = {"{": "}", "(": ")"}.get(scan.peek())
        if not kind or kind == "comment" or close is None:
            continue  # an @ in running text, or a comment, whose inside is read like any other
        scan.at += 1
        if kind == "preamble":
            scan.value(known)
        elif kind == "string":
            known.update(_fields(scan, known, close))
        else:
            key = scan.until(",", close)
            entry = Entry(kind, key, {})
            if scan.peek() == ",":
                scan.at += 1
                raw = _fields(scan, known, close)
                entry.fields = {name: plain(value) for name, value in raw.items()}
            found.append(entry)
            if len(found) > MOST:
                raise SourceProblem(f"this BibTeX has more than {MOST:,} entries: split the file")
    return found


def _fields(scan: _Scan, known: dict[str, str], close: str) -> dict[str, str]:
    """name = value pairs up to the entry's end; of a name said twice the first counts."""
    found: dict[str, str] = {}
    while True:
        scan.skip(",")
        if scan.peek() in (close, ""):
            scan.at += 1
            return found
        name = scan.word().lower()
        if not name or scan.peek() != "=":
            raise scan.problem(f"expected name = value, not {scan.text[scan.at : scan.at + 20]!r}")
        scan.at += 1
        found.setdefault(name, scan.value(known))


class _Scan:
    """A place in a text that moves on."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def problem(self, what: str) -> SourceProblem:
        line = self.text.count("\n", 0, self.at) + 1
        return SourceProblem(f"BibTeX, line {line}: {what}")

    def skip(self, also: str = "") -> None:
        while self.at < len(self.text) and (
            self.text[self.at].isspace() or self.text[self.at] in (also or " ")
        ):
            self.at += 1

    def peek(self) -> str:
        self.skip()
        return self.text[self.at : self.at + 1]

    def word(self) -> str:
        self.skip()
        found = re.compile(r"[^\s{}(),=#\"@%]*").match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return found[0]

    def until(self, *ends: str) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in ends:
            self.at += 1
        return self.text[start : self.at].strip()

    def value(self, known: dict[str, str]) -> str:
        """Pieces joined by #: braces, quotes, numbers, or names said before."""
        parts = []
        while True:
            first = self.peek()
            if first == "{":
                parts.append(self.enclosed("}"))
            elif first == '"':
                parts.append(self.enclosed('"'))
            else:
                name = self.word()
                if not name:
                    raise self.problem("a value is missing")
                parts.append(known.get(name.lower(), name))
            if self.peek() != "#":
                return "".join(parts)
            self.at += 1

    def enclosed(self, end: str) -> str:
        """What stands between here and the end of the same depth; braces must pair up."""
        start, depth = self.at + 1, 0
        self.at = start
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter == end and depth == 0:
                self.at += 1
                return self.text[start : self.at - 1]
            if letter == "\\":
                self.at += 1
            elif letter == "{":
                depth += 1
                if depth > DEEPEST:
                    raise self.problem(f"braces are nested more than {DEEPEST} deep")
            elif letter == "}":
                depth -= 1
                if depth < 0:
                    raise self.problem("a brace closes that was never opened")
            self.at += 1
        self.at = start
        raise self.problem(f"this value never ends: {end} is missing")


def plain(text: str) -> str:
    r"""LaTeX as text: accents on their letters, braces and commands gone, one line.

    >>> plain(r"Ren{\'e} M{\"u}ller, {\O}yvind \v{S}imi\'{c} \& S{\o}n, \emph{deep} $x^2$")
    'René Müller, Øyvind Šimić & Søn, deep x^2'
    """

    def accented(found: re.Match[str]) -> str:
        letter = (found[3] or found[4] or found[5]).removeprefix("\\")
        return unicodedata.normalize("NFC", letter + ACCENTS[found[1] or found[2]])

    def letter_of(found: re.Match[str]) -> str:
        return LETTERS.get(found[1], "")  # of other commands what they are applied to stays

    text = ACCENTED.sub(accented, text)
    text = re.sub(r"\\([a-zA-Z]+)(?:\s+|\{\})?", letter_of, text)
    text = text.replace("\\\\", " ").replace("---", "—").replace("--", "–").replace("~", " ")
    text = re.sub(r"\\([&%$#_{}~^,;:! -])", lambda m: "" if m[1] in ",;:!-" else f"\0{m[1]}", text)
    text = re.sub(r"(?<!\0)[{}$]", "", text).replace("\0", "").replace("``", "“").replace("''", "”")
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def people(text: str) -> list[str]:
    """The names of an author field: split at `and`, whole names first name first.

    >>> people("Doe, Jane and van Gogh, Vincent and Ada Lovelace and others")
    ['Jane Doe', 'Vincent van Gogh', 'Ada Lovelace', 'others']
    """
    found = [name.strip() for name in re.split(r"\s+and\s+", text.strip(), flags=re.I)]
    return [" ".join(reversed([p.strip() for p in n.split(",", 1)])) for n in found if n]
