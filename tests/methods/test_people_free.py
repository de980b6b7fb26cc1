"""PASS end to end: reasons, resuming, policies, people's say, withdrawals, versions, copies."""

from __future__ import annotations

import csv
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFilter

import fallow.images
from fallow.images.metadata import metadata
from fallow.inventory.ledger import Ledger
from fallow.measure.intervals import wilson
from fallow.methods.curate.people_free import PRESETS, curate
from fallow.methods.shared.collection import audit, copies, decide, withdraw
from fallow.methods.shared.policy import Settings, read_policy
from fallow.problems import Problem, SettingProblem
from fallow.regions.people import Seen
from fallow.train import make_settings

BY = "https://creativecommons.org/licenses/by/4.0/"


def scene(seed, size=64):
    """A picture unlike those of other seeds."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (5, 5, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.BICUBIC)


def save(path, image, creator="Ann", rights="CC BY 4.0", gps=False, **options):
    exif = Image.Exif()
    if creator:
        exif[0x013B] = creator
    if rights:
        exif[0x8298] = rights
    if gps:
        exif.get_ifd(0x8825)[1], exif.get_ifd(0x8825)[2] = "N", (48.0, 30.0, 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif, quality=95, **options)


@pytest.fixture
def pool(tmp_path):
    """Six sound pictures of two creators."""
    folder = tmp_path / "pool"
    for seed in range(6):
        save(folder / f"{seed}.jpg", scene(seed), creator="Ann" if seed < 4 else "Bob")
    return folder


def settings(**values):
    return make_settings(Settings, values)


def run(folder, out, detectors=None, **values):
    return curate(fallow.images.open(folder), out, settings(**values), detectors)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Counting:
    """A detector that sees what it is told to in red pictures, and counts how often it is asked."""

    labels = ("face", "person", "statue")

    def __init__(self, label="person", score=0.9, name="one"):
        self.label, self.score, self.name, self.asked = label, score, name, 0

    def __call__(self, pixels):
        self.asked += 1
        red = pixels[..., 0].mean() - pixels[..., 1:].mean() > 60
        return [Seen(self.label, self.score, (0.0, 0.0, 9.0, 9.0))] if red else []


def red(size=64):
    pixels = np.array(scene(99, size))
    pixels[..., 0] = 230
    pixels[..., 1:] //= 3
    return Image.fromarray(pixels)


def test_every_picture_has_an_end_with_a_reason(pool, tmp_path):
    save(pool / "none.jpg", scene(10), rights=None)
    save(pool / "nobody.jpg", scene(11), creator=None)
    save(pool / "shut.jpg", scene(12), rights="All rights reserved")
    save(pool / "flat.jpg", Image.new("RGB", (50, 50), "grey"))
    (pool / "cut.jpg").write_bytes((pool / "0.jpg").read_bytes()[:-300])
    (pool / "phone.heic").write_bytes(b"not read here")
    (pool / "copy.jpg").write_bytes((pool / "0.jpg").read_bytes())
    save(pool / "small.jpg", scene(1).resize((48, 48)))
    found = run(pool, tmp_path / "out")
    why = {row.path: (row.stage, row.reason) for row in found.rows if row.decision == "drop"}
    assert why == {
        "none.jpg": ("licence", "no_licence"),
        "nobody.jpg": ("licence", "no_attribution"),
        "shut.jpg": ("licence", "licence_not_allowed"),
        "flat.jpg": ("readable", "single_colour"),
        "cut.jpg": ("readable", "unreadable"),
        "phone.heic": ("readable", "unreadable"),
        "copy.jpg": ("duplicates", "same_file"),
        "small.jpg": ("duplicates", "looks_the_same"),
    }
    assert sorted(row.path for row in found.kept) == [f"{k}.jpg" for k in range(6)]
    rejected = {row["path"]: row["reason"] for row in rows(tmp_path / "out" / "rejected.csv")}
    assert rejected == {path: reason for path, (_, reason) in why.items()}
    by_stage = {one["stage"]: one for one in found.funnel}
    assert by_stage["licence"]["reasons"]["no_licence"] == 1
    assert found.funnel[0]["in"] == 14
    assert found.funnel[-1]["kept"] == 6


def test_attribution_survives_exactly(pool, tmp_path):
    out = tmp_path / "out"
    found = run(pool, out)
    listing = rows(out / "manifest.csv")
    assert {row["path"]: row["Author"] for row in listing} == {
        f"{k}.jpg": "Ann" if k < 4 else "Bob" for k in range(6)
    }
    assert {row["License"] for row in listing} == {BY}
    assert {row["licence_said_by"] for row in listing} == {"exif"}
    notice = (out / "NOTICE").read_text()
    for row in found.kept:
        assert f"{row.path}: by {row.attribution.creator}, CC-BY-4.0 ({BY})" in notice
    told = json.loads((out / "statistics.json").read_text())
    assert told["licences"] == {"CC-BY-4.0": 6}
    assert told["most_of_one_creator"] == {"before": 4, "after": 4}


def test_nothing_of_the_users_is_touched(pool, tmp_path):
    before = {path: path.read_bytes() for path in pool.rglob("*")}
    run(pool, tmp_path / "out")
    assert {path: path.read_bytes() for path in pool.rglob("*")} == before


def test_a_stage_without_its_detector_has_not_checked(pool, tmp_path):
    out = tmp_path / "out"
    found = run(pool, out)
    assert found.unchecked == ["faces", "people", "plates", "content"]
    assert "Not checked: faces." in (out / "NOTICE").read_text()
    assert all(row["not_checked"].startswith("faces; people") for row in rows(out / "manifest.csv"))
    again = run(pool, out, {"faces": Counting("face")})
    assert again.unchecked == ["people", "plates", "content"]


def test_people_are_dropped_doubted_or_kept_by_score_and_by_what_counts(pool, tmp_path):
    save(pool / "red.jpg", red())
    for score, decision in ((0.9, "drop"), (0.4, "review"), (0.1, "keep")):
        found = run(pool, tmp_path / str(score), {"people": Counting(score=score)})
        end = next(row for row in found.rows if row.path == "red.jpg")
        assert end.decision == decision
    statue = {"people": Counting("statue")}
    found = run(pool, tmp_path / "statue", statue)
    end = next(row for row in found.rows if row.path == "red.jpg")
    assert (end.decision, end.facts["others"]) == ("keep", ["statue"])
    found = run(pool, tmp_path / "strict", statue, people=("person", "statue"))
    assert next(row for row in found.rows if row.path == "red.jpg").reason == "statue"


def test_a_detector_that_cannot_find_what_counts_is_refused(pool, tmp_path):
    class Dogs(Counting):
        labels = ("dog",)

    with pytest.raises(SettingProblem, match="knows dog, none of which counts"):
        run(pool, tmp_path / "out", {"people": Dogs()})
    with pytest.raises(SettingProblem, match="did you mean faces"):
        run(pool, tmp_path / "out", {"face": Counting()})
    with pytest.raises(SettingProblem, match="did you mean blurry"):
        run(pool, tmp_path / "out", quality=("blury",))


def test_a_later_run_asks_only_about_what_is_new(pool, tmp_path):
    detector = Counting()
    first = run(pool, tmp_path / "out", {"people": detector})
    assert (first.looked_at, detector.asked, first.version) == (6, 6, 1)
    again = run(pool, tmp_path / "out", {"people": detector})
    assert (again.looked_at, detector.asked, again.version) == (0, 6, 1)
    save(pool / "new.jpg", scene(20))
    third = run(pool, tmp_path / "out", {"people": detector})
    assert (third.looked_at, detector.asked, third.version) == (1, 7, 2)
    other = Counting(name="another model")
    run(pool, tmp_path / "out", {"people": other})
    assert other.asked == 7


def test_a_killed_run_goes_on(pool, tmp_path, monkeypatch):
    class Failing(Counting):
        def __call__(self, pixels):
            if self.asked == 4:
                raise KeyboardInterrupt
            return super().__call__(pixels)

    monkeypatch.setattr("fallow.methods.curate.people_free.CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        curate(fallow.images.open(pool), tmp_path / "out", settings(),
               {"people": Failing()}, threads=1)  # fmt: skip
    kept = Ledger(tmp_path / "out" / "ledger")
    assert kept._of("people")
    detector = Counting()
    found = curate(fallow.images.open(pool), tmp_path / "out", settings(),
                   {"people": detector}, threads=1)  # fmt: skip
    assert detector.asked == 2
    straight = run(pool, tmp_path / "other", {"people": Counting()})
    assert [row.path for row in found.kept] == [row.path for row in straight.kept]


def test_another_policy_asks_only_its_own_stage(pool, tmp_path):
    detector = Counting()
    run(pool, tmp_path / "out", {"people": detector})
    found = run(pool, tmp_path / "out", {"people": detector}, licences=("CC0",))
    assert detector.asked == 6
    assert found.kept == []
    assert json.loads((tmp_path / "out" / "versions.json").read_text())[-1]["why"] == {
        "licence: licence_not_allowed": 6
    }


def test_tables_and_files_beside_say_more(pool, tmp_path):
    save(pool / "a.jpg", scene(30), creator=None, rights=None)
    save(pool / "b.jpg", scene(31), creator=None, rights=None)
    (pool / "a.json").write_text(json.dumps({"author": "Cay", "license": "CC0"}))
    table = {"path": ["b.jpg"], "License": [BY], "Author": ["Dan"], "Title": ["Sea"]}
    images = fallow.images.open(pool).join(table)
    found = curate(images, tmp_path / "out", settings())
    made = {row.path: row.attribution for row in found.kept}
    assert (made["a.jpg"].creator, made["a.jpg"].licence) == ("Cay", "CC0-1.0")
    assert (made["b.jpg"].creator, made["b.jpg"].title, made["b.jpg"].said_by) == (
        "Dan", "Sea", "table",
    )  # fmt: skip
    (pool / "a.json").write_text(json.dumps({"author": "Eve", "license": "CC0"}))
    again = curate(fallow.images.open(pool).join(table), tmp_path / "out", settings())
    assert {row.path: row.attribution.creator for row in again.kept}["a.jpg"] == "Eve"


def test_contradicting_licences_are_dropped_or_looked_at(pool, tmp_path):
    (pool / "0.json").write_text(json.dumps({"license": "All rights reserved"}))
    images = fallow.images.open(pool).join({"path": ["0.jpg"], "license": [BY]})
    found = curate(images, tmp_path / "out", settings())
    end = next(row for row in found.rows if row.path == "0.jpg")
    assert (end.decision, end.reason) == ("drop", "licence_conflict")
    assert end.attribution.detail == "table says CC-BY-4.0, 0.json says all-rights-reserved"
    found = curate(images, tmp_path / "out", settings(conflicts="review"))
    assert [row.path for row in found.queue] == ["0.jpg"]


def test_personal_data_are_told_or_dropped_and_bombs_looked_at(pool, tmp_path):
    save(pool / "where.jpg", scene(40), gps=True)
    data = (pool / "1.jpg").read_bytes()
    body = b"http://ns.adobe.com/xap/1.0/\0<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    (pool / "1.jpg").write_bytes(data[:2] + segment + data[2:])
    found = run(pool, tmp_path / "out")
    ends = {row.path: row for row in found.rows}
    assert ends["where.jpg"].decision == "keep"
    assert ends["where.jpg"].facts["personal"] == ["GPS position"] or (
        tuple(ends["where.jpg"].facts["personal"]) == ("GPS position",)
    )
    assert ends["1.jpg"].reason == "metadata_refused"
    assert json.loads((tmp_path / "out" / "statistics.json").read_text())["personal"] == {
        "GPS position": 1
    }
    found = run(pool, tmp_path / "out", personal="drop")
    assert {row.path: row.reason for row in found.rows}["where.jpg"] == "personal_data"


def test_a_person_may_drop_freely_and_keep_with_a_signature(pool, tmp_path):
    out = tmp_path / "out"
    save(pool / "red.jpg", red())
    save(pool / "none.jpg", scene(10), rights=None)
    detectors = {"people": Counting()}
    ends = {row.path: row for row in run(pool, out, detectors).rows}
    decide(out, ends["0.jpg"].hash, "drop", "Zoe")
    decide(out, ends["red.jpg"].hash, "keep", "Zoe")
    decide(out, ends["none.jpg"].hash, "override", "Zoe", signed="Zoe, director")
    after = {row.path: row for row in run(pool, out, detectors).rows}
    assert after["0.jpg"].reason == "dropped_by_a_person"
    assert after["red.jpg"].decision == "drop"  # a plain keep is not enough
    assert after["none.jpg"].reason == "no_licence"  # and no signature replaces a licence
    with pytest.raises(SettingProblem, match="sign"):
        decide(out, ends["red.jpg"].hash, "override", "Zoe")
    decide(out, ends["red.jpg"].hash, "override", "Zoe", signed="Zoe, director")
    after = {row.path: row for row in run(pool, out, detectors).rows}
    assert after["red.jpg"].facts["signed"] == "Zoe, director"
    asked = Counting("flagged", name="later")
    asked.labels = ("flagged",)
    run(pool, out, {**detectors, "content": asked})
    assert asked.asked == 7  # whoever is signed for is asked about as all others are
    with pytest.raises(SettingProblem, match="did you mean keep"):
        decide(out, "x", "keeep", "Zoe")
    with pytest.raises(SettingProblem, match="name of the person"):
        decide(out, "x", "keep", " ")


def test_a_doubt_is_settled_by_a_plain_keep(pool, tmp_path):
    out, detectors = tmp_path / "out", {"people": Counting(score=0.4)}
    save(pool / "red.jpg", red())
    waiting = run(pool, out, detectors).queue
    assert [row["path"] for row in rows(out / "review.csv")] == ["red.jpg"]
    decide(out, waiting[0].hash, "keep", "Zoe")
    after = run(pool, out, detectors)
    assert after.queue == []
    assert "red.jpg" in [row.path for row in after.kept]


@pytest.mark.parametrize("what", ["path", "hash", "creator"])
def test_who_is_withdrawn_leaves_a_tombstone_and_stays_away(what, pool, tmp_path):
    out = tmp_path / "out"
    first = {row.path: row for row in run(pool, out).rows}
    which = {"path": "5.jpg", "hash": first["5.jpg"].hash, "creator": "bob"}[what]
    withdraw(out, which, what=what, reason="asked by mail")
    gone = ["4.jpg", "5.jpg"] if what == "creator" else ["5.jpg"]
    found = run(pool, out)
    assert sorted(row.path for row in found.rows if row.reason == "withdrawn") == gone
    assert found.version == 2
    assert rows(out / "withdrawals.csv") == []  # the wish, which named them, is gone
    graves = rows(out / "withdrawn.csv")
    assert {row["reason"] for row in graves} == {"asked by mail"}
    assert "bob" not in (out / "withdrawn.csv").read_text().lower()
    (pool / "again.jpg").write_bytes((pool / "5.jpg").read_bytes())
    (pool / "5.jpg").unlink()
    later = {row.path: row for row in run(pool, out).rows}
    assert later["again.jpg"].reason == "withdrawn"
    save(pool / "like.jpg", scene(5).resize((60, 60)), creator="Somebody")
    later = {row.path: row for row in run(pool, out).rows}
    assert (later["like.jpg"].decision, later["like.jpg"].reason) == (
        "review", "like_a_withdrawn_one",
    )  # fmt: skip


def test_a_withdrawal_waits_for_a_path_that_is_not_there(pool, tmp_path):
    out = tmp_path / "out"
    run(pool, out)
    withdraw(out, "late.jpg", what="path", reason="asked")
    assert len(run(pool, out).kept) == 6
    save(pool / "late.jpg", scene(50))
    assert {row.path: row.reason for row in run(pool, out).rows}["late.jpg"] == "withdrawn"
    with pytest.raises(SettingProblem, match="name the creator"):
        withdraw(out, " ", what="creator", reason="asked")


def test_a_creators_share_and_the_size_keep_what_was_published(pool, tmp_path):
    out = tmp_path / "out"
    first = run(pool, out, per_creator=2)
    made = [row.attribution.creator for row in first.kept]
    assert sorted(made) == ["Ann", "Ann", "Bob", "Bob"]
    for seed in range(60, 70):
        save(pool / f"{seed}.jpg", scene(seed))
    later = run(pool, out, per_creator=3)
    assert {row.hash for row in first.kept} <= {row.hash for row in later.kept}
    assert len(later.kept) == 5
    for choose in ("random", "diverse"):
        third = run(pool, out, size=8, choose=choose)
        assert len(third.kept) == 8
        assert {row.hash for row in later.kept} <= {row.hash for row in third.kept}
        assert {row.reason for row in third.rows if row.decision == "drop"} == {"not_drawn"}


def test_poor_pictures_are_told_of_and_dropped_on_request(pool, tmp_path):
    for seed in range(70, 80):
        noise = np.random.default_rng(seed).integers(0, 255, (80, 80, 3)).astype(np.uint8)
        save(pool / f"{seed}.jpg", Image.fromarray(noise))
    soft = scene(80, 80).filter(ImageFilter.GaussianBlur(8))
    save(pool / "soft.jpg", soft)
    found = {row.path: row for row in run(pool, tmp_path / "out", quality=("blurry",)).rows}
    assert found["soft.jpg"].reason == "blurry"
    found = {row.path: row for row in run(pool, tmp_path / "other").rows}
    assert found["soft.jpg"].decision == "keep"
    assert found["soft.jpg"].facts["quality"] == ["blurry"]


def test_the_paper_keeps_look_alikes_and_asks_for_cc_by(pool, tmp_path):
    save(pool / "small.jpg", scene(1).resize((48, 48)))
    save(pool / "free.jpg", scene(90), rights="CC0")
    found = run(pool, tmp_path / "out", **PRESETS["paper"])
    kept = {row.path for row in found.kept}
    assert "small.jpg" in kept
    assert "free.jpg" not in kept


def test_copies_say_nothing_of_people_and_go_with_their_picture(pool, tmp_path):
    out = tmp_path / "out"
    save(pool / "where.jpg", scene(40), gps=True)
    save(pool / "scan.tif", scene(41))
    images = fallow.images.open(pool)
    found = curate(images, out, settings())
    refused = copies(images, found, out)
    assert list(refused) == ["scan.tif"]
    assert metadata((out / "pictures" / "where.jpg").read_bytes()).said == {}
    mine = out / "pictures" / "mine.txt"
    mine.write_text("not yours")
    withdraw(out, "where.jpg", what="path", reason="asked")
    copies(images, curate(images, out, settings()), out)
    assert not (out / "pictures" / "where.jpg").exists()
    assert mine.exists()
    assert (pool / "where.jpg").exists()


def test_an_audit_draws_kept_pictures_by_lot(pool, tmp_path):
    found = run(pool, tmp_path / "out")
    drawn = audit(found, 3, seed=1)
    assert len(drawn) == 3
    assert drawn == audit(found, 3, seed=1)
    assert all(row.decision == "keep" for row in drawn)
    low, high = wilson(1, 10)
    assert 0 < low < 0.1 < high < 0.5
    with pytest.raises(Problem, match="no share"):
        wilson(3, 2)


def test_policies_are_read_and_mistakes_named(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("licences: [CC-BY, CC0]\nper_creator: 80\npeople: [face, person, statue]\n")
    assert read_policy(path).people == ("face", "person", "statue")
    path.write_text("licence: [CC-BY]\n")
    with pytest.raises(SettingProblem, match="did you mean licences"):
        read_policy(path)
    for text in ("a: [", "- a\n"):
        path.write_text(text)
        with pytest.raises(Problem, match="the policy"):
            read_policy(path)
    with pytest.raises(Problem, match="cannot be read"):
        read_policy(tmp_path / "none.yaml")


def test_a_sixty_thousand_pixel_photo_is_refused_without_being_opened(pool, tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
             for kind, body in chunks]  # fmt: skip
    (pool / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    found = {row.path: row for row in run(pool, tmp_path / "out").rows}
    assert found["huge.png"].reason == "unreadable"
    assert "pixels" in found["huge.png"].facts["detail"]
