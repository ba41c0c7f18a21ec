"""The supervisor as the program that it is: it ends with its input and hands on a status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.backends import supervisor


def test_the_supervisor_ends_at_end_of_file_and_hands_on_a_status(tmp_path: Path) -> None:
    program = [sys.executable, "-I", supervisor.__file__, str(tmp_path / "log"), "5"]
    waits = [sys.executable, "-c", "import sys, time; print('here', flush=True); time.sleep(600)"]
    ended = subprocess.run([*program, *waits], input="", capture_output=True, text=True, timeout=60)
    assert ended.returncode == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)
    with subprocess.Popen(
        [*program, sys.executable, "-c", "print('bye'); raise SystemExit(7)"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.wait(60) == 7
    assert (tmp_path / "log").read_text().splitlines()[-1] == "bye"
