"""Healthy vessels: trees grown by space colonisation, with radii by Murray's law.

Vessels start as stumps on the four walls of the field and grow towards oxygen sinks, first a
sparse superficial layer, then a dense deep one, around a foveal avascular zone (FAZ) that no
vessel enters. Sinks come in generations of ever finer spacing, so that large vessels are laid
before the capillaries between them.

Sources: space colonisation is Runions et al. 2005, "Modeling and visualization of leaf venation
patterns"; growth to oxygen sinks in two retinal layers, the Murray exponents and the FAZ follow
Kreitner et al. 2024, "Synthetic optical coherence tomography angiographs for detailed retinal
vessel segmentation without human annotations".
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.octa.geometry import FIELD_MM, Array, Outline
from harness.records import HarnessError

Preset = Literal["full", "fast"]
PRESETS: tuple[Preset, ...] = ("full", "fast")

GRID_MM = 2.0**-16
"""Node positions are rounded to this grid: far below a pixel, and far above the last-digit
differences between processors, which growth would otherwise amplify."""

CONE_COS = math.cos(math.radians(75.0))
"""A tip sees sinks up to 75 degrees off its direction, so vessels never turn back."""

BRANCH_COS = math.cos(math.radians(100.0))
"""A side branch leaves up to 100 degrees off the vessel's direction."""

SIDE_COS = math.cos(math.radians(40.0))
"""A side branch leaves at least 40 degrees off the vessel's direction."""

NEAREST = 4
"""A sink attracts the nearest of this many nodes that can grow towards it."""

WANDER = 0.2
"""Standard deviation of the random part of a unit heading."""

SPLIT_RESULTANT = 0.80
"""A tip splits in two when the mean unit vector to its sinks is shorter than this."""

MAX_ITERATIONS = 120


@dataclass(frozen=True)
class Layer:
    """One vascular layer: lengths in mm; `spacings` are the sinks' generations, coarse to fine."""

    murray: float
    leaf_radius: float
    stumps_per_wall: int
    step: float
    spacings: tuple[float, ...]


LAYERS: dict[Preset, tuple[Layer, Layer]] = {
    "full": (
        Layer(2.55, 0.0060, 4, 0.036, (0.42, 0.26, 0.16, 0.11)),
        Layer(2.90, 0.0046, 9, 0.026, (0.30, 0.18, 0.12, 0.080, 0.058, 0.046)),
    ),
    "fast": (
        Layer(2.55, 0.0064, 4, 0.045, (0.42, 0.24, 0.14)),
        Layer(2.90, 0.0052, 9, 0.038, (0.30, 0.16, 0.10, 0.070, 0.056)),
    ),
}


@dataclass(frozen=True)
class Forest:
    """A healthy vasculature. Arrays have one entry a node and must not be written to.

    `position` is (n, 2) in mm; `parent` the index of the node's parent, -1 at a stump, always
    smaller than the node's own; `radius` in mm; `layer` 0 superficial, 1 deep; `depth` counts
    steps from the stump.
    """

    id: str
    seed: int
    preset: Preset
    faz: Outline
    position: Array
    parent: NDArray[np.int64]
    radius: Array
    layer: NDArray[np.int64]
    depth: NDArray[np.int64]

    def murray_exponent(self, layer: int) -> float:
        """The exponent k of r_parent^k = sum of r_child^k in this layer."""
        return LAYERS[self.preset][layer].murray


def stream(*parts: object) -> np.random.Generator:
    """A random stream of its own for these parts, the same in every process."""
    hashed = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashed[:16], "big")))


def grow(seed: int, preset: Preset) -> Forest:
    """The forest of this seed. Raises `HarnessError` for an unknown preset."""
    if preset not in LAYERS:
        raise HarnessError(
            f"there is no OCTA preset '{preset}'; presets are {' and '.join(PRESETS)}"
        )
    rng = stream("octa-forest", preset, seed)
    faz = _draw_faz(rng)
    grown = [_Growth(layer, faz, rng).run() for layer in LAYERS[preset]]
    offset = len(grown[0].parent)
    second_parent = np.where(grown[1].parent < 0, -1, grown[1].parent + offset)
    return Forest(
        id=hashlib.sha256(f"octa/{preset}/{seed}".encode()).hexdigest()[:12],
        seed=seed,
        preset=preset,
        faz=faz,
        position=np.concatenate([layer.position for layer in grown]),
        parent=np.concatenate([grown[0].parent, second_parent]),
        radius=np.concatenate([layer.murray_radii() for layer in grown]),
        layer=np.repeat([0, 1], [len(layer.parent) for layer in grown]),
        depth=np.concatenate([layer.depth for layer in grown]),
    )


def _draw_faz(rng: np.random.Generator) -> Outline:
    radius = float(np.clip(rng.normal(0.40, 0.03), 0.33, 0.47))
    x, y = (FIELD_MM / 2 + rng.uniform(-0.08, 0.08, 2)).tolist()
    return Outline.draw(rng, x, y, radius, roughness=0.08)


class _Growth:
    """One layer while it grows."""

    def __init__(self, layer: Layer, faz: Outline, rng: np.random.Generator) -> None:
        self.layer, self.faz, self.rng = layer, faz, rng
        self.position, self.direction = self._stumps()
        count = len(self.position)
        self.parent = np.full(count, -1)
        self.depth = np.zeros(count, dtype=np.int64)
        self.children = np.zeros(count, dtype=np.int64)

    def run(self) -> _Growth:
        for spacing in self.layer.spacings:
            sinks = self._sinks(spacing)
            for _ in range(MAX_ITERATIONS):
                before = len(self.parent)
                sinks = self._step(sinks, spacing)
                if len(sinks) == 0 or len(self.parent) == before:
                    break
        return self

    def murray_radii(self) -> Array:
        """Radii from the tips back: r_parent^k = sum of r_child^k, tips at the leaf radius."""
        k = self.layer.murray
        leaf = self.layer.leaf_radius**k
        power = [0.0] * len(self.parent)
        parents = self.parent.tolist()
        for node in range(len(parents) - 1, -1, -1):
            power[node] = power[node] or leaf
            if parents[node] >= 0:
                power[parents[node]] += power[node]
        return np.array(power) ** (1.0 / k)

    def _stumps(self) -> tuple[Array, Array]:
        count = self.layer.stumps_per_wall
        along = (np.arange(count) + self.rng.uniform(0.15, 0.85, (4, count))) * (FIELD_MM / count)
        tilt = self.rng.uniform(-0.5, 0.5, (4, count))
        zero, full = np.zeros(count), np.full(count, FIELD_MM)
        walls = [(along[0], zero), (full, along[1]), (along[2], full), (zero, along[3])]
        inward = [math.pi / 2, math.pi, -math.pi / 2, 0.0]
        position = np.concatenate([np.stack(wall, axis=1) for wall in walls])
        angle = np.concatenate([inward[wall] + tilt[wall] for wall in range(4)])
        return _on_grid(position), np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def _sinks(self, spacing: float) -> Array:
        """A jittered grid of sinks outside the FAZ that no vessel supplies yet, shape (m, 2)."""
        from scipy.spatial import cKDTree

        count = round(FIELD_MM / spacing)
        cell = FIELD_MM / count
        grid = np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=-1).reshape(-1, 2)
        sinks = (grid + self.rng.uniform(0.05, 0.95, grid.shape)) * cell
        supplied, _ = cKDTree(self.position).query(sinks, distance_upper_bound=0.7 * spacing)
        outside = self.faz.signed_distance(sinks) > 0.25 * spacing
        kept: Array = sinks[outside & np.isinf(supplied)]
        return kept

    def _step(self, sinks: Array, spacing: float) -> Array:
        """Grow every vessel that a sink attracts by one step; return the sinks still unsupplied."""
        from scipy.spatial import cKDTree

        open_nodes = np.flatnonzero(self.children < np.where(self.parent < 0, 1, 2))
        near = min(NEAREST, len(open_nodes))
        _, nearest = cKDTree(self.position[open_nodes]).query(sinks, k=near)
        node = open_nodes[nearest.reshape(len(sinks), near)]
        towards = sinks[:, None] - self.position[node]
        towards /= np.maximum(np.hypot(towards[..., 0], towards[..., 1]), 1e-9)[..., None]
        ahead = (towards * self.direction[node]).sum(axis=-1)
        tip = self.children[node] == 0
        sees = np.where(tip, ahead > CONE_COS, (ahead > BRANCH_COS) & (ahead < SIDE_COS))
        attracted = np.flatnonzero(sees.any(axis=1))
        if len(attracted) == 0:
            return sinks
        first = sees[attracted].argmax(axis=1)
        origin, heading = self._headings(node[attracted, first], towards[attracted, first])
        placed = self._place(origin, heading)
        if placed is None:
            return sinks
        distance, _ = cKDTree(placed).query(sinks, distance_upper_bound=0.5 * spacing)
        left: Array = sinks[np.isinf(distance)]
        return left

    def _headings(self, node: NDArray[np.int64], towards: Array) -> tuple[NDArray[np.int64], Array]:
        """From which nodes new vessel pieces leave, and in which directions (unit vectors)."""
        total = len(self.parent)
        count = np.bincount(node, minlength=total)
        mean = _sums(node, towards, total) / np.maximum(count, 1)[:, None]
        grows = np.flatnonzero(count)
        resultant = np.hypot(mean[:, 0], mean[:, 1])
        tip = self.children == 0
        splits = (count > 1) & tip & (resultant < SPLIT_RESULTANT) & (self.parent >= 0)
        side = mean[node, 0] * towards[:, 1] - mean[node, 1] * towards[:, 0] > 0
        origins, headings = [], []
        for left in (True, False):
            chosen = splits[node] & (side == left)
            part = _sums(node[chosen], towards[chosen], total)
            branch = np.flatnonzero(splits & (np.abs(part).sum(axis=1) > 0))
            origins.append(branch)
            headings.append(part[branch])
        single = grows[~splits[grows]]
        inertia = np.where(tip[single], 0.6, 0.0)[:, None]
        origins.append(single)
        headings.append(mean[single] + inertia * self.direction[single])
        heading = np.concatenate(headings)
        heading += self.rng.normal(0.0, WANDER, heading.shape)
        length = np.hypot(heading[:, 0], heading[:, 1])
        return np.concatenate(origins), heading / np.maximum(length, 1e-9)[:, None]

    def _place(self, origin: NDArray[np.int64], heading: Array) -> Array | None:
        """Add the new nodes that have room: none is laid across a vessel or into the FAZ."""
        from scipy.spatial import cKDTree

        step = self.layer.step
        new = _on_grid(self.position[origin] + step * heading)
        inside = ((new > 0) & (new < FIELD_MM)).all(axis=1) & (self.faz.signed_distance(new) > 0)
        distance, nearest = cKDTree(self.position).query(new, k=2, distance_upper_bound=0.5 * step)
        free = (np.isinf(distance) | (nearest == origin[:, None])).all(axis=1)
        chosen = np.flatnonzero(inside & free)
        if len(chosen) == 0:
            return None
        origin, heading, new = origin[chosen], heading[chosen], new[chosen]
        self.position = np.concatenate([self.position, new])
        self.direction = np.concatenate([self.direction, heading])
        self.parent = np.concatenate([self.parent, origin])
        self.depth = np.concatenate([self.depth, self.depth[origin] + 1])
        self.children = np.concatenate([self.children, np.zeros(len(new), dtype=np.int64)])
        self.children += np.bincount(origin, minlength=len(self.children))
        return new


def _sums(node: NDArray[np.int64], vectors: Array, total: int) -> Array:
    """The sum of the vectors of each node, shape (total, 2)."""
    sums = np.zeros((total, 2))
    for axis in (0, 1):
        sums[:, axis] = np.bincount(node, vectors[:, axis], minlength=total)
    return sums


def _on_grid(position: Array) -> Array:
    rounded: Array = np.round(position / GRID_MM) * GRID_MM
    return rounded
