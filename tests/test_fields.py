"""Fields of a suite's parts: what can be right passes, and what cannot is named with its part."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from harness import fields
from harness.records import HarnessError


def whole(**given: Any) -> None:
    fields.whole("part 'p'", 1, **given)


def seconds(**given: Any) -> None:
    fields.seconds("part 'p'", **given)


def switches(**given: Any) -> None:
    fields.switches("part 'p'", **given)


def mappings(**given: Any) -> None:
    fields.mappings("part 'p'", **given)


def one_of(**given: Any) -> None:
    fields.one_of("part 'p'", ("a", "b"), **given)


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (whole, [1, 2**40], [0, -1, 1.0, "1", None, True, math.nan, [1]]),
        (seconds, [1, 0.5, 1e-3], [0, -1.0, "2m", None, True, math.nan, math.inf]),
        (switches, [True, False], [0, 1, "yes", None]),
        (mappings, [None, {}, {"a": 1}], ["a", ["a"], 1]),
        (one_of, ["a", "b"], ["c", None, 1, ["a"]]),
    ],
)
def test_right_values_pass_and_the_first_wrong_one_is_named(
    check: Callable[..., None], right: list[Any], wrong: list[Any]
) -> None:
    for value in right:
        check(field=value)
    for value in wrong:
        with pytest.raises(HarnessError, match="^part 'p': field is "):
            check(other=right[0], field=value)


def test_what_a_mapping_was_meant_to_hold_is_not_told() -> None:
    with pytest.raises(HarnessError) as told:
        mappings(headers="Authorization: secret")
    assert "secret" not in str(told.value)


def test_only_known_extras_may_be_wanted() -> None:
    fields.extras("part 'p'", None, ("logprobs",))
    fields.extras("part 'p'", {"logprobs": 3}, ("logprobs",))
    with pytest.raises(HarnessError, match="part 'p': there is no extra 'colour'; known are log"):
        fields.extras("part 'p'", {"logprobs": 3, "colour": 1}, ("logprobs",))
