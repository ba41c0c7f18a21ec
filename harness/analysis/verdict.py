"""The sentences that open the report: what the run shows, and what it does not show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from harness.records import UNSCORABLE
from harness.results import (
    ALL_MODELS,
    Agreement,
    ClassifierPage,
    Comparison,
    Estimate,
    Failure,
    GoldStatus,
    MetricSummary,
    ModelSummary,
    Rank,
    Requirement,
    Sentence,
    Tone,
    interval,
    number,
)
from harness.stats.arrays import plural
from harness.stats.ranks import LEVEL
from harness.suite import CONTROL_PREFIX

MOSTLY = 0.5  # a model that answers less often than this has no stability worth naming
CAUTION = {
    "not shown": "The metric's validity is not shown",
    "no controls": "No control tested the metric",
    "baseline": "The metric is a baseline",
}
NAMED = 3  # more metrics than this are counted, not named
SHOWN_MODELS = 6


def verdict(
    headlines: Sequence[str],
    metrics: Sequence[MetricSummary],
    models: Sequence[ModelSummary],
    ranks: Sequence[Rank],
    comparisons: Sequence[Comparison],
    floors: Mapping[str, tuple[str, Estimate]],
    gold: GoldStatus,
    agreements: Sequence[Agreement] = (),
    requirements: Sequence[Requirement] = (),
    *,
    classifier: ClassifierPage | None = None,
    failures: Sequence[Failure] = (),
) -> tuple[Sentence, ...]:
    """Which model is accurate and which is stable, what that rests on, and whether it is good
    enough: first where the suite says what is, else last.

    The classifier, the scorers, the gold, and how many cells have an answer, with why the others
    have none. `floors` holds, by model, the floor control that comes nearest by the headline of
    accuracy and how far the model lies above it.
    """
    by_id = {summary.id: summary for summary in metrics}
    own = [m for m in models if not m.control]
    sentences = []
    for metric in (by_id[name] for name in headlines):
        quiet = without_answers(own) if metric.metric.headline == "stability" else {}
        judged = [m for m in own if m.name not in quiet]
        sentence = _best(metric, judged, ranks, comparisons, of=len(own))
        sentence = _name_apart(sentence, quiet)
        if sentence.topic == "accuracy" and metric.validity != "invalid":
            sentence = _against_floors(sentence, floors)
        if sentence.topic == "faithfulness" and metric.validity != "invalid":
            sentence = _above_nothing(sentence, metric, judged)
        sentences.append(sentence)
    sentences.append(_classifier(classifier))
    sentences.append(_scorers(metrics, headlines))
    people = _people(agreements)
    if people is not None:
        sentences.append(people)
    sentences.append(_gold(gold))
    sentences.append(_coverage(models, failures))
    enough = _good_enough(requirements)
    return (enough, *sentences) if requirements else (*sentences, enough)


def _above_nothing(
    sentence: Sentence, metric: MetricSummary, models: Sequence[ModelSummary]
) -> Sentence:
    """The sentence on faithfulness, with the models that are shown to be above 0 and those not."""
    estimates = {m.name: e for m in models if (e := m.estimates.get(metric.id)) is not None}
    lows = {name: e.low for name, e in estimates.items() if e.value is not None}
    above = [name for name, low in lows.items() if low is not None and low > 0]
    rest = [name for name in lows if name not in above]
    said = [f"Shown to be above 0: {_named_alone(above)}."] if above else []
    said += [f"Not shown to be above 0: {_named_alone(rest)}."] if rest else []
    tone: Tone = sentence.tone if above or not rest else "unsure"
    return replace(sentence, text=" ".join([sentence.text, *said]), tone=tone)


def _named_alone(names: Sequence[str]) -> str:
    """Names in a row, the last after `and`; more than fit are counted."""
    if len(names) > SHOWN_MODELS:
        return f"{len(names)} models"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def without_answers(models: Sequence[ModelSummary]) -> dict[str, float]:
    """The models that mostly say nothing or refuse, with the share of their cells where they do.

    Nothing is as stable as silence, so no stability may be read into such answers.
    """
    rates = {m.name: m.no_answer_rate for m in models if not m.control}
    return {name: rate for name, rate in rates.items() if rate is not None and rate >= MOSTLY}


def figure(estimate: Estimate) -> str:
    """`.61 [.55, .67]`, or the value and why it has no interval."""
    if estimate.value is None:
        return "no value"
    return f"{number(estimate.value)} {interval(estimate)}"


def _best(
    metric: MetricSummary,
    models: Sequence[ModelSummary],
    ranks: Sequence[Rank],
    comparisons: Sequence[Comparison],
    of: int,
) -> Sentence:
    """The sentence of one headline over `models`, the judged ones `of` all."""
    topic, about = str(metric.metric.headline), metric.metric.about
    if metric.validity == "invalid":
        return Sentence(
            topic, f"{metric.label} failed its controls here, so it ranks nothing.", "bad"
        )
    if not of:
        return Sentence(topic, "This run asks controls only; no model is judged.")
    if not models:
        return Sentence(topic, f"{metric.label} has no model to judge.", "bad", about)
    scored = [
        (m.name, m.estimates[metric.id], value)
        for m in models
        if metric.id in m.estimates and (value := m.estimates[metric.id].value) is not None
    ]
    if not scored:
        answered = sum(_answered(m) for m in models)
        reason = "was not applicable to any answer" if answered else "has nothing to score: no cell"
        text = f"{metric.label} {reason} of a model{'' if answered else ' has an answer'}."
        return Sentence(topic, text, "unsure" if answered else "bad", about)
    sign = -1 if metric.metric.direction == "lower" else 1
    scored.sort(key=lambda row: -sign * row[2])
    names = [name for name, _, _ in scored]
    numbers = "; ".join(f"{name} {figure(estimate)}" for name, estimate, _ in scored[:SHOWN_MODELS])
    if len(scored) > SHOWN_MODELS:
        numbers += f"; and {len(scored) - SHOWN_MODELS} more"
    caution = CAUTION.get(metric.validity, "")
    if caution:
        caution = f" {': '.join(filter(None, (caution, metric.reason)))}."
    if len(scored) == 1:
        return Sentence(topic, f"{metric.label}: {numbers}.{caution}", "plain", about)
    mine = [r for r in ranks if r.metric == metric.id]
    unranked = next((r.reason for r in mine if r.reason), "")
    if unranked or not mine:
        reason = unranked or "there is nothing to pair"
        text = f"{metric.label}: {numbers}. Not ranked: {reason}.{caution}"
        return Sentence(topic, text, "unsure", about)
    pairs = [c for c in comparisons if c.metric == metric.id]
    rest = [name for name in names[1:] if not _beats(names[0], name, pairs, sign)]
    tone: Tone = "good" if metric.validity == "valid" else "unsure"
    if not rest:
        claim = f"{names[0]} is the best of {len(names)}"
    elif len(rest) == len(names) - 1:
        claim = (
            "the models cannot be told apart" if len(names) > 2 else "the two cannot be told apart"
        )
        if any(_beats(a, b, pairs, sign) for a in names for b in names):
            claim = f"no model is shown to be the best ({names[0]} has the highest mean)"
        tone = "unsure"
    else:
        claim = f"{names[0]} cannot be told apart from {', '.join(rest)}, and is above the others"
    return Sentence(topic, f"{metric.label}: {claim}. {numbers}.{caution}", tone, about)


def _name_apart(sentence: Sentence, quiet: Mapping[str, float]) -> Sentence:
    """Adds which models did not answer, so that their silence is not taken for stability."""
    if not quiet:
        return sentence
    said = [
        f"{name} gave no answer in {_percent(rate)} of its cells; "
        f"its {sentence.topic} says nothing."
        for name, rate in sorted(quiet.items())
    ]
    tone: Tone = "unsure" if sentence.tone == "good" else sentence.tone
    return replace(sentence, text=" ".join([sentence.text, *said]), tone=tone)


def _percent(share: float) -> str:
    """Whole percent, rounded down, so that only all is 100 %."""
    return f"{int(100 * share + 1e-9)} %"


def _beats(first: str, second: str, pairs: Sequence[Comparison], sign: int) -> bool:
    """Whether the paired test puts `first` before `second`."""
    for pair in pairs:
        if {pair.a, pair.b} == {first, second} and pair.p_adjusted is not None:
            gap = (pair.difference.value or 0.0) * (sign if pair.a == first else -sign)
            return pair.p_adjusted < LEVEL and gap > 0
    return False


def _against_floors(sentence: Sentence, floors: Mapping[str, tuple[str, Estimate]]) -> Sentence:
    """Adds which models are no better than a text that knows nothing of the sample."""
    worthless = {m: name for m, (name, gain) in floors.items() if (gain.value or 0.0) <= 0}
    unproven = {
        m: name
        for m, (name, gain) in floors.items()
        if m not in worthless and (gain.low is None or gain.low <= 0)
    }
    text, tone = sentence.text, sentence.tone
    if worthless:
        text += f" No better than {_controls(worthless)}, so worthless as explanations: "
        text += f"{', '.join(sorted(worthless))}."
        tone = "bad"
    if unproven:
        text += f" Not shown to be better than {_controls(unproven)}: "
        text += f"{', '.join(sorted(unproven))}."
        tone = "bad" if worthless else "unsure"
    return replace(sentence, text=text, tone=tone)


def _controls(by_model: Mapping[str, str]) -> str:
    return " or ".join(f"{CONTROL_PREFIX}{name}" for name in sorted(set(by_model.values())))


def _scorers(metrics: Sequence[MetricSummary], headlines: Sequence[str]) -> Sentence:
    promised = [m for m in metrics if m.metric.separates]
    tested = [m for m in promised if m.validity != "no controls"]
    if not tested:
        return Sentence(
            "scorers",
            "No control could test a metric here, so no score comes with proof.",
            "unsure",
        )
    valid = sum(m.validity == "valid" for m in tested)
    text = f"{valid} of the {len(tested)} metrics that controls could test are valid on this gold"
    if len(tested) == 1:
        text = f"The one metric that controls could test is {'' if valid else 'not '}valid"
        text += " on this gold"
    for name in ("invalid", "not shown"):
        mine = [m for m in tested if m.validity == name]
        if mine:
            text += f"; {name}: {_listed(mine, headlines)}"
            reasons = {m.reason for m in mine if m.reason}
            text += f" ({', '.join(reasons)})" if len(reasons) == 1 else ""
    untested = [m for m in promised if m.validity == "no controls"]
    if untested:
        text += f". Not testable with this gold: {_listed(untested, headlines)}"
    tone: Tone = "good" if valid == len(tested) else "unsure"
    if any(m.validity == "invalid" for m in tested):
        tone = "bad"
    return Sentence("scorers", text + ".", tone)


def _listed(metrics: Sequence[MetricSummary], first: Sequence[str]) -> str:
    """A few metrics by name, those in `first` before the others, and how many more there are."""
    ordered = [m.label for m in sorted(metrics, key=lambda m: m.id not in first)]
    if len(ordered) <= NAMED + 1:
        return ", ".join(ordered)
    return f"{', '.join(ordered[:NAMED])} and {len(ordered) - NAMED} more"


def _good_enough(requirements: Sequence[Requirement]) -> Sentence:
    """Whether every bar of the suite is kept; the bars that are not come first."""
    topic = "good enough"
    if not requirements:
        return Sentence(topic, "Unknown: no bar was set (`require` in the suite sets one).")
    unmet = [one for one in requirements if not one.kept]
    total = f"{len(requirements):,} {plural('bar', len(requirements))}"
    if unmet:
        are = "is" if len(unmet) == 1 else "are"
        text = f"No: {len(unmet):,} of {total} {are} not kept."
        text += f" Not kept: {_bars(unmet)}."
        kept = [one for one in requirements if one.kept]
        text += f" Kept: {_bars(kept)}." if kept else ""
    else:
        text = f"Yes: {'the one bar is' if len(requirements) == 1 else f'all {total} are'} kept."
        text += f" {_bars(requirements)}."
    about = (
        "A bar is kept where the whole 95 % interval lies on its good side, over prompts that "
        "preserve meaning and tell what the classifier said (no label without one)."
    )
    return Sentence(topic, text, "bad" if unmet else "good", about)


def _bars(requirements: Sequence[Requirement]) -> str:
    """Each bar once, with the models it was held against."""
    by_bar: dict[str, list[Requirement]] = {}
    for one in requirements:
        by_bar.setdefault(one.asked, []).append(one)
    clauses = []
    for asked, mine in by_bar.items():
        reasons = {one.reason for one in mine}
        alike = len(mine) > 1 and len(reasons) == 1 and all(one.estimate.value for one in mine)
        shown = [replace(one, reason="") if alike else one for one in mine[:SHOWN_MODELS]]
        models = "; ".join(one.found for one in shown)
        models += f"; and {len(mine) - SHOWN_MODELS} more" if len(mine) > SHOWN_MODELS else ""
        why = next(iter(reasons)) if alike else ""
        clauses.append(f"{asked}: {models}" + (f" ({why})" if why else ""))
    return ". ".join(clauses)


def _people(agreements: Sequence[Agreement]) -> Sentence | None:
    """How far the scorer's verdicts are people's, beside baselines and people's own agreement."""
    pooled = [a for a in agreements if a.group == ALL_MODELS]
    ours = next((a for a in pooled if not a.baseline and not a.people), None)
    if ours is None:
        return None
    text = f"Claim verdicts against people's labels of {ours.n:,} {plural('claim', ours.n)}: "
    text += f"AUC {figure(ours.auc)}"
    people = next((a for a in pooled if a.people), None)
    if people is not None:
        text += f"; one person against the others: {figure(people.auc)}"
    baselines = [f"{a.measure} {figure(a.auc)}" for a in pooled if a.baseline]
    text += f"; baselines: {', '.join(baselines)}."
    level = [
        a.measure for a in pooled if a.gain is not None and (a.gain.low is None or a.gain.low <= 0)
    ]
    if level:
        text += f" Not shown to be better than {' or '.join(level)}."
    else:
        text += " Better than each baseline."
    return Sentence(
        "agreement",
        text,
        "unsure" if level else "good",
        "AUC: how often a claim that people found in an answer gets more support than one they did "
        "not find; .5 is chance, 1 perfect.",
    )


def _gold(gold: GoldStatus) -> Sentence:
    if gold.records == 0:
        return Sentence("gold", "There is none, so accuracy is unknown.", "bad")
    counts = dict(gold.counts)
    text = f"{gold.claims:,} {plural('claim', gold.claims)} in "
    text += f"{gold.records:,} {plural('record', gold.records)}"
    constructed = "by construction (derived from the generator's ground truth)"
    words = {
        "draft": "draft",
        "disputed": "disputed",
        "constructed": "by construction",
        "reviewed": "reviewed",
    }
    if set(counts) == {"constructed"}:
        text += f", exact {constructed}"
    else:
        text += f" ({', '.join(f'{count:,} {words[name]}' for name, count in counts.items())})"
    if gold.sources:
        text += f"; {gold.sources_opened:,} of {gold.sources:,} cited sources were opened"
    if "draft" in counts:
        whose = "it" if set(counts) == {"draft"} else "the drafts"
        text += f"; no expert has verified {whose}"
    trusted = set(counts) <= {"constructed", "reviewed"}
    return Sentence("gold", text + ".", "good" if trusted else "unsure")


def _classifier(page: ClassifierPage | None) -> Sentence:
    """How right the labels are that the explanations are about, beside what chance would give."""
    topic = "classifier"
    if page is None:
        return Sentence(topic, "This suite has none, so no label that is told can be wrong by it.")
    estimate, table = page.balanced_accuracy, page.confusion
    if estimate.value is None:
        why = estimate.method or "no sample has a true label"
        return Sentence(topic, f"{page.name}: how right it is cannot be said, as {why}.", "unsure")
    right = sum(row[i] for i, row in enumerate(table))
    total = sum(map(sum, table))
    occurring = sum(1 for row in table if sum(row))
    chance = 1 / max(occurring, 1)
    text = f"{page.name}: right on {right:,} of {total:,} {plural('sample', total)}, balanced "
    text += f"accuracy {figure(estimate)}"
    about = "Balanced accuracy: mean share of each label's samples that are called by it."
    if occurring < 2:
        return Sentence(topic, f"{text}; all samples have one true label.", "unsure", about)
    text += f", chance {number(chance)}"
    if page.p_below_chance is not None and page.p_below_chance < LEVEL:
        return Sentence(topic, f"{text}; it is below chance.", "bad", about)
    shown = estimate.low is not None and estimate.low > chance
    if not shown:
        text += "; not shown to be better than chance"
    return Sentence(topic, f"{text}.", "good" if shown else "unsure", about)


HALF_ANSWERS = 0.05  # chosen: more cells without a whole answer than this leave coverage in doubt
WHY_CHARACTERS = 120


def _coverage(models: Sequence[ModelSummary], failures: Sequence[Failure]) -> Sentence:
    """What became of the models' cells; of the controls' where there are no models."""
    counted = [m for m in models if not m.control] or list(models)
    absent = sum(m.not_recorded for m in counted)
    planned = sum(m.planned for m in counted) + absent
    if not planned:
        return Sentence("coverage", "No cell was planned, so nothing was asked.", "bad")
    totals = Counter[str]()
    for m in counted:
        totals.update(m.outcomes)
    lost = sum(totals[outcome] for outcome in UNSCORABLE)
    not_run = totals["not_run"]
    whose = "" if all(m.control for m in counted) else " of models"
    have = "has" if planned == 1 else "have"
    answered = planned - absent - lost - not_run
    text = f"{answered:,} of {planned:,} {plural('cell', planned)}{whose} {have} an answer"
    halves = [
        f"{totals[outcome]:,} {said[totals[outcome] > 1]}"
        for outcome, said in _NOT_WHOLE.items()
        if totals[outcome] and whose
    ]
    if halves:
        text += f" ({', '.join(halves)})"
    if lost:
        text += f"; {lost:,} could not be scored"
    if not_run:
        text += f"; {not_run:,} were not run"
    if absent:
        text += f"; {absent:,} have none recorded"
    text += f".{_most_frequent(failures, {m.name for m in counted})}"
    doubtful = whose and sum(totals[name] for name in _NOT_WHOLE) > HALF_ANSWERS * planned
    whole = not lost and not not_run and not absent and not doubtful
    return Sentence("coverage", text, "good" if whole else "unsure")


_NOT_WHOLE = {
    "truncated": ("is cut off", "are cut off"),
    "empty": ("is empty", "are empty"),
    "refusal": ("refuses", "refuse"),
}


def _most_frequent(failures: Sequence[Failure], names: Container[str]) -> str:
    """Why most of the cells failed that did, in the words of the failure; nothing without any."""
    mine = [f for f in failures if f.model in names and f.outcome in (*UNSCORABLE, "several")]
    if not mine:
        return ""
    first = max(mine, key=lambda failure: failure.count)
    why = first.why.rstrip(".")
    why = why if len(why) <= WHY_CHARACTERS else f"{why[: WHY_CHARACTERS - 1]}…"
    text = f" Most often ({first.count:,} of {first.model}): {why}."
    others = len(mine) - 1
    return text + (f" {others:,} other {plural('reason', others)} below." if others else "")


def _answered(model: ModelSummary) -> int:
    return model.planned - sum(model.outcomes.get(name, 0) for name in (*UNSCORABLE, "not_run"))
