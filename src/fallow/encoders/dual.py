"""Dual encoders: pictures and texts as vectors in one space, made here or read from a hub."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow import __version__
from fallow.encoders import hub, tokeniser
from fallow.encoders.base import Encoder, Preprocessing
from fallow.encoders.hub_files import folder_of
from fallow.encoders.saving import load as load_encoder
from fallow.encoders.saving import save as save_encoder
from fallow.encoders.tokeniser import Tokeniser
from fallow.encoders.tower_shapes import ImageShape, Pool, TextShape, options_of, shapes
from fallow.encoders.towers import ImageTower, TextTower
from fallow.files import atomic_write, fingerprint
from fallow.problems import Problem, SettingProblem

WORDS = "words"  # the folder of the text side, beside the folder `encoder`
LARGEST = math.log(100.0)  # of the logarithm of the scale, while training
CLIP_COLOURS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class Words(nn.Module):
    """The text side of a dual encoder, and what leads the picture side into the same space.

    `scale` multiplies cosines; with a `bias` each pair is judged alone (SigLIP), without one a
    text competes with the other texts (CLIP).
    """

    def __init__(
        self,
        text: TextTower,
        words: Tokeniser,
        *,
        projection: nn.Linear | None = None,
        scale: float = 1 / 0.07,
        bias: float | None = None,
    ) -> None:
        super().__init__()
        self.text = text
        self.tokeniser = words
        self.projection = projection  # of picture vectors; none: they are in the space already
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.logit_bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))

    @property
    def dimension(self) -> int:
        return self.text.dimension

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by."""
        return self.logit_scale.exp()

    @torch.no_grad()
    def keep_in_bounds(self) -> None:
        """To be called after each step: a larger scale makes training unstable."""
        self.logit_scale.clamp_(max=LARGEST)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Numbers (B, L) of texts, on the device of the tower."""
        length = self.text.shape.context
        return tokeniser.encode(self.tokeniser, texts, length).to(self.logit_scale.device)

    def place(self, vectors: Tensor) -> Tensor:
        """Vectors of the picture encoder in the common space."""
        return vectors if self.projection is None else self.projection(vectors)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.text(numbers)  # B L -> B D

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """Scores (I, T) of unit vectors, before softmax or sigmoid."""
        found = self.scale * images @ texts.T
        return found if self.logit_bias is None else found + self.logit_bias

    def probabilities(self, images: Tensor, texts: Tensor) -> Tensor:
        """How well each text fits a picture: among the texts, or with a bias each for itself."""
        logits = self.logits(images, texts)
        return logits.softmax(1) if self.logit_bias is None else logits.sigmoid()


def new_words(
    image_dimension: int | None,
    words: Tokeniser,
    *,
    output: int = 256,
    width: int = 256,
    layers: int = 4,
    heads: int = 4,
    context: int = 77,
    pool: Pool = "first end",
    causal: bool = True,
    scale: float = 1 / 0.07,
    bias: float | None = None,
) -> Words:
    """A text side from random, for pictures' vectors of some length; none if they fit already.

    >>> made = new_words(64, tokeniser.clip_tokeniser(), output=8, width=8, layers=1, heads=2)
    >>> made(made.read(["a dog", "two dogs"])).shape
    torch.Size([2, 8])
    """
    shape = TextShape(
        vocabulary=words.size,
        context=min(context, words.context),
        width=width,
        layers=layers,
        heads=heads,
        hidden=4 * width,
        output=output,
        causal=causal,
        pool=pool,
        end=words.end,
    )
    projection = None
    if image_dimension is not None:
        projection = nn.Linear(image_dimension, output, bias=False)
        nn.init.normal_(projection.weight, std=image_dimension**-0.5)
    return Words(TextTower(shape), words, projection=projection, scale=scale, bias=bias)


class DualEncoder(nn.Module):
    """A picture encoder and the words that share its space."""

    def __init__(self, image: Encoder, words: Words, *, name: str = "dual") -> None:
        super().__init__()
        self.image, self.words, self.name = image, words, name

    @property
    def dimension(self) -> int:
        return self.words.dimension

    @property
    def device(self) -> torch.device:
        return self.words.logit_scale.device

    def image_vectors(self, x: Tensor) -> Tensor:
        """Vectors of prepared pictures, not of unit length.  B 3 S S -> B D"""
        return self.words.place(self.image(x))

    def embed_images(self, images: Any, *, normalise: bool, batch: int = 64) -> np.ndarray:
        """Vectors (N, D float32) of images in any form; a row of NaN where one is unreadable."""
        vectors = torch.from_numpy(self.image.embed(images, batch))
        with torch.inference_mode():
            found = torch.cat([self.words.place(some.to(self.device)).cpu() for some in
                               vectors.split(4096)])  # fmt: skip
        return (F.normalize(found, dim=1) if normalise else found).numpy()

    def embed_texts(self, texts: Sequence[str], *, normalise: bool, batch: int = 256) -> np.ndarray:
        """Vectors (N, D float32) of texts."""
        if isinstance(texts, str):
            raise SettingProblem("texts are a list of texts, not a single one")
        training = [module for module in self.words.modules() if module.training]
        self.words.eval()
        found = np.empty((len(texts), self.dimension), np.float32)
        try:
            with torch.inference_mode():
                for start in range(0, len(texts), batch):
                    some = self.words(self.words.read(texts[start : start + batch])).float()
                    some = F.normalize(some, dim=1) if normalise else some
                    found[start : start + batch] = some.cpu().numpy()
        finally:
            for module in training:
                module.training = True
        return found


# on disk: encoder/ as every encoder is saved, words/ beside it


def save(dual: DualEncoder, folder: str | Path) -> Path:
    """Write both sides into a folder, which is made if needed, and return the folder.

    >>> import tempfile
    >>> dual = tiny()
    >>> folder = save(dual, Path(tempfile.mkdtemp()) / "dual")
    >>> sorted(path.name for path in folder.iterdir())
    ['encoder', 'words']
    >>> same = dual_encoder(str(folder)).embed_texts(["a dog"], normalise=True)
    >>> bool((same == dual.embed_texts(["a dog"], normalise=True)).all())
    True
    """
    folder = Path(folder)
    save_encoder(dual.image, folder / "encoder")
    save_words(dual.words, folder)
    return folder


def save_words(words: Words, folder: str | Path) -> Path:
    """Write the text side into the folder `words` of a folder that has an `encoder`."""
    from safetensors.torch import save as to_bytes

    state = {key: value.detach().cpu().contiguous() for key, value in words.state_dict().items()}
    weights = to_bytes(state, metadata={"format": "pt"})
    description = {
        "shape": asdict(words.text.shape),
        "tokeniser": words.tokeniser.describe(),
        "projection": None if words.projection is None else words.projection.in_features,
        "bias": words.logit_bias is not None,
        "weights": fingerprint(weights),
        "fallow": __version__,
    }
    own = Path(folder) / WORDS
    try:
        own.mkdir(parents=True, exist_ok=True)
        words.tokeniser.save(own)
        with atomic_write(own / "words.safetensors") as file:
            file.write(weights)
        with atomic_write(own / "words.json") as file:
            file.write(json.dumps(description, indent=2).encode())
    except OSError as error:
        raise Problem(f"the words cannot be written to {own}: {error.strerror}.") from error
    return own


def load_words(folder: str | Path) -> Words:
    """The text side `save_words` wrote; anything missing or altered is a Problem."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    own = Path(folder) / WORDS
    path = own / "words.json"
    try:
        about = json.loads(path.read_bytes())
        data = (own / "words.safetensors").read_bytes()
        if fingerprint(data) != about["weights"]:
            raise Problem(f"{own / 'words.safetensors'} is damaged: save the dual encoder again.")
        shape = TextShape(**about["shape"])
        projection = None
        if about["projection"] is not None:
            projection = nn.Linear(about["projection"], shape.output, bias=False)
        words = Words(
            TextTower(shape),
            tokeniser.restored(own, about["tokeniser"]),
            projection=projection,
            bias=0.0 if about["bias"] else None,
        )
        words.load_state_dict(from_bytes(data))
    except OSError as error:
        raise Problem(f"{error.filename} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Problem(f"the words in {own} cannot be built again: {reason}") from error
    return words.eval()


def dual_encoder(name: str | Path) -> DualEncoder:
    """A dual encoder: the folder of a run or of a saved one, "hf:NAME", or a hub's folder.

    "hf:openai/clip-vit-base-patch32" and other models of the kinds clip and siglip are read by
    fallow itself, from safetensors alone.
    """
    folder = Path(str(name)).expanduser()
    if (folder / WORDS / "words.json").is_file():
        return DualEncoder(load_encoder(folder / "encoder"), load_words(folder), name=str(name))
    if str(name).startswith("hf:"):
        return from_hub(str(name)[3:])
    if (folder / "config.json").is_file():
        return from_hub(str(folder))
    if folder.exists():
        raise Problem(
            f"{name} holds no dual encoder: neither words/words.json nor a config.json is there."
        )
    raise Problem(
        f"there is no dual encoder {name}: give the folder of one, or hf:NAME for one of the hub."
    )


_FILES = ("*.json", "*.txt", "model*.safetensors")


def from_hub(name: str) -> DualEncoder:
    """A CLIP or SigLIP model of the hub, or of a folder that looks like the hub's."""
    folder = folder_of(name, "model*.safetensors*", _FILES)
    config = _json(folder / "config.json")
    image_shape, text_shape = shapes(config)
    state = _weights(folder, name)
    tower, text = ImageTower(image_shape), TextTower(text_shape)
    marks = config.get("text_config") or {}
    words = Words(
        text,
        tokeniser.of_folder(
            folder, text_shape.context, marks.get("bos_token_id"), marks.get("eos_token_id")
        ),
        bias=0.0 if image_shape.kind == "siglip" else None,
    )
    _fill(tower, state, name)
    _fill(text, state, name)
    with torch.no_grad():
        for key in ("logit_scale", "logit_bias"):
            held = getattr(words, key)
            if held is not None:
                held.copy_(state[key].reshape(()))
    found = Encoder(
        tower,
        name=image_shape.kind,
        preprocessing=_preprocessing(folder, image_shape),
        options=options_of(image_shape),
        provenance={"weights": f"hf:{name}"},
    )
    return DualEncoder(found.eval(), words.eval(), name=f"hf:{name}")


def _fill(tower: nn.Module, state: dict[str, Tensor], name: str) -> None:
    mine = {key: state[key] for key in tower.state_dict() if key in state}
    lacking = sorted(set(tower.state_dict()) - set(mine))
    if lacking:
        raise Problem(
            f"the weights of {name} lack {len(lacking)} parameters, such as {lacking[0]}: the "
            "model would partly be random."
        )
    try:
        tower.load_state_dict(mine)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise Problem(f"the weights of {name} do not fit its config.json: {reason}") from error


def _weights(folder: Path, name: str) -> dict[str, Tensor]:
    """All tensors of a model in one file or in several, as float32."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise Problem(
            f"{name} has no weights as safetensors, the only kind fallow reads: choose a model "
            "that has model.safetensors."
        )
    state: dict[str, Tensor] = {}
    try:
        for file in files:
            state |= load_file(file)
    except (SafetensorError, OSError) as error:
        raise Problem(
            f"the weights of {name} are damaged: delete them and download them again."
        ) from error
    return {key: value.float() for key, value in state.items() if value.is_floating_point()}


def _preprocessing(folder: Path, shape: ImageShape) -> Preprocessing:
    clip = shape.kind == "clip"
    usual: dict[str, Any] = {
        "size": {"shortest_edge": shape.size} if clip else shape.size,
        "image_mean": CLIP_COLOURS[0] if clip else (0.5,) * 3,
        "image_std": CLIP_COLOURS[1] if clip else (0.5,) * 3,
        "resample": 3,
        "image_processor_type": "CLIPImageProcessor" if clip else "SiglipImageProcessor",
    }
    path = folder / "preprocessor_config.json"
    found = {**usual, **(_json(path) if path.is_file() else {})}
    read = hub.read_preprocessing(found)
    way = "shrink" if clip else "whole"
    return Preprocessing(
        read.size,
        read.short,
        read.mean,
        read.std,
        read.interpolation,
        way,  # type: ignore[arg-type]
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Problem(f"{path} is not readable JSON: {error}") from error
    if not isinstance(found, dict):
        raise Problem(f"{path} must hold a JSON object.")
    return found


def tiny(seed: int = 0) -> DualEncoder:
    """A dual encoder of random weights in CLIP's form, for trying things out in a moment.

    >>> tiny().embed_images(np.zeros((2, 40, 50, 3), np.uint8), normalise=True).shape
    (2, 32)
    """
    from fallow.encoders.names import encoder

    shape: dict[str, Any] = {
        "patch": 8,
        "width": 32,
        "layers": 2,
        "heads": 2,
        "hidden": 64,
        "output": 32,
    }
    image = encoder("clip", seed=seed, size=32, **shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words = new_words(
            None, tokeniser.clip_tokeniser(), output=32, width=32, layers=2, heads=2, context=32
        )
    return DualEncoder(image.eval(), words.eval(), name="tiny dual encoder")
