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
) -> list[ConceptImportance]:
    """The importance of each concept for each sample and target of `asked`, samples first.

    - `gradient_x_concept`: how much of a concept is in each unit, times the gradient along its
      direction, summed over units; one forward and backward pass
    - `ablation` (`leave_one_out`): the output less that without the concept, in all units at once
    - any other perturbation method, by name or as an object: `sobol`, `kernel_shap`, ...

    A concept that a sample has none of is no player and has 0. `budget` is that of one sample.
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
    return _by_play(asked, space, name, made, budget, seed)


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


def _by_play(
    asked: Asked, space: Any, name: str, method: Perturbation, budget: int | None, seed: int
) -> list[ConceptImportance]:
    """Each sample's game; the sets of all samples are asked for together, round by round."""
    import numpy as np

    rows = [rows.double().numpy() for _, rows in asked.layer.rows(asked.readings)]
    concepts = [space.encode(mine) for mine in rows]
    players = [np.flatnonzero((codes != 0).any(axis=0)) for codes in concepts]
    plays: dict[int, Any] = {}
    for place, own in enumerate(players):
        if len(own):
            plays[place] = method.play(_game(asked, name, method, place, len(own), budget, seed))
    played: dict[int, Any] = {}
    seen: dict[int, set[bytes]] = {place: set() for place in plays}
    asking = {}
    for place, play in plays.items():
        with blamed(f"importance by {name} failed"):
            asking[place] = np.asarray(next(play), dtype=bool)
    while asking:
        answers = _answers(asked, space, concepts, players, asking)
        after = {}
        for place, sets in asking.items():
            seen[place].update(row.tobytes() for row in np.packbits(sets, axis=1))
            with blamed(f"importance by {name} failed"):
                try:
                    after[place] = np.asarray(plays[place].send(answers[place]), dtype=bool)
                except StopIteration as end:
                    played[place] = end.value
        asking = after
    full = asked.values(asked.outputs)
    nothing = {p: np.zeros((1, len(own)), dtype=bool) for p, own in enumerate(players) if len(own)}
    empty = _answers(asked, space, concepts, players, nothing)
    found = []
    for place, own in enumerate(players):
        for target in range(len(full[place])):
            values = np.zeros(len(space.names))
            errors = None
            notes: tuple[str, ...] = ()
            if len(own):
                values[own] = played[place].values[:, target]
                notes = played[place].notes
                if played[place].standard_errors is not None:
                    errors = np.zeros(len(space.names))
                    errors[own] = played[place].standard_errors[:, target]
            last = empty[place][0, target] if len(own) else full[place][target]
            found.append(
                _record(
                    asked, space, place, target, name, values,
                    standard_errors=None if errors is None else tuple(errors.tolist()),
                    full=float(full[place][target]), empty=float(last),
                    evaluations=len(seen.get(place, ())),
                    settings=dict(method.settings), seed=seed, notes=notes,
                )
            )  # fmt: skip
    return found


def _game(
    asked: Asked, name: str, method: Perturbation, place: int, players: int,
    budget: int | None, seed: int,
) -> Game:  # fmt: skip
    with blamed(f"importance by {name} failed"):
        least = min(method.least(players), 2 ** min(players, 62))
        wanted = method.budget(players) if budget is None else budget
    if wanted < least:
        raise HarnessError(
            f"importance by {name}: a budget of {wanted} evaluations is too small for the "
            f"{players} concepts of sample '{asked.readings[place].sample}'; it needs {least}"
        )
    return Game(players, wanted, seed, (0,) * players)


def _answers(
    asked: Asked,
    space: Space,
    concepts: Sequence[Array],
    players: Sequence[NDArray[np.int64]],
    asking: Mapping[int, NDArray[np.bool_]],
) -> dict[int, Array]:
    """The targets' values, sets x targets, of sets of concepts that are kept."""
    import numpy as np
    import torch

    # The full set is the model's own output: nothing is taken away.
    tasks = [
        (place, number)
        for place, sets in asking.items()
        for number, kept in enumerate(sets)
        if not kept.all()
    ]
    full = asked.values(asked.outputs)
    values = {
        place: np.repeat(full[place][None], len(sets), axis=0) for place, sets in asking.items()
    }
    for start in range(0, len(tasks), _ROUND):
        part = tasks[start : start + _ROUND]

        def without(at: int, rows: Tensor, part: Any = part) -> Tensor:
            place, number = part[at]
            gone = players[place][~asking[place][number]]
            share = concepts[place][:, gone] @ space.directions[gone]
            return rows - torch.from_numpy(share).to(rows)

        readings = [asked.readings[place] for place, _ in part]
        outputs = asked.layer.outputs(readings, without)
        own = Asked(
            asked.layer, readings, outputs, [asked.targets[place] for place, _ in part],
            asked.output,
        )  # fmt: skip
        for (place, number), value in zip(part, own.values(outputs), strict=True):
            values[place][number] = value
    return values


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
