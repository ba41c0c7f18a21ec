"""What `plan`, `check` and `show` print: plans, problems and single cells in words."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness import joins
from harness.explainers.summary import incomplete, named, named_pair, strongest_pairs
from harness.gold import gold_text
from harness.inputs import Inputs
from harness.measure import group_id
from harness.plan import Plan
from harness.records import Attribution, Cell, HarnessError
from harness.scoring import Run, metric_titles
from harness.store import Store
from harness.suite import Suite
from harness.terminal import block, page


def plan_text(
    suite: Suite, plan: Plan, inputs: Inputs, folder: Path, elsewhere: Sequence[str] = ()
) -> str:
    """Cells, requests and tokens by model, what is left out and why, and what lies `elsewhere`."""
    tokens_in, tokens_out = plan.tokens()
    lines = [
        f"{suite.name}: {len(inputs.samples):,} samples, {len(plan.cells):,} cells, "
        f"{len(plan.requests):,} requests, about {_count(tokens_in)} tokens in, "
        f"at most {_count(tokens_out)} out",
        f"run folder: {folder}",
        *elsewhere,
        "",
    ]
    costs = [cost for spec in suite.models if (cost := plan.cost(spec)) is not None]
    if costs:
        prompts, answers = (sum(column) for column in zip(*costs, strict=True))
        limit = "" if suite.max_cost is None else f"; limits.max_cost is {suite.max_cost:,.2f}"
        lines.insert(1, f"cost: {_money(prompts, answers)}{limit}")
    cells = Counter(planned.cell.model for planned in plan.cells)
    for spec in suite.models:
        keys = {planned.key for planned in plan.cells if planned.cell.model == spec.name}
        later = sum(len(p.later) for p in plan.cells if p.cell.model == spec.name)
        more = f" and up to {later:,} later turns" if later else ""
        cost = plan.cost(spec)
        money = "" if cost is None else f"  {_money(*cost)}"
        lines.append(
            f"  {spec.name:<24} {cells[spec.name]:>8,} cells  {len(keys):>8,} requests{more}{money}"
        )
    lines += _unasked(suite, plan)
    if plan.not_planned:
        lines += ["", "not planned:"]
        lines += [
            f"  {model}: {count:,} cells, because {reason}"
            for (model, reason), count in sorted(plan.not_planned.items())
        ]
    return page(lines)


def check_text(suite: Suite, plan: Plan, inputs: Inputs, elsewhere: Sequence[str] = ()) -> str:
    """What is there and what is missing; reached only when nothing is wrong."""
    lines = [f"{suite.name}: no errors in suite, prompts, gold, labels and samples"]
    labels = Counter(sample.label or "(no label)" for sample in inputs.samples)
    lines.append(
        "samples: " + ", ".join(f"{name} {count}" for name, count in sorted(labels.items()))
    )
    for spec in suite.families:
        name = spec.family.name
        gold = inputs.gold[name]
        claims = sum(len(record.claims) for record in gold.records)
        status = Counter(record.status for record in gold.records)
        lines.append(
            f"family {name}: {len(spec.variants)} variants, aspects {', '.join(spec.aspects)}; "
            f"gold {len(gold.records)} records, {claims} claims"
            + (f" ({', '.join(f'{s} {c}' for s, c in status.items())})" if status else "")
        )
        for variant, reason in spec.left_out.items():
            lines.append(f"  variant {variant} is left out: it {reason}")
        missing = plan.labels_without_gold.get(name, [])
        unused = plan.gold_without_label.get(name, [])
        if gold.labels and not inputs.labels:
            lines.append("  gold speaks of labels, and no sample and no class has one")
        shown = [_with_likely(label, unused) for label in missing]
        lines.append(f"  labels without gold: {', '.join(shown) or 'none'}")
        lines.append(f"  gold without label: {', '.join(unused) or 'none'}")
        thin = sum(1 for record in gold.records if record.note)
        if thin:
            lines.append(f"  {thin} gold records say that their source holds little")
    lines += _unasked(suite, plan)
    notes = (*inputs.notes, *plan.notes, *elsewhere)
    return page([*lines, *(f"note: {note}" for note in notes)])


def _unasked(suite: Suite, plan: Plan) -> list[str]:
    """The listed models that would be asked nothing, each with the reason."""
    return [
        f"model {name} is asked nothing: {why}; `harness run` exits with 5"
        for name, why in plan.unasked(suite).items()
    ]


def _money(prompts: float, answers: float) -> str:
    """What first turns cost: about so much for prompts, at most so much with answers."""
    return f"about {prompts:,.2f} for prompts, at most {prompts + answers:,.2f} with answers"


def _with_likely(label: str, others: Sequence[str]) -> str:
    """A label with the one that was probably meant: another form of it, a typing error."""
    by_form = {joins.form(other): other for other in others}
    near = difflib.get_close_matches(joins.form(label), by_form, 1, 0.8)
    return f"{label} (label_map: {{{label}: {by_form[near[0]]}}}?)" if near else label


def cells_text(store: Store, beginning: str = "") -> str:
    """A run's cells with their outcomes: all, or those whose id begins so."""
    run = Run(store)
    found = [
        f"{a.outcome:<14} {cell}" for cell, a in run.answered.items() if cell.startswith(beginning)
    ]
    if not found:
        raise HarnessError(
            f"no cell of the run begins with '{beginning}'; `harness show RUN` lists them"
        )
    return page(found)


def cell_text(store: Store, cell_id: str) -> str:
    """Prompt, answer, gold and scores of one cell."""
    run = Run(store)
    cell = Cell.parse(cell_id)
    if cell.id not in run.answered:
        near = difflib.get_close_matches(cell.id, run.answered, 1, 0.5)
        hint = f"; near it is {near[0]}" if near else "; `harness show RUN` lists them"
        raise HarnessError(f"the run has no cell {cell_id}{hint}")
    answered = run.answered[cell.id]
    subject = run.subject(answered)
    lines = [f"cell      {cell.id}", f"outcome   {answered.outcome}"]
    if subject.sample is not None:
        lines.append(f"true      {subject.sample.label or '(no label)'}")
    lines.append(f"told      {answered.told or '(nothing)'}")
    if subject.prediction is not None:
        top = sorted(subject.prediction.probabilities.items(), key=lambda item: -item[1])[:3]
        shown = ", ".join(f"{name} {value:.2f}" for name, value in top)
        lines.append(f"predicted {subject.prediction.label}" + (f" ({shown})" if shown else ""))
    request, _ = store.request(answered.key)
    for message in request.messages:
        media = sum(1 for part in message.parts if part.media is not None)
        lines += ["", f"--- {message.role}" + (f" (with {media} media)" if media else "")]
        lines += block(message.text)
    generation = answered.generation
    if generation is not None:
        if generation.reasoning:
            lines += ["", "--- reasoning (not scored)", *block(generation.reasoning)]
        answer = generation.text or f"({generation.error or 'nothing'})"
        lines += ["", "--- answer", *block(answer)]
        lines += [f"note: {note}" for note in generation.notes]
    if subject.gold_true is not None:
        gold = block(gold_text(subject.gold_true))
        lines += ["", f"--- gold ({subject.gold_true.status})", *gold]
    lines += ["", "--- scores", *_score_lines(run, cell)]
    return page(lines)


def _score_lines(run: Run, cell: Cell) -> list[str]:
    answered = run.answered[cell.id]
    titles = metric_titles(run)
    keys = (answered.key, run.place(answered))
    subjects = {cell.id, *keys, *(group_id(cell, axis) for axis in ("variant", "arm", "repeat"))}
    lines = []
    for score in run.scores():
        if score.subject not in subjects:
            continue
        metric = f"{score.scorer}.{score.metric}"
        label = f"{titles[metric]} ({metric})" if metric in titles else metric
        value = "not applicable" if score.value is None else f"{score.value:.3f}"
        group = f"  over {score.subject}" if score.subject_kind == "group" else ""
        why = (score.detail or {}).get("why") if score.value is None else None
        value += f" ({why})" if why else ""
        lines.append(f"{label:<60} {value}{group}")
        for claim in (score.detail or {}).get("claims", ()):
            mark = {"supported": "+", "contradicted": "!", "unsupported": " "}[claim["verdict"]]
            lines.append(f"    {mark} [{claim['importance']}] {claim['text']}")
    return lines or ["none yet"]


def _count(tokens: int) -> str:
    if tokens < 1_000:
        return str(tokens)
    return f"{tokens / 1e3:.0f} k" if tokens < 1_000_000 else f"{tokens / 1e6:.1f} M"


def explanation_text(explanation: Sequence[Attribution], top: int) -> str:
    """For each attribution its strongest units, and how far its values can be trusted."""
    lines = []
    for a in explanation:
        lines.append(
            f"{a.sample}  {a.target} ({a.output} {a.full:.4g}, with every {a.unit} removed "
            f"{a.empty:.4g})"
        )
        told = ""
        if a.completeness_error is not None:
            told = f", completeness error {a.completeness_error:.2g}"
        lines.append(f"  {a.method} of {a.unit}s, {a.evaluations:,} evaluations{told}")
        lines += [f"    {missed}"] if (missed := incomplete(a)) else []
        seen = [(v, i) for i, v in enumerate(a.values) if v is not None]
        for value, place in sorted(seen, key=lambda item: (-abs(item[0]), item[1]))[:top]:
            spread = a.standard_errors[place] if a.standard_errors else None
            around = "" if spread is None else f" ± {spread:.2g}"
            lines.append(f"    {value:+.4g}{around}  {_short(named(a, place))}")
        for pair in strongest_pairs(a, top):
            around = "" if pair.standard_error is None else f" ± {pair.standard_error:.2g}"
            lines.append(f"    {pair.value:+.4g}{around}  together: {_short(named_pair(a, pair))}")
        unseen = len(a.values) - len(seen)
        lines += [f"    {unseen} {a.unit}s are not seen by the classifier"] if unseen else []
        lines += [f"    {value:+.4g}  no unit's: {name}" for name, value in a.held.items()]
        lines += [f"    {note}" for note in a.notes]
    return page(lines)


def _short(name: str) -> str:
    """A sentence as a unit, cut to a line."""
    return name if len(name) <= 80 else f"{name[:78]}…{name[-1]}"
