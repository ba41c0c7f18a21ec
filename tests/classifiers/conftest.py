"""A checkpoint that several tests of classifiers read, and a copy that a test may change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    from classification_checkpoints import NAMES, make

    folder = tmp_path_factory.mktemp("bert")
    return make("bert", folder, id2label=dict(enumerate(NAMES)))


@pytest.fixture
def copy(bert: tuple[Path, Any, Any], tmp_path: Path) -> Path:
    """A copy of the BERT checkpoint that a test may change."""
    return Path(shutil.copytree(bert[0], tmp_path / "copy"))
