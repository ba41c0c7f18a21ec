"""A run is its owner's: nobody else reads its folders, whatever the process's umask says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_suite import changed, write

from harness import private
from harness.cli import main


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def open_to_others(folder: Path) -> list[str]:
    """What of a folder others can reach, the folder itself first."""
    if not mode(folder) & 0o077:
        return []
    inside = [path.name for path in folder.iterdir() if mode(path) & 0o077]
    return [folder.name, *inside]


@pytest.mark.usefixtures("umask")
def test_a_folder_and_a_file_are_made_for_their_owner(tmp_path: Path) -> None:
    assert mode(private.folder(tmp_path / "a")) == 0o700
    assert mode(private.file(tmp_path / "a" / "b")) == 0o600


def test_an_empty_folder_is_closed_and_one_in_use_is_left(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    assert mode(private.folder(tmp_path / "empty")) == 0o700
    (tmp_path / "used").mkdir(mode=0o755)
    (tmp_path / "used" / "mine.txt").write_text("")
    assert mode(private.folder(tmp_path / "used")) == 0o755
    assert mode(private.file(tmp_path / "used" / "mine.txt")) & 0o044


def test_a_folder_elsewhere_is_made_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert mode(private.folder(tmp_path / "shared", below=tmp_path / "run")) == 0o755
        assert mode(private.folder(tmp_path / "run" / "export", below=tmp_path / "run")) == 0o700
    finally:
        os.umask(before)


def test_what_a_run_and_its_commands_leave_is_closed(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        suite = str(write(tmp_path, changed(scorers=["label"])))
        out = tmp_path / "reports" / "run"
        assert main(["run", suite, "--out", str(out)]) == 0
        assert main(["run", suite, "--out", str(out), "--fresh"]) == 0
        assert main(["export", str(out)]) == 0
        assert main(["score", str(out), "--scorers", "schema"]) == 0
    finally:
        os.umask(before)
    for folder in (out, out / "blobs", out / "export"):
        assert open_to_others(folder) == []
    assert len(list(out.glob("run-*.sqlite"))) == 1
    assert mode(out / "run.sqlite") == 0o600


def test_a_run_in_a_folder_of_other_things_closes_its_own_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        suite = str(write(tmp_path, changed(scorers=["label"])))
        out = tmp_path / "shared"
        out.mkdir()
        (out / "notes.txt").write_text("")
        assert main(["run", suite, "--out", str(out)]) == 0
    finally:
        os.umask(before)
    assert open_to_others(out) == ["shared", "notes.txt"]
