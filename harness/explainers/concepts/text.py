"""Spaces of concepts in words and plain tables, as the terminal shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.explainers.concepts.suites import title_of
from harness.records import ConceptExample, ConceptSpace, StoredScore
from harness.results import number
from harness.terminal import page

_STRONGEST = 3


def concepts_text(found: Sequence[tuple[ConceptSpace, Sequence[StoredScore]]]) -> str:
    """A table of what the spaces are worth, then the concepts that matter most for the target."""
    first = found[0][0]
    lines = [
        f"{first.layer}: {first.rows:,} rows of {first.width} numbers, one a {first.at}, of "
        f"{first.samples} samples"
    ]
    lines += ["", *_table(found)]
    for space, _ in found:
        lines += ["", f"{space.kind}: strongest effects on {space.target} (gradient x concept)"]
        ranked = sorted(space.effects.items(), key=lambda item: -abs(item[1]))
        for name, effect in ranked[:_STRONGEST]:
            examples = space.examples[space.concepts.index(name)]
            shown = ", ".join(_place(example) for example in examples[:2])
            lines.append(f"  {effect:+.3g}  {name}: {shown}")
    return page(lines)


def _table(found: Sequence[tuple[ConceptSpace, Sequence[StoredScore]]]) -> Iterator[str]:
    names = list(dict.fromkeys(score.metric for _, scores in found for score in scores))
    rows = [(space.kind, {s.metric: s.value for s in scores}) for space, scores in found]
    titles = {name: f"{title_of(name)} ({name})" for name in names}
    first = max(map(len, titles.values()))
    widths = [max(len(kind), 6) for kind, _ in rows]
    heads = (kind.rjust(width) for (kind, _), width in zip(rows, widths, strict=True))
    yield " " * first + "  " + "  ".join(heads)
    for name in names:
        cells = (
            number(values.get(name)).rjust(width)
            for (_, values), width in zip(rows, widths, strict=True)
        )
        yield f"{titles[name]:<{first}}  " + "  ".join(cells)


def _place(example: ConceptExample) -> str:
    """A place in a line."""
    if example.unit.text.strip():
        return f"“{' '.join(example.unit.text.split())}”"
    return f"{example.sample} at {example.unit.box}" if example.unit.box else example.sample
