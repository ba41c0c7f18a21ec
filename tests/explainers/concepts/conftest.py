"""Finds the small networks that other tests of explainers and classifiers are made with."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[2]
for folder in ("explainers", "classifiers", "backends"):
    sys.path.append(str(_TESTS / folder))
