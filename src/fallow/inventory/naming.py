"""What sets a group of images apart, in plain words: dark, blue, tall, from folder seeds/, 2019."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fallow.inventory.statistics import HUES, MEASURES, SATURATED
from fallow.problems import Problem

if TYPE_CHECKING:
    from fallow.images import Images

# below and above what is usual; the first word of each pair is said of small values
ADJECTIVES = {
    "brightness": ("dark", "bright"),
    "contrast": ("flat", "full of contrast"),
    "colourfulness": ("pale", "colourful"),
    "sharpness": ("smooth", "full of detail"),
    "aspect": ("tall", "wide"),
    "pixels": ("small", "large"),
}
COLOURS = (  # of the HUES, 30 degrees each
    *("red", "orange", "yellow", "green", "green", "green"),
    *("cyan", "blue", "blue", "violet", "pink", "pink"),
)
_NAMES = tuple(dict.fromkeys(COLOURS))
_NAMED = np.array([[name == each for name in _NAMES] for each in COLOURS], np.float32)  # HUES C
APART = 1.0  # spreads of the collection from its middle to that of a group worth a word
SHARE = 0.6  # of a group that a folder, a camera or a year is said of
MORE = 2.0  # times as often as among all
COLOUR = 0.12  # more of the area of a picture in one colour than usual
MOST_WORDS = 4
ASKED = 8  # files of a group that are asked for camera and date


class Traits(NamedTuple):
    """What names are made of: one value or word per image."""

    numbers: dict[str, np.ndarray]  # by the names of ADJECTIVES
    colours: np.ndarray  # N HUES, share of a picture that is of this hue
    folders: list[str]


def traits(
    measures: np.ndarray,
    statistics: np.ndarray,
    width: np.ndarray,
    height: np.ndarray,
    paths: Sequence[str],
) -> Traits:
    """What pixels, sizes and paths say of each image."""
    numbers = {name: measures[:, MEASURES.index(name)].astype(float) for name in MEASURES[:5]}
    numbers["sharpness"] = np.log(np.maximum(numbers["sharpness"], 1e-3))
    numbers["aspect"] = np.log(width / height)
    numbers["pixels"] = np.log(width * height)
    hues = (statistics[:, : HUES * SATURATED] ** 2).reshape(-1, SATURATED, HUES).sum(axis=1)
    return Traits({name: numbers[name] for name in ADJECTIVES}, hues, [_folder(p) for p in paths])


def words(known: Traits, inside: np.ndarray, among: np.ndarray) -> list[str]:
    """What most sets the rows `inside` apart from the rows `among`, the strongest first.

    >>> numbers = {name: np.array([0.1, 0.12, 0.8, 0.85, 0.9, 0.9]) for name in ("brightness",)}
    >>> folders = ["a/", "a/", "b/", "b/", "b/", "b/"]
    >>> words(Traits(numbers, np.zeros((6, 12)), folders), np.arange(2), np.arange(6))
    ['dark', 'from folder a/']
    """
    said: list[tuple[float, str]] = []
    numbers = np.stack(list(known.numbers.values()), axis=1)  # N T
    usual, spread = np.median(numbers[among], axis=0), numbers[among].std(axis=0)
    low, middle, high = np.quantile(numbers[inside], (0.25, 0.5, 0.75), axis=0)
    apart = (middle - usual) / np.maximum(spread, 1e-6)
    # the middle half must lie beyond what is usual: a few extreme members name nobody
    clear = (np.abs(apart) >= APART) & ((low > usual) | (high < usual))
    for name, is_clear, away in zip(known.numbers, clear, apart.tolist(), strict=True):
        if is_clear:
            said.append((abs(away), ADJECTIVES[name][int(away > 0)]))
    areas = known.colours @ _NAMED  # N C
    more = np.median(areas[inside], axis=0) - np.median(areas[among], axis=0)
    for colour, beyond in zip(_NAMES, more.tolist(), strict=True):
        if beyond >= COLOUR:
            said.append((APART + 4 * (beyond - COLOUR), colour))
    found = [word for _, word in sorted(said, key=lambda pair: -pair[0])][: MOST_WORDS - 1]
    folder = common([known.folders[row] for row in inside], [known.folders[row] for row in among])
    return [*found, f"from folder {folder}"] if folder else found


def common(inside: Sequence[str], among: Sequence[str]) -> str:
    """A word most carry inside, and far fewer among all; empty if there is none.

    >>> common(["a", "a", "b"], ["a", "a", "b", "b", "b", "b"])
    'a'
    """
    if not inside:
        return ""
    word, times = Counter(inside).most_common(1)[0]
    share, usual = times / len(inside), among.count(word) / max(len(among), 1)
    return word if word and share >= SHARE and share >= MORE * usual else ""


def taken(images: Images, rows: Sequence[int]) -> list[tuple[str, str]]:
    """Camera and year of some images, as their files say; empty words where they say nothing."""
    from fallow.images.collection import read_bytes
    from fallow.images.stores import Arrays

    if isinstance(images.store, Arrays):
        return [("", "")] * len(rows)
    paths = images.table.column("path")

    def asked(row: int) -> tuple[str, str]:
        try:
            return camera_and_year(read_bytes(images.store, paths[row].as_py()))
        except (Problem, OSError):
            return "", ""  # of a file that is gone, nothing is known

    return [asked(int(row)) for row in rows]


def camera_and_year(data: bytes) -> tuple[str, str]:
    """What the bytes of a file say of them.

    >>> camera_and_year(b"not an image")
    ('', '')
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as opened:
            facts = opened.getexif()
        date = str(facts.get_ifd(0x8769).get(0x9003) or facts.get(0x0132) or "")
        camera = " ".join(str(facts.get(0x0110) or "").split())
    except (OSError, ValueError, SyntaxError, KeyError):
        return "", ""
    year = date[:4]
    return camera, year if year.isdigit() and year != "0000" else ""


def cameras(asked: Sequence[Sequence[tuple[str, str]]]) -> list[list[str]]:
    """For each group, the camera and the year that set it apart from the other groups.

    >>> cameras([[("X100", "2019")] * 4, [("D70", "2019")] * 4, [("Q2", "2019")] * 4])[0]
    ['taken with X100']
    """
    everything = [each for group in asked for each in group]
    found = []
    for group in asked:
        camera = common([each[0] for each in group], [each[0] for each in everything])
        year = common([each[1] for each in group], [each[1] for each in everything])
        found.append(
            ([f"taken with {camera}"] if camera else []) + ([f"of {year}"] if year else [])
        )
    return found


def _folder(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[0].rpartition("/")[2] + "/" * ("/" in path)
