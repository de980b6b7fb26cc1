"""The writer: word by word as all at once, searches against each other, and that it can learn."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from fallow.encoders.writer import Writer, WriterShape, beam, greedy, shifted
from fallow.problems import SettingProblem

START, END = 0, 1


def writer(**options):
    torch.manual_seed(0)
    values = {"vocabulary": 7, "context": 8, "width": 16, "layers": 2, "heads": 2, "hidden": 16}
    made = Writer(WriterShape(**{**values, **options})).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return made


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("memory", [None, 5])
@pytest.mark.parametrize("prefixed", [False, True])
def test_word_by_word_is_as_all_at_once(norm_first, memory, prefixed):
    made = writer(memory=memory, norm_first=norm_first, languages=2)
    looked = None if memory is None else draw(3, 4, memory)
    known = None if memory is None else torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]) > 0
    prefix = draw(3, 2, 16) if prefixed else None
    words = torch.tensor([[0, 3, 4, 5], [0, 2, 2, 6], [0, 6, 5, 4]])
    how = {"memory": looked, "known": known, "language": torch.tensor([0, 1, 1])}
    whole = made(words, prefix=prefix, **how)
    state = made.begin(**how)
    steps = [made.read(words[:, :1], state, prefix)]
    steps += [made.read(words[:, k : k + 1], state) for k in range(1, 4)]
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-4, atol=1e-5)


def test_words_keep_their_places_behind_a_prefix_and_do_not_look_ahead():
    made = writer()
    words = torch.tensor([[0, 3, 4, 5]])
    other = torch.tensor([[0, 3, 4, 2]])
    prefix = draw(1, 3, 16)
    torch.testing.assert_close(
        made(words, prefix=prefix)[:, :3], made(other, prefix=prefix)[:, :3], rtol=1e-5, atol=1e-6
    )
    with torch.no_grad():  # places no text of four words has
        made.places.weight[4:] = 100.0
    torch.testing.assert_close(made(words, prefix=prefix), writer()(words, prefix=prefix))


def test_masked_memory_does_not_count():
    made = writer(memory=5)
    words, looked = torch.tensor([[0, 3]]), draw(1, 3, 5)
    known = torch.tensor([[True, False, False]])
    masked = made(words, memory=looked, known=known)
    torch.testing.assert_close(masked, made(words, memory=looked[:, :1]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(masked, made(words, memory=looked), atol=1e-3)


def test_one_beam_is_greedy_and_all_beams_are_the_best_of_all():
    made = writer(memory=5)
    looked = draw(4, 2, 5)
    options = {"start": START, "end": END, "longest": 3}
    first = greedy(made, made.begin(memory=looked), 4, **options)
    one = beam(made, made.begin(memory=looked), 4, beams=1, **options)
    assert [text for text, _ in one] == first
    many = beam(made, made.begin(memory=looked), 4, beams=7**3, length_penalty=0.7, **options)
    for row in range(4):
        memory = looked[row : row + 1]
        best = max(
            (score(made, memory, list(text), len(text) < 3) / (len(text) + (len(text) < 3)) ** 0.7,
             list(text))
            for length in range(4)
            for text in itertools.product([0, 2, 3, 4, 5, 6], repeat=length)
        )  # fmt: skip
        assert many[row][0] == best[1]
        assert many[row][1] == pytest.approx(best[0], abs=1e-4)


def score(made, memory, text, ended):
    said = [*text, END] if ended else text
    logits = made(torch.tensor([[START, *text]]), memory=memory)[0].log_softmax(1).detach()
    return sum(float(logits[k, word]) for k, word in enumerate(said))


def test_lengths():
    made = writer()
    with torch.no_grad():
        made.bias[END] = 50.0  # it wants to say nothing
    options = {"start": START, "end": END, "longest": 6}
    assert greedy(made, made.begin(), 1, **options) == [[]]
    assert len(greedy(made, made.begin(), 1, shortest=4, **options)[0]) == 4
    assert len(beam(made, made.begin(), 1, shortest=4, **options)[0][0]) == 4
    assert beam(made, made.begin(), 1, **options)[0][0] == []
    with torch.no_grad():
        made.bias[END] = -50.0  # it never wants to end
    assert len(greedy(made, made.begin(), 1, start=START, end=END, longest=99)[0]) == 8


def test_it_learns_to_say_what_it_looks_at():
    made = writer(memory=5, dropout=0.0).train()
    looked = F.normalize(draw(4, 1, 5), dim=2)
    texts = torch.tensor([[0, 2, 3, 1, 1], [0, 4, 1, 1, 1], [0, 5, 6, 2, 1], [0, 6, 6, 6, 1]])
    given, wanted = shifted(texts, pad=END, end=END)
    optimiser = torch.optim.Adam(made.parameters(), 0.01)
    for _ in range(80):
        loss = F.cross_entropy(made(given, memory=looked).flatten(0, 1), wanted.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made.eval()
    found = beam(made, made.begin(memory=looked), 4, start=START, end=END, longest=6)
    assert [text for text, _ in found] == [[2, 3], [4], [5, 6, 2], [6, 6, 6]]


def test_what_cannot_be_written():
    made = writer()
    with pytest.raises(SettingProblem, match="longer than the 8"):
        made(torch.zeros(1, 9, dtype=torch.long))
    with pytest.raises(SettingProblem, match="memory"):
        made(torch.zeros(1, 2, dtype=torch.long), memory=draw(1, 2, 5))
    with pytest.raises(SettingProblem, match="at least one beam"):
        beam(made, made.begin(), 1, start=0, end=1, longest=2, beams=0)
    with pytest.raises(SettingProblem, match="heads"):
        WriterShape(9, width=10, heads=4)
