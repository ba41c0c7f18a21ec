"""Which part of the prompt an explanation depends on: the label, the evidence, or the rest.

The stored answer is held fixed, and the model that wrote it says how likely it is after the prompt
without some of its parts. That is a game between the parts, played by the methods that explain
classifiers: leaving one out, and Shapley values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.outcomes import cell_outcome
from harness.records import (
    UNSCORABLE,
    Generation,
    HarnessError,
    Metric,
    Request,
    Sampling,
    Score,
    Subject,
)
from harness.scorers.prompt_parts import PARTS, PromptParts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.explainers.games import Perturbation, Play, Played

_FEWEST = len(PARTS) + 2  # what kernel SHAP needs of so many players
_DEFAULT = 64  # all sets of six parts
_STRAYS = 0.1
"""Nats a token by which the answer's log-probabilities may, on average, differ from those it was
drawn with. Measured on two small models: .024 at most by rounding to 16 bits, .19 at least behind
another prompt."""

_LEFT_OUT = ("label", "evidence", "input")  # what of leaving one out is a metric of its own
_LEAST = 0.01
"""Nats a token that all parts together must be worth: below, shares would be shares of rounding."""


def _metrics() -> tuple[Metric, ...]:
    shares = [
        Metric(
            f"{part}_share",
            range=(-1.0, 1.0),
            direction=None,
            about=f"Shapley value of {what} for the log-probability of the stored answer, over "
            "the sum of all parts' absolute values: the part's share of what the prompt adds, "
            "negative where it makes the answer less likely. Not applicable where the prompt "
            "has no such part, or adds less than 0.01 nats a token in all.",
            title=f"share of the prompt's effect: {part.replace('_', ' ')}",
        )
        for part, what in PARTS.items()
    ]
    left_out = [
        Metric(
            f"{part}_left_out",
            range=(None, None),
            direction=None,
            about=f"Nats a token by which the stored answer is less likely without {what}.",
            title=f"lost without the {part}",
        )
        for part, what in PARTS.items()
        if part in _LEFT_OUT
    ]
    return (
        Metric(
            "gain",
            title="what the prompt adds",
            range=(None, None),
            direction=None,
            about="Nats a token by which the whole prompt makes the stored answer likelier than an "
            "empty one. Where it is not applicable its detail says why.",
        ),
        *shares,
        Metric(
            "rest_share",
            title="share of the prompt's effect: all but label and evidence",
            range=(-1.0, 1.0),
            direction=None,
            about="The shares of all parts but label and evidence, summed.",
        ),
        *left_out,
    )


class Context:
    """How far a stored explanation follows the label, the evidence, or the rest of its prompt.

    Asks the model that wrote it for the log-probability of the answer's own tokens (reasoning and
    end token among them) behind the prompt with parts removed: up to `budget` prompts a cell, all
    sets of parts where these fit (Shapley values are then exact), else by kernel SHAP, with those
    that leave one part out on top. A prompt without some parts is put through the chat template
    again. Nothing is drawn, and no answer changes. Of
    several repeats of a prompt the first `repeats` are asked about, all unless given.

    Not applicable, with the reason in the detail of `gain`: an answer without stored token ids (a
    hosted or chat-only server, a control, a recording), one that is empty or a refusal, a server
    that cannot be given token ids or a backend that cannot weigh an answer, a prompt with pictures
    on a server, and where the whole prompt, put to the model again, has other token ids or gives
    the answer other log-probabilities than when it was drawn.
    """

    metrics = _metrics()
    asks_models = True
    reads = ("requests",)

    def __init__(self, budget: int = _DEFAULT, repeats: int | None = None) -> None:
        where = "scorer 'context'"
        fields.whole(where, _FEWEST, budget=budget)
        if repeats is not None:
            fields.whole(where, 1, repeats=repeats)
        self._repeats = repeats
        self.settings: Mapping[str, Any] = {"budget": budget, "repeats": repeats}

    def requests(self, subject: Subject) -> Sequence[Request]:
        """The stored answer behind each prompt whose value the methods ask for."""
        if self._never(subject) is not None:
            return ()
        prompt = PromptParts.of(subject.requests[0].messages, subject.spans[0])
        games = _Games.of(prompt.names, self.settings["budget"])
        return [_weighing(subject, prompt, kept) for kept in games.asked]

    def score(self, subject: Subject, generations: Sequence[Generation]) -> list[Score]:
        """All metrics of one cell; `None` for parts that its prompt has not."""
        why = self._never(subject)
        if why is not None:
            return self._nothing(why)
        prompt = PromptParts.of(subject.requests[0].messages, subject.spans[0])
        games = _Games.of(prompt.names, self.settings["budget"])
        answers = generations[len(subject.generations) :]
        why = _unusable(subject, answers[0], answers)
        if why is not None:
            return self._nothing(why)
        sums = {
            kept: sum(answer.logprobs or ())
            for kept, answer in zip(games.asked, answers, strict=True)
        }
        tokens = len(subject.generations[0].token_ids or ())
        return self._scores(games, sums, tokens, _deviation(subject, answers[0]))

    def _never(self, subject: Subject) -> str | None:
        """Why there is nothing to be asked about an answer; `None` where there is."""
        if self._repeats is not None and subject.cells[0].repeat > self._repeats:
            return f"only the first {self._repeats} repeats are asked about"
        return _never(subject)

    def _scores(
        self,
        games: _Games,
        sums: Mapping[frozenset[str], float],
        tokens: int,
        deviation: float | None,
    ) -> list[Score]:
        (shapley, errors), (left_out, _) = games.played(sums)
        whole, nothing = sums[frozenset(games.parts)], sums[frozenset()]
        total = sum(abs(value) for value in shapley.values())
        total = total if total > _LEAST * tokens else 0.0
        values: dict[str, float | None] = {"gain": (whole - nothing) / tokens}
        for part in games.parts:
            values[f"{part}_share"] = shapley[part] / total if total else None
            values[f"{part}_left_out"] = left_out[part] / tokens
        rest = [v for part, v in shapley.items() if part not in ("label", "evidence")]
        values["rest_share"] = sum(rest) / total if total and rest else None
        detail = {
            "method": games.method,
            "shapley": shapley,
            "left_out": left_out,
            "standard_errors": errors,
            "tokens": tokens,
            "log_probability": whole,
            "deviation": deviation,
        }
        return [
            Score(m.name, values.get(m.name), detail if m.name == "gain" else None)
            for m in self.metrics
        ]

    def _nothing(self, why: str) -> list[Score]:
        return [
            Score(m.name, None, {"why": why} if m.name == "gain" else None) for m in self.metrics
        ]


# --- the game ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Games:
    """The two games that are played between the parts of one prompt.

    `asked` are the sets of parts kept whose values both methods want, each once, the whole prompt
    first. Both ask for all of their sets at once, which is what lets a scorer that may ask but once
    play them.
    """

    parts: tuple[str, ...]
    budget: int
    method: str

    @classmethod
    def of(cls, parts: tuple[str, ...], budget: int) -> _Games:
        return cls(parts, budget, "exact_shapley" if 2 ** len(parts) <= budget else "kernel_shap")

    @property
    def asked(self) -> list[frozenset[str]]:
        ends = [frozenset(self.parts), frozenset[str]()]
        sets = [kept for play in self._plays() for kept in self._named(next(play))]
        return list(dict.fromkeys([*ends, *sets]))

    def played(
        self, sums: Mapping[frozenset[str], float]
    ) -> list[tuple[dict[str, float], dict[str, float] | None]]:
        """Shapley values, and how much is lost without each part, with the standard errors of what
        is no exact value; all in nats."""
        import numpy as np

        found = []
        for play in self._plays():
            values = np.array([[sums[kept]] for kept in self._named(next(play))])
            try:
                play.send(values)
            except StopIteration as end:
                played: Played = end.value
                errors = played.standard_errors
                of_errors = None if errors is None else self._by_part(errors)
                found.append((self._by_part(played.values), of_errors))
                continue
            raise HarnessError(f"scorer 'context': {self.method} asks more than once")
        return found

    def _by_part(self, column: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(self.parts, column[:, 0].tolist(), strict=True))

    def _plays(self) -> list[Play]:
        from harness.explainers.attributions.kernel_shap import KernelShap
        from harness.explainers.attributions.occlusion import LeaveOneOut
        from harness.explainers.attributions.shapley import ExactShapley
        from harness.explainers.games import Game

        exact = self.method == "exact_shapley"
        methods: list[Perturbation] = [ExactShapley() if exact else KernelShap(), LeaveOneOut()]
        budget = 2 ** len(self.parts) if exact else self.budget
        return [method.play(Game(len(self.parts), budget, seed=0)) for method in methods]

    def _named(self, sets: NDArray[np.bool_]) -> list[frozenset[str]]:
        return [
            frozenset(part for part, keeps in zip(self.parts, row, strict=True) if keeps)
            for row in sets.tolist()
        ]


# --- what is asked, and what may be believed ------------------------------------------------------


def _weighing(subject: Subject, prompt: PromptParts, kept: frozenset[str]) -> Request:
    """How likely the stored answer is where only these parts are kept.

    What has no bearing on that (how the answer was drawn, its schema, its repeat) is left out, so
    that repeats of one prompt share what is asked of them.
    """
    return replace(
        subject.requests[0],
        messages=prompt.without(set(PARTS) - kept),
        sampling=Sampling(max_tokens=1),
        schema=None,
        repeat=1,
        continuation=subject.generations[0].token_ids,
    )


def _never(subject: Subject) -> str | None:
    """Why there is nothing to be asked about an answer; `None` where there is."""
    if not subject.generations or not subject.requests:
        return "there is no answer"
    generation = subject.generations[0]
    outcome = cell_outcome(generation, None)
    if outcome in (*UNSCORABLE, "empty", "refusal"):
        return f"the answer explains nothing (outcome {outcome})"
    if not generation.token_ids or not generation.prompt_token_ids:
        return (
            "the answer was stored without its token ids; of a vLLM server, `extras: {token_ids: "
            "true}` keeps them"
        )
    if not PromptParts.of(subject.requests[0].messages, subject.spans[0]).names:
        return "the prompt is blank"
    return None


def _unusable(subject: Subject, whole: Generation, answers: Sequence[Generation]) -> str | None:
    """Why nothing can be said although the model was asked; `None` where all is well."""
    stored = subject.generations[0]
    for answer in answers:
        if answer.logprobs is None:
            return answer.error or (answer.notes[-1] if answer.notes else "there are no numbers")
        if answer.token_ids != stored.token_ids:
            return "the model was not asked about the tokens of the stored answer"
    if whole.prompt_token_ids != stored.prompt_token_ids:
        return "the prompt has other token ids than when it was answered"
    deviation = _deviation(subject, whole)
    if deviation is not None and deviation > _STRAYS:
        return (
            f"the answer's log-probabilities differ by {deviation:.2g} a token from those it was "
            "drawn with"
        )
    return None


def _deviation(subject: Subject, whole: Generation) -> float | None:
    """Mean distance of the answer's log-probabilities from those it was drawn with, in nats a
    token; `None` where these were not stored."""
    stored, now = subject.generations[0].logprobs, whole.logprobs or ()
    if stored is None or len(stored) != len(now):
        return None
    return sum(abs(a - b) for a, b in zip(stored, now, strict=True)) / len(now)
