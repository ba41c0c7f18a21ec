"""What the engine promises of every batch: its size, and that all outputs are numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import harness
from harness.records import HarnessError


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_no_batch_costs_more_than_is_allowed(most: int) -> None:
    seen: list[int] = []

    def judge(rows: torch.Tensor) -> torch.Tensor:
        seen.append(len(rows))
        return torch.stack([rows.sum(dim=1), -rows.sum(dim=1)], dim=1)

    # A row of four numbers is one token, so a batch has as many rows as there are tokens.
    harness.explain(judge, torch.ones(1, 4), "exact_shapley", batch_tokens=most)
    assert max(seen) == most
    assert sum(seen) >= 16


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 1])
def test_a_single_output_that_is_no_number_is_refused(bad: float, place: int) -> None:
    def judge(rows: torch.Tensor) -> torch.Tensor:
        said = torch.stack([rows.sum(dim=1), rows.sum(dim=1)], dim=1)
        said[rows.sum(dim=1) == 2, place] = bad
        return said

    with pytest.raises(HarnessError, match="says NaN or infinity of sample '0'"):
        harness.explain(judge, torch.ones(1, 4), "exact_shapley", target=1 - place)


class Plain:
    """A tokenizer's special tokens, none unless given, and a vocabulary of letters."""

    def __init__(self, **ids: int) -> None:
        self.__dict__ |= ids
        self.mask_token_id = ids.get("mask_token_id")
        self.unk_token_id = ids.get("unk_token_id")

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(one) for one in text]}


def test_what_takes_a_removed_tokens_place_is_the_first_there_is() -> None:
    from harness.explainers.models.reading import Removal
    from harness.explainers.models.text import replacement

    every = {"mask_token_id": 1, "unk_token_id": 2, "eos_token_id": 3, "bos_token_id": 4}
    for first in range(1, 5):
        mine = {name: place for name, place in every.items() if place >= first}
        assert replacement(Plain(**mine), Removal(), "it") == first
    assert replacement(Plain(pad_token_id=9), Removal(), "it") == ord(" ")


@pytest.mark.parametrize("method", ["integrated_gradients", "leave_one_out"])
def test_a_language_model_without_mask_or_unknown_token_is_explained(method: str) -> None:
    from harness.explainers.models.generation import LanguageModel

    model = LanguageModel("builtin:octa-text", max_new_tokens=3)
    settings = {"incomplete": True} if method == "integrated_gradients" else {}
    (found,) = harness.explain(model, ["Why is it so?"], method, "token", settings=settings)
    assert all(np.isfinite(value) for value in found.values if value is not None)
    assert found.removal == "mask"
