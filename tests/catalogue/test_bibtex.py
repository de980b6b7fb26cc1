"""BibTeX as people write it, and as nobody should."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow.catalogue.bibtex import entries, people, plain
from fallow.catalogue.own import of_bibtex
from fallow.problems import SourceProblem


def one(text):
    [found] = entries(text)
    return found


def test_braces_quotes_numbers_and_joined_pieces():
    found = one(
        """junk @string{j = "Journal of " # {Sheep}}
        @Comment{what stands here, is not read}
        @PREAMBLE{"\\newcommand{x}{y}"}
        @inProceedings(key:1,
          TITLE = {A {Very} {{Nested}} Title, with = and , and "quotes"},
          booktitle = j # " {\\&} Goats", year = 2021, month = 11 # "~nov",
          note = "a {"} brace",
        )"""
    )
    assert (found.kind, found.key) == ("inproceedings", "key:1")
    assert found.fields == {
        "title": 'A Very Nested Title, with = and , and "quotes"',
        "booktitle": "Journal of Sheep & Goats",
        "year": "2021",
        "month": "11 nov",
        "note": 'a " brace',
    }


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"{\'E}cole", "École"),
        (r"\'{E}cole", "École"),
        (r"Erd\H{o}s", "Erdős"),
        (r"na{\"\i}ve", "naïve"),
        (r"na\"{\i}ve", "naïve"),
        (r"\v{S}koda \c{c}a \k{a} \r{a} \u{g}", "Škoda ça ą å ğ"),
        (r"\v Skoda", "Škoda"),
        (r"Stra{\ss}e, \AA ngstr\"om, {\L}{\'o}d{\'z}", "Straße, Ångström, Łódź"),
        (r"\~n \^o \`a \.z \=a", "ñ ô à ż ā"),
        (r"100\% of \$5 \#1 a\_b", "100% of $5 #1 a_b"),
        (r"\emph{very} \textbf{\textit{bold}}", "very bold"),
        (r"pages 1--2---3", "pages 1–2—3"),
        (r"$\alpha$-shapes and $x^2$", "-shapes and x^2"),
        ("two\n   lines", "two lines"),
        ("a\x00b\x1bc", "abc"),
    ],
)
def test_latex_becomes_text(latex, text):
    assert plain(latex) == text


def test_months_by_name_and_number():
    for written, month in (("feb", "02"), ('"February"', "02"), ("{12}", "12"), ("2", "02")):
        [found] = of_bibtex(f"@misc{{a, title={{T}}, year=2020, month={written}}}")
        assert found["date"] == f"2020-{month}"
    [found] = of_bibtex("@misc{a, title={T}, year={in press}, month={Spring}}")
    assert found["date"] == ""


def test_names_are_counted_unless_others_are_not_named():
    assert people("Knuth, Donald E. and others")[0] == "Donald E. Knuth"
    authors = {"A and B": 2, "A and B and others": None, "": None}
    for said, count in authors.items():
        [found] = of_bibtex(f"@misc{{a, title={{T}}, author={{{said}}}}}")
        assert found["authors"] == count


def test_numbers_of_papers_are_found_where_people_write_them():
    for field in ("eprint={2401.16753v2}", "url={https://arxiv.org/abs/2401.16753}",
                  "journal={arXiv preprint arXiv:2401.16753}"):  # fmt: skip
        [found] = of_bibtex(f"@misc{{a, title={{T}}, {field}}}")
        assert found["arxiv"] == "2401.16753"
    [found] = of_bibtex("@misc{a, title={T}, doi={https://doi.org/10.1000/x_1}}")
    assert found["doi"] == "10.1000/x_1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@a{k, title = {never ends", "line 1: this value never ends"),
        ("@a{k,\n title = {x} } @a{k, title {x}}", "line 2: expected name = value"),
        ("@a{k, title = }", "a value is missing"),
        ('@a{k, title = "}"}', "closes that was never opened"),
        ("@a{k, title = " + "{" * 200 + "}" * 200 + "}", "nested more than 100"),
        ("@a{k, t=1}" * 10_001, "more than 10,000 entries"),
        ("x" * ((4 << 20) + 1), "more than 4,194,304 characters"),
    ],
)
def test_what_is_broken_is_said_with_its_line(text, said):
    with pytest.raises(SourceProblem, match=said):
        entries(text)


def test_long_files_are_read_in_linear_time():
    many = "@a{k, title = {" + "x {y} " * 50_000 + "}}"
    assert len(one(many).fields["title"]) > 150_000
    assert entries("@" * 200_000) == []
    assert len(plain("\\" * 200_000)) <= 200_000


@given(st.text(alphabet=string.ascii_letters + '@{}",=#\\ \n%', max_size=200))
def test_nothing_else_is_ever_raised(text):
    with contextlib.suppress(SourceProblem):
        entries(text)
