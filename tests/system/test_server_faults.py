"""What servers do to a run, as a table: outcomes, exit code, and what the server was sent.

In every case the other items are answered, and the same command afterwards asks exactly what is
missing. Waits are short by settings; the defaults are run in `benchmarks/server_faults.py`.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import Fault, FaultServer

import harness
from harness.export import cells_table
from harness.server_gate import Patience
from harness.store import Store

pytestmark = pytest.mark.system

SAMPLES = 60
CONNECTIONS = 6
QUICK = Patience(max_outage=60, first_probe=0.1, longest_probe=0.4)
GIVES_UP = Patience(max_outage=1.5, first_probe=0.1, longest_probe=0.4)
FAMILY = """family: bench
question: Which label?
aspects: [reason]
user: "Text: {{ input }} The classifier said {{ label }}"
"""


def suite(folder: Path, *urls: str, **model: Any) -> Path:
    """One model a server, each asked about every sample."""
    (folder / "prompts" / "bench").mkdir(parents=True)
    (folder / "prompts" / "bench" / "family.yaml").write_text(FAMILY)
    rows = [f"s{i},Item {i} of many,good,good" for i in range(SAMPLES)]
    (folder / "notes.csv").write_text("id,note,label,predicted\n" + "\n".join(rows) + "\n")
    fields = {"backend": "openai", "model": "m", "concurrency": CONNECTIONS, "max_retries": 2, "timeout": 5} | model  # fmt: skip
    models = [{"name": f"m{i}", "base_url": url, **fields} for i, url in enumerate(urls)]
    value = {
        "name": "faults",
        "source": {"kind": "table", "path": "./notes.csv", "text": "note", "label": "label", "id": "id"},
        "classifier": {"kind": "recorded", "path": "./notes.csv", "sample": "id", "label": "predicted"},
        "families": [{"family": "bench", "gold": None}],
        "scorers": ["label"],
        "sampling": {"temperature": 0, "max_tokens": 16},
        "controls": "none",
        "models": models,
    }  # fmt: skip
    (folder / "suite.yaml").write_text(json.dumps(value))
    return folder / "suite.yaml"


def outcomes(run: Path) -> dict[str, Counter[str]]:
    with Store.read(run) as store:
        table = cells_table(store)
    return {name: Counter(mine["outcome"]) for name, mine in table.groupby("model")}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    made = FaultServer()
    yield made
    made.close()


@pytest.fixture
def second() -> Iterator[FaultServer]:
    made = FaultServer()
    yield made
    made.close()


def hit(server: FaultServer) -> int:
    """How many prompts the server's fault concerns for ever, as it is drawn from their texts."""
    return sum(count == 0 for count in (server.answered[prompt] for prompt in server.prompts))


PASSING = {
    "none": Fault(),
    "429_once_retry_after": Fault("429", 0.2, retry_after=0.3),
    "429_once_long_retry_after": Fault("429", 0.05, retry_after=0.6),
    "500_once": Fault("500", 0.2),
    "reset_once": Fault("reset", 0.2),
    "body_cut_once": Fault("cut_body", 0.2),
    "cut_json_once": Fault("cut_json", 0.2),
    "no_choices_once": Fault("no_choices", 0.2),
    "empty_body_once": Fault("empty", 0.2),
    "cut_json_twice": Fault("cut_json", 0.1, times=2),
    "all_429_once": Fault("429", retry_after=0.2),
    "all_reset_once": Fault("reset"),
    "rate_limit_retry_after": Fault(rate_limit=30, retry_after=0.3),
    "rate_limit": Fault(rate_limit=30),
    "silent_once": Fault("silent", 0.05),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_passes_loses_nothing(case: str, server: FaultServer, tmp_path: Path) -> None:
    server.fault = PASSING[case]
    path = suite(tmp_path, server.url, timeout=1 if case == "silent_once" else 10)
    result = harness.run(path, out=tmp_path / "run", patience=QUICK)
    assert outcomes(tmp_path / "run")["m0"] == {"ok": SAMPLES}
    assert result.exit_code == 0
    assert set(server.answered.values()) == {1}
    if PASSING[case].rate_limit is not None:
        assert server.denied <= SAMPLES  # today as many again, and some are lost
    else:
        again = sum(count - 1 for count in server.prompts.values())
        assert again <= 2 * sum(count > 1 for count in server.prompts.values())


LASTING = {
    "429_for_ever": (Fault("429", 0.06, times=-1), "HTTP 429"),
    "500_for_ever": (Fault("500", 0.06, times=-1), "HTTP 500"),
    "400_for_ever": (Fault("400", 0.06, times=-1), "HTTP 400"),
    "reset_for_ever": (Fault("reset", 0.06, times=-1), "the connection broke off"),
    "silent_for_ever": (Fault("silent", 0.06, times=-1), "nothing came within 1 s"),
    "drip_for_ever": (Fault("drip", 0.06, times=-1), "nothing came within 1 s"),
    "cut_json_for_ever": (Fault("cut_json", 0.06, times=-1), "malformed reply"),
    "no_choices_for_ever": (Fault("no_choices", 0.06, times=-1), "malformed reply"),
}


@pytest.mark.parametrize("case", LASTING)
def test_items_that_fail_while_others_are_answered_are_given_up_and_asked_by_the_next_command(
    case: str, server: FaultServer, tmp_path: Path
) -> None:
    server.fault, kind = LASTING[case]
    path = suite(tmp_path, server.url, timeout=1 if "within" in kind else 10)
    result = harness.run(path, out=tmp_path / "run", patience=QUICK)
    lost = hit(server)
    found = outcomes(tmp_path / "run")["m0"]
    assert lost > 0
    assert found["ok"] == SAMPLES - lost
    assert found["transport"] + found["server"] == lost
    assert result.exit_code == 4
    assert {row.cause for row in result.failures} == {kind}
    assert sum(row.count for row in result.failures) == lost
    assert all(row.example[1] for row in result.failures)
    continued(path, server, lost)


def continued(path: Path, server: FaultServer, missing: int) -> None:
    """The same command, the trouble gone: it asks exactly what is missing, once."""
    server.mend()
    again = harness.run(path, out=path.parent / "run", patience=QUICK)
    assert again.exit_code == 0
    assert server.requests == missing
    server.mend()
    assert harness.run(path, out=path.parent / "run", patience=QUICK).exit_code == 0
    assert server.requests == 0


@pytest.mark.parametrize("kind", ["503", "silent", "429", "reset"])
def test_a_server_that_stays_away_is_given_up_and_the_rest_is_not_run(
    kind: str, server: FaultServer, tmp_path: Path
) -> None:
    server.fault = Fault(kind, times=-1, after=20)
    path = suite(tmp_path, server.url, timeout=0.5)
    result = harness.run(path, out=tmp_path / "run", patience=GIVES_UP)
    found = outcomes(tmp_path / "run")["m0"]
    answered = found["ok"]
    assert answered >= 20 - CONNECTIONS
    assert found["not_run"] > 0
    assert "given up: no answer for 1.5 s" in result.ending.reasons[0]
    assert result.exit_code == 4
    assert server.requests < 3 * SAMPLES  # today six times everything
    continued(path, server, SAMPLES - answered)


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_a_server_that_restarts_costs_nothing(
    seconds: float, server: FaultServer, tmp_path: Path
) -> None:
    server.fault = Fault(latency=0.03)
    thread = when(
        lambda: server.requests >= 20, server.die, lambda: time.sleep(seconds), server.start
    )
    result = harness.run(suite(tmp_path, server.url), out=tmp_path / "run", patience=QUICK)
    thread.join()
    assert outcomes(tmp_path / "run")["m0"] == {"ok": SAMPLES}
    assert result.exit_code == 0


def when(ready: Callable[[], bool], *then: Callable[[], Any]) -> threading.Thread:
    """Does this as soon as that holds."""

    def wait() -> None:
        while not ready():
            time.sleep(0.002)
        for step in then:
            step()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("from_the_start", [True, False])
def test_one_of_two_servers_that_dies_costs_the_other_nothing(
    from_the_start: bool, server: FaultServer, second: FaultServer, tmp_path: Path
) -> None:
    if from_the_start:
        second.die()
    else:
        second.fault = Fault(latency=0.03)
        when(lambda: second.requests >= 20, second.die)
    path = suite(tmp_path, server.url, second.url)
    result = harness.run(path, out=tmp_path / "run", patience=GIVES_UP)
    found = outcomes(tmp_path / "run")
    assert found["m0"] == {"ok": SAMPLES}
    assert found["m1"]["ok"] < SAMPLES
    assert result.exit_code == 4
    assert second.url in result.ending.reasons[0]
    missing = SAMPLES - found["m1"]["ok"]
    second.start()
    continued(path, second, missing)


def test_a_server_that_comes_late_is_waited_for_while_another_works(
    server: FaultServer, second: FaultServer, tmp_path: Path
) -> None:
    second.die()
    server.fault = Fault(latency=0.1)
    when(lambda: server.requests >= 10, second.start)
    path = suite(tmp_path, server.url, second.url)
    assert harness.run(path, out=tmp_path / "run", patience=QUICK).exit_code == 0


def test_a_wait_that_the_server_asks_for_is_no_outage(server: FaultServer, tmp_path: Path) -> None:
    server.fault = Fault("429", share=0.02, retry_after=2.5)
    path = suite(tmp_path, server.url)
    result = harness.run(path, out=tmp_path / "run", patience=GIVES_UP)
    assert server.requests > SAMPLES
    assert outcomes(tmp_path / "run")["m0"] == {"ok": SAMPLES}
    assert result.exit_code == 0


def test_with_wait_a_server_that_never_answered_is_waited_for_alone(
    server: FaultServer, tmp_path: Path
) -> None:
    server.die()
    threading.Timer(2.0, server.start).start()  # longer than --max-outage
    waits = Patience(max_outage=0.5, wait=True, first_probe=0.1, longest_probe=0.2)
    result = harness.run(suite(tmp_path, server.url), out=tmp_path / "run", patience=waits)
    assert result.exit_code == 0


@pytest.mark.parametrize("status", ["400", "404", "500"])
def test_a_permanent_failure_stops_the_model_early_and_the_other_of_the_server_goes_on(
    status: str, server: FaultServer, second: FaultServer, tmp_path: Path
) -> None:
    server.fault = Fault(status, times=-1)
    path = suite(tmp_path, server.url, second.url)
    result = harness.run(path, out=tmp_path / "run", patience=QUICK)
    assert outcomes(tmp_path / "run")["m1"] == {"ok": SAMPLES}
    assert len(server.prompts) <= 5 + CONNECTIONS
    assert result.exit_code == 4
    (reason,) = result.ending.reasons
    assert f"its first 5 requests all failed: the server answered HTTP {status}" in reason
    assert "the server lists m, other" in reason
    continued(path, server, SAMPLES)


def test_a_limit_of_time_ends_a_pause_and_says_so(server: FaultServer, tmp_path: Path) -> None:
    server.fault = Fault("429", times=-1, after=20, retry_after=1000)
    path = suite(tmp_path, server.url)
    result = harness.run(path, out=tmp_path / "run", settings=["limits={max_time: 3s}"])
    assert outcomes(tmp_path / "run")["m0"]["not_run"] > 0
    assert result.exit_code == 6


def test_a_limit_of_cost_is_never_exceeded(server: FaultServer, tmp_path: Path) -> None:
    price = {"input": 1000, "output": 1000}
    path = suite(tmp_path, server.url, price=price)
    result = harness.run(path, out=tmp_path / "run", settings=["limits={max_cost: 0.5}"])
    tokens = sum(len(prompt) // 4 + 2 for prompt in server.answered)
    assert 0.25 < tokens * 1000 / 1e6 <= 0.5
    assert result.exit_code == 6
    missing = SAMPLES - len(server.answered)
    server.mend()
    assert harness.run(path, out=tmp_path / "run").exit_code == 0
    assert server.requests == missing
