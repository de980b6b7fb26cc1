"""PyramidCLIP as a whole: which terms there are, six passes, missing things, and that it learns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

import fallow
from fallow.encoders.dual import dual_encoder
from fallow.images.captions import with_captions
from fallow.methods import find
from fallow.methods.align.pyramidclip import TERMS, PyramidCLIP, ablation, term_weights
from fallow.problems import SettingProblem
from fallow.regions.objects import Salient, region_table, with_objects, with_region_columns
from fallow.train import Batch, Now, make_settings
from fallow.train.method import Facts

from .captioned import KINDS, PLAIN, drawn, losses, same_weights, sorted_by_words, train

WIDTH = 6
PYRAMID = {"thing_width": WIDTH, "things": 3}


def with_things(images, tags=True, lacking=()):
    """One thing for most pictures: its colour and kind as numbers, and in words."""
    table = np.full((len(images), 2, WIDTH), np.nan, np.float32)
    words = []
    pairs = zip(images.column("colour"), images.column("label"), strict=True)
    for row, (colour, kind) in enumerate(pairs):
        words.append("" if row in lacking else f"{colour} {kind}")
        if row not in lacking:
            table[row, 0] = [ord(colour[0]) / 100, ord(kind[0]) / 100, 0.1, 0.1, 0.9, 0.9]
    return with_region_columns(images, table, words if tags else [])


def run(images=None, encoder="vit-pico/4", **values):
    return train("pyramidclip", images, encoder=encoder, **{"learning_rate": 0.02, **values})


class Stop(Exception):
    pass


def stop(*_):
    raise Stop


def test_terms_there_are_weigh_one_together():
    every = {one for term in TERMS.values() for one in term[:2]}
    assert term_weights(every, 1 / 3, 1 / 3) == pytest.approx(dict.fromkeys(TERMS, 1 / 6))
    assert term_weights(every - {"tags"}, 1 / 3, 1 / 3) == pytest.approx(
        dict.fromkeys(("GS", "LT", "RS", "RT"), 1 / 4)
    )
    assert set(term_weights(every, 1.0, 0.0)) == {"GA", "RS"}
    with pytest.raises(SettingProblem, match="no pair of levels"):
        term_weights({"global", "summary", "local", "caption"}, 1.0, 0.0)


def test_it_learns_with_all_six_terms():
    images = with_things(drawn(96))
    encoder = fallow.encoder("resnet8/8", pool_side=4, size=16)
    made = run(images, encoder, epochs=12, batch=32, learning_rate=0.03, **PYRAMID)
    assert {*TERMS} <= set(made.history[-1])
    assert losses(made)[-1] < 0.9 * losses(made)[0]
    assert sorted_by_words(made.method.dual(), drawn(96, seed=9)) > 0.35  # chance is a twelfth


@pytest.mark.parametrize("encoder", ["vit-pico/4", "local-vit-pico/4"])
def test_the_last_blocks_of_a_transformer_read_things(encoder):
    made = run(with_things(drawn()), encoder, **PYRAMID)
    assert {*TERMS} <= set(made.history[-1])
    assert np.isfinite(losses(made)).all()
    frozen = [name for name, p in made.method.named_parameters() if not p.requires_grad]
    assert bool(frozen) == encoder.startswith("local")  # its patches' map stays as it began


def test_without_things_only_the_peers_are_left():
    made = run(encoder="resnet8/8")
    assert set(TERMS) & set(made.history[-1]) == {"GS", "LT"}


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(tmp_path):
    images, how = with_things(drawn(), lacking=range(5)), {"epochs": 3, **PYRAMID}
    whole = run(images, **how)
    with pytest.raises(Stop):
        run(images, out=tmp_path / "run", each_epoch=stop, save_minutes=0.0, **how)
    rest = run(images, out=tmp_path / "run", save_minutes=0.0, **how)
    assert same_weights(whole, rest)
    dual = dual_encoder(tmp_path / "run")  # afterwards neither things nor tags are needed
    assert dual.words.text.shape.pool == "max"
    np.testing.assert_array_equal(
        dual.embed_texts(["a disc"], normalise=True),
        rest.method.dual().embed_texts(["a disc"], normalise=True),
    )


def build(encoder="vit-pico/4", **values):
    torch.manual_seed(0)
    settings = make_settings(PyramidCLIP.Settings, PLAIN | PYRAMID | values)
    made = PyramidCLIP(fallow.encoder(encoder, size=16), settings, Facts(8, 20, texts=("a b", "c")))
    return made.eval()


def batch(method, count=6, things=3, known=None):
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(count, 3, 16, 16, generator=generator) for _ in range(2)]
    texts = [f"a {kind} {k}" for k, kind in zip(range(count), KINDS * count, strict=False)]
    each = torch.ones(count, things, dtype=torch.bool) if known is None else known
    beside = {name: method.words.read([f"{name} {text}" for text in texts])
              for name in ("caption", "summary", "tags")}  # fmt: skip
    beside |= {
        "tags_known": torch.ones(count, dtype=torch.bool),
        "regions": torch.randn(count, things, WIDTH, generator=generator),
        "regions_each": each,
        "regions_known": each.any(1),
    }
    return Batch(views, views, torch.arange(count), torch.full((count,), -1),
                 torch.zeros(2, count, 2, 3), beside=beside)  # fmt: skip


NOW = Now(0, 0, 0.0, 3)


def test_six_passes_are_enough_for_six_terms():
    method = build()
    seen = {"pictures": 0, "texts": 0, "rear": 0}

    def count(name):
        return lambda *_: seen.update({name: seen[name] + 1})

    method.encoder.register_forward_hook(count("pictures"))
    method.words.text.register_forward_hook(count("texts"))
    method.encoder.network.blocks[-1].register_forward_hook(count("rear"))
    method.encoder.network.blocks[0].register_forward_hook(count("pictures"))
    loss = method.loss(batch(method), NOW)
    assert {*TERMS} <= set(loss.parts)
    assert seen == {"pictures": 4, "texts": 3, "rear": 3}  # whole and part; things from the rear


def test_the_total_is_the_mean_of_all_six():
    method = build()
    loss = method.loss(batch(method), NOW)
    mean = sum(float(loss.parts[name]) for name in TERMS) / 6
    assert float(loss.total.detach()) == pytest.approx(mean, rel=1e-5)


def test_things_that_are_not_there_change_nothing():
    method = build()
    some = batch(method)
    each = torch.tensor([[True, True, False]] * 6)
    few = method.thing_vectors(some.beside["regions"][:, :2], each[:, :2])
    padded = some.beside["regions"].clone()
    padded[:, 2] = 99.0
    torch.testing.assert_close(method.thing_vectors(padded, each), few, rtol=1e-4, atol=1e-5)


def test_pictures_without_things_take_no_part_in_their_terms():
    method = build()
    each = torch.ones(6, 3, dtype=torch.bool)
    each[4:] = False
    whole = batch(method, known=each)
    loss = method.loss(whole, NOW)
    rest = batch(method)
    first = slice(0, 4)
    rest.beside = {name: one[first] for name, one in rest.beside.items()}
    rest.views = [view[first] for view in rest.views]
    rest.index = rest.index[first]
    few = method.loss(rest, NOW)
    for name in ("RS", "RT"):
        torch.testing.assert_close(loss.parts[name], few.parts[name], rtol=1e-4, atol=1e-5)
    assert float(loss.parts["GS"]) != pytest.approx(float(few.parts["GS"]), abs=1e-3)
    nobody = batch(method, known=torch.zeros(6, 3, dtype=torch.bool))
    assert float(method.loss(nobody, NOW).parts["RS"]) == 0


def test_summaries_are_made_where_none_are_given_and_taken_where_they_are():
    images = drawn(12)
    keys = images.column("id")
    images = with_captions(images, {key: f"Photo of thing {k}; nice" for k, key in enumerate(keys)})
    method = build()
    pack = images.pack(side=20)

    def read(found):
        beside = method.beside("images", found, pack, 0)(np.arange(12), 0)
        return [method.words.tokeniser.decode(row) for row in beside["summary"].tolist()]

    assert read(images)[3] == "thing 3"
    own = images.join(pa.table({"path": keys, "summary": [f"own {k}" for k in range(12)]}))
    assert read(own)[3] == "own 3"


def test_things_are_found_without_a_detector_and_kept():
    images = drawn(8, side=64)
    encoder = fallow.encoder("untrained")
    made = []

    def name_them(vectors):
        made.append(len(vectors))
        return ["thing"] * len(vectors)

    provider = Salient(encoder, count=4, name_them=name_them, naming="test")
    found = with_objects(images, provider)
    assert sum(made) > 0
    table, known = region_table(found, np.arange(8), 4)
    assert table.shape[2] == encoder.dimension + 4
    assert known[:, 0].all()  # one thing on dark ground stands out in every picture
    boxes = table[known][:, -4:]
    assert (boxes[:, 0] < boxes[:, 2]).all()
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert np.abs(middle[0] - 0.5).max() < 0.2  # the most salient is the thing that was drawn
    assert set(found.column("tags")) == {"thing"}
    before = len(made)
    again = with_objects(images, provider)
    assert len(made) == before  # kept
    assert again.column("tags").tolist() == found.column("tags").tolist()
    assert PyramidCLIP.suited(found) == {"thing_width": encoder.dimension + 4}
    assert PyramidCLIP.suited(images) == {}


def test_what_cannot_be_built():
    with pytest.raises(SettingProblem, match="has neither"):
        build("resnet8/8")
    with pytest.raises(SettingProblem, match="together weigh at most 1"):
        build(across_global=0.7, across_local=0.6)
    with pytest.raises(SettingProblem, match="have 6 numbers"):
        run(with_things(drawn()), thing_width=7)
    bad = drawn(4)
    bad = bad.join(pa.table({"path": bad.column("path"), "regions": [[[1.0]], [[1.0, 2.0]], None,
                                                                    None]}))  # fmt: skip
    with pytest.raises(SettingProblem, match="as many numbers"):
        region_table(bad, np.arange(4), 2)


def test_presets_and_rows_of_the_ablation_are_valid_settings():
    assert find("align", "pyramidclip") is PyramidCLIP
    for values in [*PyramidCLIP.presets.values(), *ablation().values()]:
        make_settings(PyramidCLIP.Settings, values)
