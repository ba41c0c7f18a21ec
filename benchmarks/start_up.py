"""CPU seconds of `harness --help` and `--version`, beside an empty Python: what a shell user waits.

python benchmarks/start_up.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys


def cpu_seconds(command: list[str], times: int = 9) -> float:
    """The median CPU time, user and system, of a command's process."""
    found = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return sorted(found)[times // 2]


def main() -> None:
    empty = cpu_seconds([sys.executable, "-c", "pass"])
    print(f"empty Python  {empty:.3f} s CPU; load {os.getloadavg()[0]:.1f}")
    for option in ("--help", "--version"):
        seconds = cpu_seconds([sys.executable, "-m", "harness", option])
        print(f"{option:<13} {seconds:.3f} s CPU, {seconds / empty:.1f} times an empty Python")


if __name__ == "__main__":
    main()
