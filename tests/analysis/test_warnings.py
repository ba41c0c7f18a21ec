"""What a run's report warns of, and what it leaves out of ranks and counts."""

from __future__ import annotations

import pytest
from small_suite import changed, write

import harness
from harness.pipeline import report
from harness.results import Results

# 'refusing' says the same sentence whatever is asked; 'first' and 'second' answer, and note.
ANSWERS = """
from harness.records import Capabilities, Generation

class Answers:
    capabilities = Capabilities()

    def __init__(self, model):
        self.model = model
        self.asked = 0

    async def generate(self, request):
        self.asked += 1
        if self.model == "refusing":
            return Generation("I'm sorry, but I can't help with that.")
        text = f"{self.model} says of {request.messages[-1].text}"
        notes = ("the server  refuses temperature, left out.",)
        if self.model == "second":
            notes = tuple(f"note {self.asked} {i} " + "x" * 400 for i in range(7))
        return Generation(text, notes=notes)
"""

PROMPTS = {
    f"prompts__small__{name}.yaml": f"variant: {name}\nof: base\naxis: wording\n"
    f"preserves_meaning: true\nuser: '{words} {{{{ input }}}} {{{{ aspect }}}} {{{{ label }}}}'\n"
    for name, words in (("plain", "Explain this."), ("calm", "Take your time to tell."))
}

GASTRITIS = "id,note,label,predicted\n" + "".join(
    f"s{i},Note number {i}.,gastritis,gastritis\n" for i in range(6)
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("warned")
    text = changed(
        source={"kind": "table", "path": "./notes.csv", "text": "note", "label": "label", "id": "id"},
        classifier={
            "kind": "recorded", "path": "./notes.csv", "sample": "id", "label": "predicted"
        },
        families=[{"family": "small", "variants": ["plain", "calm"], "aspects": ["causes"]}],
        arms=["predicted"],
        repeats=1,
        models=[
            {"name": name, "backend": "./answers.py:Answers", "model": name}
            for name in ("refusing", "first", "second")
        ],
        scorers=["stability"],
        controls=[],
    )  # fmt: skip
    harness.run(
        write(folder, text, **{"notes.csv": GASTRITIS, "answers.py": ANSWERS}, **PROMPTS),
        out=folder / "run",
    )
    return report(folder / "run").results


def test_a_model_that_only_refuses_is_out_of_the_ranks_of_stability(results: Results) -> None:
    refusing = next(m for m in results.models if m.name == "refusing")
    assert refusing.no_answer_rate == 1.0
    assert {r.model for r in results.ranks} == {"first", "second"}
    stability = next(s for s in results.verdict if s.topic == "stability")
    assert "refusing gave no answer in 100 % of its cells" in stability.text


def test_what_a_server_refused_is_counted_by_model(results: Results) -> None:
    said = "Model first: 12 of 12 answers: 'the server refuses temperature, left out'."
    assert said in results.warnings
    assert not [w for w in results.warnings if "refusing" in w]


def test_many_notes_are_cut_and_counted(results: Results) -> None:
    mine = [w for w in results.warnings if w.startswith("Model second:")]
    assert len(mine) == 6
    assert all(len(w) < 230 for w in mine)
    assert mine[-1].startswith("Model second: 79 other notes")  # 12 answers with 7 notes each


def test_the_gold_counted_is_the_gold_that_the_run_s_cells_are_held_against(
    results: Results,
) -> None:
    # The folder holds two conditions by two aspects; the run asks one aspect of one condition.
    assert results.gold.records == 1
    assert results.gold.claims == 2
