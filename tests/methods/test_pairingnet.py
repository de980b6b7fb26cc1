"""PairingNet as a whole: tearing, outlines, what it learns, stages, matching, laying together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fallow
from fallow.encoders.contours import GraphBlock, PointNetwork, going_round
from fallow.images import open as open_images
from fallow.images.samples import streets, torn
from fallow.images.tearing import Tear, between, on_ground, turned, whole
from fallow.images.tearing import torn as tear
from fallow.methods.match.pairingnet import Matcher, PairingNet, load_matcher, stripes
from fallow.methods.shared.assembling import Joining, Shape, assembled, laid, overlap, picture
from fallow.methods.shared.joining import gathered, put_together, rightly_placed, to_learn_from
from fallow.methods.shared.pieces import (
    FEWEST,
    Look,
    as_met,
    padded_outlines,
    seen,
    shrunk,
    torn_up,
)
from fallow.problems import SettingProblem, SourceProblem
from fallow.regions.contours import NoOutline, outline, twice_area
from fallow.regions.pieces import pieces_in
from fallow.regions.rigid import Ransac, agreed, contacts, moved
from fallow.train import Batch, Now, fit, make_settings
from fallow.train.method import Facts

PLAIN = {
    "epochs": 2, "batch": 2, "size": 64, "pairs": 1, "blocks": 1, "depth": 1, "touching": 4,
    "layouts": 1, "learning_rate": 0.2,
}  # fmt: skip

LOOSE = Joining(least=8, sure=0.5)


def train(out=None, seed=0, each_epoch=None, **values):
    return fit(
        PairingNet,
        streets(4, seed=0, size=(64, 96)),
        encoder=fallow.encoder("resnet8/8"),
        settings=make_settings(PairingNet.Settings, PLAIN | values),
        out=out,
        seed=seed,
        each_epoch=each_epoch,
    )


@pytest.fixture(scope="module")
def scene():
    """A wide picture torn up, its pieces turned, and the pairs that touch."""
    pixels = streets(1, seed=3, size=(200, 280))[0]
    draw = np.random.default_rng(6)
    return torn_up(whole(pixels), Tear.at(200), Look(1), draw, turn=180, touching=12)


def test_nothing_of_a_picture_is_lost_or_there_twice():
    pixels = streets(1, seed=1, size=(90, 140))[0]
    pieces = tear(pixels, Tear.at(90), np.random.default_rng(2))
    assert len(pieces) > 4
    covered = np.zeros((90, 140), int)
    for piece in pieces:
        rows, columns = np.nonzero(piece.mask)
        x, y = (np.stack([columns, rows], 1) - piece.place[:, 2]).astype(int).T
        covered[y, x] += 1
        assert (pixels[y, x] == piece.pixels[rows, columns]).all()
    assert (covered == 1).all()


def test_a_picture_too_small_to_tear_stays_whole():
    assert len(tear(np.zeros((6, 6, 3), np.uint8), Tear.at(600), np.random.default_rng(0))) == 1


def test_a_turned_piece_knows_where_it_belongs():
    """x and y are not mistaken for each other: the picture is not square."""
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 3)).astype(np.uint8)
    piece = whole(np.kron(pixels, np.ones((4, 4, 1), np.uint8)))
    made = turned(piece, 0.6)
    for x, y in ((10, 100), (150, 30), (100, 60)):
        there = np.rint(moved(np.array([[x, y]]), between(piece, made))[0]).astype(int)
        assert np.abs(made.pixels[there[1], there[0]].astype(int) - piece.pixels[y, x]).max() < 90
    middle = np.rint(moved(np.array([[101.5, 61.5]]), between(piece, made))[0]).astype(int)
    assert (made.pixels[middle[1], middle[0]] == piece.pixels[61, 101]).all()


def test_outlines_run_one_way_round_however_a_piece_lies(scene):
    for piece in scene.pieces:
        assert twice_area(outline(piece.mask)) > 0
        assert twice_area(outline(piece.mask[:, ::-1])) > 0


def test_pieces_that_touch_run_against_each_other(scene):
    assert len(scene.pairs) >= 8
    for pair in scene.pairs:
        steps = np.diff(pair.theirs[np.argsort(pair.ours)])
        assert np.median(steps[np.abs(steps) < 20]) <= 0


def test_oracle_correspondences_join_every_pair(scene):
    """With the true pairs of points given, the map is found to a pixel or two."""
    for pair in scene.pairs:
        source, target = (
            scene.outlines[k].points.astype(float) for k in (pair.source, pair.target)
        )
        found = agreed(source[pair.ours], target[pair.theirs], Ransac(near=4.0, agreeing=8),
                       np.random.default_rng(0))  # fmt: skip
        true = between(scene.pieces[pair.source], scene.pieces[pair.target])
        ours = source[pair.ours]
        assert np.linalg.norm(moved(ours, found.map) - moved(ours, true), axis=1).mean() < 2.5


def test_fewer_points_than_a_sample_make_no_map():
    assert agreed(np.zeros((4, 2)), np.zeros((4, 2)), Ransac(), np.random.default_rng(0)) is None


def test_pieces_are_laid_together_from_rough_maps(scene):
    shapes = [Shape.of(piece, outline(piece.mask)) for piece in scene.pieces]
    draw = np.random.default_rng(1)
    joins = []
    for pair in scene.pairs:
        if pair.source < pair.target:
            rough = between(scene.pieces[pair.source], scene.pieces[pair.target]).copy()
            rough[:, 2] += draw.normal(0, 1.5, 2)
            joins.append(laid(shapes, pair.source, pair.target, rough))
    groups = assembled(shapes, joins, LOOSE)
    assert len(groups[0]) >= len(scene.pieces) - 1
    truth = [piece.place for piece in scene.pieces]
    assert rightly_placed(groups[0].places, truth, 280) == len(groups[0])
    sheet = picture(scene.pieces, groups[0].places)
    area = sum(scene.pieces[k].area for k in groups[0].places)
    assert 0.97 * area < (sheet[..., 3] > 0).sum() < 1.03 * area  # neither gaps nor overlaps
    # a piece laid onto another is never held
    wrong = laid(shapes, 0, 1, np.eye(2, 3))
    assert all((j.source, j.target) != (0, 1) for g in assembled(shapes, [wrong], LOOSE)
               for j in g.joins if overlap(shapes[0], shapes[1], j.map) > 0.05)  # fmt: skip


def test_no_joins_make_no_groups(scene):
    shapes = [Shape.of(piece, outline(piece.mask)) for piece in scene.pieces[:3]]
    assert assembled(shapes, [], Joining()) == []


def test_padding_does_not_change_what_a_point_is():
    torch.manual_seed(0)
    network = PointNetwork(1).eval()
    one = {
        "beside": torch.rand(1, 30, 2) - 0.5,
        "lines": torch.randint(0, 2, (1, 30, 7, 7)),
        "colours": torch.randint(0, 256, (1, 30, 3, 7, 7)),
        "lengths": torch.tensor([30]),
    }
    more = {
        name: value if name == "lengths" else torch.cat([value, value[:, :9]], 1)
        for name, value in one.items()
    }
    for alone, padded in zip(network.both(**one), network.both(**more), strict=True):
        torch.testing.assert_close(padded[:, :30], alone)
        assert not padded[:, 30:].any()


def test_along_its_line_a_piece_looks_the_same_however_it_lies():
    pixels = streets(1, seed=3, size=(120, 160))[0]
    piece = max(tear(pixels, Tear.at(120), np.random.default_rng(1)), key=lambda one: one.area)
    upright = seen(piece, Look(1))
    for angle in (np.pi / 2, 0.7):
        other = turned(piece, angle)
        lying = seen(other, Look(1))
        ours, theirs = contacts(
            upright.points.astype(float), lying.points.astype(float), between(piece, other), 1.5
        )
        assert len(ours) > 0.8 * len(upright)
        for name in ("lines", "colours", "course"):
            one, two = (getattr(o, name).astype(float) for o in (upright, lying))
            elsewhere = np.abs(one[ours] - two[np.roll(theirs, 40)]).mean()
            assert np.abs(one[ours] - two[theirs]).mean() < 0.7 * elsewhere, name


def test_pieces_that_touch_show_the_same_stretch_once_the_other_is_seen_as_met(scene):
    held = padded_outlines(scene.outlines)
    other = as_met(held)
    for name, most in (("lines", 0.9), ("colours", 1.0), ("course", 0.85)):
        as_is, seen_as_met = [], []
        for pair in scene.pairs:  # at its ends a stretch turns off, on either side its own way
            inner = slice(10, max(11, len(pair.ours) - 10))
            ours, theirs = pair.ours[inner], pair.theirs[inner]
            own = held[name][pair.source][ours].float()
            as_is.append((own - held[name][pair.target][theirs].float()).abs().mean())
            seen_as_met.append((own - other[name][pair.target][theirs].float()).abs().mean())
        assert np.mean(seen_as_met) < most * np.mean(as_is), name


def test_what_is_filled_is_not_seen_along_the_line():
    with pytest.raises(SettingProblem, match="needs frame=picture"):
        make_settings(PairingNet.Settings, {"line": "filled"})
    assert make_settings(PairingNet.Settings, {"line": "filled", "frame": "picture"}).frame


def test_a_ring_has_no_beginning():
    torch.manual_seed(0)
    block, x = GraphBlock(8).eval(), torch.randn(1, 24, 8)
    there, around = torch.ones(1, 24, dtype=torch.bool), going_round(torch.tensor([24]), 24, 8)
    turned_round = block(x.roll(5, 1), there, around, 8)
    torch.testing.assert_close(turned_round, block(x, there, around, 8).roll(5, 1))


def test_stripes_along_the_diagonal_are_no_contact():
    assert not stripes(np.eye(12)).any()
    assert stripes(np.fliplr(np.eye(12))).any()


def test_shrinking_keeps_what_is_where(scene):
    piece = scene.pieces[0]
    small = shrunk(piece, 0.5)
    assert abs(small.area * 4 / piece.area - 1) < 0.05
    middle = np.argwhere(piece.mask).mean(0)[::-1]
    where = moved(middle[None], between(piece, piece))[0]
    assert np.allclose(np.argwhere(small.mask).mean(0)[::-1], (where - 0.5) / 2 + 1.25, atol=0.5)


def test_both_stages_learn_and_the_first_stays_as_it_was():
    torch.manual_seed(0)
    settings = make_settings(PairingNet.Settings, PLAIN | {"first": 0.5, "batch": 4})
    images = streets(4, seed=0, size=(64, 96))
    method = PairingNet(fallow.encoder("resnet8/8"), settings, Facts(4, 64)).train()
    method.beside("images", images, images.pack(64), 0)
    held = method.stream(np.arange(4), 0)
    batch = Batch([], [], torch.arange(4), torch.arange(4), torch.zeros(1, 4, 2, 3), beside=held)
    method.loss(batch, Now(0, 0, 0.0, 1)).total.backward()
    assert any(p.grad is not None for p in method.network.parameters())
    assert all(p.grad is None for p in method.summary.parameters())
    method.zero_grad(set_to_none=True)
    now = Now(1, 0, 0.6, 1)
    method.begin_step(now)
    before = {name: value.clone() for name, value in method.network.state_dict().items()}
    method.loss(batch, now).total.backward()
    assert all(p.grad is None for p in method.network.parameters())
    assert any(p.grad is not None for p in method.summary.parameters())
    assert all(torch.equal(v, before[n]) for n, v in method.network.state_dict().items())
    planned = lambda progress: 1 - progress  # noqa: E731
    rates = [method.rate(Now(0, 0, p, 1), planned) for p in (0.0, 0.25, 0.5, 0.75)]
    assert rates == [1.0, 0.5, 1.0, 0.5]


def test_points_learn_to_find_each_other():
    torch.manual_seed(0)
    images = streets(2, seed=0, size=(64, 96))
    settings = make_settings(PairingNet.Settings, PLAIN | {"first": 1.0, "turn": 0.0})
    method = PairingNet(fallow.encoder("resnet8/8"), settings, Facts(2, 64)).train()
    method.beside("images", images, images.pack(64), 0)
    held = method.stream(np.arange(2), 0)
    batch = Batch([], [], torch.arange(2), torch.arange(2), torch.zeros(1, 2, 2, 3), beside=held)
    adam = torch.optim.Adam(method.network.parameters(), lr=3e-3)
    sure = []
    for step in range(40):
        found = method.loss(batch, Now(step, 0, 0.0, 1))
        adam.zero_grad()
        found.total.backward()
        adam.step()
        sure.append(float(found.parts["sure"]))
    assert np.mean(sure[-3:]) > 10 * np.mean(sure[:3])


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    with pytest.raises(Stop):
        train(tmp_path / "run", each_epoch=stop, save_minutes=0.0)
    resumed, unbroken = train(tmp_path / "run", save_minutes=0.0), train(save_minutes=0.0)
    ours, theirs = resumed.method.state_dict(), unbroken.method.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    loaded, matcher = load_matcher(tmp_path / "run"), Matcher.of(resumed.method)
    assert loaded.typical == matcher.typical > 0
    some = seen(whole(np.zeros((40, 60, 3), np.uint8)), Look(2))
    torch.testing.assert_close(loaded.know([some]).points[0], matcher.know([some]).points[0])
    with pytest.raises(SourceProblem, match=r"matcher\.json is missing"):
        load_matcher(tmp_path)


def test_pieces_come_from_opacity_or_from_a_plain_ground():
    scan = np.full((80, 120, 3), 240, np.uint8)
    scan[10:60, 10:50], scan[20:70, 70:110] = (150, 40, 40), (30, 60, 160)
    assert [piece.area for piece in pieces_in(scan)] == [2000, 2000]
    opacity = np.zeros((80, 120), np.uint8)
    opacity[:40, :60] = 255
    (one,) = pieces_in(scan, opacity)  # it may touch the picture's edge
    assert one.area == 2400


def test_scans_that_cannot_be_cut_say_why():
    ground = np.full((60, 80, 3), 240, np.uint8)
    with pytest.raises(NoOutline, match="no piece stands out"):
        pieces_in(ground)
    touching = ground.copy()
    touching[20:40, :9] = 0
    with pytest.raises(SourceProblem, match="reaches the edge"):
        pieces_in(touching)
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    with pytest.raises(SourceProblem, match="not one plain colour"):
        pieces_in(noise)
    with pytest.raises(NoOutline, match="nothing in it is opaque"):
        pieces_in(ground, np.zeros((60, 80), np.uint8))


def opaque(*sizes):
    """Pictures of rectangles with opacity."""
    found = []
    for k, (height, width) in enumerate(sizes):
        pixels = np.full((height + 8, width + 8, 4), 40 * (k + 1), np.uint8)
        pixels[..., 3] = 0
        pixels[4:-4, 4:-4, 3] = 255
        found.append(pixels)
    return open_images(found)


def test_pieces_that_cannot_be_matched_are_refused_in_one_sentence():
    with pytest.raises(SourceProblem, match="holds one piece"):
        gathered(opaque((40, 50)))
    one = opaque((40, 50)).store.pixels
    same = open_images([next(iter(one.values()))] * 3)
    with pytest.raises(SourceProblem, match="copies of 000000"):
        gathered(same)
    empty = open_images([np.zeros((40, 50, 4), np.uint8)] * 2)
    with pytest.raises(SourceProblem, match="nothing in it is opaque"):
        gathered(empty)


def test_a_copy_of_a_piece_counts_once():
    first, second = opaque((40, 50), (50, 40)).store.pixels.values()
    found = gathered(open_images([first, second, first]))
    assert len(found) == 2
    assert "copy of another" in found.notes[0]


def test_outlines_too_short_are_named():
    with pytest.raises(NoOutline, match="are the least"):
        seen(whole(np.zeros((8, 8, 3), np.uint8)), Look(4))
    assert FEWEST == 17


def test_pieces_teach_within_their_masks():
    images = to_learn_from(gathered(torn(seed=2, side=96)))
    mask = images.mask(0) > 0
    found = tear(images[0], Tear.at(40), np.random.default_rng(0))
    inner = torn_up(whole(images[0], mask), Tear.at(40), Look(1), np.random.default_rng(0),
                    turn=0, touching=4)  # fmt: skip
    assert sum(piece.area for piece in found) == mask.size
    assert sum(piece.area for piece in inner.pieces) <= mask.sum()
    assert (on_ground(inner.pieces[0]).shape[:2]) == inner.pieces[0].mask.shape


def test_untrained_networks_lay_nothing_wrongly_and_maps_fit_the_full_size():
    matcher = Matcher.of(train(epochs=1).method)
    fragments = gathered(torn(seed=2, side=128))
    found = put_together(matcher, fragments, candidates=2)
    assert found.alike.shape == (len(fragments), len(fragments))
    assert (np.diag(found.alike) == -1).all()
    for join in found.joins:  # at full size the map does what it did at the matched one
        points = found.points(join.source, np.arange(5))
        laid_ = moved(points, found.map(join))
        expected = moved(found.outlines[join.source].points[:5].astype(float), join.map)
        shift = (found.scale - 1) / 2 + 1
        assert np.allclose(laid_ * found.scale + shift, expected)
