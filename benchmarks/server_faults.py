"""What servers do to a run with the defaults: outcomes, exit code, time, and requests sent.

The table is that of `tests/system/test_server_faults.py`, whose waits are short; here they are
those that a user has: 200 items, 16 connections, an outage of ten minutes. The cases of servers
that never come back take as long. One JSON line a case; `again` is what the same command asks
afterwards.

    python benchmarks/server_faults.py                      # all, about half an hour on 4 at a time
    python benchmarks/server_faults.py --cases 500_once,rate_limit
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "system"), str(ROOT)]

from fault_server import Fault, FaultServer  # noqa: E402

SAMPLES, CONNECTIONS = 200, 16
CASES: dict[str, Fault] = {
    "ok": Fault(),
    "429_once_retry_after_2": Fault("429", 0.2, retry_after=2),
    "429_once_retry_after_20": Fault("429", 0.05, retry_after=20),
    "429_for_ever": Fault("429", 0.03, times=-1),
    "500_once": Fault("500", 0.2),
    "500_for_ever": Fault("500", 0.03, times=-1),
    "400_for_ever": Fault("400", 0.03, times=-1),
    "reset_once": Fault("reset", 0.2),
    "reset_for_ever": Fault("reset", 0.03, times=-1),
    "silent_for_ever": Fault("silent", 0.02, times=-1),
    "body_cut_once": Fault("cut_body", 0.2),
    "cut_json_once": Fault("cut_json", 0.2),
    "cut_json_for_ever": Fault("cut_json", 0.03, times=-1),
    "no_choices_once": Fault("no_choices", 0.2),
    "no_choices_for_ever": Fault("no_choices", 0.03, times=-1),
    "empty_body_once": Fault("empty", 0.2),
    "drip_for_ever": Fault("drip", 0.02, times=-1),
    "all_429_once_retry_after_1": Fault("429", retry_after=1),
    "all_reset_once": Fault("reset"),
    "rate_limit_retry_after_1": Fault(rate_limit=20, retry_after=1),
    "rate_limit": Fault(rate_limit=20),
    "all_429_once_retry_after_400": Fault("429", retry_after=400),
    "all_503_for_ever": Fault("503", times=-1, after=60),
    "all_silent": Fault("silent", times=-1, after=60),
    "restart_after_4_s": Fault(latency=0.1),
    "restart_after_20_s": Fault(latency=0.1),
    "one_of_two_dies": Fault(latency=0.05),
    "one_of_two_dead_from_the_start": Fault(),
}
# Each wave of requests is denied once, so this server alone would keep a run for a day.
MAX_TIME = {"all_429_once_retry_after_400": 900}
TIMEOUTS = {"all_silent": 2, "silent_for_ever": 20, "drip_for_ever": 20}
FAMILY = """family: bench
question: Which label?
aspects: [reason]
user: "Text: {{ input }} The classifier said {{ label }}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--side", type=int, default=4, help="cases at a time")
    parser.add_argument("--python", default=sys.executable, help="a Python that has the harness")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.side) as pool:
        for row in pool.map(lambda name: case(name, options.python), options.cases.split(",")):
            print(json.dumps(row), flush=True)


def case(name: str, python: str) -> dict[str, Any]:
    """One fault, from a first run to the run that completes it."""
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        servers = [FaultServer(CASES[name])]
        if name.startswith("one_of_two"):
            servers.append(FaultServer(CASES[name]))
        for server in servers:
            stack.callback(server.close)
        urls = [server.url for server in servers]
        path = suite(folder, urls, TIMEOUTS.get(name, 120), MAX_TIME.get(name))
        last = servers[-1]
        if name.endswith("from_the_start"):
            last.die()
        elif name.startswith("restart") or name == "one_of_two_dies":
            pause = 4 if "_4_" in name else 20
            back = (lambda: time.sleep(pause), last.start) if name.startswith("restart") else ()
            when(lambda: last.requests >= 60, last.die, *back)
        code, seconds, said = harness(python, path)
        row = {
            "case": name, "exit": code, "seconds": round(seconds, 1), "outcomes": outcomes(folder),
            "requests": sum(server.requests for server in servers),
            "denied": sum(server.denied for server in servers), "says": said,
        }  # fmt: skip
        if name.startswith("one_of_two"):
            last.start()
        for server in servers:
            server.mend()
        code, _, _ = harness(python, path)
        again = sum(server.requests for server in servers)
        return row | {"again": again, "exit_again": code, "outcomes_again": outcomes(folder)}


def when(ready: Callable[[], bool], *then: Callable[[], Any]) -> None:
    """Does this as soon as that holds."""

    def wait() -> None:
        while not ready():
            time.sleep(0.01)
        for step in then:
            step()

    threading.Thread(target=wait, daemon=True).start()


def suite(folder: Path, urls: list[str], timeout: float, max_time: float | None) -> Path:
    """One model a server, each asked about every sample."""
    (folder / "prompts" / "bench").mkdir(parents=True)
    (folder / "prompts" / "bench" / "family.yaml").write_text(FAMILY)
    rows = [f"s{i},Item {i} of many,good,good" for i in range(SAMPLES)]
    (folder / "notes.csv").write_text("id,note,label,predicted\n" + "\n".join(rows) + "\n")
    fields = {"backend": "openai", "model": "m", "concurrency": CONNECTIONS, "timeout": timeout}
    value = {
        "name": "faults",
        "source": {"kind": "table", "path": "./notes.csv", "text": "note", "label": "label",
                   "id": "id"},
        "classifier": {"kind": "recorded", "path": "./notes.csv", "sample": "id",
                       "label": "predicted"},
        "families": [{"family": "bench", "gold": None}],
        "scorers": ["label"],
        "sampling": {"temperature": 0, "max_tokens": 16},
        "controls": "none",
        "limits": {} if max_time is None else {"max_time": max_time},
        "models": [{"name": f"m{i}", "base_url": url, **fields} for i, url in enumerate(urls)],
    }  # fmt: skip
    (folder / "suite.yaml").write_text(json.dumps(value))
    return folder / "suite.yaml"


def harness(python: str, path: Path) -> tuple[int, float, list[str]]:
    """Exit code, seconds, and what `harness run` said of failures."""
    started = time.monotonic()
    done = subprocess.run(
        [python, "-m", "harness", "run", str(path), "--out", str(path.parent / "run")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    why = [line for line in said if line.startswith(("note: ", "harness: ", "m0: ", "m1: "))]
    return done.returncode, time.monotonic() - started, [line[:200] for line in why]


def outcomes(folder: Path) -> dict[str, int]:
    """Cells by model and outcome."""
    from harness.export import cells_table
    from harness.store import Store

    with Store.read(folder / "run") as store:
        table = cells_table(store)
    counts = Counter(zip(table["model"], table["outcome"], strict=True))
    return {f"{model} {outcome}": count for (model, outcome), count in sorted(counts.items())}


if __name__ == "__main__":
    main()
