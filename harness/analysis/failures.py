"""Why cells have no score, by model and kind, and whether some prompts lose more than others.

What failures fall on matters as much as their number: a mean over the cells that are left is no
mean over the cells that were planned.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.analysis.score_table import ScoreTable
from harness.drawing.words import short
from harness.records import UNSCORABLE
from harness.results import Failure, FailureShare, RunWarning
from harness.scoring import Answered
from harness.stats.arrays import plural
from harness.stats.permutation import between_clusters, within_blocks
from harness.stats.ranks import LEVEL, holm

LOST = (*UNSCORABLE, "not_run")
KINDS = 8  # more kinds of a model's failures than this are summed up in the last row
_CHARACTERS = 200
_VARYING = re.compile(
    r"0x[0-9a-f]+|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\b(?=[\w-]*\d)(?:req|chatcmpl|cmpl|msg|run|gen|id|trace|call)[_-][\w-]+"
    r"|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b|\d+(?:[.,:]\d+)*",
    re.IGNORECASE,
)
_BY_LIMIT = "a limit of the run was reached"
_Kind = tuple[str, str, str]  # outcome, cause, words
_NOT_RUN = "not asked: an interruption or a server that was away ended the run before"


def words_of(error: str) -> str:
    """What a failure says, on one line, with ids and numbers struck out: its kind."""
    kept = re.compile(r"HTTP \d{3}").findall(error)
    line = _VARYING.sub("…", " ".join(error.split()))
    for status in kept:
        line = line.replace("HTTP …", status, 1)
    return line if len(line) <= _CHARACTERS else f"{line[: _CHARACTERS - 1]}…"


def failures(table: ScoreTable) -> tuple[Failure, ...]:
    """Cells without a score by model, outcome and words, the most frequent first, one example each.

    Models come before controls, in the order of the suite.
    """
    why_not_run = _why_not_run(table.run.store.meta())
    found: list[Failure] = []
    for model in [*table.models, *table.controls]:
        kinds: dict[_Kind, list[Answered]] = {}
        for answered in table.run.answered.values():
            if answered.cell.model == model and answered.outcome in LOST:
                kinds.setdefault(_kind(answered, why_not_run), []).append(answered)
        ordered = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
        found += [
            Failure(model, outcome, why, len(cells), _example(cells[0]), cause)
            for (outcome, cause, why), cells in ordered[:KINDS]
        ]
        if rest := [cells for _, cells in ordered[KINDS:]]:
            said = f"{len(rest):,} other {plural('kind', len(rest))}"
            total = sum(len(cells) for cells in rest)
            found.append(Failure(model, "several", said, total, _example(rest[0][0])))
    return tuple(found)


def _kind(answered: Answered, why_not_run: Callable[[str], str]) -> _Kind:
    generation = answered.generation
    if generation is None or answered.outcome == "not_run":
        return answered.outcome, "", why_not_run(answered.cell.model)
    error = generation.error or f"no reason was given ({answered.outcome})"
    return answered.outcome, generation.failure or "", words_of(error)


def _why_not_run(meta: Mapping[str, Any]) -> Callable[[str], str]:
    """What kept a model's cells from being asked: what stopped it, else a limit of the run."""
    stopped: Mapping[str, str] = meta.get("stopped", {})
    otherwise = _BY_LIMIT if meta.get("limited") else _NOT_RUN
    return lambda model: short(stopped.get(f"model '{model}'", otherwise), _CHARACTERS)


def _example(answered: Answered) -> tuple[str, str]:
    error = answered.generation.error if answered.generation is not None else None
    return answered.cell.id, " ".join((error or "").split())[:400]


# --- what they fall on --------------------------------------------------------------------


def failure_shares(table: ScoreTable) -> tuple[FailureShare, ...]:
    """Whether a model's lost cells fall on variants, arms, aspects or labels unequally.

    Variants, arms and aspects are permuted within a sample (or the cluster it belongs to), labels
    between these, so that cells of one sample never count as independent; p is adjusted over all
    models and fields (Holm).
    """
    rows: list[tuple[str, str, tuple[tuple[str, int, int], ...], float]] = []
    for model in [*table.models, *table.controls]:
        mine = [a for a in table.run.answered.values() if a.cell.model == model]
        lost = [float(a.outcome in LOST) for a in mine]
        if not 0 < sum(lost) < len(lost):
            continue
        blocks = [_block(table, a) for a in mine]
        for axis, level_of in _AXES:
            levels = [level_of(table, a) for a in mine]
            if len(set(levels)) < 2:
                continue
            p = _p(lost, levels, blocks, [a.cell.sample for a in mine], axis, table.seed)
            planned = Counter(levels)
            missing = Counter(level for level, gone in zip(levels, lost, strict=True) if gone)
            counts = sorted(
                ((level, missing[level], planned[level]) for level in planned),
                key=lambda row: (-row[1] / row[2], row[0]),
            )
            rows.append((model, axis, tuple(counts), p))
    adjusted = holm([p for *_, p in rows]) if rows else ()
    return tuple(
        FailureShare(model, axis, counts, float(p))
        for (model, axis, counts, _), p in zip(rows, adjusted, strict=True)
    )


def _p(
    lost: Sequence[float],
    levels: Sequence[str],
    blocks: Sequence[str],
    samples: Sequence[str],
    axis: str,
    seed: int,
) -> float:
    if axis != "label":
        return within_blocks(lost, levels, blocks, seed=seed)
    of_block: dict[str, set[str]] = {}
    for block, level in zip(blocks, levels, strict=True):
        of_block.setdefault(block, set()).add(level)
    if all(len(found) == 1 for found in of_block.values()):
        return between_clusters(lost, levels, blocks, seed=seed)
    # Clusters of several labels: a label's samples are compared within their cluster.
    by_sample: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        by_sample.setdefault(sample, []).append(i)
    firsts = [places[0] for places in by_sample.values()]
    means = [sum(lost[i] for i in places) / len(places) for places in by_sample.values()]
    return within_blocks(means, [levels[i] for i in firsts], [blocks[i] for i in firsts], seed=seed)


def _block(table: ScoreTable, answered: Answered) -> str:
    """The largest cause that cells share and that is no label: the cluster, else the sample."""
    sample = table.run.samples[answered.cell.sample]
    return sample.cluster or sample.id


def _label(table: ScoreTable, answered: Answered) -> str:
    return str(table.run.samples[answered.cell.sample].label)


_AXES: tuple[tuple[str, Callable[[ScoreTable, Answered], str]], ...] = (
    ("variant", lambda _, a: f"{a.cell.family}/{a.cell.variant}"),
    ("arm", lambda _, a: a.cell.arm),
    ("aspect", lambda _, a: f"{a.cell.family}/{a.cell.aspect}"),
    ("label", _label),
)


def share_warnings(shares: Sequence[FailureShare]) -> list[RunWarning]:
    """One warning for each model and field that failures fall on unequally."""
    found = []
    for share in shares:
        if share.p_adjusted >= LEVEL:
            continue
        (high, lost, planned), *_ = share.counts
        low, low_lost, low_planned = share.counts[-1]
        found.append(
            RunWarning(
                f"Model {share.model}: cells without a score fall on {share.axis}s unequally: "
                f"{lost:,} of {planned:,} of {high}, {low_lost:,} of {low_planned:,} of {low} "
                f"(permutation test, p {share.p_adjusted:.3g}, Holm); compare {share.axis}s of "
                "this model only on what was answered in all of them.",
                ("coverage", "accuracy"),
            )
        )
    return found
