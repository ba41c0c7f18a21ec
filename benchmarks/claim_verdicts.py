"""How often claim verdicts are right, on data with a half that nobody looked at.

The pairs of `claim_pairs/` by kind: numbers, order, hedges, negation, focus, roles, and neighbours
on which no rule may fire, half of which were not looked at while the rules were written. Gold's own
paraphrases (should read as supported) and hand-written contradictions (as contradicted), CondaQA's
edits and SNLI's held-out pairs. The cues of negation, opposites and numbers were chosen
on the halves called read (every second label of gold, every second passage of CondaQA, SNLI's pairs
that are not held out) and on K-QA's answers that nobody judged. The halves called unread were only
ever counted, so they say what a new text may expect.

    python benchmarks/claim_verdicts.py ../shared/data
    python benchmarks/claim_verdicts.py pairs    # the pairs alone, with those that are wrong
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from calibrate_claim_coverage import condaqa_pairs, read
from claim_coverage import auc

from harness.gold import gold_text, join, load
from harness.octa.writer import STAGES
from harness.records import Claim, GoldRecord
from harness.scorers.claims import Claims
from harness.scorers.entailment import SUPPORTED, OverlapCosine

GOLD = Path(__file__).parents[1] / "gold/gi"
PAIRS = Path(__file__).parent / "claim_pairs"
VERDICTS = ("supported", "contradicted", "unsupported")


def halves(folder: Path) -> dict[str, list[GoldRecord]]:
    """Gold records of every second label, in alphabetical order, and of the others."""
    gold = load(folder)
    ordered = sorted(gold.labels)
    return {
        half: [record for record in gold.records if record.label in ordered[start::2]]
        for start, half in enumerate(("read", "unread"))
    }


def shares(found: Iterable[str]) -> str:
    """Counts as shares of the three verdicts."""
    counts = Counter(found)
    total = sum(counts.values())
    return "  ".join(f"{name} {counts[name] / total:.3f}" for name in VERDICTS) + f"  of {total}"


def verdicts(scorer: Claims, records: Iterable[GoldRecord], control: str) -> tuple[str, float]:
    """Verdicts on the claims that a control speaks of, and its mean recall of `must` claims."""
    found: list[str] = []
    recalls: list[float] = []
    for record in records:
        said = {claim.id: _said(claim, control) for claim in record.claims}
        wanted = {name for name, text in said.items() if text}
        text = gold_text(record) if control == "gold" else join(t for t in said.values() if t)
        # Without paraphrases, or the control made of them would be read back.
        claims = tuple(replace(claim, paraphrases=()) for claim in record.claims)
        reading = scorer.reading(text, replace(record, claims=claims))
        found += [v.verdict for v in reading.verdicts if v.claim.id in wanted]
        if reading.recall is not None:
            recalls.append(reading.recall)
    return shares(found), float(np.mean(recalls))


def _said(claim: Claim, control: str) -> str | None:
    if claim.importance == "must_not":
        return None
    if control == "negated":
        return claim.contradiction
    return claim.text if control == "gold" or not claim.paraphrases else claim.paraphrases[0]


def pair_verdicts(model: OverlapCosine, pairs: list[tuple[str, str]]) -> list[str]:
    """The verdict that each pair of premise and hypothesis has by itself."""
    return [
        "contradicted" if score.contradiction >= SUPPORTED
        else "supported" if score.support >= SUPPORTED
        else "unsupported"
        for score in model.entailment(pairs)
    ]  # fmt: skip


def pairs_by_kind(scorer: Claims, half: str, show: bool) -> None:
    """How many pairs of each kind have their verdict; stages with the paraphrases of their gold."""
    kinds = yaml.safe_load((PAIRS / f"{half}.yaml").read_text("utf-8"))
    others = {wordings[0]: wordings[1:] for wordings in STAGES.values()}
    right = 0
    for kind, rows in kinds.items():
        wrong = []
        for text, statement, wanted in rows:
            claim = Claim("claim", statement, paraphrases=others.get(statement, ()))
            found = scorer.reading(text, GoldRecord("pair", (claim,), label="pair")).verdicts[0]
            denied = wanted.removeprefix("not ")
            if (found.verdict == denied) is (denied != wanted):
                wrong.append(f"    {found.verdict}, not {wanted}: {text} | {statement}")
        right += len(rows) - len(wrong)
        print(f"pairs   {half:6} {kind:30} {len(rows) - len(wrong)} of {len(rows)}")
        for row in wrong if show else ():
            print(row)
    print(f"pairs   {half:6} {'all':30} {right} of {sum(map(len, kinds.values()))}")


def main(folder: Path | None) -> None:
    """Prints shares of verdicts by data, half and what they should be."""
    scorer = Claims()
    for half in ("read", "unread"):
        pairs_by_kind(scorer, half, show=folder is None)
    if folder is None:
        return
    model = scorer.model
    assert isinstance(model, OverlapCosine)
    for half, records in halves(GOLD).items():
        for control in ("gold", "paraphrase", "negated"):
            line, recall = verdicts(scorer, records, control)
            print(f"gold/gi {half:6} {control:10} {line}  recall {recall:.3f}")
    for edit, name in ((1, "paraphrase"), (3, "affirmed")):
        for half, pairs in condaqa_pairs(folder / "condaqa/condaqa_dev.json", edit).items():
            print(f"CondaQA {half:6} {name:10} {shares(pair_verdicts(model, pairs))}")
    rows = read(folder / "snli/snli_dev_test.jsonl")
    for half, held_out in (("read", False), ("unread", True)):
        own = [row for row in rows if row["held_out"] is held_out][:2000]
        scores = model.entailment([(row["premise"], row["hypothesis"]) for row in own])
        found = pair_verdicts(model, [(row["premise"], row["hypothesis"]) for row in own])
        labels = np.array([row["label"] for row in own])
        for label in ("entailment", "neutral", "contradiction"):
            line = shares(v for v, row in zip(found, own, strict=True) if row["label"] == label)
            print(f"SNLI    {half:6} {label:10.10} {line}")
        support = np.array([score.support for score in scores])
        against = np.array([score.contradiction for score in scores])
        print(
            f"SNLI    {half:6} AUC support {auc(labels == 'entailment', support):.3f}  "
            f"contradiction {auc(labels == 'contradiction', against):.3f}"
        )


if __name__ == "__main__":
    main(None if sys.argv[1] == "pairs" else Path(sys.argv[1]))
