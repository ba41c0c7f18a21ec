"""Which samples and explanations are shown."""

from __future__ import annotations

import dataclasses

import report_example

from harness.report import samples
from harness.results import SampleView


def loaded(explanations: int, prompts: int, samples_: int = 6) -> list[SampleView]:
    """Views with so many explanations, each with so many times its prompt."""
    results = report_example.example(samples=samples_, explanations=12)
    shown = results.views[0].explanations[0]
    assert shown.generation is not None
    long = dataclasses.replace(
        shown,
        messages=shown.messages * prompts,
        generation=dataclasses.replace(shown.generation, text="x" * 10_000),
    )
    return [dataclasses.replace(v, explanations=(long,) * explanations) for v in results.views]


def test_whatever_was_chosen_is_shown_where_it_fits() -> None:
    views = loaded(explanations=60, prompts=1)
    cards = samples.cards(views)
    assert [len(card.explanations) for card in cards] == [60] * 6
    assert [card.explanations_left for card in cards] == [0] * 6


def test_where_it_does_not_fit_each_sample_has_its_share_and_the_rest_is_counted() -> None:
    views = loaded(explanations=60, prompts=500)
    cards = samples.cards(views)
    assert len(cards) == len(views)
    counts = [len(card.explanations) for card in cards]
    assert 1 < min(counts) <= max(counts) < 60
    assert max(counts) - min(counts) <= max(counts) // 2
    assert all(len(card.explanations) + card.explanations_left == 60 for card in cards)
    assert sum(map(samples._size, cards)) <= samples.BUDGET


def test_a_first_sample_is_shown_even_where_it_fills_the_page() -> None:
    cards = samples.cards(loaded(explanations=24, prompts=40_000))
    assert len(cards) == 1
    assert len(cards[0].explanations) == 1


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
    view = dataclasses.replace(results.views[0], explanations=(long,) * 3, explanations_left=7)
    card = samples.cards([view])[0]
    assert card.explanations_left == 7
    assert card.explanations[0].text.left == 5
    assert len(card.explanations[0].claims) + card.explanations[0].claims_left == 80


def test_explanations_keep_the_order_in_which_they_were_chosen() -> None:
    view = report_example.example(samples=1, explanations=9).views[0]
    card = samples.cards([view])[0]
    assert [shown.explanation for shown in card.explanations] == list(view.explanations)
