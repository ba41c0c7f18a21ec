"""Which samples and explanations are shown."""

from __future__ import annotations

import dataclasses

import report_example
from hypothesis import given
from hypothesis import strategies as st

from harness.records import Cell
from harness.report import samples
from harness.results import Explanation


def explanation(model: str, repeat: int) -> Explanation:
    return Explanation(Cell(model, "s", "f", "base", "none", "a", repeat), None, (), None)


@given(st.lists(st.sampled_from("abcd"), max_size=60), st.integers(1, 20))
def test_a_selection_keeps_the_order_and_sees_every_model_it_has_room_for(
    models: list[str], limit: int
) -> None:
    made = [explanation(model, i) for i, model in enumerate(models)]
    chosen = samples.spread(made, limit)
    assert len(chosen) == min(limit, len(made))
    places = [e.cell.repeat for e in chosen]
    assert places == sorted(set(places))
    if limit >= len(set(models)):
        assert {e.cell.model for e in chosen} == set(models)


def test_samples_stop_where_the_budget_is_spent_but_one_is_always_shown() -> None:
    results = report_example.example(samples=6, explanations=12)
    shown = results.views[0].explanations[0]
    assert shown.generation is not None
    long = dataclasses.replace(
        shown,
        messages=shown.messages * 100,
        generation=dataclasses.replace(shown.generation, text="x" * 10_000),
    )
    heavy = [dataclasses.replace(v, explanations=(long,) * 24) for v in results.views]
    assert len(samples.cards(heavy)) == len(heavy)
    loaded = [
        dataclasses.replace(
            v, explanations=(dataclasses.replace(long, messages=shown.messages * 4000),) * 24
        )
        for v in results.views
    ]
    assert len(samples.cards(loaded)) == 1


def test_what_is_cut_is_counted() -> None:
    results = report_example.example(samples=1, explanations=60)
    shown = results.views[0].explanations[0]
    assert shown.generation is not None
    text = "x" * (samples.TEXT_CHARACTERS + 5)
    long = dataclasses.replace(
        shown,
        generation=dataclasses.replace(shown.generation, text=text),
        claims=shown.claims * 20,
    )
    card = samples.cards([dataclasses.replace(results.views[0], explanations=(long,) * 60)])[0]
    assert card.explanations_left == 60 - samples.EXPLANATIONS
    assert card.explanations[0].text.left == 5
    assert len(card.explanations[0].claims) + card.explanations[0].claims_left == 80


def test_models_are_shown_before_controls_in_an_order_otherwise_kept() -> None:
    made = [explanation(model, i) for i, model in enumerate(("gold", "b", "echo", "a", "b"))]
    view = dataclasses.replace(
        report_example.example(samples=1, explanations=1).views[0], explanations=tuple(made)
    )
    card = samples.cards([view], controls={"gold", "echo"})[0]
    names = [shown.explanation.cell.model for shown in card.explanations]
    assert names == ["b", "a", "b", "gold", "echo"]
