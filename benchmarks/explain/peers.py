"""interpreto in an environment of its own, asked by files."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def interpreto(python: str, task: str, **asked: Any) -> dict[str, Any]:
    """The answer of `interpreto_side.py` to a task."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "task.json").write_text(json.dumps(asked))
        side = Path(__file__).with_name("interpreto_side.py")
        run(python, side, task, folder)
        answer: dict[str, Any] = json.loads(Path(folder, "answer.json").read_text())
    return answer


def alone(script: str, *given: str) -> dict[str, Any]:
    """What a script of this folder prints, as JSON, in a process of its own on our Python."""
    found: dict[str, Any] = json.loads(
        run(sys.executable, Path(__file__).with_name(script), *given)
    )
    return found


def run(python: str, script: Path, *given: str) -> str:
    """What a script prints under another Python; ends this program where it fails."""
    done = subprocess.run(
        [python, str(script), *given], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{python} {script.name} {' '.join(given)} failed:\n{done.stderr[-3000:]}")
    return done.stdout
