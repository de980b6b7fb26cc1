"""Texts as numbers: cleaning, learning byte pairs, and tokenisers of a hub's folder."""

from __future__ import annotations

import json

import pytest

from fallow.encoders.tokeniser import (
    END,
    START,
    BytePairs,
    HubTokeniser,
    clean,
    clip_tokeniser,
    encode,
    learnt,
    of_folder,
    restored,
)
from fallow.problems import Problem, SettingProblem

TEXTS = ["a small red disc on a dark table", "two red discs", "ein großer Kreis", "红色的圆 😀", ""]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("CafÃ© â€“ naÃ¯ve", "café – naïve"),
        ("CAFÉ™ is fine", "café™ is fine"),
        ("“so” ‘it’ goes", "\"so\" 'it' goes"),
        ("ﬁne ＡＢＣ\u3000x", "fine abc x"),
        ("a\x00b\ufeff\tc\r\n d", "ab c d"),
        ("&amp;amp;lt;i&amp;gt;", "<i>"),
        ("e\u0301", "é"),
    ],
)
def test_cleaning(given, expected):
    assert clean(given) == expected


def test_numbers_letters_and_marks_are_cut_apart():
    words = clip_tokeniser()
    ids = {text: words.rows([text])[0][1:-1] for text in ("½", "²", "a²b", "snake_case", "don't")}
    assert ids["a²b"] == [*words.rows(["a"])[0][1:-1], *ids["²"], *words.rows(["b"])[0][1:-1]]
    assert words.decode(ids["snake_case"]) == "snake _ case"
    assert words.decode(ids["don't"]) == "don 't"


def test_markers_in_a_text_are_markers():
    words = clip_tokeniser()
    assert words.rows([f"a{END}"])[0][1:] == [320, words.end, words.end]


def test_learnt_pairs_write_any_text():
    words = learnt(TEXTS * 3, 600)
    assert words.size <= 600
    for text in [*TEXTS, "quite ünlike ∆ anything", "日本語"]:
        assert words.decode(words.rows([text])[0]).replace(" ", "") == clean(text).replace(" ", "")
    common = words.rows(["red discs"])[0]
    assert len(common) == 4  # each word is one entry
    assert len(learnt(["xy"] * 9, 999).merges) == 1
    with pytest.raises(SettingProblem, match="too small"):
        learnt(TEXTS, 100)


def test_learning_does_not_depend_on_the_order_of_texts():
    assert learnt(TEXTS * 2, 560).merges == learnt(list(reversed(TEXTS * 2)), 560).merges


def test_a_long_text_is_cut_and_still_ends():
    table = encode(clip_tokeniser(), ["a " * 200, "a"], 16)
    assert table[0, 0] == table[1, 0] == clip_tokeniser().start
    assert table[0, -1] == clip_tokeniser().end
    assert table[1, 2] == clip_tokeniser().end
    assert table[1, 3:].sum() == 0


def test_saved_and_read_again(tmp_path):
    words = learnt(TEXTS * 3, 560, context=20)
    words.save(tmp_path)
    again = restored(tmp_path, words.describe())
    assert again.rows(TEXTS) == words.rows(TEXTS)
    assert (again.size, again.context, again.pad) == (words.size, 20, 0)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(Problem, match="two pieces"):
        restored(tmp_path, words.describe())


def test_vocab_and_merges_of_a_hub(tmp_path):
    clip_tokeniser().save(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": END}))
    words = of_folder(tmp_path, 77, 0, 1)
    assert isinstance(words, BytePairs)
    assert words.rows(TEXTS) == clip_tokeniser().rows(TEXTS)
    assert encode(words, ["a"], 4).tolist()[0][2:] == [words.end, words.end]  # padded with the end


def test_tokenizer_json_of_a_hub(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers import models, pre_tokenizers, processors

    numbers = {START: 0, END: 1, "<unk>": 2, "a": 3, "dog": 4, "runs": 5}
    inner = tokenizers.Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 0), (END, 1)]
    )
    inner.enable_padding(length=9)  # as saved tokenisers often have it
    inner.save(str(tmp_path / "tokenizer.json"))
    config = {"bos_token": START, "eos_token": {"content": END}, "pad_token": END}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    words = of_folder(tmp_path, 8, None, None)
    assert isinstance(words, HubTokeniser)
    assert words.rows(["a dog runs", "cat"]) == [[0, 3, 4, 5, 1], [0, 2, 1]]
    assert encode(words, ["a dog runs"], 4).tolist() == [[0, 3, 4, 1]]
    assert (words.start, words.end, words.pad, words.size) == (0, 1, 1, 6)
    assert words.decode([0, 3, 4, 1]) == "a dog"
    (tmp_path / "saved").mkdir()
    words.save(tmp_path / "saved")
    assert restored(tmp_path / "saved", words.describe()).rows(["a dog"]) == [[0, 3, 4, 1]]


def test_folders_without_a_tokeniser(tmp_path):
    with pytest.raises(Problem, match=r"tokenizer\.json"):
        of_folder(tmp_path, 8, 0, 1)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(Problem, match="cannot be read"):
        of_folder(tmp_path, 8, 0, 1)
    with pytest.raises(Problem, match="needs the entries"):
        BytePairs([], {"a": 0})
