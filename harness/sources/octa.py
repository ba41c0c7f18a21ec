"""OCT-angiography-like images with diabetic-retinopathy signs, drawn on demand, with exact gold.

Nothing is read: the images follow from preset, seed and counts. Masks, instances, gold claims and
explanation come from the lesions that were drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from typing import Any

from harness.identity import sha256
from harness.octa.forest import PRESETS, Preset
from harness.octa.geometry import RENDER_SIZE
from harness.octa.pathology import LESIONS, Instance, Label
from harness.octa.render import encode_png
from harness.records import Evidence, GoldRecord, HarnessError, Media, Part, Sample

PARTNERS = 8
"""How many other images of the same class a sample names, as the floor of its findings scores."""


class Octa:
    """Source `octa`.

    `preset` is `full` (7,000 nodes a forest) or `fast` (4,000). `samples` images are spread over
    `forests` forests (one each by default): sample i lies on forest i mod `forests`, and the
    stages alternate, so each is as frequent in every forest and over all. `size` is the width in
    pixels, at most 304; a smaller image is resized from 304. `aspect` is the aspect of the gold.
    The cluster of a sample is its forest. Raises `HarnessError` for values out of range.
    """

    cluster_name = "forest"

    def __init__(
        self,
        preset: Preset = "full",
        samples: int = 24,
        seed: int = 7,
        size: int = RENDER_SIZE,
        forests: int | None = None,
        aspect: str = "findings",
    ) -> None:
        if preset not in PRESETS:
            raise HarnessError(
                f"source 'octa': there is no preset '{preset}'; presets are {' and '.join(PRESETS)}"
            )
        for name, value, low, high in (
            ("samples", samples, 1, None),
            ("forests", samples if forests is None else forests, 1, samples),
            ("size", size, 16, RENDER_SIZE),
        ):
            if not isinstance(value, int) or value < low or (high is not None and value > high):
                limit = f"{low} or more" if high is None else f"from {low} to {high}"
                raise HarnessError(
                    f"source 'octa': {name} must be a whole number, {limit}, not {value!r}"
                )
        self.preset, self.seed, self.size, self.aspect = preset, seed, size, aspect
        self.count, self.forests = samples, samples if forests is None else forests

    def samples(self) -> Iterator[Sample]:
        """The samples in order, each a PNG with its lesions, instances and floor as evidence."""
        from harness.octa.generator import generate

        for index, (seed, label, draw) in enumerate(self._draws):
            image = generate(seed, self.preset, label, draw, self.size)
            masks = tuple(
                Evidence("mask" if name in LESIONS else "landmark", name, _png(encode_png(mask)))
                for name, mask in image.masks.items()
            )
            x, y = image.faz_centre
            values = (
                Evidence("values", "instances", tuple(asdict(one) for one in image.instances)),
                Evidence("values", "faz_geometry", {"x": x, "y": y, "radius": image.faz_radius}),
                Evidence("values", "same_class", self._partners(index)),
            )
            yield Sample(
                id=self._id(index),
                input=(Part(media=_png(image.png())),),
                label=image.label,
                evidence=masks + values,
                metadata={
                    "forest": image.forest,
                    "preset": image.preset,
                    "draw": image.draw,
                    "tortuous": image.tortuosity > 0,
                    "tortuosity_mm": round(image.tortuosity, 4),
                },
                cluster=image.forest,
            )

    def gold(self) -> Iterator[GoldRecord]:
        """The claims and the explanation of each sample, from its drawn instances."""
        from harness.octa.findings import gold_record

        for index, instances in enumerate(self._instances):
            yield gold_record(self._id(index), instances, self.aspect)

    @cached_property
    def _draws(self) -> list[tuple[int, Label, int]]:
        """Forest seed, stage and draw of each sample."""
        from harness.octa.generator import balanced_label, forest_seed

        places = [(index % self.forests, index // self.forests) for index in range(self.count)]
        return [
            (forest_seed(self.seed, forest), balanced_label(forest, draw), draw)
            for forest, draw in places
        ]

    @cached_property
    def _instances(self) -> list[tuple[Instance, ...]]:
        from harness.octa.generator import draw_instances

        return [draw_instances(seed, self.preset, label, draw) for seed, label, draw in self._draws]

    def _partners(self, index: int) -> tuple[dict[str, Any], ...]:
        """The sectors of the next images of the same class on other forests."""
        from harness.octa.findings import findings_of

        forest, label, _ = self._draws[index]
        order = [(index + step) % self.count for step in range(1, self.count)]
        others = [
            other
            for other in order
            if self._draws[other][1] == label and self._draws[other][0] != forest
        ]
        found = [(other, findings_of(self._instances[other])) for other in others[:PARTNERS]]
        return tuple(
            {
                "sample": self._id(other),
                "sectors": {lesion: list(findings.of(lesion).sectors) for lesion in LESIONS},
            }
            for other, findings in found
        )

    def _id(self, index: int) -> str:
        return f"octa{self.seed}-{index:04d}"


def _png(data: bytes) -> Media:
    return Media(sha256(data), "image/png", data=data)
