"""Settles an answer when it arrives: why it ended, and what of its text is reasoning.

The same for every backend: what one of them calls `ok` is so only where its finish reason, if it
gives one, is known to mean that the answer is complete.
"""

from __future__ import annotations

from dataclasses import replace

from harness.backends.answers import blank, clean, shortened
from harness.backends.known import ending
from harness.backends.reasoning import split_reasoning
from harness.records import Generation

UNKNOWN_REASON = (
    "the finish reason '{}' is unknown here, so the answer may be half of one; it is scored as "
    "whole"
)
NO_REASON = (
    "the server does not say why the answer ended (no finish reason), so it may be half of one; it "
    "is scored as whole"
)
CALLED_TOOL = (
    "the model called a tool, which nobody answers here; look at the tools and the tool parser of "
    "the server"
)


def settled(generation: Generation) -> Generation:
    """An answer as it is kept: half of one is never whole, whoever gave it.

    An `ok` or `empty` answer whose finish reason says otherwise becomes `truncated`, `refusal` or
    `server`; a reason that is unknown is noted. Reasoning written into the text is set apart. An
    answer that its backend called anything else stands as it is.
    """
    if generation.outcome not in ("ok", "empty"):
        return generation
    text, thoughts = split_reasoning(clean(generation.text))
    reasoning = "\n\n".join(filter(None, (generation.reasoning, thoughts))) or None
    found = replace(generation, text=text, reasoning=reasoning)
    reason = generation.finish_reason
    if reason is None:
        return found
    ended = ending(reason)
    if ended == "failed":
        error = f"the model failed while it answered (finish reason '{shortened(reason, 60)}')"
        said = shortened(text, 120)
        error += f": {said}" if said else ""
        return replace(found, outcome="server", error=error)
    if ended == "refused":
        return replace(found, outcome="refusal")
    if ended == "cut":
        return replace(found, outcome="truncated")
    if ended == "tool":
        return noted(found, CALLED_TOOL)
    if ended == "unknown":
        return noted(found, UNKNOWN_REASON.format(shortened(reason, 60)))
    return found


def noted(generation: Generation, note: str) -> Generation:
    """The generation with a note that it may hold already."""
    if note in generation.notes:
        return generation
    return replace(generation, notes=(*generation.notes, note))


def emptied(generation: Generation) -> Generation:
    """The generation as `empty` where it is `ok` and shows nothing."""
    empty = generation.outcome == "ok" and blank(generation.text)
    return replace(generation, outcome="empty") if empty else generation
