"""What became of a cell.

Read from its generation and never stored, so that a better reading needs no asking again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.records import UNSCORABLE, Generation, Outcome


def cell_outcome(generation: Generation | None, schema: Mapping[str, Any] | None) -> Outcome:
    """The outcome of a cell; a missing generation was not run.

    What the backend saw stands first; then a blank text is `empty`, a refusal in words is
    `refusal`, and an answer that breaks the schema asked for is `invalid_format`.
    """
    if generation is None:
        return "not_run"
    if generation.outcome in UNSCORABLE or generation.outcome in ("refusal", "truncated"):
        return generation.outcome
    if not generation.text.strip("\ufeff \t\r\n"):
        return "empty"
    from harness.backends.answers import refused, validate

    if refused(generation.text):
        return "refusal"
    if schema is not None and validate(generation.text, schema)[1] is not None:
        return "invalid_format"
    return "ok"
