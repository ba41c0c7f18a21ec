"""Lesions of diabetic retinopathy, drawn onto a healthy forest.

What is drawn is returned as instances, and everything said of an image later (stage, findings,
gold) is derived from these instances, never from the wish that led to the draw. The stage does
not decide which lesions there are: only the mixtures below do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.octa.forest import Forest
from harness.octa.geometry import (
    FIELD_MM,
    SECTORS,
    Array,
    Mask,
    Outline,
    sector_index,
    turned_point,
    turned_sector,
)

Label = Literal["healthy", "non-proliferative", "proliferative"]
Lesion = Literal["dropout", "microaneurysm", "neovascularisation"]

LABELS: tuple[Label, ...] = ("healthy", "non-proliferative", "proliferative")
LESIONS: tuple[Lesion, ...] = ("dropout", "microaneurysm", "neovascularisation")

MICROANEURYSM_RADIUS_MM = 0.030
"""The upper end of the 0.01 to 0.03 mm seen in patients: 3 pixels at 304 and 1.3 pixels at 128,
the smallest round number at which a bud still covers whole pixels at 128. Chosen once, by eye."""

CAPILLARY_MM = 0.0125
"""Vessels up to this radius, capillaries and what feeds them, are pruned where there is dropout."""

STAGING_MICROANEURYSMS = 3
"""With fewer microaneurysms and no other lesion an image still counts as healthy."""

COUNT_RANGES = ((1, 3), (4, 8), (9, 14))
"""Numbers of microaneurysms drawn: few, several or numerous, each as often."""


@dataclass(frozen=True)
class Instance:
    """One lesion as drawn: its centre and radius in mm from the top left corner of the field.

    The radius of a dropout region or of a tuft is that of the disc of the same area, or of the
    smallest disc around its sprouts. `sector` is that of the centre seen from the FAZ centre.
    """

    kind: Lesion
    x: float
    y: float
    radius: float
    sector: str


@dataclass(frozen=True)
class Tuft:
    """The sprouts of one neovascularisation: each a path of points, shape (n, 2), in mm."""

    sprouts: tuple[Array, ...]


@dataclass(frozen=True)
class Pathology:
    """All lesions of one draw, with what the renderer needs of them.

    `pruned` marks the nodes whose vessel piece has gone. `tortuosity` is the amplitude (mm) by
    which vessels are bent to either side; it is drawn apart from the lesions.
    """

    regions: tuple[Outline, ...]
    pruned: Mask
    microaneurysms: Array
    tufts: tuple[Tuft, ...]
    instances: tuple[Instance, ...]


def stage_of(instances: Sequence[Instance]) -> Label:
    """The stage that these lesions amount to."""
    kinds = [instance.kind for instance in instances]
    if "neovascularisation" in kinds:
        return "proliferative"
    if "dropout" in kinds or kinds.count("microaneurysm") >= STAGING_MICROANEURYSMS:
        return "non-proliferative"
    return "healthy"


def faz_centre(forest: Forest) -> tuple[float, float]:
    """The centroid (mm) of the foveal avascular zone."""
    return forest.faz.area_and_centroid()[1]


def draw_pathology(
    forest: Forest, position: Array, label: Label, rng: np.random.Generator
) -> Pathology:
    """Lesions for an image of this stage on vessels whose nodes lie at `position` (mm).

    Non-proliferative: dropout alone .3, microaneurysms alone .3, both .4. Proliferative:
    neovascularisation with dropout, microaneurysms in half. Healthy: none.
    """
    with_dropout, with_microaneurysms = _mixture(label, rng)
    regions = _draw_regions(forest, rng) if with_dropout else ()
    pruned = _pruned(forest, position, regions)
    tufts = _draw_tufts(forest, regions, rng) if label == "proliferative" else ()
    microaneurysms = np.zeros((0, 2))
    if with_microaneurysms:
        count = _microaneurysm_count(with_dropout, rng)
        microaneurysms = _draw_buds(forest, position, pruned, regions, count, rng)
    centre = faz_centre(forest)
    return Pathology(
        regions=regions,
        pruned=pruned,
        microaneurysms=microaneurysms,
        tufts=tufts,
        instances=_instances(centre, regions, microaneurysms, tufts),
    )


def no_pathology(forest: Forest) -> Pathology:
    """The same forest without a lesion."""
    return Pathology((), np.zeros(len(forest.parent), dtype=bool), np.zeros((0, 2)), (), ())


def bent(forest: Forest, amplitude: float, rng: np.random.Generator) -> Array:
    """Node positions (mm) of a tortuous forest: each vessel swings to either side of its course.

    The jitter is perpendicular to the vessel, a wave with some noise along it, and `amplitude` mm
    at most.
    """
    if amplitude == 0.0:
        return forest.position
    parent = forest.parent.copy()
    parent[parent < 0] = np.flatnonzero(parent < 0)
    along = forest.position - forest.position[parent]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / length[:, None]
    swing = rng.normal(0.0, 0.5, len(parent))
    phase = rng.uniform(0.0, 2.0 * math.pi)
    wave = np.sin(forest.depth * (2.0 * math.pi / 7.0) + phase) + 0.35 * swing
    course: Array = forest.position + amplitude * np.clip(wave, -1.0, 1.0)[:, None] * normal
    return course


def turned_instance(instance: Instance, k: int, flip: bool) -> Instance:
    """The instance after a left-right flip (if `flip`), then k quarter turns clockwise."""
    x, y = turned_point(instance.x, instance.y, k, flip)
    sector = SECTORS[turned_sector(SECTORS.index(instance.sector), k, flip)]
    return replace(instance, x=x, y=y, sector=sector)


def _mixture(label: Label, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether there is dropout, and whether there are microaneurysms."""
    chance = rng.random()
    if label == "healthy":
        return False, False
    if label == "non-proliferative":
        return not 0.3 <= chance < 0.6, chance >= 0.3
    return True, chance < 0.5


def _microaneurysm_count(with_dropout: bool, rng: np.random.Generator) -> int:
    low, high = COUNT_RANGES[rng.integers(len(COUNT_RANGES))]
    count = int(rng.integers(low, high + 1))
    return count if with_dropout else max(count, STAGING_MICROANEURYSMS)


def _draw_regions(forest: Forest, rng: np.random.Generator) -> tuple[Outline, ...]:
    """One to four separate dropout regions around the FAZ."""
    centre_x, centre_y = faz_centre(forest)
    wanted = int(rng.integers(1, 5))
    regions: list[Outline] = []
    for _ in range(200):
        if len(regions) == wanted:
            break
        radius = rng.uniform(0.20, 0.34)
        region = Outline.draw(rng, 0.0, 0.0, radius, roughness=0.22)
        turn = rng.uniform(0.0, 2.0 * math.pi)
        away = forest.faz.reach + region.reach + rng.uniform(0.02, 0.30)
        x, y = centre_x + away * math.sin(turn), centre_y - away * math.cos(turn)
        apart = all(
            math.hypot(x - other.x, y - other.y) > region.reach + other.reach + 0.04
            for other in regions
        )
        inside = region.reach < min(x, y, FIELD_MM - x, FIELD_MM - y) + 0.05
        if apart and inside:
            regions.append(replace(region, x=x, y=y))
    return tuple(regions)


def _pruned(forest: Forest, position: Array, regions: tuple[Outline, ...]) -> Mask:
    """Capillaries inside a region; larger vessels cross it, and what lies beyond is kept.

    Beyond a region capillaries are supplied from other sides, as a capillary bed is.
    """
    pruned = np.zeros(len(forest.parent), dtype=bool)
    for region in regions:
        pruned |= region.signed_distance(position) < 0
    return pruned & (forest.radius <= CAPILLARY_MM)


def _draw_buds(
    forest: Forest,
    position: Array,
    pruned: Mask,
    regions: tuple[Outline, ...],
    count: int,
    rng: np.random.Generator,
) -> Array:
    """Centres (mm) of microaneurysms, shape (count, 2): buds on capillaries that are left.

    They sit on the borders of dropout where there is dropout. Elsewhere they gather around one
    to three foci within 1 mm of the FAZ centre, as they do in patients.
    """
    alive = ~pruned & (forest.radius <= CAPILLARY_MM) & (forest.parent >= 0)
    edge = FIELD_MM - 2 * MICROANEURYSM_RADIUS_MM
    alive &= ((position > 2 * MICROANEURYSM_RADIUS_MM) & (position < edge)).all(axis=1)
    if regions:
        distance = np.min([region.signed_distance(position) for region in regions], axis=0)
        eligible = alive & (np.abs(distance) < 0.06)
    else:
        centre = np.array(faz_centre(forest))
        near = np.hypot(*(position - centre).T) < 1.0
        foci = position[rng.choice(np.flatnonzero(alive & near), rng.integers(1, 4))]
        to_focus = np.min([np.hypot(*(position - focus).T) for focus in foci], axis=0)
        eligible = alive & near & (to_focus < 0.30)
    placed: list[Array] = []
    for node in rng.permutation(np.flatnonzero(eligible)):
        side = rng.normal(0.0, 1.0, 2)
        bud = position[node] + side / np.hypot(*side) * (0.6 * MICROANEURYSM_RADIUS_MM)
        if all(np.hypot(*(bud - other)) > 3.0 * MICROANEURYSM_RADIUS_MM for other in placed):
            placed.append(bud)
        if len(placed) == count:
            break
    return np.array(placed).reshape(-1, 2)


def _draw_tufts(
    forest: Forest, regions: tuple[Outline, ...], rng: np.random.Generator
) -> tuple[Tuft, ...]:
    """One to four tufts of curled sprouts, each rooted on the border of a dropout region."""
    wanted = int(rng.integers(1, 5))
    roots: list[Array] = []
    for _ in range(200):
        if len(roots) == wanted:
            break
        region = regions[rng.integers(len(regions))]
        angle = rng.uniform(0.0, 2.0 * math.pi, 1)
        border = region.border(angle)
        root = np.array(
            [region.x + border[0] * np.cos(angle[0]), region.y + border[0] * np.sin(angle[0])]
        )
        free = all(np.hypot(*(root - other)) > 0.34 for other in roots)
        inside = ((root > 0.15) & (root < FIELD_MM - 0.15)).all()
        outside_faz = forest.faz.signed_distance(root[None])[0] > 0.10
        if free and inside and outside_faz:
            roots.append(root)
    return tuple(_draw_tuft(root, rng) for root in roots)


def _draw_tuft(root: Array, rng: np.random.Generator) -> Tuft:
    """Five to eight sprouts that leave the root in all directions and curl up."""
    sprouts = []
    count = int(rng.integers(5, 9))
    start = rng.uniform(0.0, 2.0 * math.pi)
    for sprout in range(count):
        steps = int(rng.integers(10, 17))
        curl = rng.choice([-1.0, 1.0]) * rng.uniform(0.18, 0.42)
        turning = curl * np.linspace(0.4, 1.6, steps) + rng.normal(0.0, 0.18, steps)
        heading = start + sprout * 2.0 * math.pi / count + np.cumsum(turning)
        path = np.cumsum(0.017 * np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
        sprouts.append(np.concatenate([root[None], root + path]))
    return Tuft(tuple(sprouts))


def _instances(
    centre: tuple[float, float],
    regions: tuple[Outline, ...],
    microaneurysms: Array,
    tufts: tuple[Tuft, ...],
) -> tuple[Instance, ...]:
    def instance(kind: Lesion, x: float, y: float, radius: float) -> Instance:
        sector = SECTORS[sector_index(x - centre[0], y - centre[1])]
        return Instance(kind, float(x), float(y), float(radius), sector)

    found = []
    for region in regions:
        area, (x, y) = region.area_and_centroid()
        found.append(instance("dropout", x, y, math.sqrt(area / math.pi)))
    for x, y in microaneurysms.tolist():
        found.append(instance("microaneurysm", x, y, MICROANEURYSM_RADIUS_MM))
    for tuft in tufts:
        points = np.concatenate(tuft.sprouts)
        middle = points.mean(axis=0)
        reach = np.hypot(*(points - middle).T).max()
        found.append(instance("neovascularisation", middle[0], middle[1], reach))
    return tuple(found)
