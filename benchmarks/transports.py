"""What OpenAI's own client costs on the hot path: the backend's two transports on one server.

A server on 127.0.0.1, in a process of its own, answers every chat completion at once, so that what
is measured is the transport: requests a second and CPU time a request of the asking process, each
transport several times by turns, and the ratio of the medians.

    python benchmarks/transports.py [--requests 1000] [--rounds 5] [--connections 16]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

from harness.backends.openai import OpenAI
from harness.records import Message, Request, Sampling

CLIENTS = ("aiohttp", "openai")
SERVE = [sys.executable, "-c", "import asyncio, throughput; asyncio.run(throughput.serve(0))"]


async def ask(backend: OpenAI, count: int) -> None:
    """Asks so many different questions, as many at once as the backend has connections."""
    turn = asyncio.Semaphore(backend.capabilities.concurrency)

    async def one(number: int) -> None:
        messages = (Message.of("user", f"Explain finding number {number}."),)
        async with turn:
            answer = await backend.generate(Request("openai", "m", messages, sampling=Sampling()))
        assert answer.outcome == "ok", answer

    await backend.start()
    try:
        await asyncio.gather(*(one(number) for number in range(count)))
    finally:
        await backend.stop()


def measure(url: str, client: str, count: int, connections: int) -> tuple[float, float]:
    """Requests a second, and milliseconds of CPU time a request."""
    backend = OpenAI("m", url, "no-secret", client=client, concurrency=connections)
    asyncio.run(ask(backend, connections))  # imports and first connections
    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(ask(backend, count))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return count / wall, 1e3 * cpu / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    server = subprocess.Popen(
        SERVE, cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdin is not None
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        found: dict[str, list[tuple[float, float]]] = {client: [] for client in CLIENTS}
        for _ in range(options.rounds):
            for client in CLIENTS:
                found[client].append(measure(url, client, options.requests, options.connections))
    finally:
        server.stdin.close()
        server.wait()
    rate = {client: statistics.median(row[0] for row in rows) for client, rows in found.items()}
    cost = {client: statistics.median(row[1] for row in rows) for client, rows in found.items()}
    for client in CLIENTS:
        print(f"{client:8} {rate[client]:7.0f} requests/s  {cost[client]:6.2f} ms CPU a request")
    slower, dearer = rate["aiohttp"] / rate["openai"], cost["openai"] / cost["aiohttp"]
    print(f"openai takes {dearer:.1f} times the CPU time and is {slower:.1f} times slower")


if __name__ == "__main__":
    main()
