"""Checkpoints that the tests of several backends read and never change."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from language_checkpoints import make_llama

    return make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def idefics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from language_checkpoints import make_idefics

    return make_idefics(tmp_path_factory.mktemp("idefics"))
