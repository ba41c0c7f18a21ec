"""The sentences that open the report: what the run shows, and what it does not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.models import no_better_than_floor
from harness.analysis.score_table import ScoreTable
from harness.records import UNSCORABLE
from harness.results import (
    Agreement,
    Comparison,
    Estimate,
    GoldStatus,
    MetricSummary,
    ModelSummary,
    Rank,
    Sentence,
    Tone,
)


def verdict(
    table: ScoreTable,
    metrics: Sequence[MetricSummary],
    models: Sequence[ModelSummary],
    ranks: Sequence[Rank],
    comparisons: Sequence[Comparison],
    gold: GoldStatus,
    agreements: Sequence[Agreement] = (),
) -> tuple[Sentence, ...]:
    """Which model is accurate, which is stable, are the scorers valid, is the gold verified."""
    by_id = {summary.id: summary for summary in metrics}
    sentences = []
    for topic in ("accuracy", "stability"):
        metric = table.headline(topic)
        if metric is not None:
            own = [m for m in models if not m.control]
            worthless = no_better_than_floor(table, metric) if topic == "accuracy" else {}
            sentence = _best(topic, by_id[metric], own, ranks, comparisons)
            if worthless:
                floors = " or ".join(f"control:{name}" for name in sorted(set(worthless.values())))
                text = f" No better than {floors}, so worthless as explanations: "
                text += f"{', '.join(sorted(worthless))}."
                sentence = replace(sentence, text=sentence.text + text, tone="bad")
            sentences.append(sentence)
    sentences.append(_scorers(metrics))
    people = _people(agreements)
    if people is not None:
        sentences.append(people)
    sentences.append(_gold(gold))
    sentences.append(_coverage(models))
    return tuple(sentences)


def number(estimate: Estimate) -> str:
    """`.61 [.55, .67]`."""
    if estimate.value is None:
        return "no value"
    text = _short(estimate.value)
    if estimate.low is None or estimate.high is None:
        return f"{text} (no interval: {estimate.method})"
    return f"{text} [{_short(estimate.low)}, {_short(estimate.high)}]"


def _short(value: float) -> str:
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _best(
    topic: str,
    metric: MetricSummary,
    models: Sequence[ModelSummary],
    ranks: Sequence[Rank],
    comparisons: Sequence[Comparison],
) -> Sentence:
    scored = [
        m for m in models if metric.id in m.estimates and m.estimates[metric.id].value is not None
    ]
    if metric.validity == "invalid":
        return Sentence(topic, f"{metric.id} failed its controls here, so it ranks nothing.", "bad")
    if not models:
        return Sentence(topic, "This run asks controls only; no model is judged.", "plain")
    if not scored:
        return Sentence(
            topic, f"{metric.id} was not applicable to any answer of a model.", "unsure"
        )
    sign = -1 if metric.metric.direction == "lower" else 1
    scored.sort(key=lambda m: -sign * (m.estimates[metric.id].value or 0.0))
    numbers = "; ".join(f"{m.name} {number(m.estimates[metric.id])}" for m in scored[:6])
    more = f"; and {len(scored) - 6} more" if len(scored) > 6 else ""
    caution = "" if metric.validity == "valid" else f" The metric's validity is {metric.validity}."
    tone: Tone = "good" if metric.validity == "valid" else "unsure"
    if len(scored) == 1:
        return Sentence(topic, f"{metric.id}: {numbers}.{caution}", "plain")
    mine = [r for r in ranks if r.metric == metric.id]
    unranked = next((r.reason for r in mine if r.reason), "")
    if unranked or not mine:
        reason = unranked or "there is nothing to pair"
        return Sentence(
            topic,
            f"{metric.id}: {numbers}{more}. Not ranked: {reason}.{caution}",
            "unsure",
        )
    first = scored[0].name
    beaten = {
        (c.b if c.a == first else c.a)
        for c in comparisons
        if c.metric == metric.id
        and first in (c.a, c.b)
        and c.p_adjusted is not None
        and c.p_adjusted < 0.05
    }
    rest = [m.name for m in scored[1:] if m.name not in beaten]
    if not rest:
        claim = f"{first} is the best of {len(scored)}"
    elif len(rest) == len(scored) - 1:
        claim = "the models cannot be told apart"
        tone = "unsure"
    else:
        claim = f"{first} cannot be told apart from {', '.join(rest)}, and is above the others"
    return Sentence(topic, f"{metric.id}: {claim}. {numbers}{more}.{caution}", tone)


def _scorers(metrics: Sequence[MetricSummary]) -> Sentence:
    promised = [m for m in metrics if m.metric.separates]
    tested = [m for m in promised if m.validity != "no controls"]
    if not tested:
        return Sentence(
            "scorers",
            "No control could test a metric here, so no score comes with proof.",
            "unsure",
        )
    valid = sum(m.validity == "valid" for m in tested)
    text = f"{valid} of the {len(tested)} metrics that controls could test are valid"
    for name in ("invalid", "not shown"):
        mine = [m.id for m in tested if m.validity == name]
        if mine:
            text += f"; {name}: {', '.join(mine)}"
    untested = [m.id for m in promised if m.validity == "no controls"]
    if untested:
        text += f". Not testable with this gold: {', '.join(untested)}"
    tone: Tone = "good" if valid == len(tested) else "unsure"
    if any(m.validity == "invalid" for m in tested):
        tone = "bad"
    return Sentence("scorers", text + ".", tone)


def _people(agreements: Sequence[Agreement]) -> Sentence | None:
    """How far the scorer's verdicts are people's, beside people's own agreement."""
    pooled = [a for a in agreements if a.group == "all"]
    ours = next((a for a in pooled if not a.baseline and not a.people), None)
    if ours is None:
        return None
    text = f"Claim verdicts against people's labels of {ours.n:,} claims: AUC {number(ours.auc)}"
    people = next((a for a in pooled if a.people), None)
    if people is not None:
        text += f"; one person against the others: {number(people.auc)}"
    baselines = [f"{a.measure} {number(a.auc)}" for a in pooled if a.baseline]
    if baselines:
        text += f"; baselines: {', '.join(baselines)}"
    return Sentence("agreement", text + ".", "plain")


def _gold(gold: GoldStatus) -> Sentence:
    if gold.records == 0:
        return Sentence("gold", "There is none, so accuracy is unknown.", "bad")
    status = ", ".join(f"{count} {name}" for name, count in gold.by_status.items())
    text = f"{gold.claims:,} claims in {gold.records:,} records ({status})"
    if gold.sources:
        text += f"; {gold.sources_opened:,} of {gold.sources:,} cited sources were opened"
    reviewed = gold.by_status.get("reviewed", 0) == gold.records
    if not reviewed:
        text += "; no expert has verified it as a whole"
    return Sentence("gold", text + ".", "good" if reviewed else "unsure")


def _coverage(models: Sequence[ModelSummary]) -> Sentence:
    planned = sum(m.planned for m in models)
    lost = sum(m.outcomes.get(outcome, 0) for m in models for outcome in UNSCORABLE)
    not_run = sum(m.outcomes.get("not_run", 0) for m in models)
    text = f"{planned - lost - not_run:,} of {planned:,} cells have an answer"
    if lost:
        text += f"; {lost:,} could not be scored"
    if not_run:
        text += f"; {not_run:,} were not run"
    return Sentence("coverage", text + ".", "good" if not lost and not not_run else "unsure")
