"""Every kind of source, its labels, and what is wrong with bad ones."""

import io
import json
import os
import pickle
import stat
import tarfile
import zipfile

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, picture
from PIL import Image

from fallow.images import open
from fallow.images.stores import FileProblem
from fallow.problems import Problem, SettingProblem, SourceProblem

JPEG = encoded(picture(seed=1), "JPEG")
PNG = encoded(picture(seed=2), "PNG")


def zipped(entries, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def tarred(entries, path, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def files(folder):
    return [
        (path.relative_to(folder).as_posix(), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


IDS = ["cats/a.jpg", "cats/b.png", "dogs/c.webp", "dogs/deep/d.gif"]


def test_a_folder_is_listed_measured_and_labelled_by_its_folders(folder):
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.jpg").write_bytes(JPEG)
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "x.jpg").write_bytes(JPEG)
    (folder / "notes.txt").write_text("not an image, and not called one")
    images = open(folder)
    assert images.column("id").tolist() == IDS
    assert images.column("format").tolist() == ["JPEG", "PNG", "WEBP", "GIF"]
    assert images.column("width").tolist() == [40] * 4
    assert images.column("bytes").tolist() == [os.path.getsize(folder / name) for name in IDS]
    assert images.column("label").tolist() == ["cats", "cats", "dogs", "deep"]
    assert images.problems == []
    assert images.name == "photos"
    assert images.address(0) == str(folder / "cats" / "a.jpg")
    assert images[-1].shape == (30, 40, 3)
    assert len(images.fingerprint) == 32


def test_train_and_test_folders_become_a_split(tmp_path):
    for name in ("train/cat/a.jpg", "train/dog/b.jpg", "test/cat/c.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(JPEG)
    images = open(tmp_path / "set")
    assert images.column("split").tolist() == ["test", "train", "train"]
    assert images.column("label").tolist() == ["cat", "cat", "dog"]


def test_every_archive_gives_the_same_collection(folder, tmp_path):
    wanted = open(folder)
    sources = [zipped(files(folder), tmp_path / "a.zip")]
    for ending, mode in (("tar", "w"), ("tar.gz", "w:gz"), ("tar.xz", "w:xz")):
        sources.append(tarred(files(folder), tmp_path / f"a.{ending}", mode))
    memory = fsspec.filesystem("memory")
    for name, data in files(folder):
        memory.pipe(f"/photos-{os.getpid()}/{name}", data)
    memory.pipe(f"/photos-{os.getpid()}.zip", sources[0].read_bytes())
    memory.pipe(f"/photos-{os.getpid()}.tar", sources[1].read_bytes())
    sources += [f"memory://photos-{os.getpid()}{ending}" for ending in ("", ".zip", ".tar")]
    sources += [f"file://{folder}", f"file://{sources[0]}"]
    for source in sources:
        images = open(source)
        assert images.fingerprint == wanted.fingerprint, source
        assert images.column("label").tolist() == wanted.column("label").tolist()
        found = dict(images.map(np.copy, threads=2))
        assert all((found[index] == wanted[index]).all() for index in range(4))
        assert (pickle.loads(pickle.dumps(images))[2] == wanted[2]).all()


def test_zip_is_read_by_many_threads(tmp_path):
    entries = [(f"{at:03d}.png", encoded(picture(seed=at), "PNG")) for at in range(60)]
    images = open(zipped(entries, tmp_path / "many.zip"))
    for index, pixels in images.map(np.copy, threads=8):
        assert (pixels == np.asarray(picture(seed=index))).all()


def test_names_that_leave_an_archive_and_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    bad = [("../up.jpg", JPEG), ("/root.jpg", JPEG), ("C:\\win.jpg", JPEG), ("a/../../b.jpg", JPEG)]
    images = open(zipped([("ok.jpg", JPEG), *bad, (link, b"/etc/passwd")], tmp_path / "bad.zip"))
    assert images.column("id").tolist() == ["ok.jpg"]
    assert len(images.problems) == 5
    assert {problem.reason.split()[0] for problem in images.problems} == {"its", "a"}

    entries = [("ok.jpg", JPEG), ("../up.jpg", JPEG), ("/root.jpg", JPEG)]
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo(f"link{kind.decode()}.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        entries.append((info, b""))
    images = open(tarred(entries, tmp_path / "bad.tar"))
    assert images.column("id").tolist() == ["ok.jpg"]
    assert len(images.problems) == 5
    assert sorted(os.listdir(tmp_path)) == ["bad.tar", "bad.zip"]  # nothing was extracted


def test_a_damaged_archive_gives_what_is_left_or_a_sentence(folder, tmp_path):
    tar = tarred([(f"{at}.png", PNG) for at in range(5)], tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(tar[: len(tar) // 2 - 3000])
    images = open(tmp_path / "cut.tar")
    assert 0 < len(images) < 5
    for name in ("no.zip", "no.tar", "no.tar.gz"):
        (tmp_path / name).write_bytes(b"this is no archive")
        with pytest.raises(SourceProblem, match="is not a readable"):
            open(tmp_path / name)
    data = bytearray(zipped([("a.png", PNG), ("b.png", PNG)], tmp_path / "a.zip").read_bytes())
    data[60] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(data)
    images = open(tmp_path / "b.zip")
    assert images.column("id").tolist() == ["b.png"]
    assert "damaged inside the archive" in images.problems[0].reason


def test_bad_files_are_problems_and_the_rest_is_opened(folder):
    bad = {
        "cut.jpg": JPEG[: len(JPEG) // 2],
        "empty.png": b"",
        "text.jpg": b"a letter",
        "phone.heic": b"ftypheic",
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (folder / "really_png.jpg").write_bytes(PNG)
    os.mkfifo(folder / "pipe.jpg")
    images = open(folder)
    assert len(images) == 5
    assert images.where("id = 'really_png.jpg'").column("format").tolist() == ["PNG"]
    reasons = {problem.path: problem.reason for problem in images.problems}
    assert reasons == {
        "cut.jpg": "truncated: the end of the file is missing",
        "empty.png": "the file is empty",
        "text.jpg": "holds text, not an image",
        "phone.heic": ".heic is not a format fallow reads",
        "pipe.jpg": "not a regular file",
    }


def test_a_file_that_vanishes_is_a_problem_not_a_crash(folder):
    images = open(folder)
    (folder / "cats" / "b.png").unlink()
    found = dict(images.map(np.shape))
    assert found[1] == FileProblem("cats/b.png", "the file is missing")
    assert found[2] == (30, 40, 3)
    assert images.problems == [found[1]]
    with pytest.raises(SourceProblem, match=r"cats/b\.png cannot be used: the file is missing"):
        images[1]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "is empty"),
        (["a.txt", "b.csv"], "there are no images"),
        (["bad.jpg"], "none of the 1 images"),
        (["a.heic"], "not a format fallow reads"),
    ],
)
def test_a_folder_without_images_is_one_sentence(tmp_path, names, sentence):
    root = tmp_path / "bare"
    root.mkdir()
    for name in names:
        (root / name).write_text("something")
    with pytest.raises(SourceProblem, match=sentence):
        open(root)


@pytest.mark.parametrize(
    "source",
    ["nowhere", "nowhere.zip", "memory://nowhere", "nope://x/y", "shard-{000..001}.tar", "no*.tar"],
)
def test_a_missing_source_is_one_sentence(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceProblem):
        open(source)
    with pytest.raises(SourceProblem):
        open(3)


# labels


def test_a_label_file_is_joined_by_path(folder, tmp_path):
    labels = tmp_path / "l.csv"
    labels.write_text(
        "path;label;frame;score;ok\ncats/a.jpg;x;007;1;true\n./dogs/c.webp;y;;2.5;false\n"
        "ghost.jpg;z;1;1;true\n"
    )
    images = open(folder, labels=labels)
    assert images.column("label").tolist() == ["x", None, "y", None]
    assert images.column("frame").tolist() == ["007", None, None, None]
    assert images.table.column("score").to_pylist() == [1.0, None, 2.5, None]
    assert images.table.column("ok").to_pylist() == [True, None, False, None]
    assert images.notes == [
        "1 of 3 names in l.csv match no image, for example ghost.jpg",
    ]
    codes, names = images.labels
    assert codes.tolist() == [0, -1, 1, -1]
    assert names == ["x", "y"]
    assert (len(images.labelled), len(images.unlabelled)) == (2, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,label\nx.jpg,a\ny.jpg,b\n", "no name in l.csv matches an image"),
        ("label,split\na,b\n", "has no column path"),
        ("path,label\ncats/a.jpg,a\ncats/a.jpg,b\n", "names cats/a.jpg twice"),
        ("path,label\ncats/a.jpg,a,extra\n", "cannot be read as a table"),
        ("path,label\n,a\n", "1 rows without a path"),
        ("path,a,a\ncats/a.jpg,1,2\n", "two columns called a"),
        ("", "is empty"),
    ],
)
def test_a_bad_label_file_is_one_sentence(folder, tmp_path, text, sentence):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(SourceProblem, match=sentence):
        open(folder, labels=tmp_path / "l.csv")
    with pytest.raises(SourceProblem, match="no label file"):
        open(folder, labels=tmp_path / "missing.csv")


def test_labels_inside_the_source_are_picked_up(folder, tmp_path):
    (folder / "masks").mkdir()
    mask = np.zeros((30, 40), np.uint16)
    mask[3:9] = 500
    (folder / "masks" / "a.png").write_bytes(encoded(Image.fromarray(mask), "PNG"))
    (folder / "labels.csv").write_text(
        "path,mask,label,width,split\ncats/a.jpg,masks/a.png,tabby,99,train\ndogs/c.webp,,pug,40,\n"
    )
    images = open(zipped(files(folder), tmp_path / "set.zip"))
    assert images.column("id").tolist() == IDS  # the mask is no picture of its own
    assert images.column("label").tolist() == ["tabby", None, "pug", None]
    assert images.column("width").tolist() == [40] * 4
    assert images.table.column("width_given").to_pylist() == [99, None, 40, None]
    assert (images.mask(0) == mask).all()
    with pytest.raises(SourceProblem, match=r"dogs/c\.webp has no mask"):
        images.mask(2)
    plain = open(folder, labels=False)
    assert plain.column("id").tolist() == [*IDS, "masks/a.png"]
    assert "label" not in plain.columns
    by_folder = open(folder, labels=False, mask="masks")
    assert by_folder.column("mask").tolist() == ["masks/a.png", None, None, None]


def test_tables_and_values_can_be_labels(folder):
    for labels in (
        {"path": IDS[:2], "label": ["x", "y"]},
        pa.table({"file_name": IDS[1:2], "label": ["y"]}),
    ):
        assert open(folder, labels=labels).column("label").tolist()[1] == "y"
    joined = open(folder).join({"path": ["c.webp"], "note": ["by file name"]})
    assert joined.column("note").tolist() == [None, None, "by file name", None]
    assert joined.notes == ["the label table was matched by file name alone"]
    with pytest.raises(SettingProblem, match="no column paths"):
        open(folder).join({"path": IDS, "x": IDS}, on="paths")


# manifests and data sets


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_manifest_names_files_beside_it(folder, ending):
    rows = [{"image": name, "label": name[:3], "n": at} for at, name in enumerate(IDS[:3])]
    path = folder / f"list.{ending}"
    if ending == "csv":
        path.write_text(
            "image,label,n\n" + "".join(f"{r['image']},{r['label']},{r['n']}\n" for r in rows)
        )
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    images = open(path)
    assert images.column("id").tolist() == IDS[:3]
    assert images.column("label").tolist() == ["cat", "cat", "dog"]
    assert images.column("n").tolist() == [0, 1, 2]
    assert (images[1] == open(folder)[1]).all()


def test_manifest_mistakes(folder):
    path = folder / "list.csv"
    path.write_text("path\ncats/a.jpg\nghost.jpg\n")
    images = open(path)
    assert len(images) == 1
    assert images.problems == [FileProblem("ghost.jpg", "the file is missing")]
    for text, sentence in [
        ("path\ncats/a.jpg\ncats/a.jpg\n", "twice"),
        ("name\ncats/a.jpg\n", "no column path"),
        ("path\n", "names no images"),
        ("path\nghost.jpg\n", "none of the 1 images"),
    ]:
        path.write_text(text)
        with pytest.raises(SourceProblem, match=sentence):
            open(path)


def test_webdataset_shards_group_samples(tmp_path):
    for shard in range(3):
        entries = []
        for at in range(4):
            key = f"s{shard}{at}"
            entries += [(f"{key}.png", encoded(picture(seed=10 * shard + at), "PNG"))]
            entries += [(f"{key}.cls", str(at % 2).encode()), (f"{key}.txt", f"nr {at}".encode())]
            entries += [(f"{key}.json", json.dumps({"lens": at / 2, "tags": [at]}).encode())]
        tarred(entries, tmp_path / f"shard-{shard:03d}.tar")
    one = open(tmp_path / "shard-000.tar")
    assert one.column("id").tolist() == ["s00", "s01", "s02", "s03"]
    for source in (tmp_path / "shard-{000..002}.tar", tmp_path / "shard-*.tar", tmp_path):
        images = open(source)
        assert len(images) == 12
        assert images.column("id").tolist()[4] == "s10"
        assert images.column("label").tolist() == [0, 1] * 6
        assert images.column("caption").tolist()[5] == "nr 1"
        assert images.column("lens").tolist()[3] == 1.5
        assert images.column("tags").tolist()[3] == "[3]"
        assert (images[7] == np.asarray(picture(seed=13))).all()
    (tmp_path / "shard-002.tar").rename(tmp_path / "shard-004.tar")
    with pytest.raises(SourceProblem, match=r"shard-002\.tar"):
        open(tmp_path / "shard-{000..002}.tar")


def cells(start, stop):
    return [
        {
            "image": {"bytes": encoded(picture(seed=at), "PNG"), "path": f"p{at}.png"},
            "label": at % 2,
            "text": f"nr {at}",
        }
        for at in range(start, stop)
    ]


def test_a_saved_hugging_face_data_set(tmp_path):
    features = {
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
        "image": {"_type": "Image"},
    }
    for split, start, stop in (("train", 0, 6), ("test", 6, 9)):
        root = tmp_path / "hf" / split
        root.mkdir(parents=True)
        table = pa.Table.from_pylist(cells(start, stop))
        with pa.ipc.new_stream(root / "data-00000-of-00001.arrow", table.schema) as writer:
            writer.write_table(table)
        (root / "state.json").write_text("{}")
        (root / "dataset_info.json").write_text(json.dumps({"features": features}))
    (tmp_path / "hf" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    images = open(tmp_path / "hf")
    assert len(images) == 9
    assert images.column("split").tolist() == ["test"] * 3 + ["train"] * 6
    assert images.column("label").tolist()[:3] == ["cat", "dog", "cat"]
    assert images.column("id").tolist()[0] == "p6.png"
    assert (images[0] == np.asarray(picture(seed=6))).all()
    train = open(tmp_path / "hf" / "train")
    assert len(train) == 6
    assert len(train.pack(16)) == 6


def test_parquet_with_image_bytes(tmp_path):
    root = tmp_path / "hub" / "data"
    root.mkdir(parents=True)
    for split, start, stop in (("train", 0, 7), ("test", 7, 10)):
        table = pa.Table.from_pylist(cells(start, stop))
        pyarrow.parquet.write_table(
            table, root / f"{split}-00000-of-00001.parquet", row_group_size=2
        )
    images = open(tmp_path / "hub")
    assert len(images) == 10
    assert images.column("split").tolist() == ["test"] * 3 + ["train"] * 7
    order = [7, 8, 9, *range(7)]
    for index, pixels in images.map(np.copy):
        assert (pixels == np.asarray(picture(seed=order[index]))).all()
    raw = pa.table({"bytes": [PNG, JPEG, b"broken"], "n": [1, 2, 3]})
    pyarrow.parquet.write_table(raw, tmp_path / "raw.parquet")
    images = open(tmp_path / "raw.parquet")
    assert images.column("n").tolist() == [1, 2]
    assert len(images.problems) == 1


def test_image_folders_with_metadata(folder):
    for split, names in (("cats", ["a.jpg", "b.png"]), ("dogs", ["c.webp"])):
        rows = [{"file_name": name, "text": name[0]} for name in names]
        (folder / split / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    images = open(folder)
    assert images.column("text").tolist() == ["a", "b", "c", None]


# arrays


def test_arrays(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (5, 12, 10, 3), np.uint8)
    images = open(stack, labels=[0, 1, None, 1, 0], mask=[s[..., 0] for s in stack])
    assert (images[3] == stack[3]).all()
    assert images.labels[0].tolist() == [0, 1, -1, 1, 0]
    assert (images.mask(2) == stack[2, ..., 0]).all()
    assert len(images.pack(8)) == 5
    assert open(stack).fingerprint == images.fingerprint != open(stack + 1).fingerprint
    mixed = open([np.zeros((4, 5)), np.zeros((7, 3, 4), np.uint8), np.zeros((2, 2, 2, 2))])
    assert mixed[1].shape == (7, 3, 3)
    assert len(mixed.problems) == 1
    for source in ([], np.zeros(4), np.zeros((2, 3)), object()):
        with pytest.raises(Problem):
            open(source)
    with pytest.raises(SourceProblem, match="2 labels do not fit 5 images"):
        open(stack, labels=[1, 2])


# selections


def test_selections(folder):
    images = open(folder)
    assert images.where("label = 'cats' and width >= 40").column("id").tolist() == IDS[:2]
    with pytest.raises(SettingProblem, match="did you mean label"):
        images.where("labl = 'cats'")
    assert images.select([2, -1]).column("id").tolist() == [IDS[2], IDS[3]]
    assert (images.select([2])[0] == images[2]).all()
    with pytest.raises(SettingProblem):
        images.select([4])
    big = open(np.zeros((100, 2, 2), np.uint8), labels={"group": [at // 10 for at in range(100)]})
    ten, twenty = big.sample(10, seed=3).column("id"), big.sample(20, seed=3).column("id")
    assert len(ten) == 10
    assert set(ten) < set(twenty)
    assert (
        list(big.sample(10, seed=3).column("id")) == list(ten) != list(big.sample(10).column("id"))
    )
    first, second = big.split(0.8, seed=1)
    assert (len(first), len(second)) == (80, 20)
    assert set(first.column("id")) | set(second.column("id")) == set(big.column("id"))
    first, second = big.split(0.7, seed=1, by="group")
    assert (len(first), len(second)) == (70, 30)
    assert not set(first.column("group")) & set(second.column("group"))


def test_map_is_in_order_bounded_and_passes_mistakes_on(folder):
    images = open(np.arange(200, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8))
    begun = []

    def first(pixels):
        begun.append(int(pixels[0, 0, 0]))
        return begun[-1]

    results = images.map(first, threads=2)
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    assert len(begun) <= 3 + 10
    assert [value for _, value in results] == list(range(3, 200))

    def fail(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(open(folder).map(fail))


# fuzz


def test_text_that_is_not_utf8_is_one_sentence(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"path": "\xe1.png", "x": 1}\n')
    with pytest.raises(SourceProblem, match=r"a.jsonl cannot be read as a table: .*UTF8"):
        open(tmp_path / "a.jsonl")


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["zip", "tar", "tar.gz", "parquet", "arrow", "csv", "jsonl"]), st.data())
def test_flipped_bytes_in_any_container_never_crash(tmp_path_factory, kind, data):
    root = tmp_path_factory.mktemp("fuzz")
    path = root / f"a.{kind}"
    if kind == "zip":
        zipped([("a.png", PNG), ("b/c.jpg", JPEG), ("labels.csv", "path,x\na.png,1\n")], path)
    elif kind.startswith("tar"):
        tarred([("a.png", PNG), ("a.cls", b"1")], path, "w:gz" if kind.endswith("gz") else "w")
    elif kind == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(cells(0, 2)), path)
    elif kind == "arrow":
        table = pa.Table.from_pylist(cells(0, 2))
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    else:
        (root / "a.png").write_bytes(PNG)
        path.write_text("path,x\na.png,1\n" if kind == "csv" else '{"path": "a.png", "x": 1}\n')
    broken = bytearray(path.read_bytes())
    # the ends of a container are where its lists are: look there as often as elsewhere
    spots = st.one_of(
        st.integers(0, len(broken) - 1),
        st.integers(0, min(len(broken), 300) - 1),
        st.integers(max(0, len(broken) - 300), len(broken) - 1),
    )
    for spot in data.draw(st.lists(spots, min_size=1, max_size=8)):
        broken[spot] ^= data.draw(st.integers(1, 255))
    path.write_bytes(broken)
    try:
        images = open(path)
        for _, found in images.map(np.shape):
            assert isinstance(found, (tuple, FileProblem))
    except Problem:
        pass  # one sentence is as good an end as images
