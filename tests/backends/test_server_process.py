"""A server as a process: why it died, in one line, also where it could not be run at all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from harness.backends.server_process import ServerProcess, telling_line


def test_a_command_that_cannot_be_run_leaves_its_reason_in_the_log(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("a file that nobody may run")
    process = ServerProcess([str(program)], dict(os.environ), tmp_path / "logs" / "log")

    async def wait() -> bool:
        try:
            return await process.healthy("http://127.0.0.1:9/health", 60)
        finally:
            await process.end()

    assert not asyncio.run(wait())
    assert process.last_words() == f"PermissionError: [Errno 13] Permission denied: '{program}'"


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --x",
         "api_server.py: error: unrecognized arguments: --x"),
        ("/v/bin/python: Error while finding module specification for 'vllm.entrypoints' "
         "(ModuleNotFoundError: No module named 'vllm')",
         "ModuleNotFoundError: No module named 'vllm')"),
        ("pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig\n"
         "  Value error, heads (8) must be divisible by size (64). [type=value_error, input=1]\n"
         "    For further information visit the documentation",
         "Value error, heads (8) must be divisible by size (64)."),
        ("(Worker pid=9) ERROR 11-24 14:50:01 [x.py:2] torch.OutOfMemoryError: CUDA out of memory\n"
         "(APIServer pid=8) RuntimeError: Engine core initialization failed. See root cause above.",
         "torch.OutOfMemoryError: CUDA out of memory"),
        ("INFO 11-24 14:50:01 [x.py:2] Loading\nKilled", "Killed"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_telling_line_of_a_log_is_the_cause_and_not_its_echo(log: str, line: str) -> None:
    assert telling_line(log) == line
