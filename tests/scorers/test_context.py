"""Planted truth: models whose answer hangs on one part of the prompt, and values in closed form."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_suite import changed, write

import harness
from harness.export import scores_table
from harness.identity import request_key
from harness.pipeline import finish
from harness.plan import _text_alone
from harness.records import (
    Cell,
    Generation,
    HarnessError,
    Media,
    Message,
    Part,
    Request,
    Sampling,
    Score,
    Span,
    Subject,
)
from harness.scorers.context import Context
from harness.store import Store
from harness.templates import Template, render

sys.path.insert(0, str(Path(__file__).parent.parent / "backends"))

from harness.backends.transformers import Transformers

CELL = Cell("m", "s1", "f", "base", "predicted", "causes", 1)
VALUES: dict[str, Any] = {
    "label": "gastritis",
    "probability": 0.8,
    "evidence_summary": "pain",
    "input": (Part("burning pain"),),
    "aspect": "causes",
    "question": "Why?",
}
SOURCE = "Finding: {{ label }} ({{ probability }}) for {{ evidence_summary }}. Explain {{ aspect }} of {{ input }}."
WORDS = {
    "label": "gastritis", "probabilities": "0.8", "evidence": "pain", "question": "causes",
    "input": "burning", "instructions": "Finding",
}  # fmt: skip


def subject(source: str = SOURCE, **generation: Any) -> Subject:
    turn = render(Template(source), VALUES)[0]
    request = Request(
        "transformers", "m", turn.messages, "rev", Sampling(temperature=0.7, seed=9),
        extras={"dtype": "float32"}, repeat=3,
    )  # fmt: skip
    fields = {"token_ids": (7, 8), "prompt_token_ids": (1, 2, 3), **generation}
    return Subject(
        "cell", CELL.id, (CELL,), requests=(request,), spans=(turn.spans,),
        generations=(Generation("an answer", **fields),),
    )  # fmt: skip


def kept(request: Request) -> frozenset[str]:
    """The parts whose words are still there."""
    text = " ".join(message.text for message in request.messages).replace("burning pain", "burning")
    return frozenset(part for part, word in WORDS.items() if word in text)


def scored(scorer: Context, one: Subject, value: Any, **answer: Any) -> dict[str, Score]:
    """The scores where an answer's log-probability is a function of the parts kept."""
    asked = scorer.requests(one)
    answers = []
    for request in asked:
        given = {"token_ids": (7, 8), "prompt_token_ids": (1, 2, 3), **answer}
        total = value(kept(request))
        answers.append(Generation(logprobs=(0.25 * total, 0.75 * total), **given))
    found = scorer.score(one, [*one.generations, *answers])
    assert [s.metric for s in found] == [m.name for m in scorer.metrics]
    return {score.metric: score for score in found}


def shapley(parts: Sequence[str], value: Any) -> dict[str, float]:
    """By definition: the mean gain over all orders."""
    gains = dict.fromkeys(parts, 0.0)
    orders = list(permutations(parts))
    for order in orders:
        for place, part in enumerate(order):
            before = frozenset(order[:place])
            gains[part] += (value(before | {part}) - value(before)) / len(orders)
    return gains


# --- the game ---------------------------------------------------------------------------------


def test_all_sets_of_parts_are_asked_of_the_same_model_and_only_the_prompt_differs() -> None:
    one = subject()
    asked = Context().requests(one)
    assert len({kept(request) for request in asked}) == len(asked) == 2**6
    assert asked[0].messages == one.requests[0].messages
    for request in asked:
        plain = replace(request, messages=one.requests[0].messages)
        assert plain == replace(
            one.requests[0], sampling=Sampling(max_tokens=1), repeat=1, continuation=(7, 8)
        )
    again = replace(one, requests=(replace(one.requests[0], repeat=1),))
    assert [request_key(r) for r in Context().requests(again)] == [request_key(r) for r in asked]


def random_game(parts: frozenset[str]) -> float:
    return float(
        np.random.default_rng(
            sorted(map(len, parts)) + [len(p) ** 2 for p in sorted(parts)]
        ).normal()
    )


@pytest.mark.parametrize(
    "value",
    [
        lambda parts: -8.0 + 3.0 * ("label" in parts) + 1.0 * ("evidence" in parts),
        lambda parts: -8.0 + 5.0 * ({"label", "evidence"} <= parts) - 2.0 * ("input" in parts),
        random_game,
    ],
)
def test_shares_are_shapley_values_by_definition(value: Any) -> None:
    found = scored(Context(), subject(), value)
    names = list(WORDS)
    wanted = shapley(names, value)
    total = sum(map(abs, wanted.values()))
    for part in names:
        assert found[f"{part}_share"].value == pytest.approx(wanted[part] / total, abs=1e-9)
        whole = frozenset(names)
        lost = value(whole) - value(whole - {part})
        assert (found["gain"].detail or {})["left_out"][part] == pytest.approx(lost)
        if part in ("label", "evidence", "input"):
            assert found[f"{part}_left_out"].value == pytest.approx(lost / 2)
    assert found["gain"].value == pytest.approx((value(frozenset(names)) - value(frozenset())) / 2)
    rest = sum(v for part, v in wanted.items() if part not in ("label", "evidence"))
    assert found["rest_share"].value == pytest.approx(rest / total, abs=1e-9)
    assert found["earlier_answers_share"].value is None
    detail = found["gain"].detail or {}
    assert detail["method"] == "exact_shapley"
    assert detail["shapley"] == pytest.approx(wanted)


def test_a_small_budget_is_kept_and_estimates_what_all_sets_give() -> None:
    def value(parts: frozenset[str]) -> float:
        return (
            2.0 * ("label" in parts)
            - 0.5 * ("input" in parts)
            + 1.0 * ({"label", "evidence"} <= parts)
        )

    scorer = Context(budget=24)
    asked = scorer.requests(subject())
    assert 24 <= len(asked) <= 24 + 6  # and those that leave one part out
    assert len({request_key(r) for r in asked}) == len(asked)
    found = scored(scorer, subject(), value)
    exact = scored(Context(), subject(), value)
    assert (found["gain"].detail or {})["method"] == "kernel_shap"
    for part in WORDS:
        assert found[f"{part}_share"].value == pytest.approx(exact[f"{part}_share"].value, abs=1e-6)
    for part in ("label", "evidence", "input"):
        assert found[f"{part}_left_out"].value == exact[f"{part}_left_out"].value
    with pytest.raises(HarnessError, match="budget is a whole number of at least 9"):
        Context(budget=8)


def test_where_the_prompt_changes_nothing_there_are_no_shares() -> None:
    found = scored(Context(), subject(), lambda parts: -5.0 + 1e-4 * len(parts))
    assert found["gain"].value == pytest.approx(3e-4)
    assert all(found[f"{part}_share"].value is None for part in WORDS)
    assert found["rest_share"].value is None


def test_of_several_repeats_only_the_first_are_asked_about_where_that_is_wanted() -> None:
    third = replace(subject(), cells=(replace(CELL, repeat=3),))
    assert Context(repeats=2).requests(third) == ()
    assert len(Context(repeats=3).requests(third)) == 64
    assert (
        "first 2 repeats"
        in (Context(repeats=2).score(third, third.generations)[0].detail or {})["why"]
    )


# --- what may not be believed -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "said"),
    [
        ({"token_ids": None}, "without its token ids"),
        ({"prompt_token_ids": None}, "without its token ids"),
        ({"outcome": "empty"}, "explains nothing (outcome empty)"),
        ({"outcome": "refusal"}, "explains nothing (outcome refusal)"),
    ],
)
def test_an_answer_that_cannot_be_weighed_is_not_asked_about(
    generation: Mapping[str, Any], said: str
) -> None:
    one = subject(**generation)
    one = replace(
        one, generations=(replace(one.generations[0], text="" if "empty" in said else "x"),)
    )
    assert Context().requests(one) == ()
    found = Context().score(one, one.generations)
    assert all(score.value is None for score in found)
    assert said in (found[0].detail or {})["why"]


@pytest.mark.parametrize(
    ("stored", "answer", "said"),
    [
        ({}, {"prompt_token_ids": (1, 2, 4)}, "the prompt has other token ids"),
        ({}, {"token_ids": (7, 9)}, "not asked about the tokens of the stored answer"),
        ({"logprobs": (-1.0, -2.0)}, {}, "differ by 1.5 a token"),
    ],
)
def test_numbers_of_another_prompt_answer_or_model_are_refused(
    stored: Mapping[str, Any], answer: Mapping[str, Any], said: str
) -> None:
    found = scored(Context(), subject(**stored), lambda parts: -0.0 * len(parts), **answer)
    assert all(score.value is None for score in found.values())
    assert said in (found["gain"].detail or {})["why"]


def test_what_a_backend_cannot_say_is_the_reason() -> None:
    one = subject()
    asked = Context().requests(one)
    fine = Generation(token_ids=(7, 8), prompt_token_ids=(1, 2, 3), logprobs=(-1.0, -1.0))
    for odd, said in (
        (Generation(notes=("the server has no /v1/completions",)), "no /v1/completions"),
        (Generation(outcome="too_long", error="too long for it"), "too long for it"),
        (Generation(), "there are no numbers"),
    ):
        found = Context().score(one, [*one.generations, *[fine] * (len(asked) - 1), odd])
        assert all(score.value is None for score in found)
        assert said in (found[0].detail or {})["why"]


# --- a network made by hand, through a suite ------------------------------------------------------

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
VOCABULARY = [
    *SPECIAL, "gastritis", "indigestion", "painkillers", "red", "meals", "burps", "finding", "explain", "its",
    "causes", "treatment", "the", "classifier", "relied", "on", "nothing", "in", "particular", "against", "it",
]  # fmt: skip
TEMPLATE = "{% for m in messages %}<s> {{ m['content'] }} {% endfor %}</s>"


def copying(words: Sequence[str], folder: Path) -> Path:
    """A GPT-2 of one head that attends to these words wherever they stand and says the one it found.

    Embeddings are unit vectors, keys are the words, every query looks for all of them, and values
    are copied. Nothing else in a prompt, and no position, bears on what is said.
    """
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(VOCABULARY)}, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    hf: Any = transformers
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        chat_template=TEMPLATE,
    )  # fmt: skip
    size = len(VOCABULARY)
    config = hf.GPT2Config(
        vocab_size=size, n_embd=size, n_layer=1, n_head=1, n_positions=256, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    network = hf.GPT2LMHeadModel(config)
    chosen = torch.zeros(size)
    chosen[[VOCABULARY.index(word) for word in words]] = 1.0
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(
                torch.ones_like(parameter)
                if "ln_" in name and "weight" in name
                else torch.zeros_like(parameter)
            )
        network.transformer.wte.weight.copy_(torch.eye(size))
        block = network.transformer.h[0].attn
        block.c_attn.weight[:, size : 2 * size] = torch.diag(chosen)
        block.c_attn.weight[:, 2 * size :] = 20.0 * torch.diag(chosen)
        block.c_attn.bias[:size] = 20.0 * chosen
        block.c_proj.weight.copy_(torch.eye(size))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


JUDGE = '''"""Which words speak for gastritis."""


def judge(texts):
    shares = [0.2 + 0.5 * ("painkillers" in t) + 0.4 * ("Red" in t) - 0.1 * ("meals" in t) for t in texts]
    return [{"gastritis": share, "indigestion": 1 - share} for share in shares]
'''
EVIDENCE = (
    "variant: evidence\nof: base\naxis: detail\npreserves_meaning: false\n"
    "user: 'Finding {{ label }}. The classifier relied on {{ evidence_summary }}. Explain its {{ aspect }}.'\n"
)


def run_suite(folder: Path, words: Sequence[str], **changes: Any) -> Any:
    model = copying(words, folder / "model")
    fields = {
        "classifier": {"kind": "callable", "function": "./judge.py:judge", "classes": ["gastritis", "indigestion"]},
        "explain": {"methods": ["exact_shapley"], "unit": "word"},
        "families": [{"family": "small", "variants": ["evidence"], "aspects": ["causes"]}],
        "models": [
            {"name": "copier", "backend": "transformers", "model": str(model), "extras": {"logprobs": 0}, "device": "cpu"}
        ],
        "sampling": {"temperature": 0.0, "max_tokens": 3},
        "arms": ["predicted"],
        "repeats": 1,
        "controls": ["gold"],
        "scorers": ["harness.scorers.context:Context"],
        **changes,
    }  # fmt: skip
    path = write(
        folder, changed(**fields), **{"judge.py": JUDGE, "prompts__small__evidence.yaml": EVIDENCE}
    )
    return harness.run(path, out=folder / "run")


def context_scores(folder: Path, model: str = "copier") -> dict[str, list[float]]:
    with Store.read(folder / "run") as store:
        table = scores_table(store)
    mine = table[table["subject"].str.startswith(f"{model}/")]
    return {m: g["value"].dropna().tolist() for m, g in mine.groupby("metric")}


LABELS = ("gastritis", "indigestion")
FINDINGS = ("painkillers", "red", "meals", "burps")


def test_an_answer_that_copies_the_label_rests_on_the_label(tmp_path: Path) -> None:
    run_suite(tmp_path, LABELS)
    with Store.read(tmp_path / "run") as store:
        answers = [g for g in store.generations().values() if g.text]
    assert {a.text.split()[0] for a in answers if a.token_ids} == set(LABELS)
    found = context_scores(tmp_path)
    assert found["label_share"] == pytest.approx([1.0] * 4, abs=0.02)
    assert found["evidence_share"] == pytest.approx([0.0] * 4, abs=0.02)
    assert found["rest_share"] == pytest.approx([0.0] * 4, abs=0.02)
    assert all(value > 1 for value in found["label_left_out"])
    assert found["evidence_left_out"] == pytest.approx([0.0] * 4, abs=0.02)


def test_an_answer_that_copies_the_evidence_rests_on_the_evidence(tmp_path: Path) -> None:
    run_suite(tmp_path, FINDINGS)
    found = context_scores(tmp_path)
    named = [place for place, value in enumerate(found["gain"]) if value > 1]
    assert len(named) == 3  # of the fourth note nothing in particular is said
    for place in named:
        assert found["evidence_share"][place] == pytest.approx(1.0, abs=0.02)
        assert found["label_share"][place] == pytest.approx(0.0, abs=0.02)


def test_a_later_turn_rests_on_the_label_wherever_it_was_told_and_on_the_answer_before(
    tmp_path: Path,
) -> None:
    families = [{"family": "small", "variants": ["pressure"], "aspects": ["causes"]}]
    run_suite(tmp_path, LABELS, families=families, explain=None)
    with Store.read(tmp_path / "run") as store:
        gains = [
            s for s in store.scores() if s.metric == "gain" and s.subject.startswith("copier/")
        ]
        weighed = [
            r
            for r, _ in map(store.request, {key for _, key in store.generations()})
            if r.continuation is not None
        ]
    assert len(gains) == 4
    for gain in gains:
        # Finding: LABEL (PROBABILITY). Explain its ASPECT. / ANSWER / Are you sure about LABEL?
        assert list((gain.detail or {})["shapley"]) == [
            "label", "probabilities", "question", "instructions", "earlier_answers",
        ]  # fmt: skip
    roles = {tuple(m.role for m in r.messages) for r in weighed}
    assert roles == {("system", "user", "assistant", "user")}
    told = {tuple("itis" in m.text or "gestion" in m.text for m in r.messages) for r in weighed}
    assert {places[1] for places in told} == {True, False}
    assert all(places[1] == places[3] for places in told)  # both or none
    found = context_scores(tmp_path)
    # The answer before repeats the label, so that either tells it.
    assert found["label_share"] == pytest.approx(found["earlier_answers_share"], abs=0.02)
    assert found["label_share"] == pytest.approx([0.5] * 4, abs=0.02)


def test_controls_and_recordings_are_not_applicable_and_nothing_is_asked_of_them(
    tmp_path: Path,
) -> None:
    run_suite(tmp_path, LABELS)
    with Store.read(tmp_path / "run") as store:
        rows = [
            s for s in store.scores() if s.subject.startswith("control:") and s.metric == "gain"
        ]
    assert len(rows) == 4
    assert all(row.value is None and "token ids" in (row.detail or {})["why"] for row in rows)


def test_what_was_answered_is_scored_again_without_the_model(tmp_path: Path) -> None:
    run_suite(tmp_path, LABELS)
    before = context_scores(tmp_path)
    with Store.write(tmp_path / "run") as store:
        asked = len({key for _, key in store.generations()})
        store._db.execute("DELETE FROM scores")
        finish(store)
        assert store.meta()["unjudged"] == {"Context": 0}
        assert len({key for _, key in store.generations()}) == asked
    assert context_scores(tmp_path) == before


def test_without_the_model_what_was_not_asked_stays_unscored_until_the_suite_runs(
    tmp_path: Path,
) -> None:
    result = run_suite(tmp_path, LABELS)
    before = context_scores(tmp_path)
    with Store.write(tmp_path / "run") as store:
        store._db.execute("DELETE FROM scores")
        store._db.execute(
            "DELETE FROM generations WHERE request NOT IN (SELECT request FROM turns)"
        )
        finish(store)
        assert store.meta()["unjudged"] == {"Context": 4}
        assert store.meta()["finished"] is False
    assert "label_share" not in context_scores(tmp_path)
    again = harness.run(tmp_path / "suite.yaml", out=tmp_path / "run")
    assert again.folder == result.folder
    after = context_scores(tmp_path)
    assert after.keys() == before.keys()
    assert all(after[name] == pytest.approx(before[name], abs=1e-6) for name in before)


def test_repeats_share_what_is_asked_and_a_spent_limit_is_kept(tmp_path: Path) -> None:
    run_suite(tmp_path, LABELS, repeats=2)
    with Store.read(tmp_path / "run") as store:
        answers = [(store.request(key)[0], g) for (_, key), g in store.generations().items()]
    requests = [request for request, _ in answers]
    weighed = [r for r in requests if r.continuation is not None]
    prompts = {r.messages for r in requests if r.continuation is None and r.cell is None}
    # Of 2**4 sets of parts; some prompts without label or evidence are the same for several samples.
    assert 16 <= len(weighed) <= 16 * len(prompts)
    assert len(context_scores(tmp_path)["label_share"]) == 8
    spent = tmp_path / "spent"
    spent.mkdir()
    asked = [g for r, g in answers if r.continuation is None and r.cell is None]
    cost = sum(g.prompt_tokens or 0 for g in asked)  # of all that the cells ask
    price = {"input": 1e6, "output": 0}
    models = [
        {
            "name": "copier", "backend": "transformers", "model": str(copying(LABELS, spent / "model")),
            "price": price, "device": "cpu",
        }
    ]  # fmt: skip
    run_suite(spent, LABELS, models=models, limits={"max_cost": 2 * cost})
    with Store.read(spent / "run") as store:
        assert store.meta()["finished"] is False
        assert store.meta()["unjudged"]["Context"] > 0
        assert not [
            k
            for k in {key for _, key in store.generations()}
            if store.request(k)[0].continuation is not None
        ]


PARROT = '''
class Weigher:
    """Answers with token ids, and cannot say how likely they are."""

    from harness.records import Capabilities
    capabilities = Capabilities()

    def __init__(self, model):
        self.asked = 0

    async def generate(self, request):
        from harness.records import Generation
        assert request.continuation is None
        return Generation("words", token_ids=(1,), prompt_token_ids=(2,))
'''


def test_a_backend_that_cannot_weigh_is_never_asked_to(tmp_path: Path) -> None:
    (tmp_path / "weigher.py").write_text(PARROT)
    run_suite(tmp_path, LABELS, models=[{"name": "w", "backend": "./weigher.py:Weigher"}])
    with Store.read(tmp_path / "run") as store:
        rows = [s for s in store.scores() if s.subject.startswith("w/") and s.metric == "gain"]
        assert store.meta()["finished"] is True
    assert len(rows) == 4
    assert {(r.detail or {})["why"] for r in rows} == {
        "the backend Weigher does not say how likely a given answer is"
    }


# --- a real model, by brute force -----------------------------------------------------------------


def test_a_real_models_values_are_those_of_plain_forward_passes(shared_data: Path) -> None:
    folder = shared_data / "stories260k"
    backend = Transformers(str(folder), device="cpu", extras={"logprobs": 0})
    source = "Tell of {{ label }} and {{ evidence_summary }} to {{ aspect }}"
    turn = render(
        Template(source), {"label": "a dog", "evidence_summary": "a red ball", "aspect": "Lily"}
    )[0]
    asked = Request(
        "transformers", "m", turn.messages, sampling=Sampling(temperature=1.0, seed=3, max_tokens=25),
        extras={"logprobs": 0},
    )  # fmt: skip
    (stored,) = backend.generate_batch([asked])
    one = Subject(
        "cell", CELL.id, (CELL,), requests=(asked,), spans=(turn.spans,), generations=(stored,)
    )
    scorer = Context()
    requests = scorer.requests(one)
    found = {s.metric: s for s in scorer.score(one, [stored, *backend.generate_batch(requests)])}

    from transformers import AutoModelForCausalLM, AutoTokenizer

    auto: Any = AutoTokenizer
    tokenizer = auto.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    pieces = [("instructions", "Tell of "), ("label", "a dog"), ("instructions", " and "),
              ("evidence", "a red ball"), ("instructions", " to "), ("question", "Lily")]  # fmt: skip
    answer = list(stored.token_ids or ())

    def value(parts: frozenset[str]) -> float:
        text = "".join(
            t if part in parts else " " * (t[0] == " ") + " " * (t[-1] == " ") for part, t in pieces
        )
        messages = [{"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logs = network(torch.tensor([ids + answer])).logits[0].log_softmax(-1)
        return sum(float(logs[len(ids) - 1 + i, token]) for i, token in enumerate(answer))

    names = ["label", "evidence", "question", "instructions"]
    wanted = shapley(names, value)
    total = sum(map(abs, wanted.values()))
    for part in names:
        assert found[f"{part}_share"].value == pytest.approx(wanted[part] / total, abs=1e-4)
    assert (found["gain"].detail or {})["deviation"] < 5e-5
    assert sum(wanted.values()) == pytest.approx(
        len(answer) * (found["gain"].value or math.nan), abs=1e-3
    )


# --- spans of prompts that lose their pictures ---------------------------------------------------


def test_spans_stand_right_where_a_prompt_loses_its_pictures() -> None:
    picture = Part(media=Media("ab", "image/png", data=b""))
    source = "See {{ input }} Why {{ label }}?"
    turn = render(
        Template(source, "Of {{ label }}"), {"input": (Part("x"), picture), "label": "it"}
    )[0]
    left = _text_alone(turn)
    assert [[p.media for p in m.parts] for m in left.messages] == [[None], [None, None]]
    found = [
        (s.variable, left.messages[s.message].parts[s.part].text[s.start : s.end])
        for s in left.spans
    ]
    assert found == [("label", "it"), ("input", "x\n"), ("label", "it")]
    assert Span("input", 1, 1, 0, 0) in turn.spans
    assert isinstance(left.messages[1], Message)
