"""Removing neighbouring units and seeing how far the output falls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.games import Game, Play, Played
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Occlusion:
    """The mean drop of the output over the windows that cover a unit.

    A window removes `window` neighbouring units, in their order, and moves on by `stride`; the last
    one may hold fewer, and one that is wider than the sample removes all of it. With both at 1 a
    value is the full output less the output without the unit. Exact: nothing is drawn. Values are
    signed, in units of the output, and sum to nothing in particular.

    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section
    4.2; overlapping windows are averaged as by Captum's `Occlusion`. Raises `HarnessError` where
    `stride` is above `window`, because windows would then leave units out.
    """

    deterministic = True

    def __init__(self, window: int = 1, stride: int = 1) -> None:
        where = "explainer 'occlusion'"
        fields.whole(where, 1, window=window, stride=stride)
        if stride > window:
            raise HarnessError(
                f"{where}: a stride of {stride} leaves units between windows of {window} out; "
                f"make stride at most {window}"
            )
        self.settings: Mapping[str, Any] = {"window": window, "stride": stride}

    def budget(self, players: int) -> int:
        """One set for each window, and the full one."""
        return 1 + _windows(players, **self.settings)

    def least(self, players: int) -> int:
        """The same: no window can be left out."""
        return self.budget(players)

    def play(self, game: Game) -> Play:
        """Values of players x targets."""
        return _mean_drops(_covers(game.players, **self.settings))


class LeaveOneOut:
    """The full output less the output without the unit: occlusion by a window of one.

    Exact: nothing is drawn. Values are signed, in units of the output; they sum to the full output
    less the empty one only where units do not interact.

    Source: Li, Monroe and Jurafsky 2016, "Understanding Neural Networks through Representation
    Erasure".
    """

    deterministic = True

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def budget(self, players: int) -> int:
        """One set for each player, and the full one."""
        return players + 1

    def least(self, players: int) -> int:
        """The same: no player can be left out."""
        return players + 1

    def play(self, game: Game) -> Play:
        """Values of players x targets."""
        return _mean_drops(_covers(game.players, window=1, stride=1))


def _windows(players: int, window: int, stride: int) -> int:
    """How many windows it takes until the last player is covered; none for no player."""
    return 1 + max(0, -(-(players - window) // stride)) if players else 0


def _covers(players: int, window: int, stride: int) -> NDArray[np.bool_]:
    """Which players each window covers: windows x players."""
    import numpy as np

    starts = stride * np.arange(_windows(players, window, stride))[:, None]
    places = np.arange(players)
    return (places >= starts) & (places < starts + window)


def _mean_drops(covers: NDArray[np.bool_]) -> Play:
    import numpy as np

    full = np.ones((1, covers.shape[1]), dtype=bool)
    values = yield np.concatenate([full, ~covers])
    drops = values[0] - values[1:]
    return Played(covers.T.astype(np.float64) @ drops / covers.sum(axis=0)[:, None])
