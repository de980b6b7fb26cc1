"""Fifteen things people and programs do to a picture that leave it a copy, at three strengths."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

STRENGTHS = 3
Change = Callable[[Image.Image, int, np.random.Generator], Image.Image]


def change(picture: Image.Image, kind: str, strength: int, draw: np.random.Generator) -> bytes:
    """The changed picture as a JPEG; `strength` is 0, 1 or 2."""
    if kind == "recompress":
        return jpeg(picture, (50, 25, 10)[strength])
    return jpeg(CHANGES[kind](picture, strength, draw), 92)


def jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def resize(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    share = (0.75, 0.5, 0.25)[strength]
    size = (max(8, round(picture.width * share)), max(8, round(picture.height * share)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def crop(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    """Keeps 95, 85 or 75 % of both sides, anywhere."""
    share = (0.95, 0.85, 0.75)[strength]
    width, height = round(picture.width * share), round(picture.height * share)
    left = int(draw.integers(0, picture.width - width + 1))
    top = int(draw.integers(0, picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def border(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    wide = max(2, round((0.03, 0.08, 0.15)[strength] * min(picture.size)))
    colour = ((255, 255, 255), (0, 0, 0), tuple(int(value) for value in draw.integers(0, 256, 3)))[
        int(draw.integers(3))
    ]
    framed = Image.new("RGB", (picture.width + 2 * wide, picture.height + 2 * wide), colour)
    framed.paste(picture, (wide, wide))
    return framed


def mirror(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    """Alone, then reduced to 70 %, then cropped to 85 % of the sides."""
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if strength == 1:
        size = (max(8, round(picture.width * 0.7)), max(8, round(picture.height * 0.7)))
        return mirrored.resize(size, Image.Resampling.LANCZOS)
    return crop(mirrored, 1, draw) if strength == 2 else mirrored


def turn(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    """By 3, 8 or 15 degrees; either with filled corners, or cut to what has none."""
    angle = (3, 8, 15)[strength] * (1 if draw.random() < 0.5 else -1)
    fill = (255, 255, 255) if draw.random() < 0.5 else (0, 0, 0)
    turned = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=fill)
    if draw.random() < 0.5:
        return turned
    width, height = picture.size
    sine, cosine = np.sin(np.radians(abs(angle))), np.cos(np.radians(abs(angle)))
    # the largest upright rectangle of the same shape inside the turned one
    share = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    inner = (width * share, height * share)
    left, top = (width - inner[0]) / 2, (height - inner[1]) / 2
    return turned.crop(tuple(round(v) for v in (left, top, left + inner[0], top + inner[1])))


def perspective(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    """Each corner moves inwards by up to 5, 9 or 13 % of the sides, and is pulled back out."""
    share = (0.05, 0.09, 0.13)[strength]
    width, height = picture.size
    outer = np.array([[0, 0], [0, height], [width, height], [width, 0]], np.float64)
    inward = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * [width, height]
    inner = outer + draw.uniform(0.2, 1.0, (4, 2)) * share * inward
    rows, target = [], []
    for (x, y), (u, v) in zip(outer, inner, strict=True):  # output place -> input place
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        target += [u, v]
    terms = np.linalg.solve(np.array(rows), np.array(target))
    return picture.transform(
        picture.size, Image.Transform.PERSPECTIVE, terms.tolist(), Image.Resampling.BICUBIC
    )


def _up_or_down(factors: tuple[tuple[float, float], ...], strength: int, draw: float) -> float:
    return factors[strength][0 if draw < 0.5 else 1]


def brightness(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    factor = _up_or_down(((1.15, 0.85), (1.3, 0.7), (1.6, 0.5)), strength, draw.random())
    return ImageEnhance.Brightness(picture).enhance(factor)


def contrast(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    factor = _up_or_down(((1.25, 0.8), (1.5, 0.6), (1.9, 0.4)), strength, draw.random())
    return ImageEnhance.Contrast(picture).enhance(factor)


def hue(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    """By 15, 45 or 100 degrees, one way or the other."""
    degrees = (15, 45, 100)[strength] * (1 if draw.random() < 0.5 else -1)
    values = np.array(picture.convert("HSV"))
    values[..., 0] = (values[..., 0].astype(int) + round(degrees * 256 / 360)) % 256
    return Image.fromarray(values, "HSV").convert("RGB")


def grey(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    """Without colour, then toned brown, then grey with more contrast."""
    plain = picture.convert("L")
    if strength == 1:
        values = np.asarray(plain, np.float32)[..., None] * np.array([1.0, 0.86, 0.66], np.float32)
        return Image.fromarray(values.astype(np.uint8))
    toned = plain.convert("RGB")
    return ImageEnhance.Contrast(toned).enhance(1.4) if strength == 2 else toned


def blur(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    radius = (0.004, 0.009, 0.018)[strength] * min(picture.size)
    return picture.filter(ImageFilter.GaussianBlur(max(radius, 0.5)))


def noise(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    values = np.asarray(picture, np.float32)
    values = values + draw.normal(0, (6, 14, 28)[strength], values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


WORDS = ("sale", "today", "only", "best", "of", "the", "summer", "photo", "by", "draft", "2024")


def text(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    """A line, two lines, or a panel of words over a fifth of the picture."""
    changed = picture.copy()
    pen = ImageDraw.Draw(changed)
    width, height = picture.size
    size = max(8, round((0.08, 0.1, 0.06)[strength] * height))
    font = ImageFont.load_default(size)
    lines = (1, 2, 3)[strength]
    top = draw.uniform(0.05, 0.95 - lines * 1.3 * size / height) * height
    left = draw.uniform(0.02, 0.2) * width
    if strength == 2:
        pen.rectangle(
            (0.6 * left, top - 0.3 * size, 0.95 * width, top + 1.25 * lines * size), fill="white"
        )
    ink = "black" if strength == 2 or draw.random() < 0.5 else "white"
    for line in range(lines):
        words = " ".join(draw.permutation(WORDS)[:5])
        pen.text((left, top + 1.2 * line * size), words, fill=ink, font=font)
    return changed


def screenshot(picture: Image.Image, strength: int, draw: np.random.Generator) -> Image.Image:
    """Inside a window with a bar and a few buttons; the picture takes 85, 70 or 55 % of it."""
    share = (0.85, 0.7, 0.55)[strength]
    width, height = round(picture.width / share), round(picture.height / share)
    bar = max(6, round(0.06 * height))
    dark = draw.random() < 0.5
    ground, ink = ((32, 33, 36), (220, 220, 220)) if dark else ((245, 245, 245), (40, 40, 40))
    window = Image.new("RGB", (width, height + bar), ground)
    pen = ImageDraw.Draw(window)
    pen.rectangle((0, 0, width, bar), fill=(60, 64, 70) if dark else (222, 225, 230))
    font = ImageFont.load_default(max(6, round(0.6 * bar)))
    pen.text((0.3 * bar, 0.1 * bar), " ".join(draw.permutation(WORDS)[:3]), fill=ink, font=font)
    for number in range(3):
        x = width - bar * (number + 1)
        pen.ellipse((x + 0.3 * bar, 0.3 * bar, x + 0.7 * bar, 0.7 * bar), fill=ink)
    left = int(draw.integers(0, width - picture.width + 1))
    top = bar + int(draw.integers(0, height - picture.height + 1))
    window.paste(picture, (left, top))
    below = top + picture.height
    if below + bar < window.height:
        words = " ".join(draw.permutation(WORDS)[:6])
        pen.text((left, below + 0.2 * bar), words, fill=ink, font=font)
    return window


CHANGES: dict[str, Change] = {
    "resize": resize,
    "crop": crop,
    "border": border,
    "mirror": mirror,
    "turn": turn,
    "perspective": perspective,
    "brightness": brightness,
    "contrast": contrast,
    "hue": hue,
    "grey": grey,
    "blur": blur,
    "noise": noise,
    "text": text,
    "screenshot": screenshot,
}
KINDS = (*CHANGES, "recompress")
