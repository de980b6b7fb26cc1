"""`images.where("label is null and split = 'train'")`: a small SQL-like predicate over Arrow."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fallow.problems import SettingProblem, did_you_mean

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
      | '(?P<text>(?:[^']|'')*)'
      | "(?P<quoted>[^"]+)" | `(?P<ticked>[^`]+)`
      | (?P<word>[^\W\d][\w.]*)
      | (?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_WORDS = {"and", "or", "not", "in", "is", "null", "like", "true", "false", "between"}
_COMPARE = {
    "=": pc.equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_DEPTH = 64


def where(table: pa.Table, predicate: str) -> np.ndarray:
    """Which rows the predicate holds for; as in SQL, a missing value is never equal or unequal.

    >>> table = pa.table({"label": ["cat", None, "dog"], "width": [10, 20, 30]})
    >>> where(table, "label is null or width >= 30")
    array([False,  True,  True])
    >>> where(pa.table({"flags": [["dark", "blurry"], [], None]}), "flags has 'dark'")
    array([ True, False, False])
    >>> where(table, "lable = 'cat'")
    Traceback (most recent call last):
    ...
    fallow.problems.SettingProblem: there is no column lable: did you mean label?
    """
    parser = _Parser(table, _tokens(predicate), predicate)
    held = parser.either(0)
    if parser.here < len(parser.tokens):
        raise parser.problem()
    return np.asarray(pc.fill_null(held, False).to_numpy(zero_copy_only=False), dtype=bool)


def _tokens(predicate: str) -> list[tuple[str, Any]]:
    tokens: list[tuple[str, Any]] = []
    at = 0
    text = predicate.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise SettingProblem(f"cannot read {text[at:].strip()[:30]!r} in {predicate!r}")
        at = found.end()
        kind = str(found.lastgroup)
        value: Any = found.group(kind)
        if kind == "number":
            value = float(value) if re.search(r"[.eE]", value) else int(value)
        elif kind == "text":
            value = value.replace("''", "'")
        elif kind == "word" and value.lower() in _WORDS:
            kind, value = "key", value.lower()
        elif kind in ("quoted", "ticked"):
            kind = "word"
        tokens.append((kind, value))
    return tokens


class _Parser:
    """Recursive descent; each level returns an Arrow column of true, false or missing."""

    def __init__(self, table: pa.Table, tokens: list[tuple[str, Any]], predicate: str) -> None:
        self.table, self.tokens, self.predicate, self.here = table, tokens, predicate, 0

    def problem(self) -> SettingProblem:
        if self.here < len(self.tokens):
            return SettingProblem(
                f"did not expect {self.tokens[self.here][1]!r} in {self.predicate!r}: "
                "write it like label = 'cat' and width > 64"
            )
        return SettingProblem(
            f"{self.predicate!r} ends too early: write it like label = 'cat' and width > 64"
        )

    def take(self, kind: str, *values: Any) -> bool:
        if self.here < len(self.tokens):
            found, value = self.tokens[self.here]
            if found == kind and value in values:
                self.here += 1
                return True
        return False

    def expect(self, kind: str, value: Any) -> None:
        if not self.take(kind, value):
            raise self.problem()

    def either(self, depth: int) -> Any:
        if depth > _DEPTH:
            raise SettingProblem("the predicate is nested too deeply: use fewer parentheses")
        held = self.both(depth)
        while self.take("key", "or"):
            held = pc.or_kleene(held, self.both(depth))
        return held

    def both(self, depth: int) -> Any:
        held = self.negated(depth)
        while self.take("key", "and"):
            held = pc.and_kleene(held, self.negated(depth))
        return held

    def negated(self, depth: int) -> Any:
        if depth > _DEPTH:
            raise SettingProblem("the predicate is nested too deeply: use fewer parentheses")
        if self.take("key", "not"):
            return pc.invert(self.negated(depth + 1))
        if self.take("sign", "("):
            held = self.either(depth + 1)
            self.expect("sign", ")")
            return held
        return self.comparison()

    def comparison(self) -> Any:
        values = self.column()
        if self.take("key", "is"):
            negated = self.take("key", "not")
            self.expect("key", "null")
            return pc.is_valid(values) if negated else pc.is_null(values)
        for sign, compare in _COMPARE.items():
            if self.take("sign", sign):
                return compare(*self.comparable(values, self.literal()))
        if self.take("word", "has"):  # no key: a column may be called so
            return self.holding(values)
        negated = self.take("key", "not")
        if self.take("key", "in"):
            held = self.one_of(values)
        elif self.take("key", "like"):
            if pa.types.is_nested(values.type):
                raise SettingProblem(
                    f"like asks for text, not a list: use has in {self.predicate!r}"
                )
            held = pc.match_like(pc.cast(values, pa.string()), str(self.literal()))
        elif self.take("key", "between"):
            low = self.literal()
            self.expect("key", "and")
            held = pc.and_kleene(
                pc.greater_equal(*self.comparable(values, low)),
                pc.less_equal(*self.comparable(values, self.literal())),
            )
        else:
            raise self.problem()
        return pc.invert(held) if negated else held

    def one_of(self, values: Any) -> Any:
        self.expect("sign", "(")
        held = pc.equal(*self.comparable(values, self.literal()))
        while self.take("sign", ","):
            held = pc.or_kleene(held, pc.equal(*self.comparable(values, self.literal())))
        self.expect("sign", ")")
        return held

    def holding(self, values: Any) -> Any:
        """Rows whose list has a value."""
        if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
            raise SettingProblem(f"has asks for a value of a list: use = in {self.predicate!r}")
        joined = pa.chunked_array([pc.fill_null(values.combine_chunks(), [])])
        one = pc.equal(*self.comparable(pc.list_flatten(joined), self.literal()))
        rows = pc.list_parent_indices(joined).to_numpy()
        held = np.zeros(len(values), bool)
        held[rows[pc.fill_null(one, False).to_numpy(zero_copy_only=False)]] = True
        return pa.chunked_array([held])

    def column(self) -> Any:
        if self.here >= len(self.tokens) or self.tokens[self.here][0] != "word":
            raise self.problem()
        name = self.tokens[self.here][1]
        self.here += 1
        if name not in self.table.column_names:
            raise SettingProblem(
                f"there is no column {name}: {did_you_mean(name, self.table.column_names)}"
            )
        values = self.table.column(name)
        return (
            values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
        )

    def literal(self) -> Any:
        if self.here < len(self.tokens):
            kind, value = self.tokens[self.here]
            if kind in ("number", "text"):
                self.here += 1
                return value
            if kind == "key" and value in ("true", "false"):
                self.here += 1
                return value == "true"
            if kind == "word":
                raise SettingProblem(f"put quotes around the value: '{value}'")
        raise self.problem()

    def comparable(self, values: Any, literal: Any) -> tuple[Any, Any]:
        """Column and value in one type: '3' is 3 for numbers, 3 is '3' for text."""
        kind = values.type
        try:
            if pa.types.is_null(kind):
                return pc.cast(values, pa.string()), pa.scalar(str(literal))
            if pa.types.is_boolean(kind):
                words = {"true": True, "1": True, "false": False, "0": False}
                return values, pa.scalar(words[str(literal).lower()])
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                number = float(literal)
                if pa.types.is_integer(kind) and number.is_integer() and abs(number) < 2**62:
                    return pc.cast(values, pa.int64()), pa.scalar(int(literal), pa.int64())
                return pc.cast(values, pa.float64()), pa.scalar(number)
            return pc.cast(values, pa.string()), pa.scalar(str(literal))
        except (KeyError, ValueError, OverflowError, pa.ArrowException):
            raise SettingProblem(
                f"{literal!r} cannot be compared with a column of type {kind}: "
                f"change it in {self.predicate!r}"
            ) from None
