"""Who answers: what is seen of a model before it is asked, and whether it is the one that was asked
before.

Nothing of it enters a key or a seed. Proof (a stated revision, a hash of weights, a plug-in's code,
a digest that the server gives) makes two the same; signs never do, but some that differ tell them
apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from harness.contracts import Observant
from harness.plugins import blamed
from harness.records import HarnessError, InfrastructureError, Request, Served

# Signs that are another model's where they differ, and those that may differ between two servers of
# the same one. What a server says beyond these is not compared.
TELLING = ("root", "size", "parameters", "served_model")
PASSES_ON = "passes-on:"  # before the code of a plug-in that reaches its model elsewhere
HINTING = ("parent", "owner", "length", "quantisation", "build")

_WORDS = {
    "root": "files that it was loaded from", "size": "size", "parameters": "number of parameters",
    "served_model": "name of the model served", "parent": "parent model", "owner": "owner",
    "length": "context length", "quantisation": "quantisation", "build": "build",
    "proof": "identity",
}  # fmt: skip


def proven(request: Request) -> str | None:
    """The proof that a request's own key holds, where it says which model or code answers."""
    if request.revision is not None:
        return f"revision:{request.revision}"
    if request.code is not None:  # code that passes on what a server answers proves no model
        return None if request.code.startswith(PASSES_ON) else f"code:{request.code}"
    return f"reads:{request.reads}" if request.reads is not None else None


async def observed(backend: Any, request: Request, who: str) -> Served:
    """What can be seen of the model that is about to be asked `request`."""
    seen = Served()
    if isinstance(backend, Observant):
        with blamed(f"{who} cannot be observed", InfrastructureError):
            seen = await backend.observe()
        if not isinstance(seen, Served):
            raise HarnessError(f"{who}: observe gave {seen!r:.40}, no harness.records.Served")
    proof = proven(request)
    return seen if proof is None else Served(proof, seen.signs)


def other_model(before: Served, now: Served) -> str | None:
    """How one tells that another model answers now, in words; `None` where nothing shows it."""
    if before.proof is not None and now.proof is not None:
        kinds = before.proof.partition(":")[0], now.proof.partition(":")[0]
        if before.proof == now.proof:
            return None
        if kinds[0] == kinds[1]:
            return _difference("proof", before.proof, now.proof)
    return next(iter(_differences(before, now, TELLING)), None)


def changes(before: Served, now: Served) -> list[str]:
    """What differs without being another model's, in words: another build, another length."""
    return _differences(before, now, HINTING)


def known(served: Served | None) -> bool:
    """Whether anything was seen that could tell one model from another."""
    if served is None:
        return False
    return served.proof is not None or any(
        name in served.signs for name in TELLING if name != "served_model"
    )


def several(served: Sequence[Served]) -> str | None:
    """How one tells that answers come from more than one model; `None` where nothing shows it."""
    for before, now in itertools.pairwise(served):
        found = other_model(before, now)
        if found is not None:
            return found
    return None


def _differences(before: Served, now: Served, names: Sequence[str]) -> list[str]:
    return [
        _difference(name, before.signs[name], now.signs[name])
        for name in names
        if name in before.signs and name in now.signs and before.signs[name] != now.signs[name]
    ]


def _difference(name: str, before: str, now: str) -> str:
    return f"{_WORDS[name]} {_short(before)} before, {_short(now)} now"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
