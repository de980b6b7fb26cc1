"""`explore` and `embed` on a small folder with known troubles; an encoder that counts its work."""

import json
from pathlib import Path

import numpy as np
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

import fallow
from fallow.encoders import lite
from fallow.inventory import store
from fallow.outcomes.explored import Explored
from fallow.problems import MissingPackage, SettingProblem, SourceProblem
from fallow.verbs import declaration
from fallow.verbs.embed import embed
from fallow.verbs.explore import explore


class Counting:
    """Mean colours of a 4 x 4 grid, and how many images were asked for."""

    name = "counting"
    dimension = 48
    size = 32

    def __init__(self, name: str = "counting") -> None:
        self.name = name
        self.seen = 0

    def embed(self, images: list[np.ndarray], batch: int = 64) -> np.ndarray:
        self.seen += len(images)
        small = [Image.fromarray(image).resize((4, 4), Image.Resampling.BOX) for image in images]
        return np.stack([np.asarray(each, np.float32).ravel() / 255 for each in small])


def scene(seed: int, colour: tuple[int, int, int], width: int = 160, height: int = 120) -> Image:
    """Overlapping discs on a tinted ground: sharp edges, distinct low frequencies."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    pixels = np.empty((height, width, 3))
    pixels[:] = np.array(colour) * 0.6 + 40
    for _ in range(12):
        centre, radius = draw.uniform(0, 1, 2) * [height, width], draw.uniform(8, 30)
        inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
        pixels[inside] = np.clip(np.array(colour) + draw.normal(0, 60, 3), 0, 255)
    pixels += draw.normal(0, 4, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


COLOURS = {"red": (200, 60, 50), "green": (60, 170, 70), "blue": (60, 80, 200)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """48 pictures of three classes, with copies, look-alikes and poor ones among them."""
    place = tmp_path / "photos"
    for number, (name, colour) in enumerate(COLOURS.items()):
        (place / name).mkdir(parents=True)
        for i in range(14):
            scene(100 * number + i, colour).save(place / name / f"{i:02}.jpg", quality=92)
    original = place / "red" / "03.jpg"
    (place / "blue" / "copy.jpg").write_bytes(original.read_bytes())
    Image.open(place / "green" / "05.jpg").resize((80, 60)).save(
        place / "green" / "small.jpg", quality=60
    )
    scene(990, COLOURS["blue"]).filter(ImageFilter.GaussianBlur(6)).save(place / "blue/blur.jpg")
    scene(991, COLOURS["blue"]).point(lambda value: value // 8).save(place / "blue/night.jpg")
    Image.new("RGB", (160, 120), (128, 128, 128)).save(place / "green" / "flat.png")
    (place / "red" / "broken.jpg").write_bytes(b"not a picture")
    whole = (place / "red" / "00.jpg").read_bytes()
    (place / "red" / "cut.jpg").write_bytes(whole[: len(whole) // 3])
    return place


def rows(result: Explored, ends: str) -> int:
    return next(i for i, path in enumerate(result.table["path"].to_pylist()) if path.endswith(ends))


def test_what_was_planted_is_found(folder, tmp_path):
    result = explore(folder, encoder=Counting(), out=tmp_path / "out")
    found = result.findings
    assert found["counts"]["images"] == 47 == result.table.num_rows == len(found["thumbnails"])
    assert {Path(each["path"]).name for each in found["problems"]} == {"broken.jpg", "cut.jpg"}
    (exact,) = found["exact_duplicates"]
    assert set(exact) == {rows(result, "blue/copy.jpg"), rows(result, "red/03.jpg")}
    (near,) = found["changed_copies"]
    assert set(near["items"]) == {rows(result, "green/05.jpg"), rows(result, "green/small.jpg")}
    assert near["keep"] == rows(result, "green/05.jpg")
    small = rows(result, "green/small.jpg")
    assert near["changes"][near["items"].index(small)] == "half size"
    assert result.table["change"][small].as_py() == "half size"
    assert found["quality"]["blurry"] == [rows(result, "blur.jpg")]
    assert found["quality"]["dark"] == [rows(result, "night.jpg")]
    assert found["quality"]["blank"] == [rows(result, "flat.png")]
    assert found["quality"]["low_resolution"] == []
    assert rows(result, "blue/copy.jpg") in [each["item"] for each in found["suspects"]]
    assert result.headlines[0] == "47 images, 2 unreadable"


def test_files_are_written_and_can_be_read_back(folder, tmp_path):
    import lancedb

    out = tmp_path / "out"
    result = explore(folder, encoder=Counting(), out=out)
    page = (out / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    written = json.loads((out / "findings.json").read_text())
    assert written["counts"] == result.findings["counts"]
    assert json.loads((out / "settings.json").read_text())["encoder"] == "counting"
    table = lancedb.connect(str(out)).open_table("images")
    assert table.count_rows() == 47
    assert table.schema.field("embedding").type.list_size == 48
    nearest = table.search(result.vectors[0].tolist(), vector_column_name="vector").limit(1)
    assert nearest.to_list()[0]["id"] == result.table["id"][0].as_py()


def test_a_second_run_looks_only_at_new_content(folder, tmp_path):
    import lancedb

    out, encoder = tmp_path / "out", Counting()
    first = explore(folder, encoder=encoder, out=out)
    distinct = 46  # 47 readable files, two of them the same
    assert encoder.seen == distinct
    again = explore(folder, encoder=encoder, out=out)
    assert encoder.seen == distinct
    for column in ("x", "y", "group", "outlier", "sharpness", "looks"):
        assert again.table[column].equals(first.table[column]), column
    scene(500, COLOURS["red"]).save(folder / "red" / "new.jpg")
    (folder / "red" / "01.jpg").rename(folder / "red" / "renamed.jpg")
    (folder / "red" / "02.jpg").unlink()
    third = explore(folder, encoder=encoder, out=out)
    assert encoder.seen == distinct + 1
    paths = third.table["path"].to_pylist()
    assert "red/renamed.jpg" in paths
    assert not {"red/01.jpg", "red/02.jpg"} & set(paths)
    table = lancedb.connect(str(out)).open_table("images")
    assert table.count_rows() == 47
    assert len(table.list_versions()) >= 3


def test_another_encoder_sees_everything_anew(folder, tmp_path):
    explore(folder, encoder=Counting(), out=tmp_path / "out")
    other = Counting("other")
    result = explore(folder, encoder=other, out=tmp_path / "out")
    assert other.seen == 46
    (said,) = (line for line in result.findings["headlines"] if "seen anew" in line)
    assert said.endswith("was made with counting")
    again = explore(folder, encoder=other, out=tmp_path / "out")
    assert not any("seen anew" in line for line in again.findings["headlines"])


def test_a_collection_keeps_its_encoder_though_the_default_is_another(
    folder, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    explore(folder, encoder="untrained", out=out)
    assert store.made_with(out) == "untrained"
    assert store.encoder_of(out) is None  # its name alone does not bring its weights back
    explore(folder, encoder="tiny", out=out)
    monkeypatch.setenv("FALLOW_ENCODER", "untrained")
    result = explore(folder, out=out)
    assert "seen with the encoder tiny" in result.findings["headlines"]
    assert result.findings["settings"]["newly measured"] == 0
    assert store.made_with(tmp_path) is None


def test_a_collection_whose_encoders_package_is_gone_names_it(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    explore(folder, encoder=Counting("lite"), out=out)
    monkeypatch.setattr(lite, "_home", lambda about: None)
    with pytest.raises(MissingPackage, match=r"fallow\[weights\]"):
        explore(folder, out=out)


def test_same_seed_same_findings(folder, tmp_path):
    first = explore(folder, encoder=Counting(), out=tmp_path / "a", seed=3)
    second = explore(folder, encoder=Counting(), out=tmp_path / "b", seed=3)
    for name in ("items", "groups", "changed_copies", "much_alike", "suspects", "thumbnails"):
        assert first.findings[name] == second.findings[name]


def test_search_by_row_id_file_and_pixels(folder, tmp_path):
    result = explore(folder, encoder=Counting(), out=tmp_path / "out")
    row, twin = rows(result, "green/05.jpg"), rows(result, "green/small.jpg")
    assert result.search(row, k=3)["row"][0].as_py() == twin
    assert result.search(result.table["id"][row].as_py(), k=1)["row"].to_pylist() == [twin]
    by_file = result.search(folder / "green" / "05.jpg", k=2)
    assert by_file["row"].to_pylist() == [row, twin]
    assert by_file["similarity"][0].as_py() == pytest.approx(1, abs=1e-4)
    by_pixels = result.search(np.asarray(Image.open(folder / "green" / "05.jpg")), k=1)
    assert by_pixels["row"].to_pylist() == [row]
    with pytest.raises(SettingProblem, match="no row 99"):
        result.search(99)
    with pytest.raises(SourceProblem, match="no image"):
        result.search("nowhere.jpg")
    with pytest.raises(SourceProblem, match="cannot be used"):
        result.search(folder / "red" / "broken.jpg")


def test_the_keep_list_leaves_copies_and_blanks_out(folder, tmp_path):
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    keep = tmp_path / "keep.csv"
    explore(folder, encoder=Counting(), out=tmp_path / "out", export_clean=keep)
    kept = csv.read_csv(keep)
    names = [Path(path).name for path in kept["path"].to_pylist()]
    assert len(names) == 44  # of 47: one exact copy, one look-alike, one blank
    assert not {"small.jpg", "flat.png", "broken.jpg", "cut.jpg"} & set(names)
    assert all(Path(path).is_file() for path in kept["path"].to_pylist())
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_tiny_collections(tmp_path, count):
    arrays = [np.asarray(scene(i, COLOURS["red"])) for i in range(count)]
    result = explore(arrays, encoder=Counting(), out=tmp_path / "out")
    assert result.table.num_rows == count
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000


def labelled(place: Path, labels: list[str]) -> Path:
    """Pictures of the three colours in turn, and what they are called."""
    place.mkdir()
    for i in range(len(labels)):
        scene(i, list(COLOURS.values())[i % 3], 64, 48).save(place / f"{i:02}.png")
    table = [f"{i:02}.png,{label}" for i, label in enumerate(labels)]
    (place / "labels.csv").write_text("\n".join(["path,label", *table]))
    return place


NAMES = ("red", "green", "blue")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["red"] * 36, "labels not judged: there is only one, and nothing contradicts it"),
        ([f"{i}" for i in range(36)], "labels not judged: too few images share a label"),
        ([f"{i // 2}" for i in range(36)], "labels not judged: they do not follow from looks"),
    ],
    ids=["one class", "one image a class", "two images a class"],
)
def test_labels_that_cannot_be_judged_are_said_to_be_so(tmp_path, labels, said):
    place = labelled(tmp_path / "photos", labels)
    found = explore(place, labels=place / "labels.csv", encoder=Counting()).findings
    assert sum(line.startswith(said) for line in found["headlines"]) == 1
    assert found["suspects"] == []
    assert found["labels"]["unjudged"].startswith(said.removeprefix("labels not judged: "))


def test_labels_typed_in_several_ways_are_offered_and_do_not_count_as_wrong(tmp_path):
    labels = [(NAMES[i % 3], f"{NAMES[i % 3].capitalize()} ")[i % 2] for i in range(36)]
    place = labelled(tmp_path / "photos", labels)
    found = explore(place, labels=place / "labels.csv", encoder=Counting()).findings
    assert len(found["labels"]["variants"]) == 3
    assert found["suspects"] == []
    assert sum("may be one label" in note for note in found["notes"]) == 3


def test_a_third_of_broken_labels_is_counted(tmp_path):
    # every tenth picture and the two after it, in turn with either of the other names
    labels = [NAMES[(i + (i % 10 < 3) * (1 + i // 10 % 2)) % 3] for i in range(90)]
    place = labelled(tmp_path / "photos", labels)
    found = explore(place, labels=place / "labels.csv", encoder=Counting()).findings
    low, high = found["labels"]["interval"]
    assert low <= 27 <= high
    wrong = [one["item"] for one in found["suspects"]]
    assert sum(i % 10 < 3 for i in wrong) >= 24
    assert any("suspected wrong labels, between" in line for line in found["headlines"])


def test_copies_of_one_picture_are_one_group_without_labels(tmp_path):
    place = tmp_path / "photos"
    place.mkdir()
    for i in range(30):
        scene(0, COLOURS["red"], 64, 48).save(place / f"{i:02}.png")
    found = explore(place, encoder=Counting()).findings
    assert found["counts"]["groups"] == 1
    assert found["counts"]["exact_duplicates"] == 30
    assert not any("label" in line for line in found["headlines"])
    assert found["sure"]["numbers"] == []


def test_nothing_readable_is_one_clear_sentence(tmp_path):
    whole = tmp_path / "whole.jpg"
    scene(0, COLOURS["red"]).save(whole)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "cut.jpg").write_bytes(whole.read_bytes()[:900])
    with pytest.raises(SourceProblem):
        explore(tmp_path / "bad", encoder=Counting(), out=tmp_path / "out")


def test_output_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    encoder = Counting()
    with pytest.raises(SourceProblem, match="cannot write"):
        explore(folder, encoder=encoder, out=tmp_path / "file" / "out")
    assert encoder.seen == 0


def test_a_damaged_table_is_named(folder, tmp_path):
    out = tmp_path / "out"
    explore(folder, encoder=Counting(), out=out)
    for manifest in (out / "images.lance" / "_versions").iterdir():
        manifest.write_bytes(b"rubbish")
    with pytest.raises(SourceProblem, match=r"images\.lance cannot be read"):
        explore(folder, encoder=Counting(), out=out)


def test_python_writes_where_it_is_told_and_the_shell_beside_the_source(
    folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert explore(folder, encoder=Counting()).folder is None
    assert not list(tmp_path.glob("*-explore"))
    assert declaration("explore").folder({"source": str(folder)}) == "photos-explore"
    result = explore(folder, encoder=Counting(), out="found")
    assert (tmp_path / "found" / "report.html").exists()
    assert "report.html" in result._repr_html_()


def test_embed_writes_what_it_returns(folder, tmp_path):
    encoder = Counting()
    result = embed(folder, encoder=encoder, out=tmp_path / "vectors.parquet")
    assert encoder.seen == 47
    assert pq.read_table(tmp_path / "vectors.parquet").equals(result.table)
    embed(folder, encoder=encoder, out=tmp_path / "vectors.npy")
    vectors = np.load(tmp_path / "vectors.npy")
    assert vectors.shape == (47, 48)
    assert vectors[5].tolist() == result.table["embedding"][5].as_py()
    assert len(result.findings["problems"]) == 2
    with pytest.raises(SettingProblem, match=r"\.parquet or \.npy"):
        embed(folder, encoder=encoder, out=tmp_path / "vectors.csv")


def test_verbs_are_reached_from_the_package():
    assert fallow.explore is explore
    assert fallow.embed is embed
