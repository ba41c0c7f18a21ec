"""Training images of the language models: pixels, findings, and where in them each lesion lies.

An image is drawn at 304 pixels, resized as the models' own processor would, and kept with a grid
that says which lesions lie in each cell. Turning an image turns grid and findings along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from harness.octa.findings import Findings, turned_findings
from harness.octa.forest import Preset
from harness.octa.generator import OctaImage, generate_dataset
from harness.octa.geometry import FIELD_MM, SECTORS, turned_sector
from harness.octa.pathology import LESIONS, Instance

IMAGE_SIZE = 128
CELLS = 8
"""Cells a side of the coarse grid: one for each of the 64 tokens that a picture becomes."""
FINE = 16
"""Cells a side of the fine grid: one for each patch of 8 x 8 pixels."""
COVERED = ("faz", *LESIONS)

Pixels = NDArray[np.uint8]
Grid = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Images:
    """n images: `pixels` is uint8 (n, 128, 128).

    `places` (n, 8, 8, 3, 8) is 1 where a lesion of a type and FAZ-relative sector has its centre
    in a cell; `cover` (n, 16, 16, 4) is the share of a cell covered by FAZ and lesions, in [0, 1].
    """

    pixels: Pixels
    places: NDArray[np.uint8]
    cover: NDArray[np.uint8]
    findings: tuple[Findings, ...]
    forests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pixels)

    def turned(self, index: int, k: int, flip: bool) -> tuple[Pixels, Grid, Grid, Findings]:
        """One image flipped left to right (if `flip`), then turned k quarter turns clockwise."""

        def turn(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return np.rot90(array[:, ::-1] if flip else array, -k)

        sectors = [turned_sector(sector, k, flip) for sector in range(len(SECTORS))]
        places = np.zeros_like(self.places[index])
        places[..., sectors] = turn(self.places[index])
        return (
            np.ascontiguousarray(turn(self.pixels[index])),
            places.astype(np.float32),
            turn(self.cover[index]).astype(np.float32) / 255.0,
            turned_findings(self.findings[index], k, flip),
        )


def draw_images(
    forests: int, draws: int, seed: int, preset: Preset = "fast", workers: int = 1
) -> Images:
    """Draws `draws` images on each of `forests` forests."""
    return _gathered(generate_dataset(forests, draws, seed, preset, workers=workers))


def draw_mixed(fast: int, full: int, draws: int, seed: int, workers: int = 1) -> Images:
    """Images of both presets, so that a model knows sparse and dense vessel beds."""
    return _gathered(
        chain(
            generate_dataset(fast, draws, seed, "fast", workers=workers),
            generate_dataset(full, draws, seed + 1, "full", workers=workers),
        )
    )


def _gathered(images: Iterator[OctaImage]) -> Images:
    rows = [
        (
            resized(image.image),
            _places(image.instances),
            _cover(image),
            image.findings,
            image.forest,
        )
        for image in images
    ]
    pixels, places, cover, findings, forests = zip(*rows, strict=True)
    return Images(np.stack(pixels), np.stack(places), np.stack(cover), findings, forests)


def resized(image: Pixels) -> Pixels:
    """The image at 128 pixels, by the same filter as the models' image processor."""
    from PIL import Image

    small = Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
    return np.asarray(small)


def _places(instances: Sequence[Instance]) -> NDArray[np.uint8]:
    places = np.zeros((CELLS, CELLS, len(LESIONS), len(SECTORS)), dtype=np.uint8)
    for one in instances:
        row, column = (
            min(CELLS - 1, max(0, int(place * CELLS / FIELD_MM))) for place in (one.y, one.x)
        )
        places[row, column, LESIONS.index(one.kind), SECTORS.index(one.sector)] = 1
    return places


def _cover(image: OctaImage) -> NDArray[np.uint8]:
    side = image.size // FINE
    shares = [
        image.masks[name].reshape(FINE, side, FINE, side).mean(axis=(1, 3)) for name in COVERED
    ]
    return np.round(255.0 * np.stack(shares, axis=-1)).astype(np.uint8)
