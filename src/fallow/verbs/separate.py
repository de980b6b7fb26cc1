"""`separate`: one sound out of a recording, asked for by words or by a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch

from fallow import declare
from fallow.encoders.dual import DualEncoder, dual_encoder
from fallow.images import tables
from fallow.images.decode import decode
from fallow.images.places import place
from fallow.methods import settle
from fallow.methods.separate import clipsep
from fallow.outcomes.heard import Heard
from fallow.problems import SettingProblem, SourceProblem
from fallow.report.separate import separate_page
from fallow.sounds.reading import read_sound

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@declare.verb(
    example='fallow separate street.wav "a dog" --run dogs/ --out apart/',
    out="{name}-separated",
    systems="separate",
    system="clipsep",
)
def separate(
    source: Annotated[Any, declare.Option("sound file or video", Path, argument=True)],
    query: Annotated[str, declare.Option("words, or a picture of what to hear", argument=True)],
    *,
    run: Annotated[
        declare.Address | None, declare.Option("folder of an earlier run: only separate", Path)
    ] = None,
    pairs: Annotated[
        Any, declare.Option("to learn from: CSV with the columns sound and picture (or text)")
    ] = None,
    encoder: Annotated[Any, declare.Option("run of align, or hf:NAME of a CLIP")] = None,
    out: declare.Out = None,
    preset: declare.Preset = None,
    settings: declare.Settings = None,
    tell: declare.Tell = declare.silent,
) -> Heard:
    """Take out of a recording what words, or a picture, ask for.

    Learnt from `pairs` of a sound and a picture of what is heard, in the space of a dual encoder
    (`encoder`), where words stand beside pictures; or by an earlier `run`. With `out`, what was
    asked for and what is left become WAV files, with spectra to look at in the report. Recordings
    of any length: memory does not grow with them.
    """
    told: list[float] = []
    if run is not None:
        if pairs is not None or encoder is not None:
            raise SettingProblem("a saved run has its pairs and its encoder: leave both out")
        separator, name = clipsep.load_separator(Path(run) / "separator")
        dual = dual_encoder(name)
    else:
        if pairs is None or encoder is None:
            raise SettingProblem(
                "separate learns from pairs of sounds and pictures, in the space of a dual "
                "encoder: give both with pairs and encoder, or the folder of an earlier run"
            )
        name, dual = str(encoder), dual_encoder(str(encoder))
        plan = clipsep.Settings(**settle("separate", "clipsep", settings, preset))
        clips, vectors = _read(pairs, dual, plan.rate)
        tell(f"learning from {len(clips):,} pairs")
        learnt = clipsep.learnt(clips, vectors, plan, tell)
        separator, told = learnt.separator, learnt.losses
        if out is not None:
            clipsep.save_separator(separator, Path(out) / "separator", name)
    samples = read_sound(source, separator.settings.rate)
    asked = torch.from_numpy(_vector(query, dual))[None]
    made = separator.separate(samples, asked)[0]
    table = pa.table(
        {
            "query": [query],
            "seconds": [len(samples) / separator.settings.rate],
            "share": [float(np.square(made).sum() / max(float(np.square(samples).sum()), 1e-12))],
        }
    )
    about = {"source": str(source), "query": query, "encoder": name, "losses": told,
             "settings": separator.settings.model_dump()}  # fmt: skip
    return Heard(table, samples, made, about, separate_page).saved(out)


def _vector(query: str, dual: DualEncoder) -> np.ndarray:
    """The vector of words, or of a picture if the query is the name of one."""
    if Path(query).suffix.lower() in PICTURES:
        return _seen(Path(query), dual)
    if not query.strip():
        raise SettingProblem("say in words what is to be heard, or name a picture of it")
    return clipsep.asking(dual.embed_texts([query], normalise=False)[0])


def _seen(path: Path, dual: DualEncoder) -> np.ndarray:
    if not path.is_file():
        raise SourceProblem(f"there is no picture {path}: check the name")
    return clipsep.asking(dual.embed_images([decode(path.read_bytes(), 512)], normalise=False)[0])


def _read(pairs: Any, dual: DualEncoder, rate: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips, and the vectors of what is seen or said with them."""
    where = place(pairs)
    if not where.is_file():
        raise SourceProblem(f"there is no file of pairs {pairs}: check the name")
    table = tables.read_table(where.read(), where.name)
    names = table.column_names
    if "sound" not in names or not {"picture", "text"} & set(names):
        raise SourceProblem(f"{where.name} needs the columns sound and picture (or text)")
    near = Path(str(pairs)).parent
    clips, vectors = [], []
    for row in table.to_pylist():
        clips.append(read_sound(near / row["sound"], rate))
        if row.get("picture"):
            vectors.append(_seen(near / row["picture"], dual))
        else:
            vectors.append(_vector(str(row.get("text") or ""), dual))
    return clips, np.stack(vectors)
