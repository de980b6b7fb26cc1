"""Which words stand for which class: lists of concepts for segmenters that are told by text."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fallow.problems import SettingProblem, did_you_mean

BACKGROUND = "background"
EVERYDAY = "everyday"  # in a list of concepts: the long list below
FEW = 20  # a background of fewer concepts leaves most of a foreign picture without a name

# what foreign pictures are full of; the words of the other classes are left out when it is used
EVERYDAY_THINGS = tuple(
    """
    person, bicycle, motorcycle, car, bus, truck, train, aeroplane, boat, traffic light,
    traffic sign, street lamp, bench, fire hydrant, bridge, rail track, road, pavement, gravel,
    sky, cloud, sun, moon, mountain, hill, rock, sand, beach, sea, lake, river, waterfall, snow,
    ice, grass, field, bush, tree, leaf, branch, flower, fruit, vegetable, mushroom, mud, soil,
    cat, dog, horse, cow, sheep, goat, pig, bird, chicken, duck, fish, elephant, bear, zebra,
    giraffe, monkey, rabbit, mouse, insect, butterfly, spider, snake, frog, turtle,
    house, building, skyscraper, church, tent, roof, wall, brick, fence, gate, door, window,
    stairs, floor, carpet, ceiling, pillar, curtain, mirror, picture frame, poster, lamp, candle,
    table, chair, sofa, bed, desk, cupboard, shelf, drawer, pillow, blanket, towel,
    oven, stove, refrigerator, sink, bathtub, toilet, washing machine, microwave,
    plate, bowl, cup, glass, bottle, knife, fork, spoon, pan, bread, cake, pizza, sandwich, meat,
    soup, drink, ice cream, chocolate,
    book, paper, newspaper, pen, scissors, box, bag, suitcase, basket, umbrella, clock, vase,
    toy, ball, doll, balloon, kite, skateboard, surfboard, skis, racket, guitar, piano, drum,
    computer, screen, keyboard, telephone, camera, cable, tool, hammer, wheel, machine, pipe,
    hat, coat, shirt, trousers, dress, shoe, glove, glasses, watch, jewellery,
    face, hand, hair, skin, statue, flag, banner, text, logo, plastic, metal, wood, stone,
    cardboard, fabric, smoke, fire, water, shadow, light, darkness
    """.replace("\n", " ").split(",")
)
EVERYDAY_THINGS = tuple(" ".join(thing.split()) for thing in EVERYDAY_THINGS)


@dataclass(frozen=True)
class Concepts:
    """Per class some entries; an entry is one score map, its words are synonyms."""

    classes: tuple[str, ...]
    entries: tuple[tuple[str, ...], ...]  # per class, each "word" or "word, synonym"
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> list[int]:
        """How many entries each class has."""
        return [len(each) for each in self.entries]

    @property
    def flat(self) -> list[str]:
        """All entries, class after class."""
        return [entry for each in self.entries for entry in each]

    def ordered(self, classes: Sequence[str]) -> Concepts:
        """The same with the classes in the order of the masks they are to match.

        >>> concepts({"sky": "sky", "car": "car, lorry"}).ordered(["car", "sky"]).flat
        ['car, lorry', 'sky']
        """
        for name in self.classes:
            if name not in classes:
                raise SettingProblem(
                    f"the concepts name a class {name}, which the masks do not have: "
                    f"{did_you_mean(name, classes)}"
                )
        lacking = [name for name in classes if name not in self.classes]
        if lacking:
            raise SettingProblem(
                f"the concepts have no entry for the class {lacking[0]}: add a line "
                f'"{lacking[0]}: ..." with the words for it'
            )
        places = [self.classes.index(name) for name in classes]
        return Concepts(tuple(classes), tuple(self.entries[k] for k in places), self.notes)


def synonyms(entry: str) -> list[str]:
    """The words of one entry.

    >>> synonyms("aeroplane, airplane, glider")
    ['aeroplane', 'airplane', 'glider']
    """
    return [word.strip() for word in entry.split(",") if word.strip()]


def concepts(given: Mapping[Any, Any]) -> Concepts:
    """Concepts from plain values: class -> one entry, or a list of entries.

    In a list, `everyday` stands for some two hundred things that pictures are full of, without
    those another class already names. A background needs them: what no word names goes to the
    class it resembles most.

    >>> concepts({"plane": "aeroplane, glider", "background": ["sky", "grass"]}).sizes
    [1, 2]
    >>> found = concepts({"car": ["car, lorry", "bus"], "background": "everyday"})
    >>> "car" in found.entries[1], "tree" in found.entries[1]
    (False, True)
    """
    if not given:
        raise SettingProblem("the concepts are empty: give lines like  car: car, lorry")
    entries: dict[str, list[str]] = {}
    for key, value in given.items():
        name, listed = str(key), value if isinstance(value, list) else [value]
        if not listed or not all(isinstance(each, str) and synonyms(each) for each in listed):
            raise SettingProblem(
                f"the concepts of {name} must be words or a list of words, not {value!r}"
            )
        entries[name] = [", ".join(synonyms(each)) for each in listed]
    named = {_plain(word) for each in entries.values() for one in each for word in synonyms(one)}
    named |= {_plain(name) for name in entries}
    things = [thing for thing in EVERYDAY_THINGS if _plain(thing) not in named]
    for name, each in entries.items():
        if EVERYDAY in each:
            own = [one for one in each if one != EVERYDAY]
            entries[name] = own + things
    _refuse_repeats(entries)
    return Concepts(
        tuple(entries), tuple(tuple(each) for each in entries.values()), tuple(_notes(entries))
    )


def read_concepts(path: str | os.PathLike[str]) -> Concepts:
    """Concepts from a YAML file with one line (or list) for each class.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "classes.yaml"
    >>> _ = file.write_text("car: car, lorry\\nbackground: [sky, road]\\n")
    >>> read_concepts(file).classes
    ('car', 'background')
    """
    import yaml

    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingProblem(f"cannot read concepts from {path}: {_one_line(error)}") from None
    if not isinstance(found, dict):
        raise SettingProblem(f"{path} must hold lines like  car: car, lorry")
    return concepts(found)


def _refuse_repeats(entries: Mapping[str, Sequence[str]]) -> None:
    """One word for two classes could only ever be won by the first."""
    owner: dict[str, str] = {}
    for name, each in entries.items():
        for entry in each:
            for word in synonyms(entry):
                if owner.setdefault(_plain(word), name) != name:
                    raise SettingProblem(
                        f"the word {word} stands for {owner[_plain(word)]} and for {name}: "
                        "leave it with one of them"
                    )


def _notes(entries: Mapping[str, Sequence[str]]) -> list[str]:
    count = len(entries.get(BACKGROUND, range(FEW)))
    if count >= FEW:
        return []
    return [
        f"the background has only {count} concept{'s' if count > 1 else ''}: what the foreign "
        f"images show besides will be taken for the class it resembles; add the word {EVERYDAY} "
        "to its list, or name what occurs"
    ]


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]+", " ", word).strip().lower()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
