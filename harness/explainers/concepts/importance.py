"""What each concept does for the output, sample by sample.

A concept is removed from a sample by taking its share of every row away: what the space does not
tell of a row stays, so with every concept kept the output is exactly the model's own. Concepts are
then the players of the games that units play (`harness.explainers.games`), under any perturbation
method; or each counts with its gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import fields, plugins
from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.spaces.space import Space
from harness.explainers.engine import Progress
from harness.explainers.games import Game, Perturbation
from harness.plugins import blamed
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]

GRADIENT = "gradient_x_concept"
_ROUND = 4096  # forward passes that are prepared together


@dataclass(frozen=True)
class ConceptImportance:
    """A value per concept of one sample, for one target, by one method.

    `values` are in units of `output` (shares of variance for Sobol indices), one a concept in the
    space's order; 0 where the sample has none of it. `full` and `empty` are the target's values
    with every concept kept and with every one removed. `space` and `classifier` are hashes.
    """

    sample: str
    method: str
    target: str
    output: str
    concepts: tuple[str, ...]
    values: tuple[float, ...]
    standard_errors: tuple[float, ...] | None = None
    full: float | None = None
    empty: float | None = None
    evaluations: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    layer: str = ""
    at: str = ""
    space: str = ""
    classifier: str = ""
    notes: tuple[str, ...] = ()


def importance(
    asked: Asked,
    space: Any,
    method: Any = GRADIENT,
    *,
    budget: int | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[ConceptImportance]:
    """The importance of each concept for each sample and target of `asked`, samples first.

    - `gradient_x_concept`: how much of a concept is in each unit, times the gradient along its
      direction, summed over units; one forward and backward pass
    - `ablation` (`leave_one_out`): the output less that without the concept, in all units at once
    - any other perturbation method, by name or as an object: `sobol`, `kernel_shap`, ...

    A concept that a sample has none of is no player and has 0. `budget` is that of one sample;
    `progress` is told how many evaluations are done, and how many are known to be needed so far.
    Raises `HarnessError` for a model without gradients, an unknown method, one that is no
    perturbation method, and a budget that is too small.
    """
    fields.whole("importance", 0, seed=seed)
    if method == GRADIENT:
        return _by_gradient(asked, space)
    name = method if isinstance(method, str) else type(method).__name__
    made = method
    if isinstance(method, str):
        kind = "leave_one_out" if method == "ablation" else method
        made = plugins.create("explainers", kind, None, **(settings or {}))
    if not isinstance(made, Perturbation):
        raise HarnessError(
            f"importance by {name}: concepts are removed and seen to be missed; use {GRADIENT} or "
            "a perturbation method, such as sobol"
        )
    return _Playing(asked, space, name, made, seed, progress).found(budget)


def overall(found: Sequence[ConceptImportance]) -> dict[str, tuple[float, float]]:
    """Of each concept the mean value and the mean absolute value over samples and targets."""
    import numpy as np

    if not found:
        raise HarnessError("there are no importances to be averaged")
    values = np.array([one.values for one in found])
    means, sizes = values.mean(axis=0).tolist(), np.abs(values).mean(axis=0).tolist()
    return dict(zip(found[0].concepts, zip(means, sizes, strict=True), strict=True))


def _by_gradient(asked: Asked, space: Space) -> list[ConceptImportance]:
    import numpy as np

    weights = [targets.weights for targets in asked.targets]
    several = asked.layer.gradients(asked.readings, weights, asked.output)
    full = asked.values(asked.outputs)
    found = []
    for place, (_, rows, gradient) in enumerate(several):
        concepts = space.encode(rows.double().numpy())  # units x concepts
        along = gradient.double().numpy() @ space.directions.T  # targets x units x concepts
        values = np.einsum("uk,tuk->tk", concepts, along)
        for target in range(len(values)):
            found.append(
                _record(
                    asked, space, place, target, GRADIENT, values[target],
                    full=float(full[place][target]), evaluations=1,
                )
            )  # fmt: skip
    return found


class _Playing:
    """The games of all samples, whose sets are asked for together, round by round."""

    def __init__(
        self,
        asked: Asked,
        space: Any,
        name: str,
        method: Perturbation,
        seed: int,
        progress: Progress | None,
    ) -> None:
        import numpy as np

        self._asked, self._space, self._name = asked, space, name
        self._method, self._seed, self._progress = method, seed, progress
        self._full = asked.values(asked.outputs)
        rows = [rows.double().numpy() for _, rows in asked.layer.rows(asked.readings)]
        self._concepts = [space.encode(mine) for mine in rows]
        self._players = [np.flatnonzero((codes != 0).any(axis=0)) for codes in self._concepts]
        self._done = self._needed = 0

    def found(self, budget: int | None) -> list[ConceptImportance]:
        """Each game to its end."""
        import numpy as np

        playing = [place for place, own in enumerate(self._players) if len(own)]
        plays = {place: self._method.play(self._game(place, budget)) for place in playing}
        empty = self._values(
            {place: np.zeros((1, len(self._players[place])), dtype=bool) for place in playing}
        )
        played: dict[int, Any] = {}
        seen: dict[int, set[bytes]] = {place: set() for place in playing}
        answers: dict[int, Array | None] = dict.fromkeys(playing)
        while answers:
            asking = {}
            for place, answer in answers.items():
                with blamed(f"importance by {self._name} failed"):
                    try:
                        sets = next(plays[place]) if answer is None else plays[place].send(answer)
                    except StopIteration as end:
                        played[place] = end.value
                        continue
                asking[place] = np.asarray(sets, dtype=bool)
                seen[place].update(row.tobytes() for row in np.packbits(asking[place], axis=1))
            answers = {**self._values(asking)}
        return [
            self._importance(place, target, played.get(place), len(seen.get(place, ())), empty)
            for place in range(len(self._players))
            for target in range(len(self._full[place]))
        ]

    def _game(self, place: int, budget: int | None) -> Game:
        players = len(self._players[place])
        with blamed(f"importance by {self._name} failed"):
            least = min(self._method.least(players), 2 ** min(players, 62))
            wanted = self._method.budget(players) if budget is None else budget
        if wanted < least:
            raise HarnessError(
                f"importance by {self._name}: a budget of {wanted} evaluations is too small for "
                f"the {players} concepts of sample '{self._asked.readings[place].sample}'; it "
                f"needs {least}"
            )
        return Game(players, wanted, self._seed, (0,) * players)

    def _values(self, asking: Mapping[int, NDArray[np.bool_]]) -> dict[int, Array]:
        """The targets' values, sets x targets, of sets of concepts that are kept. With every one
        kept nothing is taken away, so that is the model's own output."""
        import numpy as np

        found = {
            place: np.repeat(self._full[place][None], len(sets), axis=0)
            for place, sets in asking.items()
        }
        tasks = [
            (place, number)
            for place, sets in asking.items()
            for number, kept in enumerate(sets)
            if not kept.all()
        ]
        self._needed += len(tasks)
        for start in range(0, len(tasks), _ROUND):
            part = tasks[start : start + _ROUND]
            gone = [self._players[place][~asking[place][number]] for place, number in part]
            for (place, number), value in zip(part, self._without(part, gone), strict=True):
                found[place][number] = value
            self._done += len(part)
            if self._progress is not None:
                self._progress(self._done, self._needed)
        return found

    def _without(
        self, part: Sequence[tuple[int, int]], gone: Sequence[NDArray[np.int64]]
    ) -> list[Array]:
        """The targets' values of samples, each without some concepts."""
        import torch

        asked, directions = self._asked, self._space.directions

        def change(at: int, rows: Tensor) -> Tensor:
            share = self._concepts[part[at][0]][:, gone[at]] @ directions[gone[at]]
            return rows - torch.from_numpy(share).to(rows)

        readings = [asked.readings[place] for place, _ in part]
        targets = [asked.targets[place] for place, _ in part]
        outputs = asked.layer.outputs(readings, change)
        return Asked(asked.layer, readings, outputs, targets, asked.output).values(outputs)

    def _importance(
        self, place: int, target: int, played: Any, evaluations: int, empty: Mapping[int, Array]
    ) -> ConceptImportance:
        import numpy as np

        full = float(self._full[place][target])
        more: dict[str, Any] = {"settings": dict(self._method.settings), "seed": self._seed}
        values = np.zeros(len(self._space.names))
        if played is None:  # the sample has none of any concept
            return _record(
                self._asked, self._space, place, target, self._name, values,
                full=full, empty=full, **more,
            )  # fmt: skip
        own = self._players[place]
        values[own] = played.values[:, target]
        if played.standard_errors is not None:
            errors = np.zeros(len(values))
            errors[own] = played.standard_errors[:, target]
            more["standard_errors"] = tuple(errors.tolist())
        return _record(
            self._asked, self._space, place, target, self._name, values, full=full,
            empty=float(empty[place][0, target]), evaluations=evaluations, notes=played.notes,
            **more,
        )  # fmt: skip


def _record(
    asked: Asked, space: Any, place: int, target: int, method: str, values: Array, **more: Any
) -> ConceptImportance:
    return ConceptImportance(
        sample=asked.readings[place].sample,
        method=method,
        target=asked.targets[place].names[target],
        output=asked.output,
        concepts=tuple(space.names),
        values=tuple(values.tolist()),
        layer=asked.layer.name,
        at=asked.layer.at,
        space=space.key,
        classifier=asked.layer.model.revision,
        **more,
    )
