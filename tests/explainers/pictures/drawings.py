"""Attributions of each kind with planted values, and drawings read back from their SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np

from harness.explainers.division import run_lengths
from harness.records import Attribution, Unit

SVG = "{http://www.w3.org/2000/svg}"


def of_words(text: str, values: Sequence[float | None], target: str = "ill") -> Attribution:
    """An attribution whose units are the words of a text, each with the space behind it."""
    spans = [found.span() for found in re.finditer(r"\S+\s*", text)]
    units = tuple(Unit(text[a:b], a, b) for a, b in spans)
    return Attribution(
        "note-1", "kernel_shap", "word", target, "probability", "mask", units, tuple(values),
        full=0.9, empty=0.1, evaluations=64,
    )  # fmt: skip


def of_patches(values: Sequence[float | None], across: int = 4, side: int = 32) -> Attribution:
    """An attribution of across x across patches of a square array of this side."""
    size = side // across
    rows, columns = np.mgrid[:side, :side] // size
    units = tuple(
        Unit(box=(size * (i // across), size * (i % across), size, size)) for i in range(across**2)
    )
    return Attribution(
        "eye-1", "occlusion", "patch", "ill", "logit", "mask", units, tuple(values),
        evaluations=17, segmentation=(run_lengths(rows * across + columns),),
    )  # fmt: skip


def of_features(values: dict[str, float], errors: Sequence[float] | None = None) -> Attribution:
    """An attribution of the columns of a table."""
    return Attribution(
        "row-1", "exact_shapley", "feature", "ill", "logit", "mask",
        tuple(Unit(name) for name in values), tuple(values.values()),
        standard_errors=None if errors is None else tuple(errors),
    )  # fmt: skip


def of_segments(values: Sequence[float | None], size: int = 10) -> Attribution:
    """An attribution of segments of time, each of this many steps."""
    units = tuple(Unit(start=size * i, end=size * (i + 1)) for i in range(len(values)))
    return Attribution(
        "ecg-1", "leave_one_out", "time_segment", "ill", "logit", "mask", units, tuple(values)
    )


def read(svg: str) -> ET.Element:
    """An SVG file, which must be well-formed XML."""
    return ET.fromstring(svg)


def having(root: ET.Element, name: str, *classes: str) -> list[ET.Element]:
    """The elements of this name that have all these classes, in their order."""
    return [
        e for e in root.iter(SVG + name) if set(classes) <= set(e.get("class", "").split())
    ]  # fmt: skip


def number(element: ET.Element, name: str) -> float:
    """An attribute as a number."""
    return float(element.get(name, "nan"))


def words(root: ET.Element) -> str:
    """All text that is drawn, in the order in which it is written."""
    return " ".join("".join(e.itertext()) for e in root.iter(SVG + "text"))
