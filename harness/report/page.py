"""The report: one HTML file that opens from disk and shows a run's results, verdict first.

The page has no script and loads nothing. Its content security policy allows the one style block
(by its hash) and pictures held in the file, so that text which slipped through the escaping
could still neither run nor send anything.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness import private
from harness.drawing.figure import style_sheet
from harness.drawing.svg import text_width
from harness.drawing.words import short
from harness.explainers.concepts.suites import title_of
from harness.records import HarnessError
from harness.report import charts, contents, samples, text
from harness.report.attributions import galleries, worth
from harness.report.columns import Column
from harness.report.tables import Tables, coverage, outcome_bar
from harness.results import ALL_MODELS, Estimate, Results, interval, number

FOLDER = Path(__file__).resolve().parent


def render(results: Results, blobs: Path | None = None) -> str:
    """The whole report as HTML.

    `blobs` is the run's folder of media by SHA-256, for pictures whose bytes the records do not
    hold. The result depends on its arguments alone: the same results give the same page.
    """
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    tables = Tables(results)
    cards = samples.cards(results.views, blobs)
    comparisons, comparisons_left = tables.comparisons()
    scatter = _scatter(tables)
    oracle = tuple(str(name) for name in results.manifest.get("oracle_variants", ()))
    sections = contents.sections(results, scatter is not None, bool(cards))
    context = {
        "r": results,
        "style": Markup(style),
        "policy": policy,
        "t": tables,
        "scatter": scatter,
        "sections": [section for section in sections if section.shown],
        "left_out": [section for section in sections if not section.shown],
        "glossary": contents.GLOSSARY,
        "facts": contents.facts(results),
        "documents": contents.documents(results),
        "oracle_variants": {name.rpartition("/")[2] for name in oracle},
        "oracle_prompts": oracle,
        "preserving": frozenset(map(str, results.manifest.get("preserving_variants", ()))),
        "about": results.manifest.get("about"),
        "comparisons": comparisons,
        "comparisons_left": comparisons_left,
        "pooled": [a for a in results.agreements if a.group == ALL_MODELS],
        "cards": cards,
        "shown_for": list(Counter(c.view.reason for c in cards if c.view.reason).items()),
        "worth": worth(results.evaluation),
        "galleries": galleries(results.concepts, blobs),
        "attributions_shown": sum(len(card.attributions) for card in cards),
        "explanations_shown": sum(len(card.explanations) for card in cards),
        "cells": sum(model.planned for model in results.models),
        "methods": Counter(e.method for e in _estimates(results) if e.method).most_common(12),
    }
    return _environment().get_template("report.html.j2").render(context)


def write(results: Results, path: Path, blobs: Path | None = None) -> Path:
    """Renders the report into `path`, which is whole or as it was whatever happens meanwhile.

    Raises `HarnessError` where it cannot be written.
    """
    page = render(results, blobs)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        private.file(part).write_text(page, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise HarnessError(f"the report cannot be written to {path}: {error.strerror}") from error
    return path


@cache
def _style() -> str:
    return style_sheet() + (FOLDER / "report.css").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=text.finalize,
    )
    environment.filters.update(
        bdi=text.bdi,
        breakable=text.breakable,
        num=number,
        ci=interval,
        because=text.because,
        basis=text.basis,
        percent=text.percent,
        p=text.p_value,
        short=short,
        coverage=coverage,
        outcome_bar=outcome_bar,
        moment=text.moment,
    )
    environment.globals.update(
        bar=charts.bar, reliability=charts.reliability, share_bar=_share_bar, concept_title=title_of
    )
    return environment


def _share_bar(share: float) -> Markup:
    return charts.bar(Estimate(share), (0.0, 1.0))


def _scatter(tables: Tables) -> dict[str, object] | None:
    """Accuracy against stability, drawn wide and narrow; the style sheet shows one."""
    found = tables.scatter()
    if found is None:
        return None
    x, y, points = found
    limits = (x.summary.metric.range, y.summary.metric.range)
    wide, left = charts.scatter(
        points, _axis(x, 780), _axis(y, 410), limits, (860, 480), "scatter wide"
    )
    narrow, left_narrow = charts.scatter(
        points, _axis(x, 280), _axis(y, 330), limits, (358, 400), "scatter narrow"
    )
    missing = [p.name for p in points if p.x.value is None or p.y.value is None]
    return {
        "x": x, "y": y, "wide": wide, "narrow": narrow, "missing": missing,
        "unlabelled": left, "unlabelled_narrow": left_narrow,
    }  # fmt: skip


def _axis(column: Column, room: float) -> str:
    """A metric's name as far as an axis of `room` pixels has place for it."""
    for name in (column.label, column.summary.metric.title, column.id):
        if text_width(name) <= room:
            return name
    return short(column.id, int(room / text_width("n")))


def _estimates(results: Results) -> Iterator[Estimate]:
    """Every estimate of the results, to say how the intervals were made."""
    for model in results.models:
        yield from model.estimates.values()
    for comparison in results.comparisons:
        yield comparison.difference
    for breakdown in results.breakdowns:
        for _, _, estimate in breakdown.rows:
            yield estimate
    for effect in results.arm_effects:
        yield effect.difference
    for separation in results.separations:
        yield separation.difference
    for worst in results.worst_cases:
        yield worst.estimate
    for variance in results.variance:
        for _, share in variance.shares:
            yield share
    for agreed in results.agreements:
        yield from filter(None, (agreed.auc, agreed.kappa, agreed.gain, agreed.alpha))
    page = results.classifier
    if page is not None:
        yield from filter(None, (page.accuracy, page.balanced_accuracy, page.ece, page.brier))
        yield from (estimate for _, _, estimate in page.groups)
        yield from (estimate for _, estimate in page.baselines)
