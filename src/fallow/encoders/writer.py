"""A small decoder that writes text word by word, from vectors it looks at or that come before."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.problems import SettingProblem


@dataclass(frozen=True)
class WriterShape:
    """Size and habits of a writer.

    With a `memory` every layer looks at vectors of that length. `norm_first` puts norms before
    attention and perceptron, which trains more calmly; behind them is how BERT has it.
    """

    vocabulary: int
    context: int = 40  # the longest text, markers among it
    width: int = 256
    layers: int = 4
    heads: int = 4
    hidden: int = 1024
    memory: int | None = None
    languages: int = 1
    dropout: float = 0.1
    eps: float = 1e-5
    norm_first: bool = True

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise SettingProblem(f"a width of {self.width} cannot be shared by {self.heads} heads")


@dataclass
class State:
    """What a writer has read so far: keys and values of each layer, and of the memory."""

    own: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # B heads T d
    memory: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # B heads M d
    known: Tensor | None = None  # B 1 1 M
    language: Tensor | None = None  # B
    words: int = 0

    def take(self, rows: Tensor) -> State:
        """The state of other rows: of beams that are kept, or of one that is repeated."""
        return State(
            [(key[rows], value[rows]) for key, value in self.own],
            [(key[rows], value[rows]) for key, value in self.memory],
            None if self.known is None else self.known[rows],
            None if self.language is None else self.language[rows],
            self.words,
        )


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, sources: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(sources, width)
        self.value = nn.Linear(sources, width)
        self.out = nn.Linear(width, width)

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of what is looked at.  B T W -> B heads T d"""
        key, value = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.key, self.value)
        )
        return key, value

    def forward(
        self, x: Tensor, held: tuple[Tensor, Tensor], mask: Tensor | None, causal: bool
    ) -> Tensor:
        query = self.query(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        rate = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            query, *held, attn_mask=mask, dropout_p=rate, is_causal=causal
        )
        return self.out(mixed.transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    def __init__(self, shape: WriterShape) -> None:
        super().__init__()
        width = shape.width
        self.first = shape.norm_first
        self.attention = _Attention(width, shape.heads, width, shape.dropout)
        self.looking = (
            None
            if shape.memory is None
            else _Attention(width, shape.heads, shape.memory, shape.dropout)
        )
        self.perceptron = nn.Sequential(
            nn.Linear(width, shape.hidden), nn.GELU(), nn.Linear(shape.hidden, width)
        )
        count = 2 if self.looking is None else 3
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=shape.eps) for _ in range(count))
        self.drop = nn.Dropout(shape.dropout)

    def forward(
        self,
        x: Tensor,
        before: tuple[Tensor, Tensor] | None,
        memory: tuple[Tensor, Tensor] | None,
        known: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        ahead = self.norms[0](x) if self.first else x
        held = self.attention.read(ahead)
        if before is not None:
            held = (torch.cat([before[0], held[0]], 2), torch.cat([before[1], held[1]], 2))
        # a single new word may look at all that came before
        seen = self.attention(ahead, held, None, causal=before is None and x.shape[1] > 1)
        x = self._add(x, seen, 0)
        if self.looking is not None and memory is not None:
            ahead = self.norms[1](x) if self.first else x
            x = self._add(x, self.looking(ahead, memory, known, causal=False), 1)
        last = len(self.norms) - 1
        ahead = self.norms[last](x) if self.first else x
        return self._add(x, self.perceptron(ahead), last), held

    def _add(self, x: Tensor, change: Tensor, norm: int) -> Tensor:
        x = x + self.drop(change)
        return x if self.first else self.norms[norm](x)


class Writer(nn.Module):
    """Scores of the next word after every word; words see all of what stands before them.

    A `prefix` (B, P, width) stands before the words without a place of its own, so that words
    keep theirs; a `memory` (B, M, memory) is looked at from every layer.

    >>> writer = Writer(WriterShape(9, width=8, layers=1, heads=2, hidden=8, memory=4)).eval()
    >>> writer(torch.tensor([[1, 5, 6]]), memory=torch.zeros(1, 2, 4)).shape
    torch.Size([1, 3, 9])
    """

    def __init__(self, shape: WriterShape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        self.places = nn.Embedding(shape.context, shape.width)
        self.languages = nn.Embedding(shape.languages, shape.width) if shape.languages > 1 else None
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.drop = nn.Dropout(shape.dropout)
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(
        self,
        numbers: Tensor,
        *,
        memory: Tensor | None = None,
        prefix: Tensor | None = None,
        known: Tensor | None = None,
        language: Tensor | None = None,
    ) -> Tensor:
        """Scores (B, L, V) after each of the words (B, L); `known` (B, M) marks real memory."""
        state = self.begin(memory=memory, known=known, language=language)
        return self.read(numbers, state, prefix)

    def begin(
        self,
        *,
        memory: Tensor | None = None,
        known: Tensor | None = None,
        language: Tensor | None = None,
    ) -> State:
        """A state before the first word."""
        if (memory is None) != (self.shape.memory is None):
            raise SettingProblem("a writer with a memory wants one, and one without does not")
        state = State(language=language)
        if memory is not None:
            state.memory = [layer.looking.read(memory) for layer in self.layers]  # type: ignore[union-attr, operator]
            state.known = None if known is None else known[:, None, None]
        return state

    def read(self, numbers: Tensor, state: State, prefix: Tensor | None = None) -> Tensor:
        """Scores (B, L, V) after each of some more words, which the state keeps."""
        length = numbers.shape[1]
        if state.words + length > self.shape.context:
            raise SettingProblem(
                f"a text of {state.words + length} words is longer than the {self.shape.context} "
                "this writer knows"
            )
        if state.own and length > 1:
            raise SettingProblem("after the beginning, words are read one at a time")
        x = self.words(numbers) + self.places.weight[state.words : state.words + length]
        if self.languages is not None and state.language is not None:
            x = x + self.languages(state.language)[:, None]
        if prefix is not None:
            x = torch.cat([prefix, x], 1)
        x = self.drop(x if self.shape.norm_first else self.norm(x))
        own = []
        for place, layer in enumerate(self.layers):
            before = state.own[place] if state.own else None
            memory = state.memory[place] if state.memory else None
            x, held = layer(x, before, memory, state.known)
            own.append(held)
        state.own, state.words = own, state.words + length
        x = x[:, -length:]
        x = self.norm(x) if self.shape.norm_first else x
        return F.linear(x, self.words.weight, self.bias)


@torch.no_grad()
def greedy(
    writer: Writer,
    state: State,
    count: int,
    *,
    start: int,
    end: int,
    longest: int,
    shortest: int = 0,
    prefix: Tensor | None = None,
) -> list[list[int]]:
    """The likeliest next word, again and again: `count` texts, without their markers.

    `shortest` and `longest` are numbers of words.

    >>> writer = Writer(WriterShape(9, width=8, layers=1, heads=2, hidden=8)).eval()
    >>> len(greedy(writer, writer.begin(), 1, start=0, end=1, longest=5, shortest=5)[0])
    5
    """
    words = torch.full((count, 1), start, device=writer.bias.device)
    found: list[list[int]] = [[] for _ in range(count)]
    writing = [True] * count
    for step in range(min(longest, writer.shape.context)):
        scores = writer.read(words, state, prefix if step == 0 else None)[:, -1]
        if step < shortest:
            scores[:, end] = -torch.inf
        words = scores.argmax(1, keepdim=True)
        for row, word in enumerate(words[:, 0].tolist()):
            writing[row] = writing[row] and word != end
            if writing[row]:
                found[row].append(word)
        if not any(writing):
            break
    return found


@torch.no_grad()
def beam(
    writer: Writer,
    state: State,
    count: int,
    *,
    start: int,
    end: int,
    longest: int,
    shortest: int = 0,
    prefix: Tensor | None = None,
    beams: int = 3,
    length_penalty: float = 1.0,
) -> list[tuple[list[int], float]]:
    """The best of several texts that are carried along side by side, each with its score.

    The score is the sum of the words' log-probabilities, the end's among them, over their number
    to the power `length_penalty`: 0 favours short texts. A text that ends gives up its place.

    >>> writer = Writer(WriterShape(9, width=8, layers=1, heads=2, hidden=8)).eval()
    >>> options = {"start": 0, "end": 1, "longest": 4}
    >>> [text for text, _ in beam(writer, writer.begin(), 2, beams=1, **options)] == greedy(
    ...     writer, writer.begin(), 2, **options
    ... )
    True
    """
    if beams < 1:
        raise SettingProblem(f"a search needs at least one beam, not {beams}")
    device = writer.bias.device
    words = torch.full((count, 1), start, device=device)
    scores = writer.read(words, state, prefix)[:, -1].log_softmax(1)  # B V
    state = state.take(torch.arange(count, device=device).repeat_interleave(beams))
    total = torch.full((count, beams), -torch.inf, device=device)
    total[:, 0] = 0.0  # all beams begin alike: one of them counts
    scores = scores.repeat_interleave(beams, 0)
    texts: list[list[list[int]]] = [[[] for _ in range(beams)] for _ in range(count)]
    ended: list[list[tuple[float, list[int]]]] = [[] for _ in range(count)]
    last = min(longest, writer.shape.context)
    for step in range(last):
        if step < shortest:
            scores[:, end] = -torch.inf
        reached = (total[:, :, None] + scores.unflatten(0, (count, beams))).flatten(1)  # B K*V
        best = reached.topk(min(beams, reached.shape[1]), 1)
        vocabulary = scores.shape[1]
        kept = torch.arange(count * beams, device=device)
        words = torch.full((count * beams, 1), end, device=device)
        fresh = torch.full_like(total, -torch.inf)
        for row in range(count):
            grown: list[list[int]] = []
            room = beams - len(ended[row])
            for value, place in zip(best.values[row].tolist(), best.indices[row].tolist(),
                                    strict=True):  # fmt: skip
                if room == 0 or value == -float("inf"):
                    break
                room -= 1
                source, word = divmod(place, vocabulary)
                text = texts[row][source]
                if word == end:
                    ended[row].append((value / (step + 1) ** length_penalty, text))
                    continue
                slot = len(grown)
                grown.append([*text, word])
                kept[row * beams + slot] = row * beams + source
                words[row * beams + slot] = word
                fresh[row, slot] = value
            texts[row] = [*grown, *([[]] * (beams - len(grown)))]
        total = fresh
        if step + 1 == last or bool((total == -torch.inf).all()):
            break
        state = state.take(kept)
        scores = writer.read(words, state)[:, -1].log_softmax(1)
    found = []
    for row in range(count):
        rest = zip(total[row].tolist(), texts[row], strict=True)
        ended[row] += [
            (value / max(len(text), 1) ** length_penalty, text)
            for value, text in rest
            if value > -float("inf")
        ]
        score, text = max(ended[row], key=lambda one: one[0])
        found.append((text, score))
    return found


def shifted(numbers: Tensor, pad: int, end: int) -> tuple[Tensor, Tensor]:
    """What a writer reads (B, L-1) and what it should say (B, L-1; -100 after the end).

    >>> shifted(torch.tensor([[0, 5, 1, 1]]), pad=1, end=1)
    (tensor([[0, 5, 1]]), tensor([[   5,    1, -100]]))
    """
    given, wanted = numbers[:, :-1], numbers[:, 1:]
    over = (wanted == end).cumsum(1) - (wanted == end).long() > 0  # behind the first end
    return given, wanted.masked_fill(over | ((wanted == pad) & (wanted != end)), -100)
