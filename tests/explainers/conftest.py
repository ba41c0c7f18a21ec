"""Finds the small random classifiers that the tests of classifiers are made with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "classifiers"))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of three classes, in a folder."""
    from classification_checkpoints import make

    return make("bert", tmp_path_factory.mktemp("bert"))[0]
