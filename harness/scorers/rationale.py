"""Whether an explanation cites what the classifier used.

The explanation's words are held against the attributions that the run stored, not against gold: a
text may be true of the label and still not be why the classifier decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness import fields
from harness.records import (
    OTHERS,
    Attribution,
    Generation,
    HarnessError,
    Metric,
    Request,
    Score,
    Separation,
    Subject,
)
from harness.scorers.citations import Item, Regions, cited, counts, items_of
from harness.scorers.explanations import explanation_text

_SAID = 0.01  # of the strongest item: what weighs less was not used (as in an evidence summary)

_WHAT = {
    "f1": "F1 of the items cited against those the classifier used most; 0 where none is cited",
    "precision": "Share of the items cited that are among those the classifier used most; not "
    "applicable where none is cited",
    "recall": "Share of the items that the classifier used most that are cited",
    "rank": "Spearman's correlation over all items of how far each is cited with its value; not "
    "applicable where all are cited alike. What is cited at random has 0 on average",
}
_TITLES = {
    "f1": "cites what the classifier used",
    "precision": "cited parts that were used",
    "recall": "used parts that are cited",
    "rank": "cites in the order of use",
}
_FLOORS = {"random": "random citations", "other_sample": "other samples' explanations"}
_SEPARATES = (Separation("evidence", "other-evidence", 0.2),)


def _metrics() -> tuple[Metric, ...]:
    ranges = {name: (-1.0 if name == "rank" else 0.0, 1.0) for name in _WHAT}
    own = [
        Metric(
            name, range=ranges[name], separates=_SEPARATES, about=f"{what}.", title=_TITLES[name]
        )
        for name, what in _WHAT.items()
    ]
    random = [
        Metric(
            f"{name}_random",
            baseline=True,
            about=f"Floor: the expected {name} of as many items cited at random, exactly.",
            title=f"{_TITLES[name]}: floor of random citations",
        )
        for name in ("f1", "precision", "recall")
    ]
    other = [
        Metric(
            f"{name}_other_sample",
            range=ranges[name],
            baseline=True,
            about=f"Floor: mean {name} of the same model's explanations of up to {OTHERS} other "
            "samples that were told the same label, held against this sample.",
            title=f"{_TITLES[name]}: floor of other samples' explanations",
        )
        for name in _WHAT
    ]
    above = [
        Metric(
            f"f1_above_{floor}",
            range=(-1.0, 1.0),
            separates=(Separation("evidence", "other-evidence", 0.1),),
            about=f"Agreement of what is cited with what was used (f1), less that of "
            f"{_FLOORS[floor]}: above 0 where the text cites what decided this sample.",
            title=f"cites what the classifier used, above {_FLOORS[floor]}",
            headline="faithfulness" if floor == "random" else None,
        )
        for floor in _FLOORS
    ]
    return (*own, *above, *random, *other)


class Rationale:
    """Agreement between what an explanation cites and what the classifier used.

    Items are what can be said of the stored attribution in words: pieces of the input text, named
    features, and the sectors (of OCTA scans) or ninths of a picture. The `top` items with the
    largest positive values count as used, at most half of all and none under 1 % of the strongest.
    A text cites a piece of the input that it quotes, or half of whose content words it holds; words
    of the labels count for nothing.

    - `method`: the name of the attribution method, the first stored one unless given
    - `regions`: `sectors`, `ninths`, or `auto`: sectors where a sample carries drawn lesions

    The attribution must be for the label that the prompt told (or, where none was, for the
    predicted one). Not applicable, with the reason in the detail of `f1`, where a run has no such
    attribution (its suite has no `explain` entry), or nothing in it can be cited.

    Agreement is no proof of insight: a prompt that shows the evidence summary can be copied from,
    so compare variants that show it with those that do not.
    """

    metrics = _metrics()
    reads = ("attributions", "others")

    def __init__(
        self,
        top: int = 3,
        method: str | None = None,
        regions: Literal["auto", "sectors", "ninths"] = "auto",
    ) -> None:
        where = "scorer 'rationale'"
        fields.whole(where, 1, top=top)
        fields.one_of(where, ("auto", "sectors", "ninths"), regions=regions)
        if method is not None and not isinstance(method, str):
            raise HarnessError(f"{where}: method is the name of a method, not {method!r}")
        self._top, self._method, self._regions = top, method, regions
        self._items: dict[Any, tuple[Item, ...]] = {}
        self.settings: Mapping[str, Any] = {"top": top, "method": method, "regions": regions}

    def requests(self, subject: Subject) -> Sequence[Request]:  # noqa: ARG002
        """None: texts are read by rules."""
        return ()

    def score(self, subject: Subject, generations: Sequence[Generation]) -> list[Score]:
        """All metrics of one cell; `None` for what does not apply to it."""
        attribution = self._attribution(subject)
        if isinstance(attribution, str) or subject.sample is None:
            return self._scores({}, {"why": str(attribution)})
        regions = self._scheme(subject)
        labels = (*subject.labels, attribution.target)
        items = self._items_of(attribution, subject, labels, regions)
        used = self._used(items)
        if not used:
            why = "nothing that can be cited speaks for the label"
            return self._scores({}, {"why": why if items else "it has no unit that can be cited"})
        text = explanation_text(generations[0], subject.schema)
        own = _Agreement.of(items, used, cited(items, text, regions))
        values = own.values | own.at_random()
        others = [
            _Agreement.of(items, used, cited(items, said, regions)).values
            for said in (explanation_text(one, subject.schema) for one in subject.others)
        ]
        for name in _WHAT:
            values[f"{name}_other_sample"] = _mean([one[name] for one in others])
        for floor in ("random", "other_sample"):
            f1, beside = values["f1"], values[f"f1_{floor}"]
            values[f"f1_above_{floor}"] = None if f1 is None or beside is None else f1 - beside
        detail = {
            "method": attribution.method,
            "unit": attribution.unit,
            "target": attribution.target,
            "items": len(items),
            "used": [items[place].name for place in used],
            "cited": [items[place].name for place in own.cited],
        }
        return self._scores(values, detail)

    def _attribution(self, subject: Subject) -> Attribution | str:
        """The attribution to hold the text against, or why there is none."""
        if not subject.attributed:
            return "there is no attribution of the sample (the suite has no 'explain' entry)"
        label = subject.told
        if label is None and subject.prediction is not None:
            label = subject.prediction.label
        named = [a for a in subject.attributed if self._method in (None, a.method)]
        if not named:
            return f"no attribution is by the method '{self._method}'"
        fitting = [a for a in named if a.target == label]
        return fitting[0] if fitting else f"no attribution explains '{label}'"

    def _items_of(
        self, attribution: Attribution, subject: Subject, labels: Sequence[str], regions: Regions
    ) -> tuple[Item, ...]:
        """The same for all cells of a sample, so made once."""
        assert subject.sample is not None
        key = subject.attributions[subject.attributed.index(attribution)]
        place = (key, subject.sample.id, tuple(labels), regions)
        if place not in self._items:
            self._items[place] = items_of(attribution, subject.sample, labels, regions)
        return self._items[place]

    def _scheme(self, subject: Subject) -> Regions:
        if self._regions != "auto":
            return self._regions
        assert subject.sample is not None
        drawn = any(evidence.name == "instances" for evidence in subject.sample.evidence)
        return "sectors" if drawn else "ninths"

    def _used(self, items: Sequence[Item]) -> list[int]:
        """The places of the items that the classifier used most, strongest first."""
        least = _SAID * max((abs(item.value) for item in items), default=0.0)
        strongest = sorted(range(len(items)), key=lambda place: -items[place].value)
        most = min(self._top, len(items) // 2)
        return [place for place in strongest[:most] if items[place].value > least]

    def _scores(self, values: Mapping[str, float | None], detail: Mapping[str, Any]) -> list[Score]:
        return [
            Score(m.name, values.get(m.name), detail if m.name == "f1" else None)
            for m in self.metrics
        ]


@dataclass(frozen=True)
class _Agreement:
    """One text against one sample's items: which were used, which it cites."""

    count: int
    used: tuple[int, ...]
    cited: tuple[int, ...]
    rank: float | None

    @classmethod
    def of(cls, items: Sequence[Item], used: Sequence[int], shares: Sequence[float]) -> _Agreement:
        places = tuple(place for place, share in enumerate(shares) if counts(share))
        rank = _spearman([item.value for item in items], shares)
        return cls(len(items), tuple(used), places, rank)

    @property
    def values(self) -> dict[str, float | None]:
        return {**self._of_hits(len(set(self.used) & set(self.cited))), "rank": self.rank}

    def at_random(self) -> dict[str, float | None]:
        """The expectation where as many items are drawn without looking: the number of hits is
        hypergeometric with the mean `used * cited / items`, and all three are linear in it."""
        expected = self._of_hits(len(self.used) * len(self.cited) / self.count)
        return {f"{name}_random": value for name, value in expected.items()}

    def _of_hits(self, hits: float) -> dict[str, float | None]:
        return {
            "f1": 2 * hits / (len(self.used) + len(self.cited)),
            "precision": hits / len(self.cited) if self.cited else None,
            "recall": hits / len(self.used),
        }


def _spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; `None` where one is constant."""
    import numpy as np
    from scipy.stats import rankdata

    if len(set(a)) < 2 or len(set(b)) < 2:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
