"""FG-SBIR: find the very photo a sketch shows, from few sketches and many photos (Bhunia 2021).

A generator learns to draw photos as people do and draws those nobody drew; retrieval learns from
both, trusting a drawing as far as a judge takes it for a real one, and tells the generator how
well its drawings are found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from fallow.encoders.critics import PairCritic
from fallow.encoders.drawer import VGG, SketchGenerator, drawn_by_chance, likeliest
from fallow.encoders.layout import Layout
from fallow.images.sketch_forms import (
    FRAMES,
    STROKES,
    read_cell,
    sketch_pixels,
    spread_of,
    steps_of,
)
from fallow.images.sketches import placed, rasters, to_five
from fallow.losses.drawing import divergence, drawn_steps, drawn_to_the_end, log_likelihood
from fallow.losses.triplet import distances_like_teacher, like_teacher, terms, triplet_among
from fallow.parts.sketches import (
    PHOTO,
    SKETCH,
    Placed,
    black_on_white,
    flipped,
    mirrored,
    nudged,
    place,
    scaled,
)
from fallow.parts.teacher import in_mode, twin
from fallow.train.method import Batch, Beside, Loss, Method, Now, Optimiser
from fallow.train.method import Settings as BaseSettings
from fallow.views import Recipe, View

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images, Pack

SEEN = 256  # photos, and sketches, that say what is usual


def divergence_weight(step: int) -> float:
    """The weight of the code's divergence from noise: from 0.01 slowly up to 1.

    >>> round(divergence_weight(0), 4), round(divergence_weight(200_000), 4)
    (0.01, 1.0)
    """
    return 1 - 0.99 * 0.99995**step  # type: ignore[no-any-return]


def drawing_rate(step: int) -> float:
    """The generator's published learning rate: from 1e-4 slowly down to 1e-5.

    >>> round(drawing_rate(0), 6), round(drawing_rate(200_000), 6)
    (0.0001, 1e-05)
    """
    return 9e-5 * 0.9999**step + 1e-5  # type: ignore[no-any-return]


class FGSBIR(Method):
    """Photo and sketch as neighbours, taught by drawn photos and by ones it draws itself."""

    family = "semi-supervised"
    predicts = "which photo a sketch shows, also of photos that only a machine has drawn"
    reads = (STROKES,)

    class Settings(BaseSettings):
        size: int = Field(64, ge=16, description="side of photos and sketches in pixels")
        batch: int = Field(16, ge=2, description="photos a step of each stream")
        cells: int = Field(
            8, ge=0, description="cells a side of the map that places lie on; 0: no map, a vector"
        )
        length: int = Field(128, ge=2, description="numbers that are kept of all cells")
        nudge: float = Field(
            0.1, ge=0, lt=1, description="by which sketches are moved and scaled, of their side"
        )
        points: int = Field(80, ge=2, description="steps of a sketch; simpler ones are made of it")
        frame: Literal["whole", "stretched"] = Field(
            "whole", description="whole keeps a sketch's aspect; stretched fills the square"
        )
        layers: tuple[int, ...] = Field(
            (32, 64, 128, 128), description="widths of the generator's eye; with 0: halving there"
        )
        code: int = Field(64, ge=1, description="numbers of a photo's random code")
        memory: int = Field(128, ge=1, description="width of the drawing hand")
        mixtures: int = Field(5, ge=1, description="normals a step is drawn from")
        attention: int = Field(64, ge=1, description="width of looking at the photo")
        end: Literal["learnt", "masked"] = Field(
            "learnt", description="learnt: a sketch knows when it is done; masked: as published"
        )
        floor: float = Field(0.2, ge=0, description="divergence of codes that costs nothing less")
        draw: float = Field(0.4, ge=0, lt=1, description="share of the budget for drawing alone")
        find: float = Field(0.3, gt=0, le=1, description="share for finding alone, after that")
        each: int = Field(3, ge=1, description="steps of finding for one of drawing, from then on")
        refresh: int = Field(200, ge=1, description="steps after which a photo is drawn again")
        margin: float = Field(0.2, gt=0, description="by which the right photo is nearer")
        bare: float = Field(1.0, ge=0, description="weight of photos nobody drew")
        certainty: Literal["judged", "equal"] = Field(
            "judged", description="judged: a drawing counts as far as it passes for real"
        )
        distil: float = Field(1.0, ge=0, description="weight of staying like the teacher")
        distilled: Literal["distances", "places"] = Field(
            "distances", description="what stays: distances of pairs, or every vector"
        )
        reward: float = Field(0.1, ge=0, description="weight of being found, for the generator")
        passing: float = Field(1.0, ge=0, description="weight of passing for real in that reward")
        joint_rate: float = Field(
            0.3, gt=0, le=1, description="the generator's rate beside finding, of that before"
        )
        optimiser: Optimiser = "adam"
        momentum: float = Field(0.9, ge=0, lt=1)
        learning_rate: float = Field(1e-3 * 256 / 16, gt=0, description="at batch 256")
        encoder_rate: float = Field(
            0.1, gt=0, le=1, description="the rate of finding, of that of drawing"
        )
        weight_decay: float = Field(0.0, ge=0)
        clip: float | None = Field(1.0, gt=0, description="largest gradient norm")
        warmup: float = Field(0.0, ge=0, lt=1)
        published_rate: bool = Field(
            False, description="the published fall of the generator's rate, by steps"
        )
        precision: Literal["auto", "32", "bf16"] = "32"

        @model_validator(mode="after")
        def _shares(self) -> FGSBIR.Settings:
            if self.draw + self.find > 1:
                raise ValueError("draw and find together are shares of one budget: at most 1")
            return self

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "size": 256,
            "batch": 16,
            "epochs": 200,
            "frame": "stretched",
            "cells": 0,
            "nudge": 0.0,
            "layers": VGG,
            "code": 128,
            "memory": 512,
            "mixtures": 20,
            "attention": 256,
            "momentum": 0.5,
            "learning_rate": 1e-4 * 256 / 16,
            "encoder_rate": 1.0,
            "published_rate": True,
        }
    }

    unit: Tensor  # what steps of sketches are divided by
    drawn: Tensor  # N T 5, photos nobody drew as the generator draws them
    drawn_at: Tensor  # N, at which step; -1: never
    taught: Tensor  # whether there is a teacher

    def build(self, encoder: Encoder) -> None:
        s = self.settings
        self.generator = SketchGenerator(s.layers, s.code, s.memory, s.mixtures, s.attention)
        self.judge = PairCritic()
        self.layout = Layout(encoder, s.cells, s.length) if s.cells else None
        self.teacher = twin(Placed(encoder, self.layout))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("taught", torch.zeros((), dtype=torch.bool))

    def recipe(self) -> Mapping[str, Recipe]:
        how = self.encoder.preprocessing  # photos are later looked at as they are in training
        plain = Recipe((View(self.settings.size, centre=how.size / how.short, flip=0.5),))
        return {"unlabelled": plain, "labelled": plain}

    def rate_scales(self) -> Mapping[str, float]:
        """What the encoder knows is to be kept."""
        slower = self.settings.encoder_rate
        return {"encoder": slower} | ({} if self.layout is None else {"layout": slower})

    def meet(self, images: Mapping[str, Images], packs: Mapping[str, Pack]) -> None:
        device = self.unit.device
        self.unit.fill_(spread_of(self._known))
        count = len(packs["unlabelled"])
        shape = (count, self.settings.points, 5)
        self.register_buffer("drawn", torch.zeros(shape, device=device))
        self.register_buffer("drawn_at", torch.full((count,), -1, device=device))

    def before_training(self, pack: Pack, seed: int) -> None:
        """Photos and sketches as they are: what is usual of each, and how the rest differs."""
        if self.layout is None:
            return
        draw = np.random.default_rng(seed)
        some = np.sort(draw.permutation(len(pack))[:SEEN])
        photos = self.encoder.prepare([pack[row] for row in some])
        some = np.sort(draw.permutation(len(self._sketches))[:SEEN])
        sketches = self.as_picture(self._sketches[some].to(photos.device))
        with in_mode(self.encoder, False):
            self.layout.begin(self.encoder, (photos, sketches))

    def beside(self, name: str, images: Images, pack: Pack, seed: int) -> Beside | None:
        if name != "labelled":
            return None
        s, cells = self.settings, images.table.column(STROKES)
        drawn = [read_cell(cells[row].as_py()) for row in pack.rows.tolist()]
        # the published code drops longer sketches; here they are made simpler
        self._known = [steps_of(one, s.points) for one in drawn]
        fives = np.stack([to_five(one, s.points) for one in self._known]).astype(np.float32)
        pixels = np.stack([sketch_pixels(one, s.frame, s.size) for one in drawn])
        self._sketches = torch.from_numpy(pixels)
        photos = np.unique(images.column("id")[pack.rows], return_inverse=True)[1]
        held = {
            "five": torch.from_numpy(fives),
            "sketch": self._sketches,
            "photo": torch.from_numpy(photos),
        }
        return lambda rows, epoch: {name: value[rows] for name, value in held.items()}

    def rate(self, now: Now, planned: Callable[[float], float]) -> float:
        """Each stage begins the schedule again; beside finding, the generator goes slowly."""
        s = self.settings
        if s.published_rate and self.draws(now):
            slower = s.joint_rate if self.stage(now) == "both" else 1.0
            return slower * drawing_rate(now.step)
        starts = [0.0, s.draw, s.draw + s.find, 1.0]
        at = {"draw": 0, "find": 1, "both": 2}[self.stage(now)]
        share = (now.progress - starts[at]) / max(starts[at + 1] - starts[at], 1e-9)
        factor = s.joint_rate if at == 2 and self.draws(now) else 1.0
        return factor * planned(min(share, 1.0))

    def stage(self, now: Now) -> Literal["draw", "find", "both"]:
        """What is learnt at this point of the budget."""
        s = self.settings
        if now.progress < s.draw:
            return "draw"
        return "find" if now.progress < s.draw + s.find else "both"

    def draws(self, now: Now) -> bool:
        """Whether this step is the generator's."""
        each = self.settings.each
        stage = self.stage(now)
        return stage == "draw" or (stage == "both" and now.step % (each + 1) == each)

    def begin_step(self, now: Now) -> None:
        if self.stage(now) == "both" and not self.taught:
            self.teacher.load_state_dict(Placed(self.encoder, self.layout).state_dict())
            self.taught.fill_(True)

    def loss(self, batch: Mapping[str, Batch], now: Now) -> Loss:
        known, bare = batch["labelled"], batch["unlabelled"]
        photo = known.views[0]
        five = scaled(mirrored(known.beside["five"], known.geometry[0]), self.unit)
        if self.stage(now) == "draw":
            return Loss(self.like_people(photo, five, now))
        if self.draws(now):
            loss, reward = self.rewarded(torch.cat([photo, bare.views[0]]))
            total = self.like_people(photo, five, now) + self.settings.reward * loss
            return Loss(total, {"reward": reward})
        sketch = flipped(known.beside["sketch"].float(), known.geometry[0])
        sketch = nudged(sketch, self.settings.nudge)  # nobody draws to the pixel
        ours, theirs = self.places(photo, PHOTO), self.places(self.as_picture(sketch), SKETCH)
        found = triplet_among(theirs, ours, self.settings.margin, known.beside["photo"])
        if not self.taught:
            return Loss(found, {"found": found.detach()}, embedding=ours)
        return self.together(photo, sketch, bare, now, (ours, theirs), found)

    # drawing

    def like_people(self, photo: Tensor, five: Tensor, now: Now) -> Tensor:
        """The generator's loss on photos (B 3 S S) that people drew (B T 5)."""
        s = self.settings
        features, middle, spread = self.generator.seen(photo)
        code = middle + torch.randn_like(middle) * (spread / 2).exp()
        raw = self.generator.decoder(features, code, five[:, :-1])  # each step from those before
        of_steps = {"learnt": drawn_to_the_end, "masked": drawn_steps}[s.end]
        weight = divergence_weight(now.step)
        return of_steps(raw, five) + weight * divergence(middle, spread, s.floor)

    def rewarded(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """The policy gradient: drawings by chance that are found better than the likeliest."""
        s = self.settings
        features, middle, _ = self.generator.seen(photo)
        decoder = self.generator.decoder
        five, raw = decoder.draw(features, middle, s.points, drawn_by_chance())
        with torch.no_grad():
            usual, _ = decoder.draw(features, middle, s.points, likeliest)
            places = self.places(photo, PHOTO)
            gains = self.gain(photo, places, five) - self.gain(photo, places, usual)
        return -(gains * log_likelihood(raw, five)).mean(), gains.mean()

    def gain(self, photo: Tensor, places: Tensor, five: Tensor) -> Tensor:
        """How well each drawing's photo is found by it, and how well it passes for real.  B"""
        s = self.settings
        sketch = self.pixels(five)
        ours = self.places(self.as_picture(sketch), SKETCH)
        missed = terms(ours, places, other(places), s.margin)
        return -missed + s.passing * self.judge(photo, sketch, near(ours, places)).sigmoid()

    # finding

    def places(self, pictures: Tensor, kind: int) -> Tensor:
        """Photos, or sketches as pictures (B 3 S S), in the space both share.  B D"""
        # photos and sketches differ in all that a norm would measure of a batch
        with in_mode(self.encoder, False):
            return place(self.encoder, self.layout, pictures, kind)

    def as_picture(self, sketch: Tensor) -> Tensor:
        """Sketches in pixels (B S S, 1 on 0) as pictures: black on white.  B 3 S S"""
        return black_on_white(sketch, self.encoder)

    def pixels(self, five: Tensor) -> Tensor:
        """Sketches of steps (B T 5) in pixels.  B S S"""
        s = self.settings
        arrays = five.detach().double().cpu().numpy()
        drawn = [placed(one, FRAMES[s.frame], s.size) for one in arrays]
        return torch.from_numpy(rasters(drawn, s.size)).to(five.device).float()

    def imagined(self, bare: Batch, now: Now) -> Tensor:
        """Drawings of photos nobody drew (B T 5), made anew when they are old."""
        rows, s = bare.index, self.settings
        age = now.step - self.drawn_at[rows]
        old = (self.drawn_at[rows] < 0) | (age >= s.refresh)
        if old.any():
            views = bare.views[0][old]
            with torch.no_grad(), in_mode(self.generator, False):
                features, middle, _ = self.generator.seen(views)
                five, _ = self.generator.decoder.draw(features, middle, s.points, likeliest)
            # kept as the photo lies, whatever way round this view of it is
            self.drawn[rows[old]] = mirrored(five.float(), bare.geometry[0][old])
            self.drawn_at[rows[old]] = now.step
        return mirrored(self.drawn[rows], bare.geometry[0])

    def together(
        self,
        photo: Tensor,
        sketch: Tensor,
        bare: Batch,
        now: Now,
        known: tuple[Tensor, Tensor],
        found: Tensor,
    ) -> Loss:
        """Finding from both kinds of photos, near the teacher, and the judge beside it."""
        s = self.settings
        free = bare.views[0]
        imagined = nudged(self.pixels(self.imagined(bare, now)), s.nudge)
        places = self.places(free, PHOTO)
        drawings = self.places(self.as_picture(imagined), SKETCH)
        made = self.judge(free, imagined, near(places, drawings))
        judged = self.judged(photo, sketch, known) + truth(made, 0.0)
        sure = certainty(made) if s.certainty == "judged" else torch.ones(len(free))
        weighed = triplet_among(drawings, places, s.margin, bare.index, sure.to(places))
        like = self.distilled(
            (torch.cat([known[1], drawings]), torch.cat([known[0], places])),
            torch.cat([sketch, imagined]),
            torch.cat([photo, free]),
        )
        total = found + s.bare * weighed + s.distil * like + judged
        parts = {
            "found": found.detach(),
            "bare": weighed.detach(),
            "distilled": like.detach(),
            "judge": judged.detach(),
            "certainty": sure.mean(),
        }
        return Loss(total, parts, embedding=known[0])

    def judged(self, photo: Tensor, sketch: Tensor, known: tuple[Tensor, Tensor]) -> Tensor:
        """The judge's loss on what people drew, that of another photo, and what is made of it."""
        ours, theirs = known
        with torch.no_grad(), in_mode(self.generator, False):
            features, middle, _ = self.generator.seen(photo)
            five, _ = self.generator.decoder.draw(features, middle, self.settings.points, likeliest)
            own = self.pixels(five)
            drawn = self.places(self.as_picture(own), SKETCH)
        strange = other(torch.arange(len(photo), device=photo.device))
        return (
            truth(self.judge(photo, sketch, near(ours, theirs)), 1.0)
            + truth(self.judge(photo, sketch[strange], near(ours, theirs[strange])), 0.0)
            + truth(self.judge(photo, own, near(ours, drawn)), 0.0)
        )

    def distilled(self, ours: tuple[Tensor, Tensor], sketch: Tensor, photo: Tensor) -> Tensor:
        """How far pairs have moved from where the teacher, taught by people alone, has them."""
        with torch.no_grad(), in_mode(self.teacher, False):
            theirs = self.teacher(self.as_picture(sketch), SKETCH), self.teacher(photo, PHOTO)
        how = {"distances": distances_like_teacher, "places": like_teacher}
        return how[self.settings.distilled](ours, theirs)  # type: ignore[arg-type]

    def save(self, folder: Path) -> None:
        from fallow.files import atomic_write, write_json

        from safetensors.torch import save  # isort: skip

        held = {
            name: value.detach().cpu().contiguous()
            for name, value in self.state_dict().items()
            if name.split(".")[0] in ("generator", "judge", "layout")
        }
        with atomic_write(folder / "generator.safetensors") as file:
            file.write(save(held, metadata={"format": "pt"}))
        write_json(
            folder / "sketches.json",
            {"settings": self.settings.model_dump(), "unit": float(self.unit)},
        )


def certainty(scores: Tensor) -> Tensor:
    """How far drawings are trusted, 0 to 1, by a judge's scores; no gradient goes back."""
    return scores.detach().sigmoid()


def truth(scores: Tensor, real: float) -> Tensor:
    """The loss of a judge's scores where all are real (1) or none is (0)."""
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, real))


def near(ours: Tensor, theirs: Tensor) -> Tensor:
    """How much nearer pairs (B D each) lie than strangers of the batch, in these' spreads.  B

    >>> near(torch.eye(2), torch.tensor([[1.0, 0.0], [0.2, 0.8]]))
    tensor([9., 7.])
    """
    alike = (ours @ theirs.T).detach()
    strange = alike[~torch.eye(len(alike), dtype=torch.bool, device=alike.device)]
    if len(strange) == 0:
        return alike.diagonal()
    spread = strange.std(correction=0).clamp_min(1e-6)
    return (alike.diagonal() - strange.mean()) / spread


def other(rows: Tensor) -> Tensor:
    """For every row another one of the batch, by chance the same step further on for all."""
    if len(rows) < 2:
        return rows
    return rows.roll(int(torch.randint(1, len(rows), ())), 0)
