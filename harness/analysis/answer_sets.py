"""What no single answer shows, and all answers of a model do.

A server that answers from a cache, whatever the temperature or even the prompt; one that cuts
prompts; one that counts no tokens while money is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.anomalies import ANSWERS, Answer
from harness.backends.answers import blank
from harness.measure import group_id
from harness.records import Request
from harness.results import RunWarning
from harness.scoring import Answered, Run
from harness.stats.arrays import plural

LOOKED_AT = 400  # requests of a model that are read, so that a large run is not read twice
SAME = 0.98  # chosen: the share of repeats, or of answers, that are alike although they should not
AT_LEAST = 5  # groups of repeats, or samples, below which being alike may be chance
_LONG = 200  # words; chosen: below, a chat template alone blurs the count
_WORD_TOKENS, _IDEOGRAPH_TOKENS = 0.5, 0.25  # no tokenizer in use needs fewer tokens
_PLATEAU = 256  # tokens; the smallest context that servers are started with
_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True)
class Prompted:
    """An answer with the request that it answers."""

    cell: str
    answer: Answer
    request: Request

    @property
    def prompt(self) -> str:
        """All text that was sent."""
        return "\n".join(message.text for message in self.request.messages)


def prompted(run: Run, answers: Mapping[str, tuple[Answered, Answer]]) -> list[Prompted]:
    """Up to `LOOKED_AT` of a model's answers, evenly over their keys, with their requests."""
    keys = sorted(answers)
    step = max(1, -(-len(keys) // LOOKED_AT))
    return [
        Prompted(answers[key][0].cell.id, answers[key][1], run.store.request(key)[0])
        for key in keys[::step]
    ]


# --- the same text ------------------------------------------------------------------------


def identical_repeats(
    model: str, answered: Sequence[Answered], temperature: float | None
) -> RunWarning | None:
    """A warning where all repeats say the same although they are drawn at a temperature above 0.

    Refusals and blank answers are left out: they say nothing of how an answer is drawn.
    """
    if not temperature:
        return None
    texts: dict[str, list[str]] = {}
    for one in answered:
        if one.generation is not None and _speaks(one):
            texts.setdefault(group_id(one.cell, "repeat"), []).append(one.generation.text)
    groups = [group for group in texts.values() if len(group) > 1]
    same = sum(len(set(group)) == 1 for group in groups)
    if len(groups) < AT_LEAST or same < SAME * len(groups):
        return None
    return RunWarning(
        f"Model {model}: the repeats are the same text in {same:,} of {len(groups):,} cells "
        f"although the temperature is {temperature:g}; the server may ignore temperature or seed, "
        "or answer from a cache, so that sampling stability says nothing.",
        ("stability",),
    )


def constant_answers(model: str, answered: Sequence[Answered]) -> RunWarning | None:
    """A warning where a model says the same of different samples, whatever it is asked."""
    by_key = {one.key: one for one in answered if one.generation is not None and _speaks(one)}
    samples = {one.cell.sample for one in by_key.values()}
    if len(samples) < AT_LEAST or len(by_key) < AT_LEAST:
        return None
    texts = Counter(
        " ".join(one.generation.text.split()) for one in by_key.values() if one.generation
    )
    text, count = texts.most_common(1)[0]
    if count < SAME * len(by_key):
        return None
    shown = text if len(text) <= 60 else f"{text[:59]}…"
    return RunWarning(
        f"Model {model}: {count:,} of {len(by_key):,} answers are the same text ('{shown}') on "
        f"{len(samples):,} different samples; the server may answer from a cache, or not see the "
        "prompt.",
        ANSWERS,
    )


def _speaks(one: Answered) -> bool:
    generation = one.generation
    return (
        generation is not None
        and one.outcome in ("ok", "truncated", "invalid_format")
        and not blank(generation.text)
    )


# --- the prompt ---------------------------------------------------------------------------


def fewest_tokens(text: str) -> float:
    """How many tokens a text has at the very least, whatever the tokenizer."""
    ideographs = len(_IDEOGRAPH.findall(text))
    words = len(_IDEOGRAPH.sub(" ", text).split())
    return _WORD_TOKENS * words + _IDEOGRAPH_TOKENS * ideographs


def cut_prompts(model: str, asked: Sequence[Prompted]) -> RunWarning | None:
    """A warning where a server counts fewer tokens of prompts than these can have.

    Or where prompts of different length have the very same count and none has more: that is the
    context to which the server cuts them.
    """
    counted = [
        (one, tokens, one.prompt)
        for one in asked
        if (tokens := one.answer.generation.prompt_tokens) is not None
    ]
    cut = [
        (one, tokens, prompt)
        for one, tokens, prompt in counted
        if len(prompt.split()) + len(_IDEOGRAPH.findall(prompt)) >= _LONG
        and tokens < fewest_tokens(prompt)
    ]
    if not cut:
        most = max((tokens for _, tokens, _ in counted), default=0)
        top = {prompt: (one, tokens) for one, tokens, prompt in counted if tokens == most}
        lengths = sorted(map(len, top))
        if most >= _PLATEAU and len(top) >= 3 and lengths[-1] > 1.2 * lengths[0]:
            cut = [(one, tokens, prompt) for prompt, (one, tokens) in top.items()]
    if not cut:
        return None
    one, tokens, prompt = max(cut, key=lambda row: len(row[2]))
    return RunWarning(
        f"Model {model}: {len(cut):,} of {len(counted):,} {plural('prompt', len(counted))} looked "
        f"at have fewer tokens by the server's count than they must have ({tokens:,} for "
        f"{len(prompt.split()):,} words in {one.cell}); the server cuts prompts: raise its context "
        "(num_ctx, max-model-len, n_ctx).",
        ANSWERS,
    )


def echoes(model: str, asked: Sequence[Prompted]) -> RunWarning | None:
    """A warning where answers repeat their prompt."""
    found = [one for one in asked if _echoes(one)]
    if not found or len(found) < 0.01 * len(asked):
        return None
    return RunWarning(
        f"Model {model}: {len(found):,} of {len(asked):,} {plural('answer', len(asked))} looked at "
        f"repeat their prompt (such as {found[0].cell}); look at the chat template, and whether "
        "the server completes texts instead of answering.",
        ANSWERS,
    )


def _echoes(one: Prompted) -> bool:
    answer = " ".join(one.answer.text.split())
    prompt = " ".join(one.request.messages[-1].text.split()) if one.request.messages else ""
    if len(answer.split()) < 5 or len(prompt.split()) < 5:
        return False
    if answer == prompt or (len(prompt.split()) >= 20 and prompt in answer):
        return True
    return len(answer.split()) >= 20 and 2 * len(answer) >= len(prompt) and answer in prompt


# --- the bill -----------------------------------------------------------------------------


def missing_usage(
    model: str, answers: Sequence[Answer], max_cost: float | None, priced: bool
) -> RunWarning | None:
    """A warning where a limit of cost is set, and answers come without a count of tokens."""
    if max_cost is None or not priced:
        return None
    missing = sum(
        answer.generation.prompt_tokens is None or answer.generation.completion_tokens is None
        for answer in answers
    )
    if not missing:
        return None
    return RunWarning(
        f"Model {model}: {missing:,} of {len(answers):,} {plural('answer', len(answers))} came "
        "without usage, so that limits.max_cost rests on estimates; look whether the server can "
        "count tokens."
    )
