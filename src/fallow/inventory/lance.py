"""Loads lancedb (a second or so), without its remarks about tables that are not there yet."""

import os

os.environ.setdefault("LANCEDB_LOG", "error")

import lancedb

__all__ = ["lancedb"]
