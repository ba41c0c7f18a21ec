"""How often a claim that its source supports is called contradicted.

Physicians' statements against the answers they were drawn from (K-QA), and the claims and
paraphrases of this repository's gold against the texts that they cite (NIH). The rules were changed
after looking at every second answer of K-QA and at the gold of every second label; the other halves
were only counted. Last, the statements that three physicians judged against answers of language
models: how often "contradicted" is right, and what subtracting it does to the AUC of support.

    python benchmarks/claim_false_alarms.py ../shared/data
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from calibrate_claim_coverage import read
from claim_coverage import auc
from claim_verdicts import GOLD, halves

from harness.gold import join
from harness.records import Claim
from harness.scorers.entailment import SUPPORTED, Coverage, OverlapCosine, coverage


def verdict(found: Coverage) -> str:
    """The verdict that a text's coverage of a claim gives."""
    if found.contradiction >= SUPPORTED and found.contradiction > found.support:
        return "contradicted"
    return "supported" if found.support >= SUPPORTED else "unsupported"


def line(name: str, verdicts: Iterable[str]) -> str:
    """One row: how many are called supported and contradicted."""
    counts = Counter(verdicts)
    total = sum(counts.values())
    wrong = counts["contradicted"]
    return (
        f"{name:34} supported {counts['supported'] / total:.3f}  "
        f"contradicted {wrong} of {total} ({wrong / total:.3f})"
    )


def statements(model: OverlapCosine, folder: Path) -> None:
    """Physicians' statements against the answers they were drawn from."""
    rows = read(folder / "kqa/answers.jsonl")
    for half, start in (("read", 0), ("unread", 1)):
        found = [
            verdict(one)
            for row in rows[start::2]
            for one in coverage(
                model, row["Free_form_answer"], [*row["Must_have"], *row["Nice_to_have"]]
            )
        ]
        print(line(f"K-QA {half}, own answer", found))


def cited(model: OverlapCosine, folder: Path) -> None:
    """Gold's claims and their paraphrases against the texts that they cite."""
    texts = {row["id"]: row["answer"] for row in read(folder / "nih_qa/nih_qa.jsonl")}

    def source(claim: Claim) -> str:
        ids = dict.fromkeys(one.id.partition(":")[2] for one in claim.sources)
        return join(texts[name] for name in ids if name in texts)

    for half, records in halves(GOLD).items():
        claims = [
            claim for r in records for claim in r.claims
            if claim.importance != "must_not" and source(claim)
        ]  # fmt: skip
        for name, wordings in (
            ("claims", [(c, c.text) for c in claims]),
            ("paraphrases", [(c, text) for c in claims for text in c.paraphrases]),
        ):
            found = [verdict(coverage(model, source(c), [text])[0]) for c, text in wordings]
            print(line(f"gold/gi {half}, {name} and source", found))


def judged(model: OverlapCosine, folder: Path) -> None:
    """Statements that physicians judged against answers of language models."""
    by_answer: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in read(folder / "kqa/judged_claims.jsonl"):
        by_answer[row["answer"]].append((row["claim"], row["majority"]))
    found = [
        (label, one)
        for answer, own in by_answer.items()
        for (_, label), one in zip(
            own, coverage(model, answer, [claim for claim, _ in own]), strict=True
        )
    ]
    called = Counter(label for label, one in found if verdict(one) == "contradicted")
    labels = np.array([label == "Entailment" for label, _ in found])
    support = np.array([one.support for _, one in found])
    against = np.array([one.contradiction for _, one in found])
    total = sum(label == "Contradiction" for label, _ in found)
    print(
        f"judged by physicians: {len(found)} statements, {called.total()} called contradicted, "
        f"{called['Contradiction']} of the {total} that are; AUC of support "
        f"{auc(labels, support):.3f}, less contradiction {auc(labels, support - against):.3f}"
    )


def main(folder: Path) -> None:
    """Prints the false alarms of each source."""
    model = OverlapCosine()
    statements(model, folder)
    cited(model, folder)
    judged(model, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
