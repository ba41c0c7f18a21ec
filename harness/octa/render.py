"""From vessels and lesions to pixels, and from pixels to deterministic PNG bytes.

The picture is what an OCT-angiography projection shows: flow is bright, the haze of unresolved
capillaries follows the local perfusion, speckle multiplies it, and the foveal avascular zone and
dropout are dark. Everything is rendered at 304 x 304 pixels; smaller sizes are resized from that.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.octa.forest import Forest
from harness.octa.geometry import FIELD_MM, RENDER_SIZE, Array, Mask
from harness.octa.pathology import MICROANEURYSM_RADIUS_MM, Pathology

PIXELS_PER_MM = RENDER_SIZE / FIELD_MM
SPROUT_RADIUS_MM = 0.009
VESSEL_PEAK, TUFT_PEAK, MICROANEURYSM_PEAK = 0.66, 1.05, 1.40
"""Brightness before speckle: slow turbulent flow in tufts and buds outshines any vessel, which
with the microaneurysms' radius is what keeps them visible at 128 pixels. Chosen by eye."""

HAZE = 0.055
"""Brightness of capillaries too fine to be resolved, wherever the bed is perfused."""

MASK_COVERAGE = 0.35
"""A pixel belongs to a lesion when at least this share of it is covered, at every size, so that
sprouts one pixel wide do not vanish from the mask of a smaller image."""


def render(
    forest: Forest, position: Array, pathology: Pathology, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The image, uint8 of shape (304, 304).

    `rng` draws speckle and drift, the same whatever the lesions are, so that two renders of one
    stream differ by the lesions alone.
    """
    from scipy.ndimage import gaussian_filter

    speckle = rng.gamma(10.0, 1.0 / 10.0, (RENDER_SIZE, RENDER_SIZE))
    floor = rng.rayleigh(0.035, (RENDER_SIZE, RENDER_SIZE))
    lines = 1.0 + rng.normal(0.0, 0.025, RENDER_SIZE)
    drift = _drift(rng)
    gain = np.array([0.50, 0.40])[forest.layer] * rng.uniform(0.85, 1.15, len(forest.parent))

    alive = np.flatnonzero((forest.parent >= 0) & ~pathology.pruned)
    start, end = position[forest.parent[alive]], position[alive]
    radius = forest.radius[alive]
    bright = np.minimum(gain[alive] + 12.0 * (radius - 0.005), VESSEL_PEAK)
    flow = draw_segments(start, end, radius, bright)
    haze = 0.5 * gaussian_filter(flow, 7.0, mode="nearest")
    haze += HAZE * gaussian_filter(_perfused(forest, pathology), 3.5, mode="nearest")
    tuft, buds = lesion_coverage(pathology)
    scene = np.maximum(flow, haze)
    scene = np.maximum(scene * drift, np.maximum(TUFT_PEAK * tuft, MICROANEURYSM_PEAK * buds))
    scene = gaussian_filter(scene, 0.55, mode="nearest")
    noisy = scene * (0.25 + 0.75 * speckle) * lines[:, None] + floor
    levels = np.clip(noisy, 0.0, 1.0) ** 0.9
    pixels: NDArray[np.uint8] = np.round(255.0 * levels).astype(np.uint8)
    return pixels


def lesion_coverage(pathology: Pathology) -> tuple[Array, Array]:
    """How much of each pixel, in [0, 1], tufts and microaneurysms cover; two (304, 304) arrays."""
    sprouts = [sprout for tuft in pathology.tufts for sprout in tuft.sprouts]
    nothing = np.zeros((0, 2))
    start = np.concatenate([nothing, *(sprout[:-1] for sprout in sprouts)])
    end = np.concatenate([nothing, *(sprout[1:] for sprout in sprouts)])
    tuft = draw_segments(start, end, np.full(len(start), SPROUT_RADIUS_MM), np.ones(len(start)))
    centres = pathology.microaneurysms
    buds = draw_segments(
        centres,
        centres,
        np.full(len(centres), MICROANEURYSM_RADIUS_MM),
        np.ones(len(centres)),
    )
    return tuft, buds


def lesion_masks(forest: Forest, pathology: Pathology, size: int) -> Mapping[str, Mask]:
    """Masks (size, size) of the FAZ and of each lesion type; all False where there is none."""
    dropout = np.zeros((RENDER_SIZE, RENDER_SIZE), dtype=bool)
    for region in pathology.regions:
        dropout |= region.mask()
    tuft, buds = lesion_coverage(pathology)
    coverage = {
        "faz": forest.faz.mask().astype(np.float64),
        "dropout": dropout.astype(np.float64),
        "microaneurysm": buds,
        "neovascularisation": tuft,
    }
    return {name: resized(values, size) >= MASK_COVERAGE for name, values in coverage.items()}


def draw_segments(start: Array, end: Array, radius: Array, bright: Array) -> Array:
    """Capsules around segments, shape (304, 304): the brightest at each pixel, edges antialiased.

    `start` and `end` are (n, 2) and `radius` (n,), all in mm; `bright` (n,) in [0, 1]. A segment
    of no length is a disc.
    """
    canvas = np.zeros(RENDER_SIZE * RENDER_SIZE)
    a, b, r = start * PIXELS_PER_MM - 0.5, end * PIXELS_PER_MM - 0.5, radius * PIXELS_PER_MM
    along = b - a
    squared = (along**2).sum(axis=1)
    half = np.ceil(np.sqrt(squared) / 2.0 + r + 1.0).astype(np.int64)
    middle = np.round((a + b) / 2.0).astype(np.int64)
    for window in np.unique(half):
        chosen = half == window
        offset = np.arange(-window, window + 1)
        column = middle[chosen, 0, None, None] + offset[None, None, :]
        row = middle[chosen, 1, None, None] + offset[None, :, None]
        x, y = column - a[chosen, 0, None, None], row - a[chosen, 1, None, None]
        ux, uy = along[chosen, 0, None, None], along[chosen, 1, None, None]
        share = (x * ux + y * uy) / np.maximum(squared[chosen, None, None], 1e-12)
        share = np.clip(share, 0.0, 1.0)
        distance = np.sqrt((x - share * ux) ** 2 + (y - share * uy) ** 2)
        cover = np.clip(r[chosen, None, None] + 0.5 - distance, 0.0, 1.0)
        # A vessel thinner than a pixel cannot fill one.
        value = cover * np.minimum(1.0, 2.0 * r[chosen, None, None]) * bright[chosen, None, None]
        hit = (
            (value > 0) & (column >= 0) & (column < RENDER_SIZE) & (row >= 0) & (row < RENDER_SIZE)
        )
        np.maximum.at(canvas, (row * RENDER_SIZE + column)[hit], value[hit])
    return canvas.reshape(RENDER_SIZE, RENDER_SIZE)


def resized(values: NDArray[Any], size: int) -> NDArray[Any]:
    """A square array resized by area averaging; the same array where the size is the same.

    uint8 stays uint8, floating point stays float64.
    """
    if values.shape == (size, size):
        return values
    from PIL import Image

    if values.dtype == np.uint8:
        image = Image.fromarray(values).resize((size, size), Image.Resampling.BOX)
        return np.asarray(image)
    image = Image.fromarray(values.astype(np.float32)).resize((size, size), Image.Resampling.BOX)
    return np.asarray(image).astype(np.float64)


def encode_png(pixels: NDArray[np.uint8] | Mask) -> bytes:
    """A PNG of a grey image (uint8) or of a mask (bool, one bit a pixel).

    The pixels are stored without compression: compressed bytes depend on the version of the
    compressor, and a sample's identity hangs on its bytes.
    """
    height, width = pixels.shape
    one_bit = pixels.dtype == np.bool_
    rows = np.packbits(pixels, axis=1) if one_bit else pixels
    raw = np.concatenate([np.zeros((height, 1), dtype=np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 1 if one_bit else 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _stored(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _stored(raw: bytes) -> bytes:
    """A zlib stream of stored blocks."""
    blocks = [raw[first : first + 65535] for first in range(0, len(raw), 65535)]
    stream = b"\x78\x01"
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        stream += struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
    return stream + struct.pack(">I", zlib.adler32(raw))


def _perfused(forest: Forest, pathology: Pathology) -> Array:
    """One where there is a capillary bed, zero in the FAZ and in dropout, shape (304, 304)."""
    avascular = forest.faz.mask()
    for region in pathology.regions:
        avascular |= region.mask()
    return (~avascular).astype(np.float64)


def _drift(rng: np.random.Generator) -> Array:
    """Slow differences in brightness over the field, from a coarse random grid."""
    from scipy.ndimage import zoom

    coarse = rng.normal(1.0, 0.08, (5, 5))
    drift: Array = zoom(coarse, RENDER_SIZE / 5, order=3, mode="nearest", grid_mode=True)
    return np.clip(drift, 0.7, 1.3)
