"""Which images are to be forgotten, what a model was trained on, and how to train it again."""

from __future__ import annotations

import difflib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fallow.encoders import encoder as encoder_of
from fallow.images import Images, opened, tables
from fallow.images.shelf import Shelf
from fallow.methods.forget import laf
from fallow.methods.forget.laf import Pool, Settings
from fallow.methods.learn.supervised import Supervised
from fallow.problems import SettingProblem, SourceProblem, did_you_mean
from fallow.train import fit, make_settings

if TYPE_CHECKING:
    from fallow.encoders.base import Preprocessing

LISTS = (".csv", ".tsv", ".parquet", ".jsonl")  # tables with a column of paths; else lines of text


@dataclass
class Parts:
    """The images, sorted by what is to become of them."""

    kept: Images
    forgotten: Images
    test: Images | None
    fingerprint: str  # of kept and forgotten together, as they were opened
    notes: list[str] = field(default_factory=list)

    @property
    def each(self) -> dict[str, Images]:
        found = {"kept": self.kept, "forgotten": self.forgotten}
        return found if self.test is None else found | {"test": self.test}

    @property
    def total(self) -> int:
        return len(self.kept) + len(self.forgotten)


def parts_of(forget: Any, images: Images, test: Any) -> Parts:
    images, unseen = _by_split(images) if test is None else (images, opened(test))
    names, notes = _names(forget), []
    hashes = images.column("hash")
    if names is not None:
        forgotten = images.select(_rows(names, images))
        gone = np.isin(hashes, forgotten.column("hash"))
        if (extra := int(gone.sum()) - len(forgotten)) > 0:
            notes.append(f"{extra:,} exact copies of images to forget are not kept either")
    else:
        forgotten = opened(forget)
        gone = np.isin(hashes, forgotten.column("hash"))
        if len(forgotten) and not gone.any():
            raise SourceProblem(
                f"none of the {len(forgotten):,} images of {forgotten.name} is among those of "
                f"{images.name}: keep= must hold the images the model was trained on"
            )
        if strange := int((~np.isin(forgotten.column("hash"), hashes)).sum()):
            notes.append(f"{strange:,} images to forget are not among those of {images.name}")
        else:
            forgotten = images.select(gone)  # with their labels
    if not len(forgotten):
        raise SourceProblem("there is nothing to forget: the list names no image")
    kept = images.select(~gone)
    if not len(kept):
        raise SourceProblem(
            f"all {len(images):,} images of {images.name} are to be forgotten: keep some, "
            "or train a new model"
        )
    return Parts(kept, forgotten, unseen, images.fingerprint, notes)


def _by_split(images: Images) -> tuple[Images, Images | None]:
    """The images for training, and those for testing if the collection says which they are."""
    if "split" not in images.columns:
        return images, None
    split = images.column("split")
    train, test = split == "train", split == "test"
    if not train.any() or not test.any():
        return images, None
    return images.select(train), images.select(test)


def _names(forget: Any) -> list[str] | None:
    """The names of a list of images; None for a folder or archive of them."""
    if hasattr(forget, "map") and hasattr(forget, "problems"):
        return None
    if not isinstance(forget, str | os.PathLike):
        return [str(name) for name in forget]
    path = Path(forget)
    if not path.exists():
        raise SourceProblem(
            f"there is no {path}: forget= is a text file with one image path in each line, a CSV "
            "with a column path, or a folder of images"
        )
    if path.is_dir() or path.name.endswith((".zip", ".tar", ".gz", ".tgz")):
        return None
    if path.suffix.lower() in LISTS:
        table = tables.read_table(path.read_bytes(), path.name)
        return [
            str(name) for name in table.column(tables.path_column(table, path.name)).to_pylist()
        ]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise SourceProblem(f"{path} is not a text file with one image path in each line") from None
    return [line.strip() for line in lines if line.strip()]


def _rows(names: Iterable[str], images: Images) -> np.ndarray:
    """Rows of the images that are named by path, id or address."""
    known: dict[str, int] = {}
    for row, (path, key) in enumerate(zip(images.column("path"), images.column("id"), strict=True)):
        for name in (path, key, images.address(row)):
            known.setdefault(str(name), row)
    asked = list(dict.fromkeys(name.removeprefix("./") for name in names))
    unknown = [name for name in asked if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], images.column("path").tolist(), n=1)
        hint = f"did you mean {near[0]}?" if near else "names are paths below that folder"
        shown = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        count = "an image" if len(unknown) == 1 else f"{len(unknown):,} images"
        raise SourceProblem(
            f"the list to forget names {count} that {images.name} does not have ({shown}): {hint}"
        )
    return np.array(sorted({known[name] for name in asked}), np.int64)


def label_names(parts: Parts) -> list[str]:
    """Class names in the order a folder of folders gives them."""
    return sorted({name for images in parts.each.values() for name in images.labels[1]})


def check_embedding(subject: Any, pool: Pool) -> None:
    one = pool.look(np.arange(1))
    embedding = subject.embed(one)
    if not embedding.requires_grad:
        raise SettingProblem(
            "nothing that could be learnt comes before the embedding: name a later layer, and "
            "a model whose parameters take gradients"
        )
    with torch.no_grad():
        outputs = subject(one).shape[1]
    if outputs == 1:
        raise SettingProblem(
            "the model knows a single class, so there is nothing it tells apart or could forget"
        )
    if not subject.names:
        subject.names = [f"output {number}" for number in range(outputs)]
    if outputs != len(subject.names):
        raise SettingProblem(
            f"the model has {outputs} outputs and there are {len(subject.names)} class names: "
            "give names= in the order of its outputs"
        )


def check_told_apart(subject: Any, parts: Parts, codes: Mapping[str, np.ndarray]) -> None:
    """Something must be left to tell apart, and labels must be the model's."""
    known = codes["kept"][codes["kept"] >= 0]
    if "label" in parts.kept.columns and len(parts.kept.labels[1]) and not len(known):
        theirs, ours = parts.kept.labels[1][0], subject.names
        raise SettingProblem(
            f"the model knows none of the labels of these images, such as {theirs}: "
            f"{did_you_mean(theirs, ours[:20])}"
        )
    if len(known) and len(np.unique(known)) == 1:
        raise SourceProblem(
            f"only images of one class ({subject.names[known[0]]}) would be kept: nothing would "
            "be left to tell apart"
        )


def shelves_of(parts: Parts, preprocessing: Preprocessing) -> dict[str, Shelf]:
    found = {}
    for name, images in parts.each.items():
        found[name] = Shelf(images, preprocessing.fit, preprocessing.short)
        if not len(found[name]):
            raise SourceProblem(f"none of the {name} images ({len(images):,}) can be decoded")
        if (lost := len(images) - len(found[name])) > 0:
            parts.notes.append(f"{lost:,} {name} images cannot be decoded and are left out")
    return found


def pool_of(shelf: Shelf, subject: Any, device: torch.device) -> Pool:
    how = subject.preprocessing
    return Pool(len(shelf), lambda places: how.normalise(shelf.look(places).to(device)))


def repaired(
    model: Any, shelf: Shelf, codes: np.ndarray, settings: Settings, device: torch.device, seed: int
) -> None:
    known = codes[shelf.rows]
    few = laf.few_of_each(known, settings.repair, seed)
    if len(np.unique(known[few])) < 2:
        raise SourceProblem("repair needs labelled kept images of at least two classes")
    how = model.preprocessing
    pool = laf.Pool(len(few), lambda places: how.normalise(shelf.look(few[places]).to(device)))
    laf.repair(model, pool, known[few], settings, seed=seed)


@dataclass(frozen=True)
class Training:
    encoder: str
    options: dict[str, Any]
    settings: dict[str, Any]
    seed: int


def training_of(model: Any) -> Training:
    """How the model was trained, from the folder of its run."""
    path = Path(model) / "run.json" if isinstance(model, str | os.PathLike) else None
    if path is None or not path.is_file():
        raise SettingProblem(
            "only the folder of a run says how to train it again: give that, or hand over a "
            "retrained model as retrain="
        )
    about = json.loads(path.read_text())
    if about.get("method") != "Supervised":
        raise SettingProblem(f"{model} was not trained by the method supervised: leave out retrain")
    described = json.loads((path.parent / "encoder" / "encoder.json").read_text())
    name = about["about"].get("encoder") or about["encoder"]
    hub = name.startswith(("hf:", "timm:"))
    size = described["preprocessing"]["size"]
    options = {"size": size} if hub or Path(name).exists() else described["options"]
    return Training(name, options, about["settings"], int(about["seed"]))


def retrained(run: Training, parts: Parts) -> tuple[Any, float]:
    """The same training without the forgotten images, and its seconds."""
    again = encoder_of(run.encoder, seed=run.seed, **run.options)
    clock = time.perf_counter()
    fitted = fit(
        Supervised,
        parts.kept,
        encoder=again,
        settings=make_settings(Supervised.Settings, run.settings),
        seed=run.seed,
    )
    method: Any = fitted.method
    return method.classifier, time.perf_counter() - clock


def other_images(folder: Path, parts: Parts) -> list[str]:
    """A note when the run was trained on other images than are kept and forgotten here."""
    path = folder / "run.json"
    trained = json.loads(path.read_text()).get("images") if path.is_file() else None
    if not trained or parts.fingerprint in trained.values():
        return []
    return ["These are not exactly the images the run was trained on."]
