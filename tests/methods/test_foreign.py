"""Foreign images get their labels once: from text, from a saved segmenter, or from masks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.methods.tiny_clipseg import make

import fallow.images
from fallow.images.classes import named_classes
from fallow.images.masks import without_masks
from fallow.images.samples import STREET_CLASSES, streets, write
from fallow.methods.shared import foreign
from fallow.problems import Problem, SettingProblem, SourceProblem

CLASSES = named_classes({"background": 0, "car": 5, "tree": 9})


class Halves:
    """Left is class 1, right is class 2; counts how often it is asked."""

    identity = "halves"
    says = "a ruler"

    def __init__(self):
        self.asked = 0

    def __call__(self, image):
        self.asked += 1
        codes = np.full(image.shape[:2], 1, np.uint8)
        codes[:, image.shape[1] // 2 :] = 2
        return codes


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pictures(count=4, seed=0):
    return without_masks(streets(count, seed, (24, 40)))


def test_every_image_is_labelled_once(cache):
    images, halves = pictures(), Halves()
    found = foreign.label(images, halves, CLASSES)
    assert halves.asked == 4
    assert len(found) == 4
    np.testing.assert_array_equal(found.mask(2), halves(images[2]))
    again = Halves()
    second = foreign.label(images, again, CLASSES)
    assert again.asked == 0
    np.testing.assert_array_equal(second.mask(3), found.mask(3))
    files = sorted(cache.glob("foreign/*/*.png"))
    assert len(files) == 4
    with Image.open(files[0]) as opened:
        assert opened.mode == "P"  # 8 bits with a palette: colours to look at, codes inside


def test_what_was_broken_off_goes_on(cache):
    images, halves = pictures(), Halves()
    foreign.label(images, halves, CLASSES)
    sorted(cache.glob("foreign/*/*.png"))[1].unlink()
    again = Halves()
    foreign.label(images, again, CLASSES)
    assert again.asked == 1


def test_another_labeller_or_other_classes_label_anew():
    images = pictures()
    foreign.label(images, Halves(), CLASSES)
    other = Halves()
    other.identity = "other halves"
    foreign.label(images, other, CLASSES)
    renamed = Halves()
    foreign.label(images, renamed, named_classes({"background": 0, "bus": 5, "tree": 9}))
    assert other.asked == renamed.asked == 4


def test_unreadable_images_are_left_out(tmp_path):
    folder = write(pictures(), tmp_path / "pictures")
    names = sorted((folder / "images").iterdir())
    data = names[1].read_bytes()
    half = len(data) // 2  # the header is sound, the pixels are not
    names[1].write_bytes(data[:half] + bytes(100) + data[half + 100 :])
    lines = []
    found = foreign.foreign_images(folder, labeller=Halves(), classes=CLASSES, tell=lines.append)
    assert len(found) == 3
    assert "1 foreign images have no label" in lines[-1]
    assert "labelled once by a ruler: car 50%, tree 50%" in lines[-2]


def test_text(tmp_path):
    folder = make(tmp_path / "clipseg")
    lines = []
    told = {"car": "car, lorry", "tree": ["tree", "bush"], "background": ["sky", "road"]}
    found = foreign.foreign_images(
        pictures(3), labeller=folder, concepts=told, classes=CLASSES, tell=lines.append
    )
    assert len(found) == 3
    assert found.mask(0).shape == (24, 40)
    assert set(np.unique(found.mask(0))) <= {0, 1, 2}
    text = "\n".join(lines)
    assert "open-vocabulary" in text
    assert "5 concepts for 3 classes" in text
    assert "the background has only 2 concepts" in text
    from fallow.encoders.concepts import concepts
    from fallow.encoders.prompted import labelled, prompted

    segmenter, ordered = prompted(folder), concepts(told).ordered(CLASSES.names)
    scores = segmenter.classes(pictures(3)[1], ordered, segmenter.words(ordered.flat))
    np.testing.assert_array_equal(found.mask(1), labelled(scores)[0].numpy())


def test_text_without_words_or_without_weights(monkeypatch):
    with pytest.raises(SettingProblem, match="words for each class"):
        foreign.foreign_images(pictures(), labeller="hf:some/clipseg", classes=CLASSES)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = {"car": "car", "tree": "tree", "background": "everyday"}
    with pytest.raises(Problem, match="name another labeller") as caught:
        foreign.foreign_images(pictures(), concepts=told, classes=CLASSES)
    assert "\n" not in str(caught.value)


def test_concepts_must_fit_the_masks(tmp_path):
    told = {"car": "car", "trees": "tree", "background": "everyday"}
    with pytest.raises(SettingProblem, match="did you mean tree"):
        foreign.foreign_images(
            pictures(), labeller=make(tmp_path / "m"), concepts=told, classes=CLASSES
        )


def test_a_folder_of_masks(tmp_path):
    folder = write(pictures(3), tmp_path / "pictures")
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in sorted((folder / "images").iterdir())[:2]:
        values = np.zeros((24, 40), np.uint8)
        values[4:9, 3:30] = 9
        Image.fromarray(values).save(masks / path.name)
    lines = []
    found = foreign.foreign_images(folder, labeller=masks, classes=CLASSES, tell=lines.append)
    assert len(found) == 2
    assert set(np.unique(found.mask(0))) == {0, 2}  # codes, not the values of files
    assert "the masks in" in lines[0]
    assert "1 foreign images have no label" in lines[1]


def test_masks_with_other_values_are_refused(tmp_path):
    images = streets(3, 0, (24, 40))  # their masks hold 0 ... 6
    with pytest.raises(SourceProblem, match="which is no class"):
        foreign.foreign_images(images, classes=CLASSES)
    found = foreign.foreign_images(images, classes=named_classes(list(STREET_CLASSES)))
    np.testing.assert_array_equal(found.mask(1), images.mask(1))


def test_classes_meet_by_name():
    assert foreign.same_classes(["tree", "lake", "background"], CLASSES.names).tolist() == [2, 0, 0]
    with pytest.raises(SettingProblem, match="none of"):
        foreign.same_classes(["background", "lake"], CLASSES.names)


def test_unknown_labellers():
    with pytest.raises(SettingProblem, match="there is no labeller nowhere"):
        foreign.foreign_images(pictures(), labeller="nowhere", classes=CLASSES)


def test_shares_of_classes():
    images = fallow.images.open([np.zeros((2, 4, 3), np.uint8)])
    found = foreign.label(images, Halves(), CLASSES)
    assert foreign.class_shares(found, 3).tolist() == [0, 0.5, 0.5]


@pytest.fixture
def folders(tmp_path):
    """Six target pictures of which two have masks, and four foreign ones."""
    every = streets(6, 0, (32, 48))
    target = write(without_masks(every), tmp_path / "target")
    write(without_masks(streets(4, 5, (32, 48))), tmp_path / "more")
    (tmp_path / "masks").mkdir()
    for row, path in enumerate(sorted((target / "images").iterdir())[:2]):
        Image.fromarray(every.mask(row)).save(tmp_path / "masks" / path.name)
    (tmp_path / "classes.yaml").write_text("\n".join(f"{n}: {k}" for n, k in STREET.items()))
    return tmp_path


STREET = {name: value for value, name in enumerate(STREET_CLASSES)}
QUICK = {"size": 32, "batch": 4, "precision": "32"}


def segmented(folders, out, **more):
    import fallow

    return fallow.segment(
        folders / "target" / "images",
        folders / "masks",
        classes=folders / "classes.yaml",
        encoder="unet/4",
        epochs=1,
        settings=QUICK,
        out=folders / out,
        **more,
    )


def test_a_run_of_segment_labels_what_another_learns_from(folders):
    segmented(folders, "first", method="semiovs")
    found = segmented(folders, "second", more=folders / "more", labeller=folders / "first")
    assert found.findings["method"] == "semiovs"
    notes = "\n".join(found.findings["notes"])
    assert "4 foreign images, labelled once by the saved segmenter" in notes
    assert "no open vocabulary" in (folders / "second" / "report.html").read_text()
    assert found.table.num_rows == 6
    assert "foreign" in found.run.history[0]
    # the labeller says of a picture what its own run wrote for it
    labeller = foreign.read_labeller(
        folders / "first", None, named_classes(folders / "classes.yaml")
    )
    import fallow

    first = fallow.images.open(folders / "target" / "images")
    row = 4
    with Image.open(folders / "first" / "masks" / first.column("id")[row]) as written:
        np.testing.assert_array_equal(labeller(first[row]), np.array(written))


def test_concepts_on_the_command_line(folders, monkeypatch, capsys):
    from fallow.cli import main

    make(folders / "clipseg")
    (folders / "concepts.yaml").write_text("\n".join(f"{name}: [{name}]" for name in STREET))
    words = [
        "fallow", "segment", str(folders / "target" / "images"),
        "--masks", str(folders / "masks"), "--classes", str(folders / "classes.yaml"),
        "--more", str(folders / "more"), "--concepts", str(folders / "concepts.yaml"),
        "--labeller", str(folders / "clipseg"), "--encoder", "unet/4", "--epochs", "1",
        "--out", str(folders / "out"), "--set", "size=32", "--set", "batch=4",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().out
    assert ended.value.code == 0, said
    assert "4 foreign images, labelled once by an open-vocabulary segmenter" in said


def test_who_labels_needs_something_to_label(folders):
    with pytest.raises(SettingProblem, match="name their folder with more"):
        segmented(folders, "out", method="semiovs", labeller=folders / "masks")
    with pytest.raises(SettingProblem, match="choose method semiovs"):
        segmented(folders, "out", method="bcp", more=folders / "more")
