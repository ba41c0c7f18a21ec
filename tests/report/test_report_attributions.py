"""Pictures of attributions in the report: bounded, named, and never the end of it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import report_example

from harness.report import attributions, page, samples
from harness.results import Results, SampleView


@pytest.fixture(scope="module")
def results() -> Results:
    return report_example.example(samples=2, explanations=2)


def of_image(results: Results) -> SampleView:
    return next(view for view in results.views if view.sample.media)


def test_the_methods_have_a_section_and_each_sample_its_pictures(results: Results) -> None:
    html = page.render(results)
    why = re.search(r'<section id="why".*?</section>', html, re.DOTALL)
    assert why
    for said in ("kernel<wbr>_<wbr>shap", "leave", "0.4 %", "4 of 16 attributions are drawn"):
        assert said.replace("<wbr>", "") in why.group().replace("<wbr>", "")
    assert html.count('<details class="attribution"') == 4
    assert 'href="#why"' in html
    assert "2 more attributions of this sample are not shown" in html


def test_without_attributions_the_section_is_left_out_and_says_why(results: Results) -> None:
    views = tuple(dataclasses.replace(view, attributions=()) for view in results.views)
    html = page.render(dataclasses.replace(results, views=views, explainers=()))
    assert '<section id="why"' not in html
    assert "the suite has no entry explain" in html
    assert '<details class="attribution"' not in html


def test_thousands_of_attributions_leave_the_page_small_and_are_counted(results: Results) -> None:
    views = tuple(
        dataclasses.replace(view, attributions=view.attributions * 1000) for view in results.views
    )
    html = page.render(dataclasses.replace(results, views=views))
    assert html.count('<details class="attribution"') == 2 * attributions.MOST
    left = 2000 + 2 - attributions.MOST
    assert html.count(f"{left:,} more attributions of this sample are not shown") == 2
    assert len(html) < len(page.render(results)) + 2 * attributions.MOST * 60_000


def test_pictures_count_in_the_budget_of_all_samples(results: Results) -> None:
    view = of_image(results)
    full = dataclasses.replace(view, attributions=view.attributions * 3)
    size = samples._size(samples.cards([full])[0])
    assert size > samples._size(samples.cards([dataclasses.replace(view, attributions=())])[0])
    shown = samples.cards([full] * samples.SAMPLES)
    assert len(shown) == min(samples.SAMPLES, samples.BUDGET // size)


def test_what_cannot_be_drawn_costs_a_note(results: Results) -> None:
    view = of_image(results)
    broken = dataclasses.replace(view.attributions[0], values=())
    (drawn,) = attributions.drawn([broken], view.sample)
    assert drawn.picture is None
    assert "cannot be drawn" in drawn.note
    html = page.render(
        dataclasses.replace(results, views=(dataclasses.replace(view, attributions=(broken,)),))
    )
    assert "This attribution cannot be drawn" in html


def test_images_of_a_stored_run_are_read_from_its_blobs(results: Results, tmp_path: Path) -> None:
    view = of_image(results)
    media = view.sample.media[0]
    (tmp_path / media.sha256).write_bytes(media.read())
    bare = dataclasses.replace(media, data=None)
    part = dataclasses.replace(view.sample.input[0], media=bare)
    sample = dataclasses.replace(view.sample, input=(part,))
    (found,) = attributions.drawn(view.attributions[:1], sample, tmp_path)
    (given,) = attributions.drawn(view.attributions[:1], view.sample)
    assert found == given
    (without,) = attributions.drawn(view.attributions[:1], sample)
    assert "cannot be read here" in str(without.picture)
