"""Who may read a run: its owner alone, whatever the process's umask says.

A run holds what patients wrote and models answered. The folders of a run are 0700, so the modes of
the files in them do not matter; where a run is laid into a folder that holds other things, the
folder is its owner's and stays as it is, so the files that hold the run are 0600.
"""

from __future__ import annotations

import os
from pathlib import Path

_FOLDER = 0o700
_FILE = 0o600


def folder(path: Path, *, below: Path | None = None) -> Path:
    """Makes a folder for its owner alone, with the folders above it as usual.

    One that is there is closed only where it is empty: what somebody opened, or uses for other
    things too, stays. With `below`, only a folder in that one is closed. Raises `OSError`.
    """
    if below is not None and not path.resolve().is_relative_to(below.resolve()):
        path.mkdir(parents=True, exist_ok=True)
        return path
    new = not path.is_dir() or not any(path.iterdir())
    path.mkdir(parents=True, exist_ok=True, mode=_FOLDER)
    if new:
        path.chmod(_FOLDER)  # a mask may have taken more away
    return path


def file(path: Path) -> Path:
    """Makes an empty file for its owner alone, where there is none yet. Raises `OSError`."""
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, _FILE))
        path.chmod(_FILE)
    return path
