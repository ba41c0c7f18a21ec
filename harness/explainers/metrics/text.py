"""An evaluation in words and plain tables, as the terminal shows it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from harness.drawing.words import unpadded
from harness.explainers.metrics.evaluation import RANDOM, Evaluation, MetricRow
from harness.results import interval, number, symmetric
from harness.stats.ranks import RankTable
from harness.terminal import page

_COLUMNS = 5  # of metrics beside each other
# Of the metrics for each name of evidence, those that a terminal shows; the frame holds all.
_BY_EVIDENCE = ("pointing_game[", "auprc[")
_NOT_SHOWN = "~"
_ARROWS = {"higher": "↑", "lower": "↓", None: ""}


def evaluation_text(evaluation: Evaluation, by: Sequence[str] = ()) -> str:
    """The ranking first, then every metric of every method with its interval."""
    table = evaluation.ranking(by)
    samples = len({one.sample for one in evaluation.measurements})
    what = f"by {', '.join(by)}" if by else "by the metrics of faithfulness"
    lines = [f"methods from best to worst on {_count(samples, 'sample')}, {what}"]
    lines += [f"  {line}" for line in _ranking(table)]
    nothing = _not_applicable(evaluation)
    for family, metrics in _families(evaluation):
        whole = [name for name in metrics if "[" not in name]
        named = [name for name in metrics if name.startswith(_BY_EVIDENCE)]
        known = [name for name in (*whole, *named) if name not in nothing]
        for start in range(0, len(known), _COLUMNS):
            some = known[start : start + _COLUMNS]
            lines += ["", *_table(evaluation, family, some, _order(table, evaluation))]
    lines += ["", *_agreement(evaluation)]
    for why in dict.fromkeys(nothing.values()):
        names = ", ".join(name for name, reason in nothing.items() if reason == why)
        lines.append(f"not applicable: {names} ({why})")
    lines += ["", *_titles(evaluation, nothing)]
    if any(row.shown is False and not row.reference for row in evaluation.rows):
        lines += [
            "",
            f"{_NOT_SHOWN} not shown to be better than random values; ↑ higher is better, ↓ lower; "
            "± is half of the 95 % interval, [low, high] that interval where it is not symmetric",
        ]
    return page(lines)


def _ranking(table: RankTable) -> Iterator[str]:
    if table.reason:
        yield f"no ranks: {table.reason}"
        return
    for row in sorted(table.rows, key=lambda row: row.rank or 0.0):
        name = f"{row.model} values, which know nothing" if row.model == RANDOM else row.model
        around = "" if row.low is None else f" [{row.low:g}, {row.high:g}]"
        ranks = f"{row.rank:g}{around}"
        yield f"{ranks:<14}{name}"
    yield f"(rank with the 95 % interval of one method; {table.test or 'no test'})"


def _order(table: RankTable, evaluation: Evaluation) -> list[str]:
    """Methods as they are ranked, then what they are held against."""
    ranked = sorted(table.rows, key=lambda row: row.rank or 0.0)
    methods = [row.model for row in ranked if row.model in evaluation.methods]
    return [*(methods or evaluation.methods), *evaluation.references]


def _not_applicable(evaluation: Evaluation) -> dict[str, str]:
    """Metrics that apply to no method on any sample, and why."""
    found: dict[str, str] = {}
    for name in evaluation.metrics:
        rows = [r for r in evaluation.rows if r.metric == name and not r.reference]
        if all(row.mean.value is None for row in rows):
            found[name] = next((row.why for row in rows if row.why), "not measured")
    return found


def _families(evaluation: Evaluation) -> Iterator[tuple[str, list[str]]]:
    families = dict.fromkeys(metric.family for metric in evaluation.metrics.values())
    for family in families:
        yield family, [name for name, m in evaluation.metrics.items() if m.family == family]


def _table(
    evaluation: Evaluation, family: str, metrics: Sequence[str], order: Sequence[str]
) -> Iterator[str]:
    rows = {(row.method, row.metric): row for row in evaluation.rows}
    heads = [f"{name} {_ARROWS[evaluation.metric(name).direction]}".strip() for name in metrics]
    cells = [[_cell(rows.get((method, name))) for name in metrics] for method in order]
    widths = [
        max(len(head), *(len(row[place]) for row in cells)) for place, head in enumerate(heads)
    ]
    first = max(len(family), *map(len, order))
    yield _line(family, heads, first, widths)
    for method, row in zip(order, cells, strict=True):
        yield _line(method, row, first, widths)
    for name in metrics:
        for method in order:
            said = rows.get((method, name))
            if said is not None and said.why and not said.reference:
                yield f"  {name} of {method}: {said.why}"


def _line(name: str, cells: Sequence[str], first: int, widths: Sequence[int]) -> str:
    columns = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return f"{name:<{first}}  {columns}".rstrip()


def _cell(row: MetricRow | None) -> str:
    if row is None or row.mean.value is None:
        return "—"
    said = number(row.mean.value)
    if row.mean.low is not None and row.mean.high is not None:
        reach = f" ±{number((row.mean.high - row.mean.low) / 2)}"
        said += reach if symmetric(row.mean) else f" {interval(row.mean)}"
    return f"{_NOT_SHOWN} {said}" if row.shown is False and not row.reference else said


def _titles(evaluation: Evaluation, nothing: Container[str]) -> Iterator[str]:
    """What each metric of the tables measures, in a few words."""
    names = [name for name in evaluation.metrics if "[" not in name and name not in nothing]
    width = max(map(len, names), default=0)
    for name in names:
        yield f"{name:<{width}}  {evaluation.metric(name).title}"


def _agreement(evaluation: Evaluation) -> Iterator[str]:
    """The pair of methods that agree most, and the one that agrees least."""
    found = evaluation.agreement
    found = found[(found["measure"] == "rank_correlation") & found["mean"].notna()]
    if len(found) == 0:
        return
    yield "agreement of methods (mean rank correlation of their values)"
    ends = found.sort_values("mean", ascending=False)
    chosen = ends.iloc[[0, -1]] if len(ends) > 1 else ends
    for a, b, mean in zip(chosen["a"], chosen["b"], chosen["mean"], strict=True):
        yield f"  {unpadded(f'{mean:+.2f}')}  {a} and {b}"


def _count(number_: int, name: str) -> str:
    return f"{number_} {name}" + ("s" if number_ != 1 else "")
