"""Where things lie in the field: millimetres, sectors, and irregular closed outlines.

The field is 3 x 3 mm, x to the right and y downwards, as in a macular OCT-angiography scan of
304 x 304 pixels. A sector is an eighth of the turn as seen from the centre of the foveal
avascular zone (FAZ), counted clockwise from the top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FIELD_MM = 3.0
RENDER_SIZE = 304

SECTORS = (
    "north",
    "northeast",
    "east",
    "southeast",
    "south",
    "southwest",
    "west",
    "northwest",
)
"""The sectors clockwise from the top of the image. Compass words, because each is one word that
means nothing else in a report, and because nasal and temporal depend on which eye it is."""


def sector_index(dx: float, dy: float) -> int:
    """The sector of a point at (dx, dy) from the FAZ centre; dy points downwards.

    Sector i spans the 45 degrees around i * 45 degrees clockwise from the top.
    """
    turn = math.degrees(math.atan2(dx, -dy))
    return math.floor((turn + 22.5) / 45.0) % 8


def turned_sector(sector: int, k: int, flip: bool) -> int:
    """Where a sector lies after a left-right flip (if `flip`), then k quarter turns clockwise."""
    return ((-sector if flip else sector) + 2 * k) % 8


def turned_point(x: float, y: float, k: int, flip: bool) -> tuple[float, float]:
    """Where a point of the field (mm) comes to lie after the same flip and turns."""
    if flip:
        x = FIELD_MM - x
    for _ in range(k % 4):
        x, y = FIELD_MM - y, x
    return x, y


@dataclass(frozen=True)
class Outline:
    """A star-shaped closed curve: its radius (mm) varies with the angle by a few harmonics.

    `harmonics` holds (order, relative amplitude, phase in radians).
    """

    x: float
    y: float
    radius: float
    harmonics: tuple[tuple[int, float, float], ...] = ()

    @classmethod
    def draw(
        cls, rng: np.random.Generator, x: float, y: float, radius: float, roughness: float
    ) -> Outline:
        """A random outline; `roughness` is the relative amplitude of the second harmonic."""
        orders = (2, 3, 4, 5)
        amplitudes = roughness * rng.uniform(0.3, 1.0, 4) * np.array([1.0, 0.8, 0.5, 0.4])
        phases = rng.uniform(0.0, 2.0 * math.pi, 4)
        return cls(
            x, y, radius, tuple(zip(orders, amplitudes.tolist(), phases.tolist(), strict=True))
        )

    def border(self, angle: NDArray[np.floating]) -> Array:
        """Distance (mm) of the border from the star's centre in these directions."""
        factor = np.ones(len(angle))
        for order, amplitude, phase in self.harmonics:
            factor += amplitude * np.cos(order * angle + phase)
        return self.radius * factor

    @property
    def reach(self) -> float:
        """No border point lies farther (mm) from the star's centre than this."""
        return self.radius * (1.0 + sum(amplitude for _, amplitude, _ in self.harmonics))

    def signed_distance(self, points: Array) -> Array:
        """Radial distance (mm) of points, shape (n, 2), from the border; negative inside."""
        dx, dy = points[:, 0] - self.x, points[:, 1] - self.y
        away = np.hypot(dx, dy)
        distance = away - self.reach
        near = distance < 0.5 * self.radius
        distance[near] = away[near] - self.border(np.arctan2(dy[near], dx[near]))
        return distance

    def polygon(self, corners: int = 180) -> Array:
        """The border as points, shape (corners, 2)."""
        angle = np.arange(corners) * (2.0 * math.pi / corners)
        border = self.border(angle)
        return np.stack([self.x + border * np.cos(angle), self.y + border * np.sin(angle)], axis=1)

    def area_and_centroid(self) -> tuple[float, tuple[float, float]]:
        """Area (mm²) and centroid (mm) of the region."""
        x, y = self.polygon().T
        following_x, following_y = np.roll(x, -1), np.roll(y, -1)
        cross = x * following_y - following_x * y
        area = float(cross.sum() / 2.0)
        centre_x = float(((x + following_x) * cross).sum() / (6.0 * area))
        centre_y = float(((y + following_y) * cross).sum() / (6.0 * area))
        return abs(area), (centre_x, centre_y)

    def mask(self, size: int = RENDER_SIZE) -> Mask:
        """The pixels, shape (size, size), whose centres lie inside."""
        pixel = FIELD_MM / size
        inside = np.zeros((size, size), dtype=bool)
        left, right = _pixel_range(self.x, self.reach, pixel, size)
        top, bottom = _pixel_range(self.y, self.reach, pixel, size)
        rows, columns = np.mgrid[top:bottom, left:right]
        points = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1) * pixel
        inside[top:bottom, left:right] = (self.signed_distance(points) < 0).reshape(rows.shape)
        return inside


def _pixel_range(centre: float, reach: float, pixel: float, size: int) -> tuple[int, int]:
    first = max(0, int((centre - reach) / pixel) - 1)
    return first, min(size, int((centre + reach) / pixel) + 2)
