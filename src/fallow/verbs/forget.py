"""`forget`: take images out of a trained model without retraining it, and measure what is left."""

from __future__ import annotations

import copy
import datetime
import difflib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.device import best_device
from fallow.images import opened
from fallow.outcomes.result import Result, writable
from fallow.problems import SettingProblem, SourceProblem, did_you_mean

if TYPE_CHECKING:
    import torch

    from fallow.encoders.base import Preprocessing
    from fallow.images import Images
    from fallow.images.shelf import Shelf
    from fallow.methods.forget.laf import Pool, Settings

LISTS = (".csv", ".tsv", ".parquet", ".jsonl")  # tables with a column of paths; else lines of text
BATCH = 256
LOST = 0.1  # forgotten images recognised this much worse than unseen ones stand out themselves
ACCURACIES = ("kept", "forgotten", "test", "test_kept", "test_forgotten")
CAUTION = (
    "This is measured, not certified: nothing here proves that no trace is left. Copies of the "
    "images themselves are not touched, nor is fallow's cache of them (fallow cache clear)."
)


class Forgotten(Result):
    """What `forget` returns: the edited model, and a row of measures for every model compared."""

    def __init__(self, model: Any, table: pa.Table, findings: Mapping[str, Any]) -> None:
        super().__init__(table, headlines=findings["headlines"], findings=findings, page=_page)
        self.model = model

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model (safetensors), the table, the report and what was measured."""
        from fallow.encoders.classifier import Classifier, save_classifier
        from fallow.files import write_json

        place = writable(folder)
        if isinstance(self.model, Classifier):
            save_classifier(self.model, place)
        else:
            _save_weights(self.model, place / "model.safetensors")
        super().save(place)
        write_json(place / "forget.json", self.findings)
        return place


def forget(
    model: Any,
    *,
    forget: Any,
    keep: Any,
    test: Any = None,
    labels: Any = None,
    where: str | None = None,
    layer: str | None = None,
    preprocessing: Preprocessing | None = None,
    names: Sequence[str] | None = None,
    retrain: Any = False,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Forgotten:
    """Make a model forget some of the images it was trained on, without their labels.

    `model` is the folder of a run of `fallow learn --method supervised`, a Classifier, an
    (encoder, head) pair, or any torch classifier with the name of its embedding `layer`, its
    `preprocessing` and, in the order of its outputs, the `names` of its classes. `keep` are the
    images it was trained on; `forget` names some of them (a list of paths, a file with such a
    list) or is a folder of copies of them. Labels only serve to measure the result, and to repair
    the head if the settings say so. `test` are images the model never saw; without them, those
    whose `split` is test. `retrain` trains the run again without the forgotten images, for
    comparison; a model that was retrained already may be given instead.

    The model is not changed: the result's `.model` is an edited copy. No picture of a forgotten
    image is written anywhere.

    >>> import fallow
    >>> from fallow.images.samples import shapes
    >>> images = shapes(32, seed=0, side=24)
    >>> run = fallow.learn(images, method="supervised", encoder="resnet8/8", epochs=1)
    >>> result = fallow.forget(
    ...     run.run.method.classifier,
    ...     forget=images.column("path")[:4].tolist(),
    ...     keep=images,
    ...     settings={"steps": 2, "autoencoder_steps": 1},
    ... )
    >>> result.table.column("model").to_pylist()
    ['original', 'LAF']
    """
    import torch

    from fallow.methods.forget import laf

    chosen = _settings(settings, preset)
    if out is not None and isinstance(model, str | os.PathLike) and _same(out, model):
        raise SettingProblem(f"{out} holds the model itself, which is kept: choose another out")
    parts = parts_of(forget, opened(keep, labels, where), test)
    subject = _subject(model, layer, preprocessing, names, parts)
    if not retrain:
        run = None
    elif isinstance(retrain, torch.nn.Module):
        run = _wrapped(retrain, layer, preprocessing, subject.names)
    else:
        run = _known_run(model)
        if "label" not in parts.kept.columns:
            raise SettingProblem("retraining needs the labels of the kept images: give labels=")
    device = best_device()
    subject = copy.deepcopy(subject).to(device).eval().requires_grad_()
    shelves = shelves_of(parts, subject.preprocessing)
    pools = {name: pool_of(shelf, subject, device) for name, shelf in shelves.items()}
    _check_embedding(subject, pools["kept"])
    codes = {name: images.labels_in(subject.names) for name, images in parts.each.items()}
    _tell_apart(subject, parts, codes)

    tell(f"forgetting {len(shelves['forgotten']):,} of {parts.total:,} images")
    clock = time.perf_counter()
    edited = laf.erase(subject, pools["kept"], pools["forgotten"], chosen, seed=seed)
    seconds = time.perf_counter() - clock
    judge = Judge(parts, shelves, device, seed)
    rows = [judge.row("original", subject), judge.row("LAF", edited.model, seconds)]
    final = edited.model
    if chosen.repair:
        clock = time.perf_counter()
        final = copy.deepcopy(edited.model)
        _repair(final, shelves["kept"], codes["kept"], chosen, device, seed)
        seconds += time.perf_counter() - clock
        rows.append(judge.row("LAF, repaired", final, seconds))
    if run is not None:
        again, spent = (run, None) if isinstance(run, torch.nn.Module) else _retrained(run, parts)
        rows.append(judge.row("retrained", again.to(device).eval(), spent))
        _compare(rows, judge)
    result = _result(subject, final, edited, rows, parts, shelves, chosen, seed)
    if isinstance(model, str | os.PathLike):
        result.findings["notes"] += _other_images(Path(model), parts)
    result.model.to("cpu")
    if out is not None:
        result.save(out)
    return result


# --- what is asked for ---


def _settings(settings: Mapping[str, Any] | None, preset: str | None) -> Settings:
    from fallow.methods.forget.laf import PRESETS, Settings
    from fallow.train import make_settings

    given = dict(settings or {})
    if preset is not None:
        if preset not in PRESETS:
            raise SettingProblem(
                f"forget has no preset {preset!r}: {did_you_mean(preset, PRESETS)}"
            )
        given = PRESETS[preset] | given
    return make_settings(Settings, given)


def _same(one: Any, two: Any) -> bool:
    return Path(one).resolve() == Path(two).resolve()


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
    from fallow.images import tables

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


# --- the model ---


def _subject(
    model: Any,
    layer: str | None,
    preprocessing: Preprocessing | None,
    names: Sequence[str] | None,
    parts: Parts,
) -> Any:
    from fallow.encoders.classifier import load_classifier

    if isinstance(model, str | os.PathLike):
        found: Any = load_classifier(Path(model))
    else:
        found = _wrapped(model, layer, preprocessing, names or _label_names(parts))
    return found


def _wrapped(
    model: Any, layer: str | None, preprocessing: Preprocessing | None, names: Sequence[str]
) -> Any:
    import torch

    from fallow.encoders import Encoder
    from fallow.encoders.classifier import Classifier, Tapped

    if isinstance(model, Classifier | Tapped):
        return model
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], Encoder):
        encoder, head = model
        both = torch.nn.Sequential(encoder, head)
        return Tapped(both, "0", encoder.preprocessing, names)
    if isinstance(model, Encoder):
        raise SettingProblem(
            "an encoder alone has no classes to measure: give (encoder, head), or a classifier "
            "trained by fallow learn --method supervised"
        )
    if not isinstance(model, torch.nn.Module):
        raise SettingProblem(
            f"a model is the folder of a classifier or a torch module, not {type(model).__name__}"
        )
    if layer is None or preprocessing is None:
        raise SettingProblem(
            "a plain torch model needs the name of its embedding layer= and its preprocessing="
        )
    return Tapped(model, layer, preprocessing, names)


def _label_names(parts: Parts) -> list[str]:
    """Class names in the order a folder of folders gives them."""
    return sorted({name for images in parts.each.values() for name in images.labels[1]})


def _check_embedding(subject: Any, pool: Pool) -> None:
    import torch

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


def _tell_apart(subject: Any, parts: Parts, codes: Mapping[str, np.ndarray]) -> None:
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


# --- images ---


def shelves_of(parts: Parts, preprocessing: Preprocessing) -> dict[str, Shelf]:
    from fallow.images.shelf import Shelf

    found = {}
    for name, images in parts.each.items():
        found[name] = Shelf(images, preprocessing.fit, preprocessing.short)
        if not len(found[name]):
            raise SourceProblem(f"none of the {name} images ({len(images):,}) can be decoded")
        if (lost := len(images) - len(found[name])) > 0:
            parts.notes.append(f"{lost:,} {name} images cannot be decoded and are left out")
    return found


def pool_of(shelf: Shelf, subject: Any, device: torch.device) -> Pool:
    from fallow.methods.forget.laf import Pool

    how = subject.preprocessing
    return Pool(len(shelf), lambda places: how.normalise(shelf.look(places).to(device)))


def _repair(
    model: Any, shelf: Shelf, codes: np.ndarray, settings: Settings, device: torch.device, seed: int
) -> None:
    from fallow.methods.forget import laf

    known = codes[shelf.rows]
    few = laf.few_of_each(known, settings.repair, seed)
    if len(np.unique(known[few])) < 2:
        raise SourceProblem("repair needs labelled kept images of at least two classes")
    how = model.preprocessing
    pool = laf.Pool(len(few), lambda places: how.normalise(shelf.look(few[places]).to(device)))
    laf.repair(model, pool, known[few], settings, seed=seed)


# --- retraining ---


@dataclass(frozen=True)
class _Run:
    encoder: str
    options: dict[str, Any]
    settings: dict[str, Any]
    seed: int


def _known_run(model: Any) -> _Run:
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
    return _Run(name, options, about["settings"], int(about["seed"]))


def _retrained(run: _Run, parts: Parts) -> tuple[Any, float]:
    """The same training without the forgotten images, and its seconds."""
    import fallow
    from fallow.methods.learn.supervised import Supervised
    from fallow.train import fit, make_settings

    encoder = fallow.encoder(run.encoder, seed=run.seed, **run.options)
    clock = time.perf_counter()
    fitted = fit(
        Supervised,
        parts.kept,
        encoder=encoder,
        settings=make_settings(Supervised.Settings, run.settings),
        seed=run.seed,
    )
    method: Any = fitted.method
    return method.classifier, time.perf_counter() - clock


# --- measures ---


class Judge:
    """Measures any model on the same images."""

    def __init__(
        self, parts: Parts, shelves: Mapping[str, Shelf], device: torch.device, seed: int
    ) -> None:
        self.parts, self.shelves, self.device, self.seed = parts, shelves, device, seed
        self.labels = {}
        for name, images in parts.each.items():
            codes, names = images.labels
            self.labels[name] = np.array([*names, None], object)[codes][shelves[name].rows]
        kept, forgotten = (set(self.labels[name].tolist()) for name in ("kept", "forgotten"))
        self.gone = forgotten - kept - {None}  # classes of which nothing is kept
        self.guesses: dict[str, dict[str, np.ndarray]] = {}

    def row(self, name: str, model: Any, seconds: float | None = None) -> dict[str, Any]:
        """Accuracies and membership inference of one model."""
        logits = {part: _logits(model, shelf, self.device) for part, shelf in self.shelves.items()}
        names = np.array([*model.names, None], object)
        guesses = {part: names[table.argmax(1)] for part, table in logits.items()}
        self.guesses[name] = guesses
        right = {part: self._share(part, guesses[part]) for part in guesses}
        found: dict[str, Any] = {"model": name, **dict.fromkeys(ACCURACIES), **right}
        if "test" in guesses and self.gone:
            ours = np.array([label in self.gone for label in self.labels["test"]], bool)
            found["test_kept"] = self._share("test", guesses["test"], ~ours)
            found["test_forgotten"] = self._share("test", guesses["test"], ours)
        found |= self._membership(logits)
        return found | {"seconds": seconds}

    def _share(
        self, part: str, guesses: np.ndarray, among: np.ndarray | None = None
    ) -> float | None:
        labels = self.labels[part]
        known = np.array([label is not None for label in labels], bool)
        known &= True if among is None else among
        return float((guesses[known] == labels[known]).mean()) if known.any() else None

    def _membership(self, logits: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """An attack with test images as those never seen: half to learn from, half to ask about."""
        from fallow.measure.membership import MOST, Attacker

        names = ("success", "trivial", "balanced", "auroc")
        found: dict[str, float | None] = {f"membership_{name}": None for name in names}
        found["membership_same_class"] = None
        if len(logits.get("test", ())) < 4:
            return found
        random = np.random.default_rng([self.seed, 7])
        order = random.permutation(len(logits["test"]))
        half = min(MOST, len(order) // 2)
        attacker = Attacker(logits["kept"], logits["test"][order[:half]], self.seed)
        doomed = logits["forgotten"][random.permutation(len(logits["forgotten"]))[:MOST]]
        unseen = order[half:]
        asked = attacker.ask(doomed, logits["test"][unseen[: max(1, len(doomed))]])
        found |= {f"membership_{name}": getattr(asked, name) for name in names}
        wanted = set(self.labels["forgotten"].tolist()) - {None}
        same = np.array([self.labels["test"][k] in wanted for k in unseen], bool)
        if same.any():
            alike = attacker.ask(doomed, logits["test"][unseen[same]])
            found["membership_same_class"] = alike.auroc
        return found


def _logits(model: Any, shelf: Shelf, device: torch.device) -> np.ndarray:
    import torch

    parts = []
    with torch.inference_mode():
        for _, pixels in shelf.batches(BATCH):
            x = model.preprocessing.normalise(pixels.to(device))
            parts.append(model(x).float().cpu().numpy())
    return np.concatenate(parts)


def _compare(rows: list[dict[str, Any]], judge: Judge) -> None:
    """Distances of every other row to the last one, the retrained model."""
    retrained = rows[-1]
    theirs = judge.guesses[retrained["model"]]
    for row in rows[:-1]:
        for name in ACCURACIES:
            if row[name] is not None and retrained[name] is not None:
                row[f"{name}_from_retrained"] = row[name] - retrained[name]
        ours = judge.guesses[row["model"]]
        row["disagreement_forgotten"] = float((ours["forgotten"] != theirs["forgotten"]).mean())
        if row["seconds"] and retrained["seconds"]:
            row["time_ratio"] = row["seconds"] / retrained["seconds"]


# --- what comes back ---


def _result(
    subject: Any,
    final: Any,
    edited: Any,
    rows: list[dict[str, Any]],
    parts: Parts,
    shelves: Mapping[str, Shelf],
    settings: Settings,
    seed: int,
) -> Forgotten:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = pa.table({key: [row.get(key) for row in rows] for key in keys})
    by_name = {row["model"]: row for row in rows}
    after = rows[-2] if "retrained" in by_name else rows[-1]
    notes = [*parts.notes, *_warnings(rows[0], after, by_name.get("retrained")), CAUTION]
    findings = {
        "name": f"forgetting {len(shelves['forgotten']):,} images of {parts.kept.name}",
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "counts": {name: len(shelf) for name, shelf in shelves.items()} | {"steps": edited.steps},
        "headlines": _headlines(rows[0], after, by_name.get("retrained"), shelves),
        "notes": notes,
        "rows": rows,
        "metrics": edited.history,
        "explained": edited.explained,
        "reconstruction_errors": dict(zip(("known", "forgotten"), edited.errors, strict=True)),
        "settings": settings.model_dump(exclude_none=True),
        "seed": seed,
    }
    model = final.module if type(final).__name__ == "Tapped" else final
    return Forgotten(model, table, findings)


def _headlines(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    retrained: Mapping[str, Any] | None,
    shelves: Mapping[str, Shelf],
) -> list[str]:
    lines = [
        f"{len(shelves['forgotten']):,} images forgotten, {len(shelves['kept']):,} kept, in "
        f"{after['seconds']:.1f} s"
    ]
    said = {
        "forgotten": "forgotten images", "kept": "kept images", "test": "test images",
        "test_kept": "test images of kept classes",
        "test_forgotten": "test images of forgotten classes",
    }  # fmt: skip
    for key, what in said.items():
        if before[key] is not None:
            beside = f" (retrained {retrained[key]:.1%})" if retrained else ""
            lines.append(f"{what}: {before[key]:.1%} right before, {after[key]:.1%} now{beside}")
    if before["forgotten"] is None:
        lines.append("there are no labels, so accuracies were not measured")
    attack = "membership_balanced"
    if after[attack] is not None:
        beside = f", retrained {retrained[attack]:.2f}" if retrained else ""
        lines.append(
            f"membership inference: {before[attack]:.2f} before, {after[attack]:.2f} now{beside} "
            "(0.5: no better than guessing)"
        )
    else:
        lines.append("there are no unseen images (test=), so membership was not attacked")
    if "time_ratio" in after:
        lines.append(f"time: {after['time_ratio']:.2f} of retraining")
    return lines


def _warnings(
    before: Mapping[str, Any], after: Mapping[str, Any], retrained: Mapping[str, Any] | None
) -> list[str]:
    lines = []
    wanted = None if retrained is None else retrained["forgotten"]
    if wanted is None and after["test_forgotten"] is None:
        wanted = after["test"]  # a model that never saw them should do as well as on others unseen
    now, kept = after["forgotten"], (before["kept"], after["kept"])
    if wanted is not None and now is not None and now < wanted - LOST:
        lines.append(
            "The forgotten images are recognised worse than a model that never saw them would: "
            "that gives them away. Use fewer steps or lower rates."
        )
    if None not in kept and kept[1] < kept[0] - LOST:
        lines.append(
            "Kept images suffered: lower unlearning_rate, or repair the head with a few labels."
        )
    if wanted is not None and now is not None and now > wanted + LOST:
        lines.append("The images are not forgotten: use more steps or higher rates.")
    return lines


def _other_images(folder: Path, parts: Parts) -> list[str]:
    """A note when the run was trained on other images than are kept and forgotten here."""
    path = folder / "run.json"
    trained = json.loads(path.read_text()).get("images") if path.is_file() else None
    if not trained or parts.fingerprint in trained.values():
        return []
    return ["These are not exactly the images the run was trained on."]


def _save_weights(model: Any, path: Path) -> None:
    import torch
    from safetensors.torch import save as to_bytes

    from fallow.files import atomic_write

    state = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(to_bytes(state, metadata={"format": "pt"}))


def _page(findings: Mapping[str, Any]) -> str:
    from fallow.report.forget import forget_page

    return forget_page(findings)
