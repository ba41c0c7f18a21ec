"""How a run ended, and the exit code that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.records import UNSCORABLE
from harness.results import NOT_RECORDED, Failure
from harness.scoring import Run

LOST_CONTROL = 1
REQUIRE_NOT_KEPT = 3
INFRASTRUCTURE = 4
UNSCORED = 5
LIMIT = 6


@dataclass(frozen=True)
class Ending:
    """What a run left undone. Cells are those of the listed models, controls left out.

    `infrastructure` counts cells without an answer because of a server or a backend, `limited`
    those that a limit of time or cost kept from being asked, `unjudged` subjects for which a
    scorer's own model gave no answer, `by_limit` whether a limit was reached. `reasons` say why
    models are asked nothing more. `unasked` are listed models without a single cell, with the
    reason; `lost_controls` the controls that did not answer; `unmet` what the suite requires and
    the scores do not keep, in sentences.
    """

    cells: int = 0
    scored: int = 0
    unscorable: int = 0
    not_run: int = 0
    infrastructure: int = 0
    limited: int = 0
    unjudged: int = 0
    by_limit: bool = False
    reasons: tuple[str, ...] = ()
    unasked: Mapping[str, str] = field(default_factory=dict)
    lost_controls: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: Run, unmet: tuple[str, ...] = ()) -> Ending:
        """The ending of a run as it is stored."""
        meta = run.store.meta()
        stopped: Mapping[str, str] = meta.get("stopped", {})
        by_limit = bool(meta.get("limited"))
        controls = {model.name for model in run.manifest.models if model.control}
        count = unscorable = not_run = infrastructure = limited = 0
        lost: dict[str, None] = {}
        with_cells = set()
        for answered in run.answered.values():
            model, outcome = answered.cell.model, answered.outcome
            with_cells.add(model)
            left = outcome == "not_run" and by_limit and f"model '{model}'" not in stopped
            failed = outcome in ("transport", "server") or (outcome == "not_run" and not left)
            if model in controls:
                if failed:
                    lost[model] = None
                continue
            count += 1
            unscorable += outcome in UNSCORABLE
            not_run += outcome == "not_run"
            infrastructure += failed
            limited += left
        # A recording was asked for these cells, and has no answer to them.
        absent = sum(model.not_planned.get(NOT_RECORDED, 0) for model in run.manifest.models)
        scorers = {spec.name for spec in run.manifest.scorers}
        unjudged = {n: c for n, c in meta.get("unjudged", {}).items() if n in scorers}
        return cls(
            cells=count + absent,
            scored=count - unscorable - not_run,
            unscorable=unscorable,
            not_run=not_run,
            infrastructure=infrastructure,
            limited=limited,
            unjudged=sum(unjudged.values()),
            by_limit=by_limit,
            reasons=tuple(f"{who}: {why}" for who, why in stopped.items()),
            unasked={
                model.name: "; ".join(sorted(model.not_planned)) or "it has no cells"
                for model in run.manifest.models
                if not model.control and model.name not in with_cells
            },
            lost_controls=tuple(lost),
            unmet=unmet,
        )

    def code(self, max_unscored: float | None = None) -> int:
        """The exit code: the first that holds of 1, 4, 6, 5, 3 and 0.

        `max_unscored` is the share of cells that may stay without a score; without one, any that
        infrastructure left ends with 4.
        """
        if self.lost_controls:
            return LOST_CONTROL
        all_cells = max(self.cells, 1)
        allowed = (max_unscored or 0.0) * all_cells
        unjudged = 0 if self.by_limit else self.unjudged
        if max(self.infrastructure, unjudged) > allowed:
            return INFRASTRUCTURE
        if self.limited or (self.by_limit and self.unjudged):
            return LIMIT
        none = self.unasked or (self.cells and not self.scored)
        if none or (max_unscored is not None and self.cells - self.scored > allowed):
            return UNSCORED
        return REQUIRE_NOT_KEPT if self.unmet else 0

    def sentences(self, max_unscored: float | None = None) -> tuple[str, ...]:
        """Why the code is not 0, for people."""
        code = self.code(max_unscored)
        if code == LOST_CONTROL:
            names = ", ".join(self.lost_controls)
            return (f"a control did not answer, so no score can be trusted: {names}",)
        if code == INFRASTRUCTURE:
            said = []
            if self.infrastructure:
                said.append(
                    f"{self.infrastructure:,} of {self.cells:,} cells have no answer because of "
                    "their server or backend"
                )
            if self.unjudged:
                said.append(f"{self.unjudged:,} subjects are unscored, because a judge failed")
            because = f" ({'; '.join(self.reasons)})" if self.reasons else ""
            return (" and ".join(said) + because,)
        if code == LIMIT:
            left = f"{self.limited:,} of {self.cells:,} cells are not asked"
            if not self.limited:
                left = f"{self.unjudged:,} subjects are not judged"
            return (f"the limit of time or cost is reached; {left}",)
        if code == UNSCORED:
            said = [f"model {name} is asked nothing: {why}" for name, why in self.unasked.items()]
            without = self.cells - self.scored
            if self.cells and not self.scored:
                said.append("no cell of any model has an answer that can be scored")
            elif without and max_unscored is not None and without > max_unscored * self.cells:
                said.append(
                    f"{without / self.cells:.1%} of the cells have no score; "
                    f"{max_unscored:.1%} are allowed"
                )
            return tuple(said)
        return self.unmet


def failure_lines(failures: Sequence[Failure], most: int = 6) -> list[str]:
    """Why cells have no answer, in a few lines: the most frequent kinds of all models."""
    shown = sorted(failures, key=lambda failure: -failure.count)[:most]
    lines = [_line(failure) for failure in failures if failure in shown]
    left = len(failures) - len(shown)
    return lines + ([f"and {left} more kinds of failures, which the report lists"] if left else [])


def _line(failure: Failure) -> str:
    what = failure.cause or failure.outcome.replace("_", " ")
    cells = f"{failure.count:,} {'cell' if failure.count == 1 else 'cells'}"
    if failure.outcome == "several":
        return f"{failure.model}: {cells} of {failure.why}"
    said = failure.example[1] or failure.why
    return f'{failure.model}: {cells} {what}, such as "{said}"'
