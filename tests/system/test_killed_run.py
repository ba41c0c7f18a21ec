"""A run that is killed at any moment loses nothing that was stored, and asks for nothing twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from small_suite import changed, write

from harness.export import export
from harness.store import Store

pytestmark = pytest.mark.system

SLOW = '''
import asyncio, os, pathlib
from harness.identity import request_key
from harness.records import Capabilities, Generation

class Slow:
    """Takes a few milliseconds, and writes down each request before it answers."""

    capabilities = Capabilities(seed=True, concurrency=8)

    def __init__(self, model):
        self.log = os.open(pathlib.Path(__file__).with_name("asked"),
                           os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def generate(self, request):
        key = request_key(request)
        os.write(self.log, (key + "\\n").encode())
        await asyncio.sleep(0.004)
        return Generation(f"Answer {key[:8]} to: {request.messages[-1].text}")
'''


def suite(folder: Path) -> Path:
    models = [{"name": "slow", "backend": "./slow.py:Slow"}]
    text = changed(models=models, repeats=20, scorers=["label"])
    return write(folder, text, **{"slow.py": SLOW})


def start(path: Path, run: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(path), "--out", str(run)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def stored(run: Path) -> set[str]:
    """The requests that a killed run has stored, read without repairing anything by the harness."""
    if not (run / "run.sqlite").exists():
        return set()
    with sqlite3.connect(run / "run.sqlite") as db:
        try:
            return {key for (key,) in db.execute("SELECT request FROM generations")}
        except sqlite3.OperationalError:
            return set()  # killed before the tables were made


def asked(folder: Path) -> list[str]:
    path = folder / "asked"
    return path.read_text().split() if path.exists() else []


def exported(run: Path, folder: Path) -> dict[str, pd.DataFrame]:
    with Store.read(run) as store:
        return {path.stem: pd.read_csv(path) for path, _ in export(store, "csv", folder)}


def test_twenty_kills_lose_nothing_and_ask_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    path, run = suite(tmp_path / "killed"), tmp_path / "killed" / "run"
    moments = random.Random(20)
    safe: set[str] = set()
    kills = 0
    while kills < 20:
        before = len(asked(tmp_path / "killed"))
        process = start(path, run)
        # Wait for a little work, so that kills fall into all stages of the run and never before it.
        wanted = before + moments.choice([0, 1, 5, 20, 60])
        deadline = time.monotonic() + 60
        while (
            len(asked(tmp_path / "killed")) < wanted
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            time.sleep(0.002)
        time.sleep(moments.random() * 0.05)
        if process.poll() is not None:
            break  # finished before it could be killed
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        now = stored(run)
        assert safe <= now, "a stored answer is gone"
        new = asked(tmp_path / "killed")[before:]
        assert not safe & set(new), "a stored answer was asked for again"
        safe = now
    assert kills == 20, f"only {kills} kills: make the suite larger"
    assert safe, "no kill fell where answers were stored"
    before = len(asked(tmp_path / "killed"))
    assert start(path, run).wait() == 0
    assert not safe & set(asked(tmp_path / "killed")[before:])

    whole = suite(tmp_path / "whole")
    assert start(whole, tmp_path / "whole" / "run").wait() == 0
    first = exported(run, tmp_path / "e1")
    second = exported(tmp_path / "whole" / "run", tmp_path / "e2")
    assert first.keys() == second.keys()
    for name in first:
        pd.testing.assert_frame_equal(first[name], second[name])


def test_ctrl_c_keeps_what_was_answered_and_says_how_to_go_on(tmp_path: Path) -> None:
    path, run = suite(tmp_path), tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(path), "--out", str(run)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(asked(tmp_path)) < 50 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Coverage: " in said
    assert f"continue with: harness run {path} --out {run}" in errors
    assert "Traceback" not in errors
    assert len(stored(run)) >= 50 - 8  # all but what was under way


def test_a_second_run_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    path, run = suite(tmp_path), tmp_path / "run"
    first = start(path, run)
    try:
        deadline = time.monotonic() + 60
        while len(asked(tmp_path)) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        second = subprocess.run(
            [sys.executable, "-m", "harness", "run", str(path), "--out", str(run)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert second.returncode == 2
    assert "another process is writing" in second.stderr
