"""Ends a server with all its processes when whoever asked for it is gone, however that came.

Run as a program of its own, `python supervisor.py LOG GRACE COMMAND...`, by the run's own Python
and with the standard library alone. Its standard input is a pipe whose other end only the run
holds, so the end of that file is the end of the run, also by SIGKILL. One line on standard output
names the server's process group.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_TURN = 0.2  # seconds between looks at the processes
_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>


def supervise(command: Sequence[str], log: Path, grace: float) -> int:
    """Runs the command in a session and process group of its own, its output added to `log`.

    At the end of standard input, on SIGTERM, SIGINT or SIGHUP, and once the command has ended by
    itself, the whole group is ended. Returns the command's exit status, negative for a signal.
    """
    run = os.getppid()
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    _adopt_orphans()
    with log.open("ab") as output:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        print(server.pid, flush=True)
        # A process forked by the run may hold the pipe open when the run is gone, so its end is
        # not all that is looked at: a lost run also shows in who our parent is.
        while server.poll() is None and not stopping and os.getppid() == run:
            if _input_ended(_TURN):
                break
    except BrokenPipeError:  # the run was gone before it could be told
        pass
    ended = end_group(server.pid, grace)
    return ended.get(server.pid, server.returncode or 0)


def end_group(group: int, grace: float) -> dict[int, int]:
    """SIGTERM to all processes of a group, SIGKILL to those that are left after `grace` seconds.

    Waits until the group is empty, at most `grace` seconds more (no signal ends what is in an
    uninterruptible sleep). Returns the exit status of those that were children of this process.
    """
    ended: dict[int, int] = {}
    started = time.monotonic()
    # SIGTERM is sent once: a second one makes some servers drop their own clean-up.
    alive = _signal_group(group, signal.SIGTERM)
    while alive and time.monotonic() < started + 2 * grace:
        late = time.monotonic() >= started + grace
        time.sleep(_TURN / 4)
        ended |= _collect(group)  # a dead process that nobody collects would count as alive
        alive = _signal_group(group, signal.SIGKILL if late else 0)
    return ended


def _signal_group(group: int, number: int) -> bool:
    """Whether the group has processes, which then get the signal (0 is none)."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS forbids where all are dead
        return False
    return True


def _collect(group: int) -> dict[int, int]:
    """The exit status of each dead child in the group, negative for a signal."""
    ended: dict[int, int] = {}
    try:
        while (found := os.waitpid(-group, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    except ChildProcessError:
        pass
    return ended


def _adopt_orphans() -> None:
    """On Linux, grandchildren whose parent has died become ours, so that we can collect them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _input_ended(seconds: float) -> bool:
    """Waits so long for the end of standard input; what is written there is ignored."""
    readable, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


if __name__ == "__main__":
    status = supervise(sys.argv[3:], Path(sys.argv[1]), float(sys.argv[2]))
    sys.exit(status if status >= 0 else 128 - status)
