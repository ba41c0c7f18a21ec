"""What the opening sentences claim, and what they must not claim."""

from __future__ import annotations

import pytest

from harness.analysis.verdict import verdict
from harness.records import Metric
from harness.results import (
    Agreement,
    ClassifierPage,
    Comparison,
    Estimate,
    Failure,
    GoldStatus,
    MetricSummary,
    ModelSummary,
    Rank,
    Sentence,
)

GOLD = GoldStatus(4, 20, {"draft": 4}, 4, 4)
RECALL = "claims.recall_vs_true"


def summary(name: str = RECALL, validity: str = "valid", **fields: object) -> MetricSummary:
    metric = Metric(name.partition(".")[2], headline="accuracy", about="Share stated.", **fields)
    return MetricSummary(name, "claims", metric, "v", validity)


def model(
    name: str, value: float | None, *, control: bool = False, **outcomes: int
) -> ModelSummary:
    estimates = {} if value is None else {RECALL: Estimate(value, value - 0.1, value + 0.1, 9, 9)}
    outcomes = outcomes or {"ok": 9}
    return ModelSummary(name, "x", control, estimates, sum(outcomes.values()), outcomes)


def pair(a: str, b: str, gap: float, p: float) -> Comparison:
    return Comparison(RECALL, a, b, Estimate(gap, gap - 0.1, gap + 0.1, 9, 9), p)


def sentences(models, comparisons=(), *, floors=None, metric=None, gold=GOLD, agreements=()):
    metric = metric or summary()
    ranks = [Rank(metric.id, m.name, 1.0, 1.0, 1.0) for m in models]
    found = verdict(
        [metric.id], [metric], models, ranks, comparisons, floors or {}, gold, agreements
    )
    return {sentence.topic: sentence for sentence in found}


def accuracy(*args, **kwargs) -> Sentence:
    return sentences(*args, **kwargs)["accuracy"]


def test_the_best_is_named_only_where_it_beats_every_other() -> None:
    models = [model("a", 0.9), model("b", 0.7), model("c", 0.5)]
    clear = [pair("a", "b", 0.2, 0.01), pair("a", "c", 0.4, 0.01), pair("b", "c", 0.2, 0.9)]
    assert "a is the best of 3" in accuracy(models, clear).text
    partly = [pair("a", "b", 0.2, 0.3), *clear[1:]]
    assert "a cannot be told apart from b, and is above the others" in accuracy(models, partly).text
    nowhere = [pair("a", "b", 0.2, 0.3), pair("a", "c", 0.4, 0.3), pair("b", "c", 0.2, 0.9)]
    assert accuracy(models, nowhere).tone == "unsure"
    assert "the models cannot be told apart" in accuracy(models, nowhere).text


@pytest.mark.parametrize("reverse", [False, True])
def test_a_model_that_loses_the_paired_test_is_not_the_best_for_its_higher_mean(
    reverse: bool,
) -> None:
    # b answered more, harder samples: its mean is lower, yet on shared samples it is better.
    lost = pair("b", "a", 0.1, 0.001) if reverse else pair("a", "b", -0.1, 0.001)
    found = accuracy([model("a", 0.8), model("b", 0.7)], [lost])
    assert "is the best" not in found.text
    assert "cannot be told apart" not in found.text
    assert found.tone == "unsure"


def test_where_lower_is_better_the_lowest_is_the_best() -> None:
    models = [model("a", 0.2), model("b", 0.6)]
    found = accuracy(models, [pair("a", "b", -0.4, 0.01)], metric=summary(direction="lower"))
    assert "a is the best of 2" in found.text


def test_what_the_metric_measures_stands_beside_its_figures() -> None:
    assert accuracy([model("a", 0.8)]).about == "Share stated."


def test_a_metric_is_called_by_its_title_with_its_id_beside_it() -> None:
    named = accuracy([model("a", 0.8)], metric=summary(title="required claims stated"))
    assert named.text.startswith("required claims stated (claims.recall_vs_true): a .80")
    plain = accuracy([model("a", 0.8)], metric=summary())
    assert plain.text.startswith("recall vs true (claims.recall_vs_true): a .80")


def test_a_model_at_the_floor_is_worthless_and_one_near_it_is_not_shown_to_be_better() -> None:
    floors = {
        "a": ("empty", Estimate(0.5, 0.4, 0.6, 9, 9)),
        "b": ("other-label", Estimate(0.05, -0.1, 0.2, 9, 9)),
        "c": ("echo", Estimate(0.0, -0.1, 0.1, 9, 9)),
    }
    models = [model("a", 0.9), model("b", 0.3), model("c", 0.1)]
    text = accuracy(models, floors=floors).text
    assert "No better than control:echo, so worthless as explanations: c." in text
    assert "Not shown to be better than control:other-label: b." in text
    assert accuracy(models, floors=floors).tone == "bad"


def test_a_run_in_which_every_cell_failed_does_not_call_the_metric_inapplicable() -> None:
    found = sentences([model("a", None, server=9)])
    assert "no cell of a model has an answer" in found["accuracy"].text
    assert found["accuracy"].tone == "bad"
    assert "not applicable" in accuracy([model("a", None)]).text
    assert found["coverage"].text.startswith("0 of 9 cells")


def test_controls_do_not_count_as_answers_of_models() -> None:
    found = sentences([model("a", 0.5, ok=4, server=6), model("control:gold", 1.0, control=True)])
    assert (
        found["coverage"].text == "4 of 10 cells of models have an answer; 6 could not be scored."
    )
    alone = sentences([model("control:gold", 1.0, control=True)])
    assert alone["coverage"].text == "9 of 9 cells have an answer."


def test_a_run_without_a_cell_is_no_success() -> None:
    assert sentences([])["coverage"].tone == "bad"


def test_an_invalid_metric_ranks_nothing() -> None:
    found = accuracy([model("a", 0.8), model("b", 0.7)], metric=summary(validity="invalid"))
    assert "ranks nothing" in found.text
    assert ".80" not in found.text


def test_many_metrics_are_counted_and_only_a_few_named() -> None:
    from harness.records import Separation

    promise = (Separation("gold", "empty"),)
    metrics = [summary(f"claims.m{i}", "not shown", separates=promise) for i in range(9)]
    found = verdict(["claims.m8"], metrics, [], [], [], {}, GOLD)
    text = next(s.text for s in found if s.topic == "scorers")
    assert "m8 (claims.m8), m0 (claims.m0), m1 (claims.m1) and 6 more" in text


@pytest.mark.parametrize(
    ("by_status", "words", "tone"),
    [
        ({"draft": 4}, "(4 draft)", "unsure"),
        ({"reviewed": 4}, "(4 reviewed)", "good"),
        ({"constructed": 4}, "exact by construction (derived from the generator's", "good"),
        ({"draft": 1, "constructed": 3}, "(1 draft, 3 by construction)", "unsure"),
        ({"constructed": 3}, "(1 draft, 3 by construction)", "unsure"),
        ({"disputed": 4}, "(4 disputed)", "unsure"),
    ],
)
def test_gold_is_called_what_it_is(by_status: dict[str, int], words: str, tone: str) -> None:
    found = sentences([], gold=GoldStatus(4, 20, by_status, 4, 4))["gold"]
    assert words in found.text
    assert found.tone == tone
    assert ("no expert has verified" in found.text) == ("draft" in words)


def agreed(gain: Estimate) -> tuple[Agreement, ...]:
    auc = Estimate(0.8, 0.7, 0.9, 50, 9)
    return (
        Agreement("claim support", "all", auc, auc, 50, 20),
        Agreement("cosine alone", "all", auc, Estimate(None), 50, 20, baseline=True, gain=gain),
        Agreement("one person against the others", "all", auc, auc, 50, 20, people=True),
    )


def test_agreement_with_people_is_good_only_where_every_baseline_is_beaten() -> None:
    better = sentences([], agreements=agreed(Estimate(0.1, 0.02, 0.2, 50, 9)))["agreement"]
    assert better.tone == "good"
    assert "one person against the others" in better.text
    level = sentences([], agreements=agreed(Estimate(0.1, -0.02, 0.2, 50, 9)))["agreement"]
    assert level.tone == "unsure"
    assert "Not shown to be better than cosine alone" in level.text


STABLE = Metric("prompt", headline="stability", subject="group", axis="variant")
PROMPT = "stability.prompt"


def stability(rates: dict[str, tuple[float, int]], validity: str = "valid") -> Sentence:
    """The sentence on stability of models with this mean, and so many of 10 cells without answer."""
    models = [
        ModelSummary(
            name, "x", False, {PROMPT: Estimate(mean, mean - 0.1, mean + 0.1, 9, 9)}, 10,
            {"ok": 10 - silent, "empty": silent // 2, "refusal": silent - silent // 2},
        )
        for name, (mean, silent) in rates.items()
    ]  # fmt: skip
    names = list(rates)
    pairs = [
        Comparison(PROMPT, a, b, Estimate(rates[a][0] - rates[b][0], 0.1, 0.9, 9, 9), 0.001)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    ranks = [Rank(PROMPT, name, 1.0, 1.0, 1.0) for name in names]
    metric = MetricSummary(PROMPT, "stability", STABLE, "v", validity)
    found = verdict([PROMPT], [metric], models, ranks, pairs, {}, GOLD)
    return next(s for s in found if s.topic == "stability")


@pytest.mark.parametrize(("silent", "percent"), [(10, "100 %"), (5, "50 %")])
def test_a_model_that_does_not_answer_is_never_called_stable(silent: int, percent: str) -> None:
    found = stability({"mute": (1.0, silent), "a": (0.8, 0), "b": (0.6, 1)})
    assert "a is the best of 2" in found.text
    assert "mute 1.00" not in found.text
    said = f"mute gave no answer in {percent} of its cells; its stability says nothing."
    assert found.text.endswith(said)
    assert found.tone == "unsure"


def test_a_model_that_answers_mostly_is_judged_by_its_stability() -> None:
    found = stability({"a": (0.9, 4), "b": (0.6, 0)})
    assert "a is the best of 2" in found.text
    assert "says nothing" not in found.text
    assert found.tone == "good"


def test_where_no_model_answers_no_stability_is_stated() -> None:
    found = stability({"mute": (1.0, 10), "shy": (1.0, 9)})
    assert "1.00" not in found.text
    assert "mute gave no answer in 100 %" in found.text
    assert "shy gave no answer in 90 %" in found.text
    assert found.tone == "bad"


def test_a_metric_that_no_control_tested_is_said_to_be_so_in_words() -> None:
    text = accuracy([model("a", 0.8)], metric=summary(validity="no controls")).text
    assert text.endswith("No control tested the metric.")
    shown = accuracy([model("a", 0.8)], metric=summary(validity="not shown")).text
    assert shown.endswith("The metric's validity is not shown.")


def test_one_of_a_thing_is_not_called_by_its_plural() -> None:
    found = sentences([model("a", 0.8, ok=1)], gold=GoldStatus(1, 1, {"draft": 1}, 1, 1))
    assert found["gold"].text.startswith("1 claim in 1 record (1 draft)")
    assert found["coverage"].text == "1 of 1 cell of models has an answer."


def page(right: int, wrong: int, **fields: object) -> ClassifierPage:
    """A classifier that is so often right on each of two labels, with the interval of that."""
    value = right / (right + wrong)
    estimate = Estimate(value, max(0.0, value - 0.2), min(1.0, value + 0.2), 2 * (right + wrong))
    counts = ((right, wrong), (wrong, right))
    return ClassifierPage("forest", ("a", "b"), counts, estimate, estimate, None, **fields)


def classifier(found: ClassifierPage | None) -> Sentence:
    sentences = verdict([], [], [], [], [], {}, GOLD, classifier=found)
    return next(s for s in sentences if s.topic == "classifier")


@pytest.mark.parametrize(
    ("right", "wrong", "p", "tone", "words"),
    [
        (18, 2, 1.0, "good", "right on 36 of 40 samples"),
        (12, 8, 1.0, "unsure", "not shown to be better than chance"),
        (2, 18, 0.001, "bad", "it is below chance"),
        (9, 11, 0.4, "unsure", "not shown to be better than chance"),
    ],
)
def test_the_classifier_is_held_against_chance(
    right: int, wrong: int, p: float, tone: str, words: str
) -> None:
    found = classifier(page(right, wrong, p_below_chance=p))
    assert found.tone == tone
    assert words in found.text
    assert "chance .50" in found.text


def test_a_classifier_that_cannot_be_judged_is_said_to_be_so() -> None:
    nothing = Estimate(None, method="no sample has a true and a predicted label")
    found = classifier(ClassifierPage("forest", ("a", "b"), (), nothing, nothing, None))
    assert found.tone == "unsure"
    assert "cannot be said, as no sample has a true" in found.text
    one = ClassifierPage("forest", ("a", "b"), ((9, 0), (0, 0)), Estimate(1.0, 0.7, 1.0), Estimate(1.0, 0.7, 1.0), None)  # fmt: skip
    assert classifier(one).tone == "unsure"
    assert "This suite has none" in classifier(None).text


@pytest.mark.parametrize("outcome", ["truncated", "empty", "refusal"])
def test_answers_that_are_none_or_half_of_one_leave_coverage_undecided(outcome: str) -> None:
    found = sentences([model("a", 0.5, **{outcome: 480})])["coverage"]
    assert found.tone == "unsure"
    assert found.text.startswith("480 of 480 cells of models have an answer (480 ")
    some = sentences([model("a", 0.5, ok=476, **{outcome: 4})])["coverage"]
    assert some.tone == "good"
    assert "(4 " in some.text


def test_why_most_cells_failed_is_said_in_the_words_of_the_failure() -> None:
    failures = (
        Failure("a", "server", "the server answered HTTP 500: out of memory.", 6, ("a/x", "")),
        Failure("a", "transport", "nothing came within … s", 2, ("a/y", "")),
        Failure("control:gold", "server", "something else", 99, ("g", "")),
    )
    models = [
        model("a", 0.5, ok=4, server=6, transport=2),
        model("control:gold", 1.0, control=True),
    ]
    found = verdict([], [], models, [], [], {}, GOLD, failures=failures)
    text = next(s.text for s in found if s.topic == "coverage")
    assert text.endswith(
        "8 could not be scored. Most often (6 of a): the server answered HTTP 500: out of memory. "
        "1 other reason below."
    )


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ({"a": 0.3, "b": 0.2}, "Shown to be above 0: a and b."),
        ({"a": 0.3, "b": 0.05}, "Shown to be above 0: a. Not shown to be above 0: b."),
        ({"a": 0.05, "b": 0.0}, "Not shown to be above 0: a and b."),
        ({"a": 0.05}, "Not shown to be above 0: a."),
    ],
)
def test_only_what_is_above_nothing_is_said_to_follow_the_classifier(
    gaps: dict[str, float], said: str
) -> None:
    metric = MetricSummary(
        RECALL,
        "claims",
        Metric("recall_vs_true", range=(-1, 1), headline="faithfulness"),
        "v",
        "valid",
    )
    found = sentences([model(name, gap) for name, gap in gaps.items()], metric=metric)
    assert found["faithfulness"].text.endswith(said)
    if "Shown" not in said:
        assert found["faithfulness"].tone == "unsure"
