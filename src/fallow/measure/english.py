"""English as words: cut as Penn's treebank does, and brought to their stems."""

from __future__ import annotations

import re
from functools import lru_cache

# brackets stay: in lower case the published code does not know them
_DROPPED = frozenset(["''", "'", "`", "``", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_SHORT_TEXT = """
mr mrs ms dr prof st jr sr vs etc no inc ltd co corp dept est gen gov lt col sgt capt rev hon
ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec
"""
_SHORT = tuple(_SHORT_TEXT.split())
_SPLIT = {
    "cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na",
    "gimme": "gim me", "lemme": "lem me", "d'ye": "d' ye", "'tis": "'t is", "'twas": "'t was",
}  # fmt: skip
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "{": "-lcb-", "}": "-rcb-", "[": "-lsb-", "]": "-rsb-"}
_TOKEN = re.compile(
    r"""
    https?://\S+ | www\.\S+                      # addresses
    | \w+(?:[.\w+-]*\w)?@\w[\w.-]*\w             # and those of mail
    | (?:[a-z]\.){2,}                            # u.s.
    | (?:"""
    + "|".join(_SHORT)
    + r""")\.(?=\s|$)                            # short forms keep their dot
    | n't\b | '(?:s|m|d|re|ve|ll)\b              # ends of contractions
    | \d+(?:[.,:/]\d+)*(?:st|nd|rd|th|s)?(?![a-z0-9])  # numbers, times, dates
    | [^\W_](?:[\w&]|[-/](?=\w)|'(?=\w)|’(?=\w))*    # words, with hyphens inside
    | \.\.+ | -{2,} | [^\w\s] | _
    """,
    re.VERBOSE,
)
_CONTRACTION = re.compile(r"^(.+?)(n['’]t|['’](?:s|m|d|re|ve|ll))$")


def words_of(text: str) -> str:
    """English cut into words as Penn's treebank does, lower-case, without punctuation.

    >>> words_of("There's a plate (of pasta), isn't it?")
    "there 's a plate -lrb- of pasta -rrb- is n't it"
    """
    text = text.replace("\n", " ").lower()
    found: list[str] = []
    for token in _TOKEN.findall(text.replace("“", '"').replace("”", '"')):
        found += _cut(token)
    return " ".join(token for token in found if token not in _DROPPED)


def _cut(token: str) -> list[str]:
    if token in _SPLIT:
        return _SPLIT[token].split()
    if token in _BRACKETS:
        return [_BRACKETS[token]]
    if token == '"':
        return []  # either kind of quotation mark is dropped
    if token.startswith(".."):
        return ["..."]
    if token.startswith("--"):
        return ["--"]
    if match := _CONTRACTION.match(token):
        return [*_cut(match[1]), match[2].replace("’", "'")]
    return [token]


_VOWEL = re.compile(r"[aeiouy]")


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """What is left of an English word without its common endings.

    >>> [stem(word) for word in ("dogs", "running", "played", "happily", "class")]
    ['dog', 'run', 'play', 'happi', 'class']
    """
    if len(word) < 4 or not word.isalpha():
        return word
    for ending, instead in (("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("us", "us"), ("s", "")):
        if word.endswith(ending):
            word = word[: -len(ending)] + instead
            break
    for ending in ("ingly", "edly", "ing", "ed"):
        rest = word[: -len(ending)]
        if word.endswith(ending) and _VOWEL.search(rest):
            word = _undoubled(rest)
            break
    if word.endswith("ly") and len(word) > 4:
        word = word[:-2]
    if len(word) > 2 and word.endswith("y") and word[-2] not in "aeiou":
        word = word[:-1] + "i"
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def _undoubled(rest: str) -> str:
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    twice = len(rest) > 2 and rest[-1] == rest[-2] and rest[-1] not in "aeiouls"
    return rest[:-1] if twice or rest.endswith("zz") else rest
