"""The page that `harness explain` writes: what was explained, by which methods, and each picture.

It is built as the report is: one file without a script, which opens from disk and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from harness import __version__, private
from harness.explainers.explanation import Explanation
from harness.explainers.metrics.evaluation import Evaluation
from harness.explainers.summary import incomplete, summary
from harness.records import Attribution, HarnessError, Sample
from harness.report import page
from harness.report.attributions import Drawn, drawn, worth

SHOWN = 40  # samples; a page of more pictures is too large to be sent


@dataclass(frozen=True)
class Card:
    """One sample with its pictures; `left` counts the attributions that are not drawn."""

    sample: str
    label: str | None
    said: tuple[tuple[str, str], ...]  # what was explained, and what speaks for it in words
    attributions: tuple[Drawn, ...]
    left: int


def render(explanation: Explanation, name: str, evaluation: Evaluation | None = None) -> str:
    """The page as HTML; the same arguments give the same page."""
    style = page._style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    samples = {sample.id: sample for sample in explanation.samples}
    groups = [(one, list(found)) for one, found in groupby(explanation, key=lambda a: a.sample)]
    context = {
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        "style": Markup(style),
        "name": name,
        "version": __version__,
        "methods": list(dict.fromkeys(a.method for a in explanation)),
        "units": list(dict.fromkeys(a.unit for a in explanation)),
        "outputs": list(dict.fromkeys(a.output.replace("_", " ") for a in explanation)),
        "removals": list(dict.fromkeys(a.removal for a in explanation)),
        "count": len(explanation),
        "samples": len(groups),
        "cards": [_card(found, samples.get(one)) for one, found in groups[:SHOWN]],
        "notes": list(dict.fromkeys(note for a in explanation for note in a.notes))[:12],
        "worth": worth(evaluation),
    }
    return page._environment().get_template("explanation.html.j2").render(context)


def write(
    explanation: Explanation, name: str, path: Path, evaluation: Evaluation | None = None
) -> Path:
    """Renders the page into `path`; raises `HarnessError` where it cannot be written."""
    text = render(explanation, name, evaluation)
    try:
        private.file(path).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise HarnessError(f"the page cannot be written to {path}: {error.strerror}") from error
    return path


def _card(found: list[Attribution], sample: Sample | None) -> Card:
    pictures = drawn(found, sample or Sample(found[0].sample, ()))
    said = tuple((f"{a.method}: {a.target}", _said(a)) for a in found[: len(pictures)])
    label = sample.label if sample is not None else None
    return Card(found[0].sample, label, said, pictures, len(found) - len(pictures))


def _said(attribution: Attribution) -> str:
    """The summary, with a mark where the values miss what they must sum to."""
    missed = incomplete(attribution)
    return summary(attribution) + (f" [{missed}]" if missed else "")
