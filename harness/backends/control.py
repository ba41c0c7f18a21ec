"""Backends whose score is known beforehand, so that every run shows whether its scorers work.

A control answers from gold: what it says of a cell follows from the cell, the gold and the run's
seed, and its request holds the cell and the hash of the gold that it reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from harness.backends import gold_edits
from harness.contracts import BackendContext
from harness.gold import gold_text, join
from harness.identity import digest, draw
from harness.records import Capabilities, Cell, Generation, GoldRecord, HarnessError, Request

_MIX = re.compile(r"mix\((0?\.[0-9]+|0|1|[01]\.0)\)")
_EDITS = {
    "reworded": gold_edits.reworded,
    "one-dropped": gold_edits.one_dropped,
    "one-reversed": gold_edits.one_reversed,
    "number-changed": gold_edits.number_changed,
}
_KINDS = (
    "gold", "paraphrase", *_EDITS, "other-label", "told", "negated", "empty", "echo", "evidence",
    "other-evidence",
)  # fmt: skip
# What gold lacks where it is there and a control has still no answer.
_LACKS = {
    "paraphrase": "no claim has a paraphrase",
    "reworded": "no claim has a paraphrase",
    "negated": "no claim has a contradiction",
    "one-reversed": "no claim has a contradiction",
    "one-dropped": "there is only one claim",
    "number-changed": "no claim holds a number",
}


class Control:
    """A control by name.

    - `gold`: the gold of the true label (or of the sample)
    - `paraphrase`: the same in gold's paraphrases, drawn anew for each variant and repeat
    - `reworded`: each claim in its own words or a paraphrase's, drawn for each variant and repeat
    - `one-dropped`: `reworded` without one claim, another one for each variant and repeat
    - `one-reversed`: `gold` with a hand-written contradiction in place of one claim, or of none
    - `number-changed`: `gold` with other numbers in one claim, or in none
    - `other-label`: the gold of another label, one draw a sample and aspect
    - `told`: the gold of the label in the prompt
    - `negated`: gold's hand-written contradictions
    - `empty`: nothing
    - `echo`: the prompt itself
    - `evidence`: what the classifier relied on most, by the suite's first `explain` method
    - `other-evidence`: those of another sample, one draw a sample
    - `mix(p)`: `gold` with probability p, else `other-label`, drawn for each variant and repeat
    """

    capabilities = Capabilities(schema=True, images=True, concurrency=256)
    reads_cell = True

    def __init__(self, model: str) -> None:
        mix = _MIX.fullmatch(model)
        if mix is None and model not in _KINDS:
            raise HarnessError(
                f"there is no control '{model}'; controls are {', '.join(_KINDS)} and mix(p)"
            )
        self._kind = "mix" if mix else model
        self._share = float(mix[1]) if mix else 1.0
        self._context: BackendContext | None = None

    def bind(self, context: BackendContext) -> None:
        """Hands over gold and labels; called before planning."""
        self._context = context

    def answers(self, cell: Cell) -> bool:
        """Whether gold holds what this control would say of the cell."""
        return self._kind in ("empty", "echo") or bool(self._text(cell))

    def lacks(self, cell: Cell) -> str | None:
        """Why this control has no answer to the cell; `None` where the gold itself is missing."""
        context = self._context
        if self._kind not in _LACKS or context is None or context.gold_true(cell) is None:
            return None
        return f"it has no answer to give, as {_LACKS[self._kind]} in the gold"

    def reads(self, cell: Cell) -> str:
        """The hash of all that the answer is made from, the prompt apart."""
        return digest([self._kind, self._text(cell)])

    async def generate(self, request: Request) -> Generation:
        """What the control says; no time passes and no token is spent."""
        cell = Cell.parse(request.cell or "")
        if self._kind == "empty":
            return Generation("", outcome="empty", finish_reason="stop")
        text = request.messages[-1].text if self._kind == "echo" else self._text(cell)
        if request.schema is not None and self._kind != "echo":
            text = json.dumps(_filled(request.schema, text), ensure_ascii=False)
        return Generation(text, finish_reason="stop")

    def _text(self, cell: Cell) -> str:
        if self._context is None:
            raise HarnessError(f"control '{self._kind}' is used before it is bound to gold")
        if self._kind in ("evidence", "other-evidence"):
            own = self._kind == "evidence"
            summary = self._context.evidence(cell) if own else self._context.evidence_other(cell)
            return f"The classifier relied on {summary}." if summary else ""
        true = self._context.gold_true(cell)
        if self._kind == "gold":
            return gold_text(true) if true else ""
        if self._kind in _EDITS:
            return _EDITS[self._kind](true, self._draw(cell)) if true else ""
        if self._kind == "paraphrase":
            return _paraphrase(true, self._context.seed, cell) if true else ""
        if self._kind == "negated":
            return _negated(true) if true else ""
        if self._kind == "told":
            record = self._context.gold_told(cell)
            return gold_text(record) if record else ""
        if self._kind == "mix" and true is not None:
            drawn = draw(
                self._context.seed, "mix", cell.sample, cell.aspect, cell.variant, cell.repeat
            )
            if drawn < self._share:
                return gold_text(true)
        if self._kind in ("mix", "other-label"):
            other = self._context.gold_other(cell)
            return gold_text(other) if other else ""
        return ""

    def _draw(self, cell: Cell) -> gold_edits.Draw:
        """Numbers that are others for each variant and repeat, the same for all arms and edits."""
        seed = self._context.seed if self._context is not None else 0

        def drawn(name: str) -> float:
            place = (cell.sample, cell.aspect, cell.variant, cell.repeat)
            return draw(seed, "edited gold", name, *place)

        return drawn


def _paraphrase(record: GoldRecord, seed: int, cell: Cell) -> str:
    """Each claim in one of its paraphrases; nothing where gold has none at all."""
    claims = [claim for claim in record.claims if claim.importance != "must_not"]
    if not any(claim.paraphrases for claim in claims):
        return ""
    sentences = []
    for claim in claims:
        choices = claim.paraphrases or (claim.text,)
        drawn = draw(seed, "paraphrase", claim.id, cell.sample, cell.variant, cell.repeat)
        sentences.append(choices[int(drawn * len(choices))])
    return join(sentences)


def _negated(record: GoldRecord) -> str:
    return join(
        claim.contradiction
        for claim in record.claims
        if claim.contradiction and claim.importance != "must_not"
    )


def _filled(schema: Mapping[str, Any], text: str) -> Any:
    """A value that fits an answer's schema, with `text` in its first free string."""
    used = False

    def fill(part: Mapping[str, Any]) -> Any:
        nonlocal used
        if "const" in part:
            return part["const"]
        if "enum" in part:
            return part["enum"][0]
        kind = part.get("type", "string")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            properties = part.get("properties", {})
            return {name: fill(inner) for name, inner in properties.items()}
        if kind == "array":
            return [fill(part["items"])] if not used and "items" in part else []
        if kind == "string" and not used:
            used = True
            return text
        return {"number": 0, "integer": 0, "boolean": False, "null": None}.get(kind, "")

    return fill(schema)
