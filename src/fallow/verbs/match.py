"""`match`: torn pieces laid together again, or the photo that a sketch shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from fallow import declare, encoders
from fallow.images import Images, opened
from fallow.images.sketch_files import read_sketch
from fallow.measure.scores import split_of
from fallow.methods import budget, find, settle
from fallow.methods.match.pairingnet import Matcher, load_matcher
from fallow.methods.shared.joining import gathered, put_together, to_learn_from
from fallow.methods.shared.sketching import (
    Finder,
    Search,
    asked,
    load_finder,
    with_sketches,
    without_sketches,
)
from fallow.outcomes import Result, counted, writable
from fallow.outcomes.matched import Assembled, Retrieved
from fallow.problems import SettingProblem
from fallow.report.match import pieces_page, sketches_page
from fallow.train import fit, make_settings

MINUTES = 10.0
ASKED = 5  # one drawn photo in so many is kept to ask about, where no split says which
FEW = 10  # with fewer drawn photos all are learnt from


@declare.verb(
    example="fallow match pieces/ --whole photos/ --minutes 30",
    out="{name}-match",
    systems="match",
    system="method",
)
def match(
    source: declare.Source,
    *,
    whole: Annotated[Any, declare.Option("folder of complete pictures to learn tears from")] = None,
    sketch: Annotated[Any, declare.Option("SVG, PNG or stroke JSON: find its photo", Path)] = None,
    sketches: Annotated[
        Any, declare.Option("folder of sketches called like the photos they show", Path)
    ] = None,
    run: Annotated[
        declare.Address | None, declare.Option("folder of an earlier run: learn nothing", Path)
    ] = None,
    where: declare.Where = None,
    method: Annotated[
        str | None, declare.Option("pairingnet or fgsbir; decided if left out")
    ] = None,
    encoder: declare.EncoderName = None,
    candidates: Annotated[
        int, declare.Option("neighbours tried for each piece", int, seldom=True)
    ] = 10,
    minutes: declare.Minutes = None,
    epochs: declare.Epochs = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    seed: declare.Seed = 0,
    tell: declare.Tell = declare.silent,
    progress_bar: declare.Bar = False,
) -> Result:
    """Lay torn pieces together, or find the photo that a sketch shows.

    Pieces are pictures with their ground cut away, or scans on a plain ground. Which fit is learnt
    from complete pictures (`whole`) that are torn by the machine, or without any from the pieces,
    torn further. With `sketch` the source is photos; a few of them must have sketches (`sketches`,
    or a column `sketch`), from which drawing and finding are learnt. `run` uses what an earlier
    run learnt. The run's folder keeps the networks, the report, and groups of pieces as pictures.

    >>> from fallow.images.samples import torn
    >>> small = {"size": 64, "blocks": 1, "depth": 1, "batch": 2, "layouts": 1, "touching": 4}
    >>> result = match(torn(seed=1, side=96), epochs=1, settings=small)
    >>> result.table.num_rows > 8, "neighbours" in result.table.column_names
    (True, True)
    """
    drawn = sketch is not None or sketches is not None
    slug = method or ("fgsbir" if drawn else "pairingnet")
    given = budget(settle("match", slug, settings, preset), minutes, epochs, MINUTES)
    if run is not None and (settings or preset or minutes or epochs or encoder is not None):
        raise SettingProblem("a saved run learns no more: leave settings, encoder and budget out")
    images = opened(source, where=where)
    place = None if out is None else writable(out)
    how = {"out": place and place / "run", "seed": seed, "tell": tell, "bar": progress_bar}
    if slug == "fgsbir":
        return _by_sketch(images, sketch, sketches, run, encoder, given, how).saved(place)
    return _pieces(images, whole, run, candidates, given, how).saved(place)


def _pieces(
    images: Images,
    whole: Any,
    run: Any,
    candidates: int,
    given: Mapping[str, Any],
    how: Mapping[str, Any],
) -> Assembled:
    fragments = gathered(images)
    notes = list(fragments.notes)
    facts: dict[str, Any] = {"learnt": f"learnt by {Path(run).name}" if run is not None else ""}
    if run is not None:
        matcher = load_matcher(Path(run) / "run" if (Path(run) / "run").is_dir() else run)
    else:
        teach = to_learn_from(fragments) if whole is None else opened(whole)
        if whole is None:
            notes.append(
                "No complete pictures were given, so the pieces themselves were torn to learn "
                "from: --whole with pictures of the same kind teaches more."
            )
        smallest = encoders.encoder("resnet8/8", seed=how["seed"])  # fit wants one; it stays as is
        done = _learnt("pairingnet", teach, smallest, given, how)
        matcher = Matcher.of(done.method)
        facts |= {"learnt": f"learnt from {teach.name}", "seconds": round(done.seconds, 1)}
        notes += done.warnings
    assembly = put_together(
        matcher, fragments, candidates=candidates, seed=how["seed"], tell=how["tell"]
    )
    notes += [note for note in assembly.fragments.notes if note not in notes]
    facts["settings"] = matcher.settings.model_dump()
    return Assembled(images, assembly, facts, notes, pieces_page)


def _by_sketch(
    images: Images,
    sketch: Any,
    sketches: Any,
    run: Any,
    encoder: Any,
    given: Mapping[str, Any],
    how: Mapping[str, Any],
) -> Retrieved:
    images = without_sketches(images, sketches)
    files = [] if sketch is None else [sketch] if isinstance(sketch, str | Path) else list(sketch)
    queries = {Path(file).name: read_sketch(file) for file in files}
    notes: list[str] = []
    facts: dict[str, Any] = {}
    if run is not None:
        finder = load_finder(Path(run) / "run" if (Path(run) / "run").is_dir() else run)
    else:
        pairs = with_sketches(images, sketches)
        teach, ask = _halves(pairs, how["seed"])
        size = given.get("size", find("match", "fgsbir").Settings.model_fields["size"].default)
        start = encoders.encoder(encoder or "tiny", seed=how["seed"], size=size)
        start.whitening = None  # what learns is the network
        how["tell"](f"{counted(len(teach), 'drawn photo')} of {len(images):,} to learn from")
        bare = images.select(~np.isin(images.column("id"), ask.column("id")))
        streams = {"unlabelled": bare, "labelled": teach}
        done = _learnt("fgsbir", streams, start, given, how)
        finder = Finder.of(done.method)
        notes += done.warnings
        facts |= {"seconds": round(done.seconds, 1), "settings": done.settings.model_dump()}
        if len(ask):
            facts["measured"] = asked(finder, ask, images)
    search = Search(finder, images)
    found = {name: search.while_drawn(strokes) for name, strokes in queries.items()}
    facts["encoder"] = finder.encoder.name
    return Retrieved(images, queries, found, facts, notes, sketches_page)


def _learnt(slug: str, images: Any, encoder: Any, given: Any, how: Mapping[str, Any]) -> Any:
    kind = find("match", slug)
    return fit(
        kind,
        images,
        encoder=encoder,
        settings=make_settings(kind.Settings, given),
        out=how["out"],
        seed=how["seed"],
        tell=how["tell"],
        progress_bar=how["bar"],
    )


def _halves(pairs: Images, seed: int) -> tuple[Images, Images]:
    """Drawn photos to learn from and to ask about, a photo's sketches on one side."""
    if (parts := split_of(pairs)) is not None:
        return pairs.select(parts[0]), pairs.select(parts[1])
    if len(set(pairs.column("id"))) < FEW:
        return pairs, pairs.select(np.zeros(len(pairs), bool))
    return pairs.split(1 - 1 / ASKED, seed, by="id")
