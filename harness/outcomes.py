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
    `refusal`, and an answer that breaks the schema asked for is `invalid_format`. Of an answer that
    was stored before its finish reason was known to be a bad one, half is `truncated`.
    """
    if generation is None:
        return "not_run"
    if generation.outcome in UNSCORABLE or generation.outcome in ("refusal", "truncated"):
        return generation.outcome
    from harness.backends.answers import blank, refused, validate
    from harness.backends.known import ending

    ended = ending(generation.finish_reason)
    if ended in ("cut", "failed"):
        return "truncated"
    if ended == "refused":
        return "refusal"
    if blank(generation.text):
        return "empty"
    if refused(generation.text):
        return "refusal"
    if schema is not None and validate(generation.text, schema)[1] is not None:
        return "invalid_format"
    return "ok"
