"""Replies of servers, from the wire to the report: what each becomes, and what is said of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_server import Reply, completion, serving
from small_suite import changed, write

import harness
from harness.pipeline import report
from harness.results import Results
from harness.scoring import Run
from harness.store import Store

ANSWER = "Gastritis is an inflammation. Bacteria are a cause. Rest helps. See a doctor, please."
HALF = ANSWER[:40]
HARMONY = "<|channel|>analysis<|message|>why<|end|><|start|>assistant<|channel|>final<|message|>"

# By model: what its server answers to the n-th of its requests.
REPLIES: dict[str, Any] = {
    "exceeded": lambda _: completion(HALF, "model_context_window_exceeded"),
    "shouting": lambda _: completion(HALF, "MAX_TOKENS"),
    "abort": lambda _: completion(HALF, "abort"),
    "network": lambda _: completion(HALF, "network_error"),
    "silent": lambda n: completion(f"{n} {HALF}", None),  # type: ignore[arg-type]
    "unheard": lambda n: completion(f"{n} {HALF}", "a_word_nobody_knows"),
    "thinking": lambda _: completion(None, reasoning_content=ANSWER),
    "harmony": lambda n: completion(f"{HARMONY}{n} {ANSWER}"),
    "thought": lambda n: completion(f"<thought>why</thought>{n} {ANSWER}"),
    "seed": lambda n: completion(f"<seed:think>why</seed:think>{n} {ANSWER}"),
    "brackets": lambda n: completion(f"【think】why【/think】{n} {ANSWER}"),
    "pondering": lambda n: completion(f"<pondering>why</pondering>{n} {ANSWER}"),
    "filtered": lambda _: Reply(completion(None, "content_filter").body, 400),
    "cutter": lambda n: Reply({**completion(f"{n} {ANSWER}").body, "usage": {"prompt_tokens": 2_050, "completion_tokens": 30}}),
}  # fmt: skip
NOTES = "id,note,label,predicted\n" + "".join(
    f"s{i},{i} {'stomach ' * 8_000},gastritis,gastritis\n" for i in range(2)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("said")
    counts: Counter[str] = Counter()

    def script(body: dict[str, Any], _: int) -> Reply:
        counts[body["model"]] += 1
        return REPLIES[body["model"]](counts[body["model"]])

    with serving(script) as server:
        text = changed(
            source={"kind": "table", "path": "./notes.csv", "text": "note", "label": "label", "id": "id"},
            classifier={
                "kind": "recorded", "path": "./notes.csv", "sample": "id", "label": "predicted"
            },
            families=[{"family": "small", "variants": ["plain"], "aspects": ["causes"]}],
            arms=["predicted"],
            repeats=1,
            limits={"max_cost": 100},
            models=[
                {"name": name, "backend": "openai", "base_url": server.url, "max_retries": 0,
                 "price": {"input": 1, "output": 1}}
                for name in REPLIES
            ],
            scorers=["claims"],
            controls=[],
        )  # fmt: skip
        plain = "variant: plain\nof: base\naxis: wording\npreserves_meaning: true\nuser: '{{ input }}'\n"
        files = {"notes.csv": NOTES, "prompts__small__plain.yaml": plain}
        harness.run(write(folder, text, **files), out=folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return report(folder).results


def outcomes(results: Results, name: str) -> dict[str, int]:
    return dict(next(m.outcomes for m in results.models if m.name == name))


def of(results: Results, model: str, words: str) -> list[str]:
    return [w for w in results.warnings if w.startswith(f"Model {model}:") and words in w]


@pytest.mark.parametrize(
    ("model", "outcome"),
    [
        ("exceeded", "truncated"),
        ("shouting", "truncated"),
        ("abort", "server"),
        ("network", "server"),
        ("silent", "ok"),
        ("unheard", "ok"),
        ("thinking", "empty"),
        ("harmony", "ok"),
        ("thought", "ok"),
        ("seed", "ok"),
        ("brackets", "ok"),
        ("pondering", "ok"),
        ("filtered", "refusal"),
        ("cutter", "ok"),
    ],
)
def test_each_reply_has_its_outcome(results: Results, model: str, outcome: str) -> None:
    assert outcomes(results, model) == {outcome: 2}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("exceeded", "were cut off by a limit"),
        ("silent", "2 of 2 answers: 'the server does not say why the answer ended"),
        ("unheard", "2 of 2 answers: 'the finish reason 'a_word_nobody_knows' is unknown here"),
        (
            "thinking",
            "look at the server's reasoning parser, at chat_template_kwargs and at max_tokens",
        ),
        ("pondering", "hold reasoning between marks nobody knows"),
        ("filtered", "2 of 2 answers: 'a filter of the server answered instead of the model"),
        ("cutter", "the server cuts prompts"),
        ("silent", "came without usage, so that limits.max_cost rests on estimates"),
    ],
)
def test_what_is_odd_is_counted_and_said(results: Results, model: str, words: str) -> None:
    assert len(of(results, model, words)) == 1


def test_what_is_as_it_should_be_is_not_warned_of(results: Results) -> None:
    assert not [w for w in of(results, "cutter", "") if "cuts prompts" not in w]
    for model in ("harmony", "thought", "seed", "brackets"):
        assert not [w for w in of(results, model, "") if "without usage" not in w]


@pytest.mark.parametrize("model", ["harmony", "thought", "seed", "brackets"])
def test_the_answer_alone_is_scored_and_its_reasoning_kept(folder: Path, model: str) -> None:
    with Store.read(folder) as store:
        mine = [a.generation for a in Run(store).scorable() if a.cell.model == model]
    assert len(mine) == 2
    for generation in mine:
        assert generation is not None
        assert generation.text.endswith(ANSWER)
        assert generation.reasoning == "why"


def test_why_cells_failed_is_in_the_words_of_the_server(results: Results) -> None:
    failed = {f.model: f.why for f in results.failures}
    assert "finish reason 'abort'" in failed["abort"]
    assert "finish reason 'network_error'" in failed["network"]
