"""Degrees of places that maps give in metres: UTM zones and the Mercator of web maps."""

from __future__ import annotations

from typing import Any

import numpy as np

RADIUS, FLATTENING = 6_378_137.0, 1 / 298.257223563  # of the ellipsoid of WGS 84
SHRUNK, EAST = 0.9996, 500_000.0  # scale on a UTM zone's middle, and what is called it
WEB, GEOGRAPHIC = 3857, 4326
# hundreds of EPSG codes whose last two digits are a UTM zone: WGS 84 north and south, and those of
# Europe and North America, which differ from it by less than a pixel seen from above
NORTH, SOUTH = (326, 258, 269), (327,)


def degrees(code: int, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Longitude and latitude of places in a system named by its EPSG code; None: not known here.

    >>> lon, lat = degrees(32633, 602005.18, 5340385.88)
    >>> round(float(lon), 4), round(float(lat), 4)
    (16.373, 48.2085)
    """
    east, north = np.asarray(x, np.float64), np.asarray(y, np.float64)
    hundred, zone = divmod(code, 100)
    if code == GEOGRAPHIC:
        return east, north
    if code == WEB:
        return np.degrees(east / RADIUS), np.degrees(np.arctan(np.sinh(north / RADIUS)))
    if 1 <= zone <= 60 and hundred in (*NORTH, *SOUTH):
        lon, lat = _from_transverse(east - EAST, north - (1e7 if hundred in SOUTH else 0.0))
        return lon + 6 * zone - 183, lat
    return None


def _from_transverse(east: np.ndarray, north: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees from a middle meridian, by Krüger's series to the third power: within millimetres."""
    n = FLATTENING / (2 - FLATTENING)
    around = RADIUS / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    up, away = north / (SHRUNK * around), east / (SHRUNK * around)
    back = (n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96, n**2 / 48 + n**3 / 15, 17 * n**3 / 480)
    u, v = up.copy(), away.copy()
    for k, factor in enumerate(back, 1):
        u -= factor * np.sin(2 * k * up) * np.cosh(2 * k * away)
        v -= factor * np.cos(2 * k * up) * np.sinh(2 * k * away)
    conformal = np.arcsin(np.sin(u) / np.cosh(v))
    out = (2 * n - 2 * n**2 / 3 - 2 * n**3, 7 * n**2 / 3 - 8 * n**3 / 5, 56 * n**3 / 15)
    lat = conformal + sum(f * np.sin(2 * k * conformal) for k, f in enumerate(out, 1))
    return np.degrees(np.arctan2(np.sinh(v), np.cos(u))), np.degrees(lat)
