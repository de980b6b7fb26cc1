"""What a caption found on the web is about, in few words, and without any model."""

from __future__ import annotations

import re

import pyarrow as pa

from fallow.encoders.tokeniser import clean
from fallow.images import Images
from fallow.images.captions import captions

SUMMARY = "summary"  # column of Images
WORDS = 12  # a summary has at most that many

_NOISE = re.compile(
    r"https?://\S+|www\.\S+"  # addresses
    r"|\b[\w-]+\.(?:jpe?g|png|gif|webp|tiff?|bmp|heic|dng|nef|cr2)\b"  # names of files
    r"|\b(?:img|dsc|dscn|dscf|pict|p)[_-]?\d{3,}\b"  # those of cameras
    r"|[#@][\w-]+"  # hashtags, people
    r"|\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"  # dates
    r"|\(\s*\)|\[\s*\]"
)
_LEAD = re.compile(
    r"^(?:(?:this|it|here|there)(?: is|'s| are)\s+"
    r"|(?:an?|the|some|my|our)?\s*(?:close-?up |stock )?"
    r"(?:photo(?:graph)?|picture|image|view|shot|snapshot|drawing)s? (?:of|showing|that shows)\s+)+"
)
_CLAUSE = re.compile(
    r"\s*(?:[;!?|]|[.,:](?!\d)|\s[-–—]+\s"
    r"|\b(?:which|who|that|while|because|when|where|although|so that|and then|as)\b)\s*"
)


def summary(caption: str) -> str:
    """The first clause of a caption, without addresses, hashtags, file names and openings.

    >>> summary("IMG_2041.JPG Photo of a red shoe on a table, which I bought at www.x.y #shoes")
    'a red shoe on a table'
    >>> summary("#sunset")
    '#sunset'
    """
    whole = clean(caption)
    text = " ".join(_NOISE.sub(" ", whole).split()).strip(" .,;:-|")
    text = _LEAD.sub("", text)
    parts = [part.strip() for part in _CLAUSE.split(text) if part and part.strip()]
    # a single word, such as a greeting, is hardly what the picture shows
    first = next((part for part in parts if " " in part), parts[0] if parts else "")
    return " ".join(first.split()[:WORDS]) or whole


def with_summaries(images: Images) -> Images:
    """The same pictures with a column `summary`: one for each of their captions, in their order.

    >>> from fallow.images.captions import with_captions
    >>> from fallow.images.samples import shapes
    >>> images = with_captions(shapes(1, side=16), {"shapes_0000": "Photo of a disc; nice!"})
    >>> with_summaries(images).column("summary")[0].tolist()
    ['a disc']
    """
    made = [[summary(text) for text in some] or None for some in captions(images)]
    columns = {"path": images.table.column("path"), SUMMARY: pa.array(made, pa.list_(pa.string()))}
    return images.join(pa.table(columns))
