"""The wheel carries prompts, gold, suites and schemas, and runs a suite far from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.system
CHECKOUT = Path(__file__).resolve().parents[2]


def test_an_installed_wheel_runs_a_built_in_suite_outside_the_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            tmp_path,
            CHECKOUT,
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)  # pure Python: extracting is installing
    assert (site / "harness" / "data" / "gold" / "gi" / "gastritis.json").is_file()
    work = tmp_path / "work"
    work.mkdir()
    # -P and PYTHONPATH put the wheel before the editable checkout of the environment.
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import harness; print(harness.__file__)"],
        cwd=work, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(site))
    done = subprocess.run(
        [
            sys.executable, "-P", "-m", "harness", "run", "controls", "--limit", "2",
            "--set", "repeats=1", "--set", "scorers=[label]", "--out", "run",
        ],
        cwd=work, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (work / "run" / "report.html").stat().st_size > 10_000
