"""The slots of a template: what was filled in is explained, the template's own text stays."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from harness.records import HarnessError

_WHERE = "unit 'slots'"
Values = Sequence[Any] | Mapping[str, Any]


class Slots:
    """What fills the slots of a template; the text between them is in no unit and never removed.

    `template` is a format string of Python (`{}`, `{0}`, `{name}`, `{name:.2f}`), `values` what its
    slots are filled with: a list or a mapping, or a list of these for several samples. `texts` are
    the filled templates, which are what is to be explained:

        slots = Slots("{who} feels {mood} right now.", {"who": "He", "mood": "low"})
        harness.explain(model, slots.texts, unit=slots)

    A token belongs to the slot in which its first character lies. Raises `HarnessError` for a
    template without slots, or with one that stands in it twice, for values that do not fit it or
    leave a slot empty, and for a text that is none of `texts`.
    """

    reads = "text"
    within: str | None = None
    gaps = True  # the template's own text

    def __init__(self, template: str, values: Values | Sequence[Values]) -> None:
        rows = _rows(values)
        filled = [_filled(template, row) for row in rows]
        self.texts = tuple(text for text, _ in filled)
        self._spans = dict(filled)
        self.settings: Mapping[str, Any] = {
            "template": template,
            "values": [dict(row) if isinstance(row, Mapping) else list(row) for row in rows],
        }

    def split(self, text: str, sample: str = "") -> tuple[tuple[int, int], ...]:
        """Spans [start, end) of the slots' characters, in order."""
        if text not in self._spans:
            raise HarnessError(
                f"{_WHERE}: the text of sample '{sample}' is not the filled template; explain the "
                "unit's own 'texts'"
            )
        return self._spans[text]


def _rows(values: Any) -> list[Values]:
    """What fills the template, once a sample."""
    if isinstance(values, Mapping):
        return [values]
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise HarnessError(f"{_WHERE}: values are a list or a mapping, not {values!r:.40}")
    several = [isinstance(one, Mapping | list | tuple) for one in values]
    if all(several):
        return list(values)
    if any(several):
        raise HarnessError(f"{_WHERE}: values are of one sample, or a list or mapping for each")
    return [values]


def _filled(template: str, values: Values) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The filled template, and where in it its slots stand."""
    named = values if isinstance(values, Mapping) else {}
    placed = [] if isinstance(values, Mapping) else values
    formatter = string.Formatter()
    text = ""
    spans: list[tuple[int, int]] = []
    seen: set[str] = set()
    try:
        for own, field, spec, conversion in formatter.parse(template):
            text += own
            if field is None:
                continue
            field = field or str(len(spans))
            if field in seen:
                raise HarnessError(
                    f"{_WHERE}: slot '{field}' stands twice in the template; a unit is one span"
                )
            seen.add(field)
            value, _ = formatter.get_field(field, placed, named)
            shown: Any = formatter.convert_field(value, conversion)
            said = formatter.format_field(shown, spec or "")
            if not said.strip():
                raise HarnessError(f"{_WHERE}: slot '{field}' is empty; leave it out")
            spans.append((len(text), len(text) + len(said)))
            text += said
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise HarnessError(
            f"{_WHERE}: the template {template!r:.60} cannot be filled with {values!r:.60}: "
            f"{type(error).__name__} {error}"
        ) from error
    if not spans:
        raise HarnessError(f"{_WHERE}: the template {template!r:.60} has no slots")
    return text, tuple(spans)
