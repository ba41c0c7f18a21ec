"""The samples that the report shows, each with its explanations and the claims they state.

What is shown is chosen once, here. Samples: those that a reader should see first (a wrong
prediction, a contradiction, a low score), then a seeded draw of the rest. Of a sample: every answer
of the models, models taking turns, and each text of a control once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from harness.analysis import explainers
from harness.analysis.score_table import ScoreTable
from harness.identity import draw
from harness.records import Sample
from harness.results import (
    CONTRADICTION,
    DRAWN,
    LOWEST_SCORE,
    WRONG_PREDICTION,
    ClaimVerdict,
    Explanation,
    SampleView,
)
from harness.scoring import Answered

# Answers of models on one page: at about 5,000 characters each, what can still be sent by mail.
ANSWERS = 900


def views(table: ScoreTable, accuracy: str | None = None) -> tuple[SampleView, ...]:
    """As many samples as the suite says, those of most interest first.

    `accuracy` is the metric by which a sample's score is low.
    """
    run = table.run
    by_sample: dict[str, list[Answered]] = {}
    for answered in run.answered.values():
        by_sample.setdefault(answered.cell.sample, []).append(answered)
    details = _details(table)
    scores = _scores(table)
    reasons = _chosen(table, by_sample, details, scores, accuracy)
    attributed = explainers.shown(run.store, run.attribution_records(), reasons)
    found = []
    for sample_id, reason in reasons.items():
        of_models, of_controls = _divided(table, by_sample[sample_id])
        shown = in_turn(of_models, max(1, ANSWERS // len(reasons)), _model)
        told_once = _texts_once(of_controls)
        left = len(by_sample[sample_id]) - len(shown) - len(told_once)
        found.append(
            SampleView(
                sample=run.samples[sample_id],
                prediction=run.predictions.get(sample_id),
                explanations=tuple(
                    _explanation(table, a, details, scores) for a in (*shown, *told_once)
                ),
                attributions=attributed.get(sample_id, ((), 0))[0],
                attributions_left=attributed.get(sample_id, ((), 0))[1],
                reason=reason,
                explanations_left=left,
            )
        )
    return tuple(found)


def choose(
    interest: Mapping[str, Sequence[str]], others: Sequence[Sample], places: int
) -> list[str]:
    """The ids of at most `places` samples.

    Each list of `interest` in turn fills at most half of the places that are left, rounded up, so
    that every kind is seen; `others`, in the order they were drawn, fill what remains, samples of
    the labels that were shown least before the rest.
    """
    found: dict[str, None] = {}
    for ids in interest.values():
        room = (places - len(found) + 1) // 2
        new = [sample for sample in ids if sample not in found]
        found.update(dict.fromkeys(new[:room]))
    seen = Counter(sample.label for sample in others if sample.id in found)
    waiting = [sample for sample in others if sample.id not in found]
    while waiting and len(found) < places:
        following = min(waiting, key=lambda sample: seen[sample.label])
        waiting.remove(following)
        seen[following.label] += 1
        found[following.id] = None
    return list(found)


def in_turn(
    items: Sequence[Answered], limit: int, whose: Callable[[Answered], str]
) -> list[Answered]:
    """At most `limit` items, taking turns, so that nobody has two more than another who still has
    some; their order is kept."""
    turns: dict[str, int] = {}
    order = []
    for place, item in enumerate(items):
        turn = turns.get(whose(item), 0)
        turns[whose(item)] = turn + 1
        order.append((turn, place))
    return [items[place] for place in sorted(place for _, place in sorted(order)[:limit])]


def _model(answered: Answered) -> str:
    return answered.cell.model


def _chosen(
    table: ScoreTable,
    by_sample: Container[str],
    details: Mapping[str, Sequence[ClaimVerdict]],
    scores: Mapping[str, Mapping[str, float | None]],
    accuracy: str | None,
) -> dict[str, str]:
    """The samples to show with the reason of each, in the order in which they are shown."""
    run = table.run
    seed = run.manifest.seed
    drawn = sorted(
        (sample for sample in run.samples.values() if sample.id in by_sample),
        key=lambda sample: draw(seed, sample.id, "shown"),
    )
    worth = _worth(table, accuracy)
    scored = sorted((s.id for s in drawn if s.id in worth), key=lambda sample: worth[sample])
    first = [*scored, *(s.id for s in drawn if s.id not in worth)]
    best = max(worth.values(), default=0.0)
    wrong = {s.id for s in drawn if _is_wrong(table, s)}
    contradicted = _contradicted(table, details, scores)
    interest = {
        WRONG_PREDICTION: [sample for sample in first if sample in wrong],
        CONTRADICTION: [sample for sample in first if sample in contradicted],
        LOWEST_SCORE: [sample for sample in scored if worth[sample] < best],
    }
    places = run.manifest.report_samples
    chosen = choose(interest, drawn, places)
    by_score = set(choose(interest, (), places))

    def reason(sample: str) -> str:
        if sample in wrong:
            return WRONG_PREDICTION
        if sample in contradicted:
            return CONTRADICTION
        return LOWEST_SCORE if sample in by_score else DRAWN

    order = [*interest, DRAWN]
    found = {sample: reason(sample) for sample in chosen}
    return dict(sorted(found.items(), key=lambda item: order.index(item[1])))


def _is_wrong(table: ScoreTable, sample: Sample) -> bool:
    prediction = table.run.predictions.get(sample.id)
    known = prediction is not None and prediction.label is not None and sample.label is not None
    return known and prediction is not None and prediction.label != sample.label


def _contradicted(
    table: ScoreTable,
    details: Mapping[str, Sequence[ClaimVerdict]],
    scores: Mapping[str, Mapping[str, float | None]],
) -> set[str]:
    """The samples of which a model, told what the classifier said, states the opposite of gold or
    what it must not, or contradicts itself."""
    against_itself = [
        metric
        for metric, (_, spec) in table.metrics.items()
        if "contradiction" in spec.name and spec.direction == "lower" and "told" not in spec.name
    ]
    found = set()
    for cell_id, answered in table.run.answered.items():
        cell = answered.cell
        if cell.model in table.controls or not table.ranked(cell):
            continue
        mine = scores.get(cell_id, {})
        if any((mine.get(metric) or 0.0) > 0 for metric in against_itself) or any(
            claim.verdict == "contradicted"
            if claim.importance != "must_not"
            else claim.verdict == "supported"
            for claim in details.get(cell_id, ())
        ):
            found.add(cell.sample)
    return found


def _worth(table: ScoreTable, accuracy: str | None) -> dict[str, float]:
    """The mean score of the models by sample, lowest where it is worst."""
    if accuracy is None:
        return {}
    sign = -1.0 if table.metrics[accuracy][1].direction == "lower" else 1.0
    values: dict[str, list[float]] = {}
    for model in table.models:
        for row in table.rows(accuracy, model, table.ranked):
            values.setdefault(row.cell.sample, []).append(sign * row.value)
    return {sample: sum(own) / len(own) for sample, own in values.items()}


def _divided(
    table: ScoreTable, answers: Iterable[Answered]
) -> tuple[list[Answered], list[Answered]]:
    """The models' answers and the controls', one question after the other: the first repeat, the
    base and the main arm before others, and to each question the models in the suite's order."""
    place = {model.name: i for i, model in enumerate(table.run.manifest.models)}
    controls = set(table.controls)

    def order(answered: Answered) -> tuple[Any, ...]:
        cell = answered.cell
        return (
            cell.repeat,
            cell.variant != "base",
            cell.arm != table.main_arm,
            cell.family,
            table.run.manifest.family(cell.family).aspects.index(cell.aspect),
            cell.variant,
            cell.arm,
            place[cell.model],
        )

    ordered = sorted(answers, key=order)
    return (
        [a for a in ordered if a.cell.model not in controls],
        sorted((a for a in ordered if a.cell.model in controls), key=lambda a: place[a.cell.model]),
    )


def _texts_once(answers: Iterable[Answered]) -> list[Answered]:
    """Of each control one answer to each aspect, and no text of it twice."""
    found: list[Answered] = []
    asked, said = set(), set()
    for answered in answers:
        cell = answered.cell
        text = answered.generation.text if answered.generation is not None else None
        if (cell.model, cell.family, cell.aspect) in asked or (cell.model, text) in said:
            continue
        asked.add((cell.model, cell.family, cell.aspect))
        said.add((cell.model, text))
        found.append(answered)
    return found


def _details(table: ScoreTable) -> dict[str, tuple[ClaimVerdict, ...]]:
    """The claims held against each cell, against the true label before the told one."""
    found: dict[str, tuple[ClaimVerdict, ...]] = {}
    for metric in sorted(table.metrics, key=lambda name: "told" in name):
        for model in [*table.models, *table.controls]:
            for cell, score in table.scores(metric, model):
                claims = (score.detail or {}).get("claims")
                if claims and cell.id not in found:
                    found[cell.id] = tuple(
                        ClaimVerdict(
                            str(claim.get("id", "")),
                            str(claim["text"]),
                            str(claim.get("importance", "must")),
                            claim["verdict"],
                            float(claim.get("support") or 0.0),
                            str(claim.get("sentence") or ""),
                        )
                        for claim in claims
                    )
    return found


def _scores(table: ScoreTable) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for metric, (_, spec) in table.metrics.items():
        if spec.subject != "cell":
            continue
        for model in [*table.models, *table.controls]:
            for cell, score in table.scores(metric, model):
                found.setdefault(cell.id, {})[metric] = score.value
    return found


def _explanation(
    table: ScoreTable,
    answered: Answered,
    details: Mapping[str, tuple[ClaimVerdict, ...]],
    scores: Mapping[str, Mapping[str, float | None]],
) -> Explanation:
    request, _ = table.run.store.request(answered.key)
    return Explanation(
        cell=answered.cell,
        told=answered.told,
        messages=request.messages,
        generation=answered.generation,
        claims=details.get(answered.cell.id, ()),
        scores=scores.get(answered.cell.id, {}),
    )
