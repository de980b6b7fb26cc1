"""The same verbs for the shell; one sentence and exit code 2 for what a user can put right."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fallow.files import plain_yaml
from fallow.problems import Problem, SettingProblem

# typer carries its own click in some versions and uses the installed one in others
UsageError: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="fallow",
    help="Put unlabelled images to work.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cache_app = typer.Typer(help="Decoded copies of image collections kept for speed.")
app.add_typer(cache_app, name="cache", no_args_is_help=True)

Source = Annotated[str, typer.Argument(help="folder, archive, manifest or address of images")]
Labels = Annotated[Path | None, typer.Option(help="CSV with the columns path and label")]
Where = Annotated[str | None, typer.Option(help="only these, e.g. \"split = 'train'\"")]
Encoder = Annotated[str | None, typer.Option(help="resnet18, vit-tiny/4, hf:NAME or a run")]
Preset = Annotated[str | None, typer.Option(help="paper: the authors' settings")]
SettingsFile = Annotated[Path | None, typer.Option(help="YAML file of settings")]
Pairs = Annotated[list[str] | None, typer.Option("--set", help="one setting: name=value")]
Seed = Annotated[int, typer.Option(help="same seed, same result")]


@app.command()
def explore(
    source: Source,
    labels: Labels = None,
    where: Where = None,
    encoder: Encoder = None,
    out: Annotated[Path | None, typer.Option(help="folder for report and table")] = None,
    export_clean: Annotated[
        Path | None, typer.Option(help="write the list of images worth keeping here")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Map a folder: groups, duplicates, outliers, poor and broken pictures, doubtful labels."""
    from fallow.verbs.explore import explore as verb

    result = verb(
        _images(source, labels, where),
        encoder=encoder,
        out=out,
        export_clean=export_clean,
        seed=seed,
    )
    _tell(result)


@app.command()
def embed(
    source: Source,
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    where: Where = None,
    encoder: Encoder = None,
) -> None:
    """Turn every image into a vector and write them as a table."""
    from fallow.verbs.embed import embed as verb

    result = verb(_images(source, None, where), encoder=encoder, out=out)
    typer.echo(f"{result.table.num_rows} vectors in {out}")


@app.command()
def learn(
    source: Source,
    method: Annotated[str | None, typer.Option(help="simclr, swav, ...")] = None,
    labels: Labels = None,
    where: Where = None,
    encoder: Encoder = None,
    minutes: Annotated[float | None, typer.Option(help="wall-clock budget")] = None,
    epochs: Annotated[float | None, typer.Option(help="passes over the images")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the run")] = None,
    preset: Preset = None,
    settings: SettingsFile = None,
    set_: Pairs = None,
    seed: Seed = 0,
) -> None:
    """Train an encoder on images without labels."""
    from fallow.verbs.learn import learn as verb

    result = verb(
        source,
        method=method,
        encoder=encoder,
        labels=labels,
        where=where,
        minutes=minutes,
        epochs=epochs,
        out=out or Path(f"{_stem(source)}-{method or 'learnt'}"),
        preset=preset,
        settings=_settings(settings, set_),
        seed=seed,
        tell=typer.echo,
        progress_bar=sys.stderr.isatty(),
    )
    _tell(result)


@app.command()
def probe(
    run: Annotated[Path, typer.Argument(help="folder of a run, or an encoder name")],
    source: Annotated[str | None, typer.Argument(help="images; the run's own if left out")] = None,
    labels: Labels = None,
    where: Where = None,
    seed: Seed = 0,
) -> None:
    """Score an encoder on labelled images: k-NN and linear probe beside plain baselines."""
    from fallow.verbs.probe import probe as verb

    result = verb(run, source, labels=labels, where=where, seed=seed)
    _tell(result)


@app.command()
def spot(
    source: Source,
    labels: Labels = None,
    where: Where = None,
    encoder: Encoder = None,
    good: Annotated[str | None, typer.Option(help="folder of known-good images")] = None,
    against: Annotated[Path | None, typer.Option(help="folder of a run of spot")] = None,
    window: Annotated[
        int | None, typer.Option(help="aligned parts: compare patches this near only")
    ] = None,
    tiles: Annotated[
        str | None, typer.Option(help="cut large pictures: 2, 2x3 (rows x columns) or auto")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for report, maps and masks")] = None,
    preset: Preset = None,
    settings: SettingsFile = None,
    set_: Pairs = None,
    in_steps: Annotated[
        bool, typer.Option("--in-steps", help="AUPRO with 200 thresholds, as in papers")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Rank images by how odd they are among each other, and show where."""
    from fallow.verbs.spot import spot as verb

    result = verb(
        _images(source, labels, where),
        encoder=encoder,
        good=good,
        against=against,
        window=window,
        tiles=tiles,
        out=out or Path(f"{_stem(source)}-spot"),
        preset=preset,
        settings=_settings(settings, set_),
        in_steps=in_steps,
        seed=seed,
        tell=typer.echo,
    )
    _tell(result)


@app.command()
def papers(
    taxonomy: Annotated[
        bool, typer.Option("--taxonomy", help="the methods of learn by what they predict")
    ] = False,
) -> None:
    """List the published systems behind the verbs."""
    from fallow.verbs import papers as catalogue

    _tell(catalogue.taxonomy() if taxonomy else catalogue.papers())


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="where the pictures are made")] = Path(
        "fallow-demo"
    ),
) -> None:
    """Make a small sample collection and explore it."""
    from fallow.images.samples import demo as make
    from fallow.verbs.explore import explore as verb

    pictures = folder / "pictures"
    make(pictures)
    _tell(verb(pictures, out=folder / "explore"))


@app.command()
def segment(
    source: Source,
    masks: Annotated[
        Path | None, typer.Option(help="folder of masks named like their pictures")
    ] = None,
    method: Annotated[str | None, typer.Option(help="bcp, dsaif, semiovs")] = None,
    classes: Annotated[Path | None, typer.Option(help="YAML of class names and values")] = None,
    more: Annotated[str | None, typer.Option(help="foreign pictures that help, too")] = None,
    labeller: Annotated[
        str | None, typer.Option(help="of those: hf:NAME, a run of segment, or masks")
    ] = None,
    concepts: Annotated[Path | None, typer.Option(help="YAML: words for each class")] = None,
    where: Where = None,
    encoder: Encoder = None,
    minutes: Annotated[float | None, typer.Option(help="wall-clock budget")] = None,
    epochs: Annotated[float | None, typer.Option(help="passes over the bare pictures")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for masks and report")] = None,
    preset: Preset = None,
    settings: SettingsFile = None,
    set_: Pairs = None,
    seed: Seed = 0,
) -> None:
    """Write a mask for every picture, learnt from the few that have one."""
    from fallow.verbs.segment import segment as verb

    result = verb(
        source,
        masks,
        method=method,
        classes=classes,
        more=more,
        labeller=labeller,
        concepts=concepts,
        where=where,
        encoder=encoder,
        minutes=minutes,
        epochs=epochs,
        out=out or Path(f"{_stem(source)}-segment"),
        preset=preset,
        settings=_settings(settings, set_),
        seed=seed,
        tell=typer.echo,
        progress_bar=sys.stderr.isatty(),
    )
    _tell(result)


@app.command()
def forget(
    model: Annotated[Path, typer.Argument(help="folder of a run of learn --method supervised")],
    forget: Annotated[Path, typer.Option(help="list of paths (text or CSV), or a folder")],
    keep: Annotated[str, typer.Option(help="the images the model was trained on")],
    test: Annotated[
        str | None, typer.Option(help="images it never saw; else those whose split is test")
    ] = None,
    labels: Labels = None,
    where: Where = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="also train without them, to compare with")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="folder for the model and the report")] = None,
    preset: Preset = None,
    settings: SettingsFile = None,
    set_: Pairs = None,
    seed: Seed = 0,
) -> None:
    """Make a classifier forget some of its training images, without labels."""
    from fallow.verbs.forget import forget as verb

    result = verb(
        model,
        forget=forget,
        keep=keep,
        test=test,
        labels=labels,
        where=where,
        retrain=retrain,
        out=out or Path(f"{_stem(str(model))}-forgotten"),
        preset=preset,
        settings=_settings(settings, set_),
        seed=seed,
        tell=typer.echo,
    )
    _tell(result)
    for note in result.findings["notes"]:
        typer.echo(f"note: {note}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="folders of runs of learn")],
    on: Annotated[str | None, typer.Option(help="labelled images to score all of them on")] = None,
    labels: Labels = None,
    where: Where = None,
    out: Annotated[Path, typer.Option(help="folder for table and plots")] = Path("fallow-compare"),
    seed: Seed = 0,
) -> None:
    """Put training runs beside each other: a table, and curves in a report."""
    from fallow.verbs.compare import compare as verb

    _tell(verb(runs, on=on, labels=labels, where=where, out=out, seed=seed))


@app.command()
def protect(
    source: Source,
    out: Annotated[Path, typer.Option(help="empty folder for the copies (PNG)")],
    private: Annotated[
        Path | None, typer.Option(help="folder for report and protector, never to be published")
    ] = None,
    protector: Annotated[
        Path | None, typer.Option(help="private folder of an earlier run: use its patterns")
    ] = None,
    labels: Labels = None,
    where: Where = None,
    encoder: Encoder = None,
    minutes: Annotated[float | None, typer.Option(help="budget for making the patterns")] = None,
    epochs: Annotated[float | None, typer.Option(help="passes over the images")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="train a stranger's model on the copies (needs labels)")
    ] = False,
    verify_epochs: Annotated[int, typer.Option(help="of each of the stranger's trainings")] = 15,
    preset: Preset = None,
    settings: SettingsFile = None,
    set_: Pairs = None,
    seed: Seed = 0,
) -> None:
    """Write copies that teach a stranger's model less; measure how much with --verify."""
    from fallow.verbs.protect import Verification
    from fallow.verbs.protect import protect as verb

    result = verb(
        _images(source, labels, where),
        out=out,
        private=private,
        protector=protector,
        encoder=encoder,
        minutes=minutes,
        epochs=epochs,
        preset=preset,
        settings=_settings(settings, set_),
        verify=Verification(epochs=verify_epochs) if verify else False,
        seed=seed,
        tell=typer.echo,
        progress_bar=sys.stderr.isatty(),
    )
    _tell(result)


@app.command()
def distil(
    source: Source,
    labels: Labels = None,
    where: Where = None,
    per_class: Annotated[int, typer.Option(help="synthetic images of each class")] = 10,
    host: Annotated[str, typer.Option(help="dm, dc, dsa or mtt")] = "dm",
    fyi: Annotated[
        bool | None, typer.Option("--fyi/--no-fyi", help="use mirror images; tested if left out")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="train fresh networks on them, and on real images")
    ] = False,
    minutes: Annotated[float | None, typer.Option(help="wall-clock budget")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for images, arrays and report")] = None,
    preset: Preset = None,
    settings: SettingsFile = None,
    set_: Pairs = None,
    seed: Seed = 0,
) -> None:
    """Put what a labelled folder teaches into a few synthetic images of each class."""
    from fallow.verbs.distil import distil as verb

    result = verb(
        _images(source, labels, where),
        per_class=per_class,
        host=host,
        fyi=fyi,
        verify=verify,
        minutes=minutes,
        out=out or Path(f"{_stem(source)}-distil"),
        preset=preset,
        settings=_settings(settings, set_),
        seed=seed,
        tell=typer.echo,
    )
    _tell(result)


@app.command()
def discover(
    source: Annotated[str, typer.Argument(help="images; with --accept, the folder of a run")],
    labels: Annotated[
        Path | None, typer.Option(help="CSV of two columns: path, and label of some images")
    ] = None,
    hide: Annotated[
        str | None, typer.Option(help="labels that only judge, e.g. \"gcd = 'unlabelled'\"")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="CSV with the label of all images, or masks; it only judges")
    ] = None,
    where: Where = None,
    masks: Annotated[
        Path | None, typer.Option(help="sort pixels: folder of masks of some images")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="with masks: YAML of class names and their mask values")
    ] = None,
    regions: Annotated[
        str | None, typer.Option(help="with masks: superpixels, or sam:NAME of the hub")
    ] = None,
    method: Annotated[str, typer.Option(help="gpc, gcd or simgcd")] = "gpc",
    classes: Annotated[int | None, typer.Option(help="how many there are, if known")] = None,
    encoder: Encoder = None,
    minutes: Annotated[float | None, typer.Option(help="train the encoder so long")] = None,
    epochs: Annotated[float | None, typer.Option(help="or for so many passes")] = None,
    accept: Annotated[
        list[str] | None, typer.Option(help='turn a found group into labels: "new 1=oak"')
    ] = None,
    sure: Annotated[float, typer.Option(help="accept images at least so sure, 0 to 1")] = 0.0,
    out: Annotated[Path | None, typer.Option(help="folder for report and assignments")] = None,
    preset: Preset = None,
    settings: SettingsFile = None,
    set_: Pairs = None,
    seed: Seed = 0,
) -> None:
    """Sort all images when only some classes are labelled, and count the new classes."""
    from fallow.verbs.discover import discover as verb

    result = verb(
        source,
        labels=labels,
        hide=hide,
        truth=truth,
        where=where,
        masks=masks,
        names=names,
        regions=regions,
        method=method,
        classes=classes,
        encoder=encoder,
        minutes=minutes,
        epochs=epochs,
        accept=_renamings(accept) if accept else None,
        sure=sure,
        out=out if accept else out or Path(f"{_stem(source)}-discover"),
        preset=preset,
        settings=_settings(settings, set_),
        seed=seed,
        tell=typer.echo,
        progress_bar=sys.stderr.isatty(),
    )
    _tell(result)


def _renamings(words: list[str]) -> dict[str, str]:
    found = {}
    for word in words:
        group, equals, name = word.partition("=")
        if not equals or not name.strip():
            raise SettingProblem(f"--accept wants group=name, not {word!r}")
        found[group.strip()] = name.strip()
    return found


@cache_app.command("list")
def cache_list() -> None:
    """Show the packs and what they take."""
    from fallow.images import cached_packs

    packs = cached_packs()
    for pack in packs:
        typer.echo(
            f"{pack.bytes / 1e6:9.1f} MB  {pack.images:7d} images at {pack.side} px  {pack.name}"
        )
    typer.echo(f"{len(packs)} packs, {sum(pack.bytes for pack in packs) / 1e6:.1f} MB")


@cache_app.command("clear")
def cache_clear() -> None:
    """Delete all packs, and regions and features kept; they are made again when needed."""
    from fallow.images import clear_packs
    from fallow.regions.keep import forget

    typer.echo(f"{(clear_packs() + forget()) / 1e6:.1f} MB freed")


def _tell(result: Any) -> None:
    """The headlines of a result, and where its report is."""
    for line in result.headlines:
        typer.echo(line)
    if result.folder is not None:
        typer.echo(f"report: {result.folder / 'report.html'}")


def _images(source: str, labels: Path | None, where: str | None) -> Any:
    from fallow.verbs.embed import opened

    return opened(source, labels, where)


def _stem(source: str) -> str:
    return Path(source.rstrip("/")).name.split(".")[0] or "images"


def _settings(path: Path | None, words: list[str] | None) -> dict[str, Any]:
    """Of a file, and over them those of --set."""
    return {**_yaml(path), **_pairs(words or [])}


def _yaml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        found = plain_yaml(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SettingProblem(f"cannot read settings from {path}: {error}") from None
    if not isinstance(found, dict):
        raise SettingProblem(f"{path} must hold lines like  batch: 128")
    return found


def _pairs(words: list[str]) -> dict[str, Any]:
    import yaml

    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise SettingProblem(f"--set wants name=value, not {word!r}")
        try:
            found[name.strip()] = plain_yaml(value)
        except yaml.YAMLError:
            raise SettingProblem(f"cannot read the value in --set {word!r}") from None
    return found


def main() -> None:
    """Run the command line."""
    command = typer.main.get_command(app)
    try:
        code = command.main(prog_name="fallow", standalone_mode=False)
    except Problem as problem:
        typer.echo(f"fallow: {problem}", err=True)
        code = 2
    except UsageError as error:
        typer.echo(f"fallow: {error.format_message()}", err=True)
        code = 2
    except typer.Abort:
        code = 130
    except KeyboardInterrupt:
        code = 130
    sys.exit(code or 0)
