"""What verbs leave behind: results, pictures, maps, tables, and the sentences that go with them."""

from fallow.outcomes.maps import save_codes, save_depth, save_heat, save_overlay
from fallow.outcomes.pictures import (
    jpeg,
    pairs_of_jpegs,
    save_picture,
    shrunk,
    stretched,
    thumbnail,
    thumbnails,
)
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import counted, some, unreadable
from fallow.outcomes.tables import (
    save_csv,
    save_json,
    save_parquet,
    save_tensors,
    saved_run,
    without_ending,
)

__all__ = [
    "Result",
    "counted",
    "jpeg",
    "pairs_of_jpegs",
    "save_codes",
    "save_csv",
    "save_depth",
    "save_heat",
    "save_json",
    "save_overlay",
    "save_parquet",
    "save_picture",
    "save_tensors",
    "saved_run",
    "shrunk",
    "some",
    "stretched",
    "thumbnail",
    "thumbnails",
    "unreadable",
    "without_ending",
    "writable",
]
