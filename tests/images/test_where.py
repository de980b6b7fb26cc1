"""The predicate language of `where`."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.images.where import where
from fallow.problems import Problem, SettingProblem

TABLE = pa.table(
    {
        "label": ["cat", None, "dog", "it's"],
        "width": [10, 20, 30, None],
        "score": [0.5, None, 2.0, -1.0],
        "checked": [True, False, None, True],
        "nothing": pa.nulls(4),
        "two words": ["a", "b", "a", "b"],
        "flags": [["dark", "it's"], [], None, ["dark", None]],
    }
)


@pytest.mark.parametrize(
    ("predicate", "rows"),
    [
        ("label = 'cat'", [0]),
        ("label != 'cat'", [2, 3]),
        ("not label = 'cat'", [2, 3]),
        ("LABEL_FREE", None),
        ("label is null", [1]),
        ("label IS NOT NULL AND width < 30", [0]),
        ("width in (10, '30')", [0, 2]),
        ("width not in (10)", [1, 2]),
        ("label like '%o%'", [2]),
        ("label not like 'c_t'", [2, 3]),
        ("label = 'it''s'", [3]),
        ("score >= .5 or checked = false", [0, 1, 2]),
        ("score < 0", [3]),
        ("flags has 'dark'", [0, 3]),
        ("not flags has 'it''s'", [1, 2, 3]),
        ("width > 5 and flags has 'dark'", [0]),
        ("score = -1e0", [3]),
        ("width > 5 and (label = 'dog' or label is null)", [1, 2]),
        ("width > 5 and label = 'dog' or label is null", [1, 2]),
        ("label is null or width > 5 and label = 'dog'", [1, 2]),
        ("width between 10 and 20", [0, 1]),
        ("width <> 10 and width <= 20", [1]),
        ("width = 10.5", []),
        ("nothing is null and nothing = 3 or checked = true", [0, 3]),
        ("\"two words\" = 'a'", [0, 2]),
        ("`two words` == 'b'", [1, 3]),
        ("not (label = 'cat' or width = 30)", []),
    ],
)
def test_predicates(predicate, rows):
    if rows is None:
        with pytest.raises(SettingProblem):
            where(TABLE, predicate)
        return
    assert np.flatnonzero(where(TABLE, predicate)).tolist() == rows


@pytest.mark.parametrize(
    ("predicate", "sentence"),
    [
        ("lable = 'cat'", "did you mean label"),
        ("label = cat", "quotes around the value: 'cat'"),
        ("width = 'wide'", "cannot be compared"),
        ("checked = 'perhaps'", "cannot be compared"),
        ("((width = 1)", "ends too early"),
        ("", "ends too early"),
        ("width = 1 width", "did not expect 'width'"),
        ("width ~ 1", "cannot read"),
        ("width has 'x'", "asks for a value of a list"),
        ("flags has", "ends too early"),
        ("flags = 'dark'", "cannot be compared with a column of type list"),
        ("label in ()", "did not expect"),
        ("(" * 5000 + "width = 1", "nested too deeply"),
        ("not " * 5000 + "width = 1", "nested too deeply"),
    ],
)
def test_mistakes_are_explained(predicate, sentence):
    with pytest.raises(SettingProblem, match=sentence):
        where(TABLE, predicate)


WORDS = ["label", "width", "score", "checked", "and", "or", "not", "(", ")", "=", "<", "in", "is"]
WORDS += [
    "flags",
    "has",
    "null",
    "like",
    "'a'",
    "1",
    "1e999",
    "-2",
    ",",
    "true",
    "between",
    "!",
    "é",
]


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=30))
def test_any_text_is_a_selection_or_a_problem(predicate):
    try:
        held = where(TABLE, predicate)
    except Problem:
        held = np.zeros(4, bool)
    assert held.shape == (4,)
