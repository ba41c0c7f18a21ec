"""How the next token is drawn, row by row, so that a text does not depend on its batch mates.

Each row has its own settings and its own stream of random numbers: one number a token, turned into
a token by the inverse of the row's cumulative distribution. `Drawing` and `Stopping` are what
`transformers`' `generate` calls at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, StoppingCriteria


@dataclass(frozen=True)
class Row:
    """How one row is drawn: temperature 0 takes the likeliest token, `top_k` 0 means all."""

    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    max_tokens: int
    stop: tuple[str, ...]
    seed: int


class Drawing(LogitsProcessor):
    """Draws each row's next token and leaves `generate` no other choice.

    `prompts` are the rows' tokens without padding, which a repetition penalty looks at. The drawn
    tokens' log-probabilities under the model itself, before temperature and cuts, are kept in
    `logprobs`, one list a row; NaN stands where the model's scores were no numbers.
    """

    def __init__(self, rows: Sequence[Row], prompts: Sequence[Sequence[int]]) -> None:
        self._rows = rows
        self._seen = [set(prompt) for prompt in prompts]
        self._penalised = [i for i, row in enumerate(rows) if row.repetition_penalty != 1.0]
        self._noise = np.stack(
            [
                np.random.default_rng(row.seed).random(max(r.max_tokens for r in rows))
                for row in rows
            ]
        )
        self._step = 0
        self.logprobs: list[list[float]] = [[] for _ in rows]

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ARG002
        own = torch.log_softmax(scores.float(), dim=-1)
        adjusted = self._penalise(scores.float())
        chosen = adjusted.argmax(dim=-1)
        warm = [i for i, row in enumerate(self._rows) if row.temperature > 0]
        if warm:
            noise = torch.from_numpy(self._noise[warm, self._step]).to(scores.device)
            chosen[warm] = draw(adjusted[warm], [self._rows[i] for i in warm], noise)
        picked = own.gather(-1, chosen[:, None])[:, 0].tolist()
        for i, token in enumerate(chosen.tolist()):
            self.logprobs[i].append(picked[i])
            self._seen[i].add(token)
        self._step += 1
        only = torch.full_like(scores, float("-inf"))
        return only.scatter(-1, chosen[:, None], 0.0)

    def _penalise(self, scores: Any) -> Any:
        """Divides the score of tokens seen before, as `transformers` does, but never of padding."""
        for i in self._penalised:
            seen = torch.tensor(sorted(self._seen[i]), device=scores.device)
            value, penalty = scores[i, seen], self._rows[i].repetition_penalty
            scores[i, seen] = torch.where(value < 0, value * penalty, value / penalty)
        return scores


def draw(scores: Any, rows: Sequence[Row], noise: Any) -> Any:
    """One token a row, shape (n,): scores (n, vocabulary), `noise` (n,) uniform in [0, 1).

    Temperature first, then the `top_k` best, then the fewest tokens that hold `top_p` of the
    probability, as transformers and vLLM do.
    """
    temperature = torch.tensor([row.temperature for row in rows], device=scores.device)
    scores = scores.double() / temperature[:, None]
    for i, row in enumerate(rows):
        if 0 < row.top_k < scores.shape[-1]:
            lowest = torch.topk(scores[i], row.top_k).values[-1]
            scores[i] = scores[i].masked_fill(scores[i] < lowest, float("-inf"))
        if row.top_p < 1.0:
            ordered, places = torch.sort(scores[i], descending=True, stable=True)
            before = torch.cumsum(torch.softmax(ordered, -1), -1) - torch.softmax(ordered, -1)
            scores[i, places[before >= row.top_p]] = float("-inf")
    cumulative = torch.cumsum(torch.softmax(scores, dim=-1), dim=-1)
    # Scaled by the row's own total, so rounding can never leave the number beyond the last token.
    target = (noise * cumulative[:, -1])[:, None]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_(max=scores.shape[-1] - 1)


class Stopping(StoppingCriteria):
    """Ends each row at its own limit or stop text; `lengths` says after how many tokens.

    `ends` are the token ids after which a model stops of itself.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        prompt_length: int,
        ends: Collection[int],
        decode: Callable[[list[int]], str],
    ) -> None:
        self._rows = rows
        self._start = prompt_length
        self._ends = ends
        self._decode = decode
        self.lengths: list[int | None] = [None] * len(rows)

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
        count = input_ids.shape[1] - self._start
        for i, row in enumerate(self._rows):
            if self.lengths[i] is None and self._ended(row, input_ids[i], count):
                self.lengths[i] = count
        return torch.tensor([n is not None for n in self.lengths], device=input_ids.device)

    def _ended(self, row: Row, tokens: Any, count: int) -> bool:
        if count >= row.max_tokens or int(tokens[-1]) in self._ends:
            return True
        if not row.stop:
            return False
        return cut(self._decode(tokens[self._start :].tolist()), row.stop) is not None


def cut(text: str, stop: Sequence[str]) -> str | None:
    """The text before the first stop text in it; `None` where there is none."""
    places = [text.index(one) for one in stop if one and one in text]
    return text[: min(places)] if places else None
