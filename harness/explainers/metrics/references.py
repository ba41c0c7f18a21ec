"""Attributions that know nothing, which every method is held against.

A metric that one of them does well in is no proof of anything: the same input always gets the same
values from `everything`, and the darkest part of a retina is often the lesion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from harness.explainers.models.reading import ArrayPart
from harness.explainers.results import Subject
from harness.identity import draw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Reference(Protocol):
    """Values of the players for every target; `None` where it does not apply to such an input.
    `again` tells one repetition from another. A metric of it is the mean over `draws` of them."""

    draws: int

    def values(self, subject: Subject, seed: int, again: str) -> NDArray[np.float64] | None: ...


class Random:
    """Values drawn from the standard normal distribution, others at each repetition.

    Ten draws, so that what is better than their mean is not better than one unlucky draw.
    """

    draws = 10

    def values(self, subject: Subject, seed: int, again: str) -> NDArray[np.float64]:
        """By the sample's id and the seed."""
        import numpy as np

        own = int(draw("random attribution", seed, f"{subject.reading.sample}/{again}") * 2**48)
        return np.random.default_rng(own).standard_normal(len(subject.division.players))


class Everything:
    """The same value for every unit."""

    draws = 1

    def values(self, subject: Subject, seed: int, again: str) -> NDArray[np.float64]:  # noqa: ARG002
        """Equal parts of 1."""
        import numpy as np

        players = len(subject.division.players)
        return np.full(players, 1.0 / players)


class Darkness:
    """How dark each part of an image is: one less its mean brightness, from 0 to 1 over the units
    of the image."""

    draws = 1

    def values(self, subject: Subject, seed: int, again: str) -> NDArray[np.float64] | None:  # noqa: ARG002
        """For images alone, of which every channel counts the same."""
        import numpy as np

        parts = subject.reading.parts
        if len(parts) != 1 or not isinstance(parts[0], ArrayPart) or parts[0].array.ndim != 3:
            return None
        brightness = parts[0].array.astype(np.float64).mean(axis=-1).reshape(-1)
        owner, players = subject.division.unit_of, len(subject.division.players)
        mine = owner >= 0
        sums = np.bincount(owner[mine], brightness[mine], players)
        means = sums / np.bincount(owner[mine], minlength=players)
        spread = float(np.ptp(means))
        return (means.max() - means) / spread if spread > 0 else np.zeros(players)


REFERENCES: dict[str, type[Reference]] = {
    "random": Random,
    "everything": Everything,
    "darkness": Darkness,
}
