"""How likely a given answer is: log-probabilities of its tokens behind a prompt.

In process the answer's ids are put behind the prompt's, so nothing is tokenised twice; rows share a
pass only where they are of one length, so nothing is padded. From a server's reply the numbers are
taken only where it says for each place that it read the very token that was meant.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.backends.answers import shortened
from harness.backends.replies import LOWEST_LOGPROB
from harness.records import Generation

# Scores (rows x places x vocabulary) that are held at once: half a gigabyte in 32 bits.
_SCORES = 2**27

NO_COMPLETIONS = "the server has no /v1/completions"
NO_LOGPROBS = "the server's /v1/completions knows no prompt_logprobs, as vLLM's does"


def unsaid(why: str) -> Generation:
    """What a backend returns that cannot say how likely an answer is: the reason, and no number."""
    return Generation(notes=(why,))


# --- in process ---------------------------------------------------------------------------


def of_texts(
    network: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], device: Any
) -> list[tuple[float, ...]]:
    """Natural logarithms of the probabilities of each answer's tokens behind its prompt, one tuple
    a row. Rows may be of any lengths."""
    import torch

    found: dict[int, tuple[float, ...]] = {}
    lengths: dict[int, list[int]] = {}
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        lengths.setdefault(len(prompt) + len(answer), []).append(row)
    vocabulary = int(network.get_input_embeddings().weight.shape[0])
    for rows in lengths.values():
        longest = max(len(answers[row]) for row in rows)
        size = max(1, _SCORES // (max(longest, 1) * vocabulary))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            ids = [[*prompts[row], *answers[row]][:-1] for row in some]
            given = {"input_ids": torch.tensor(ids, device=device)}
            given["attention_mask"] = torch.ones_like(given["input_ids"])
            logs = _behind(network, given, [answers[row] for row in some])
            found |= dict(zip(some, logs, strict=True))
    return [found[row] for row in range(len(prompts))]


def of_pictured(
    network: Any, inputs: Mapping[str, Any], answer: Sequence[int]
) -> tuple[float, ...]:
    """The same of one prompt with pictures, as the model's processor has made its inputs."""
    import torch

    ids = inputs["input_ids"]
    more = torch.tensor([list(answer[:-1])], dtype=ids.dtype, device=ids.device)
    given = dict(inputs)
    for name, value in inputs.items():
        if getattr(value, "shape", None) != ids.shape:
            continue
        if name == "input_ids":
            tail = more
        elif name == "attention_mask":
            tail = torch.ones_like(more)
        else:
            tail = torch.zeros_like(more)  # token types: an answer is text
        given[name] = torch.cat([value, tail.to(value.dtype)], dim=1)
    return _behind(network, given, [answer])[0]


def _behind(
    network: Any, given: Mapping[str, Any], answers: Sequence[Sequence[int]]
) -> list[tuple[float, ...]]:
    """Of rows that end with their answers' last token but one."""
    import torch

    last = max(len(answer) for answer in answers)
    if not last:
        return [()] * len(answers)
    accepts = inspect.signature(network.forward).parameters
    options = {"use_cache": False, "logits_to_keep": last}
    taken = {name: value for name, value in options.items() if name in accepts}
    logs = network(**given, **taken).logits[:, -last:].float().log_softmax(dim=-1)
    found = []
    for row, answer in enumerate(answers):
        places = torch.arange(last - len(answer), last, device=logs.device)
        tokens = torch.tensor(list(answer), dtype=torch.long, device=logs.device)
        found.append(tuple(logs[row, places, tokens].tolist()))
    return found


# --- over the wire ------------------------------------------------------------------------


def completion_body(model: str, prompt: Sequence[int], answer: Sequence[int]) -> bytes:
    """A request to `/v1/completions` for the log-probabilities of all that it is given."""
    body = {
        "model": model,
        "prompt": [*prompt, *answer],
        "max_tokens": 1,  # none are wanted, and servers ask for at least one
        "temperature": 0.0,
        "prompt_logprobs": 0,  # of the tokens themselves, and of no others
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def read_completion(body: str, prompt: Sequence[int], answer: Sequence[int]) -> Generation:
    """The answer's log-probabilities in the reply to that, or why there are none."""
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        places = choice.get("prompt_logprobs", reply.get("prompt_logprobs"))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        error = f"the server's reply to /v1/completions has no choices: {shortened(body)}"
        return Generation(outcome="server", error=error)
    if not isinstance(places, list):
        return unsaid(NO_LOGPROBS)
    if len(places) != len(prompt) + len(answer):
        return unsaid(
            f"the server read {len(places)} tokens where {len(prompt) + len(answer)} were given"
        )
    logprobs = []
    for token, place in zip(answer, places[len(prompt) :], strict=True):
        told = place.get(str(token)) if isinstance(place, dict) else None
        number = told.get("logprob") if isinstance(told, dict) else None
        if not isinstance(number, int | float) or math.isnan(number):
            return unsaid(f"the server does not say how likely the token {token} is")
        logprobs.append(max(float(number), LOWEST_LOGPROB))
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Generation(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        prompt_token_ids=tuple(prompt),
        token_ids=tuple(answer),
        logprobs=tuple(logprobs),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
