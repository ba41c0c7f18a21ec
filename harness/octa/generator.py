"""The way in: one image from a seed, or a whole data set that shares its forests.

A forest is the unit of independence: images of one forest share their vessels, so they belong to
one cluster and to one side of a split. The same arguments give the same bytes in every process.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from harness.octa.forest import Forest, Preset, grow, stream
from harness.octa.geometry import RENDER_SIZE, Array, Mask, turned_point
from harness.octa.pathology import (
    LABELS,
    Instance,
    Label,
    Pathology,
    bent,
    draw_pathology,
    no_pathology,
    stage_of,
    turned_instance,
)
from harness.octa.record import Findings, findings_of, turned_findings
from harness.octa.render import encode_png, lesion_masks, render, resized
from harness.records import HarnessError

_Pixel = TypeVar("_Pixel", bound=np.generic)

TORTUOUS_SHARE = 0.3
"""Share of images with tortuous vessels, in every stage."""


@dataclass(frozen=True, eq=False)
class OctaImage:
    """An image with everything that is known of it.

    `image` is uint8 of shape (size, size). `masks` holds boolean arrays of the same shape under
    `faz`, `dropout`, `microaneurysm` and `neovascularisation`. `faz_centre` and `faz_radius` (of
    the disc of the same area) are in mm from the top left corner; the field is 3 mm wide.
    `tortuosity` is the amplitude (mm) of the vessels' swing, 0 where they are straight. `label`
    is the stage that the instances amount to.
    """

    image: NDArray[np.uint8]
    label: Label
    masks: Mapping[str, Mask]
    instances: tuple[Instance, ...]
    faz_centre: tuple[float, float]
    faz_radius: float
    tortuosity: float
    forest: str
    seed: int
    draw: int
    preset: Preset

    @property
    def findings(self) -> Findings:
        """What the drawn instances amount to; nothing else has a say in it."""
        return findings_of(self.instances)

    @property
    def size(self) -> int:
        """Width and height in pixels."""
        return int(self.image.shape[0])

    def png(self) -> bytes:
        """The image as PNG, the same bytes on every machine."""
        return encode_png(self.image)


def generate(
    seed: int,
    preset: Preset = "full",
    label: Label | None = None,
    draw: int = 0,
    size: int = RENDER_SIZE,
) -> OctaImage:
    """One image: draw number `draw` of lesions on the forest of `seed`.

    Without a `label` the stage is drawn, each as often. `size` is 304 or less. The last forests
    are kept, so further draws on them are cheap. Raises `HarnessError` for an unknown preset or
    label and a size that is out of range.
    """
    return _rendered(_drawn(seed, preset, label, draw), draw, size)


def draw_instances(
    seed: int, preset: Preset = "full", label: Label | None = None, draw: int = 0
) -> tuple[Instance, ...]:
    """The lesions that `generate` draws for the same arguments, without rendering them."""
    return _drawn(seed, preset, label, draw).pathology.instances


def healthy_twin(image: OctaImage) -> OctaImage:
    """The image as it was before lesions: same vessels, same course, same speckle, never turned."""
    drawn = _drawn(image.seed, image.preset, None, image.draw)
    healthy = replace(drawn, pathology=no_pathology(drawn.forest))
    return _rendered(healthy, image.draw, image.size)


def forest_seed(seed: int, index: int) -> int:
    """The seed of forest `index` of the data set `seed`; no two data sets share a forest."""
    hashed = hashlib.sha256(f"octa-dataset/{seed}/{index}".encode()).digest()
    return int.from_bytes(hashed[:7], "big")


def balanced_label(forest: int, draw: int) -> Label:
    """The stage of a draw in a data set: over forests and over draws, each as often."""
    return LABELS[(forest + draw) % len(LABELS)]


def generate_dataset(
    forests: int,
    draws_per_forest: int,
    seed: int,
    preset: Preset = "full",
    size: int = RENDER_SIZE,
    workers: int = 1,
) -> Iterator[OctaImage]:
    """All draws of all forests, forest by forest, in an order that `workers` does not change.

    With several workers forests are grown in processes of their own (start method `spawn`, so a
    script that calls this needs the usual `if __name__ == "__main__":`).
    """
    jobs = [(forest, draws_per_forest, seed, preset, size) for forest in range(forests)]
    if workers <= 1:
        for job in jobs:
            for draw in range(draws_per_forest):
                yield _dataset_image(job, draw)
        return
    from multiprocessing import get_context

    with get_context("spawn").Pool(workers) as pool:
        for images in pool.imap(_forest_images, jobs):
            yield from images


@overload
def transform(subject: OctaImage, k: int, flip: bool) -> OctaImage: ...
@overload
def transform(subject: Findings, k: int, flip: bool) -> Findings: ...
def transform(subject: OctaImage | Findings, k: int, flip: bool) -> OctaImage | Findings:
    """The same picture, or what is said of it, flipped left to right (if `flip`) and then turned
    by k quarter turns clockwise; sectors, positions and masks turn along."""
    if isinstance(subject, Findings):
        return turned_findings(subject, k, flip)

    return replace(
        subject,
        image=_turned(subject.image, k, flip),
        masks={name: _turned(mask, k, flip) for name, mask in subject.masks.items()},
        instances=tuple(turned_instance(instance, k, flip) for instance in subject.instances),
        faz_centre=turned_point(*subject.faz_centre, k, flip),
    )


def _turned(pixels: NDArray[_Pixel], k: int, flip: bool) -> NDArray[_Pixel]:
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if flip else pixels, -k))


_Job = tuple[int, int, int, Preset, int]


def _dataset_image(job: _Job, draw: int) -> OctaImage:
    forest, _, seed, preset, size = job
    return generate(forest_seed(seed, forest), preset, balanced_label(forest, draw), draw, size)


def _forest_images(job: _Job) -> list[OctaImage]:
    return [_dataset_image(job, draw) for draw in range(job[1])]


@dataclass(frozen=True, eq=False)
class _Draw:
    """Everything of an image but its pixels."""

    forest: Forest
    position: Array
    tortuosity: float
    pathology: Pathology


def _drawn(seed: int, preset: Preset, label: Label | None, draw: int) -> _Draw:
    if label is not None and label not in LABELS:
        raise HarnessError(f"there is no OCTA label '{label}'; labels are {', '.join(LABELS)}")
    forest = _forest(seed, preset)
    course = stream("octa-course", preset, seed, draw)
    tortuous = course.random() < TORTUOUS_SHARE
    tortuosity = float(course.uniform(0.010, 0.018)) if tortuous else 0.0
    position = bent(forest, tortuosity, course)
    rng = stream("octa-lesions", preset, seed, draw)
    free = LABELS[rng.integers(len(LABELS))]
    pathology = draw_pathology(forest, position, label or free, rng)
    return _Draw(forest, position, tortuosity, pathology)


def _rendered(drawn: _Draw, draw: int, size: int) -> OctaImage:
    if not 16 <= size <= RENDER_SIZE:
        raise HarnessError(f"an OCTA image is 16 to {RENDER_SIZE} pixels wide, not {size}")
    forest, pathology = drawn.forest, drawn.pathology
    speckle = stream("octa-speckle", forest.preset, forest.seed, draw)
    image = render(forest, drawn.position, pathology, speckle)
    area, centre = forest.faz.area_and_centroid()
    return OctaImage(
        image=resized(image, size),
        label=stage_of(pathology.instances),
        masks=lesion_masks(forest, pathology, size),
        instances=pathology.instances,
        faz_centre=centre,
        faz_radius=math.sqrt(area / math.pi),
        tortuosity=drawn.tortuosity,
        forest=forest.id,
        seed=forest.seed,
        draw=draw,
        preset=forest.preset,
    )


@lru_cache(maxsize=64)
def _forest(seed: int, preset: Preset) -> Forest:
    return grow(seed, preset)
