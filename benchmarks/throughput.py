"""How fast requests go through, against peers on the same server: requests a second, as ratios.

A server on 127.0.0.1 answers every chat completion after a fixed time. The harness and each peer
(inspect_ai, lm-eval; from environments of their own) ask it for the same number of answers with
the same number of connections, the same prompts and settings; all store every answer. The limit
is connections divided by the answering time.

    python -m venv inspect && inspect/bin/pip install inspect_ai openai
    python -m venv lm_eval && lm_eval/bin/pip install "lm_eval[api]"
    python benchmarks/throughput.py --inspect-ai inspect/bin/python --lm-eval lm_eval/bin/python
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INSPECT_AI = """
import sys
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
url, count, connections, logs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
samples = [Sample(input=f"Explain finding number {i}.", target="finding") for i in range(count)]
task = Task(dataset=MemoryDataset(samples), solver=generate(), scorer=includes())
eval(task, model="openai-api/local/m", model_base_url=url, max_connections=connections,
     max_samples=connections, log_dir=logs, display="none", temperature=0.7, max_tokens=32)
"""

LM_EVAL = """
import json, sys
from pathlib import Path
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager
url, count, connections, logs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
data = Path(logs) / "findings.jsonl"
data.write_text("".join(
    json.dumps({"question": f"Explain finding number {i}.", "target": "finding"}) + "\\n"
    for i in range(count)))
task = {"task": "findings", "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": logs},
        "output_type": "generate_until", "doc_to_text": "{{question}}",
        "doc_to_target": "{{target}}", "metric_list": [{"metric": "exact_match"}],
        "generation_kwargs": {"until": [], "do_sample": True, "temperature": 0.7,
                              "max_gen_toks": 32}}
tracker = EvaluationTracker(output_path=logs)
found = simple_evaluate(
    model="local-chat-completions", tasks=[task], apply_chat_template=True, bootstrap_iters=0,
    model_args={"model": "m", "base_url": url + "/chat/completions", "tokenizer_backend": None,
                "num_concurrent": connections, "max_retries": 1},
    task_manager=TaskManager(include_defaults=False), log_samples=True,
    evaluation_tracker=tracker)
samples = found.pop("samples")
assert all(row["resps"][0][0] for row in samples["findings"]) and len(samples["findings"]) == count
tracker.save_results_aggregated(results=found, samples=samples)
tracker.save_results_samples(task_name="findings", samples=samples["findings"])
"""

PEERS = {"inspect_ai": INSPECT_AI, "lm_eval": LM_EVAL}

SUITE = """
name: throughput
source: {{kind: table, path: ./notes.csv, text: note, id: id}}
families: [medical-question]
gold: null
models:
  - {{name: m, backend: openai, model: m, base_url: "{url}", concurrency: {connections}}}
scorers: [schema]
controls: none
report: {{samples: 0}}
sampling: {{temperature: 0.7, max_tokens: 32}}
"""


async def serve(seconds: float) -> None:
    """Answers until its standard input ends; prints its port first."""
    from aiohttp import web

    reply = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "The finding has a cause."},
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15},
    }
    text = json.dumps(reply)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(seconds)
        return web.Response(text=text, content_type="application/json")

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in PEERS:
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=Path, metavar="PYTHON", help=f"a Python that has {name}")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--answer-seconds", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
        return
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(options.answer_seconds)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert server.stdin is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
    limit = options.connections / options.answer_seconds
    rates: dict[str, list[float]] = {"harness": []}
    try:
        for _ in range(options.rounds):
            rates["harness"].append(_harness(url, options))
            for name in PEERS:
                if python := getattr(options, name):
                    rates.setdefault(name, []).append(_peer(name, python, url, options))
    finally:
        server.stdin.close()
        server.wait(10)
    print(
        f"{options.requests} requests, {options.connections} connections, "
        f"{options.answer_seconds * 1e3:.0f} ms an answer; limit {limit:,.0f}/s; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for name, values in rates.items():
        middle = sorted(values)[len(values) // 2]
        print(f"{name:<11} {middle:7,.0f}/s whole process, {middle / limit:.2f} of the limit")
    for name in [peer for peer in PEERS if peer in rates]:
        pairs = sorted(a / b for a, b in zip(rates["harness"], rates[name], strict=True))
        middle = pairs[len(pairs) // 2]
        print(f"harness to {name:<10} {middle:5.1f} times as fast (lowest {pairs[0]:.1f})")


def _harness(url: str, options: argparse.Namespace) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = "".join(f"s{i},Explain finding number {i}.\n" for i in range(options.requests))
        (folder / "notes.csv").write_text("id,note\n" + rows)
        suite = SUITE.format(url=url, connections=options.connections)
        (folder / "suite.yaml").write_text(suite)
        command = [sys.executable, "-m", "harness", "run", str(folder / "suite.yaml")]
        return _timed([*command, "--out", str(folder / "run")], options.requests)


def _peer(name: str, python: Path, url: str, options: argparse.Namespace) -> float:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "peer.py"
        script.write_text(PEERS[name])
        counts = [str(options.requests), str(options.connections)]
        return _timed([str(python), str(script), url, *counts, folder], options.requests)


def _timed(command: list[str], requests: int) -> float:
    started = time.perf_counter()
    environment = {**os.environ, "LOCAL_API_KEY": "x", "OPENAI_API_KEY": "x"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr or done.stdout)
    return requests / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
