"""Sensor data, forwards and backwards: reading, levels, colours, demosaicking, noise."""

from __future__ import annotations

from fallow.raw.curves import curve
from fallow.raw.demosaic import demosaicked
from fallow.raw.develop import Look, developed, developed_16, linear
from fallow.raw.levels import balanced, gains_of, normalised
from fallow.raw.mosaic import mosaic_of, mosaicked, planes
from fallow.raw.reading import raw_files, read, read_all, read_flat, read_raw
from fallow.raw.sensor import Raw, Sensor, must_show, sensor
from fallow.raw.sixteen import Picture, read_picture, srgb_profile, write_picture
from fallow.raw.tiff import write_dng
from fallow.raw.unprocess import plain_sensor, unprocessed, with_noise

__all__ = [
    "Look",
    "Picture",
    "Raw",
    "Sensor",
    "balanced",
    "curve",
    "demosaicked",
    "developed",
    "developed_16",
    "gains_of",
    "linear",
    "mosaic_of",
    "mosaicked",
    "must_show",
    "normalised",
    "plain_sensor",
    "planes",
    "raw_files",
    "read",
    "read_all",
    "read_flat",
    "read_picture",
    "read_raw",
    "sensor",
    "srgb_profile",
    "unprocessed",
    "with_noise",
    "write_dng",
    "write_picture",
]
