"""What is said of an answer's tokens, against plain forward passes over prompt ids and answer ids."""

from __future__ import annotations

import itertools
import math
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from harness import serial
from harness.backends.checkpoint import find
from harness.explainers.attributions.integrated_gradients import IntegratedGradients
from harness.explainers.attributions.occlusion import LeaveOneOut
from harness.explainers.attributions.saliency import InputXGradient, Saliency
from harness.explainers.attributions.shapley import ExactShapley
from harness.explainers.explain import explain
from harness.explainers.models import generation
from harness.explainers.models.generation import LanguageModel
from harness.explainers.models.model import Differentiable, Model
from harness.explainers.models.reading import Removal
from harness.records import Attribution, HarnessError, Part, Sample

sys.path.insert(0, str(Path(__file__).parent.parent / "backends"))

from language_checkpoints import ROLES, make_llama, text_config

hf: Any = transformers
KINDS = ["gpt2", "llama", "llama_bos", "llama_chat"]
PROMPT = "the scan shows no lesion in north"
# Norms of Llama are computed in 32 bits, whatever the weights are.
CLOSE = {"gpt2": 1e-9, "llama": 1e-5, "llama_bos": 1e-5, "llama_chat": 1e-5}
ANSWER = " here are a few. Seen in the east!\n"
DELETE = Removal("delete")


def byte_level(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary of bytes, of some words and of beginnings of others, and its merges; written
    down, because a trainer breaks ties by chance."""
    known = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = []
    for word in ["Ġthe", "Ġscan", "Ġsho", "Ġno", "Ġles", "Ġin", "the"]:
        for place in range(1, len(word)):
            pair = (word[:place], word[place])
            if "".join(pair) not in known:
                known.append("".join(pair))
                merges.append(pair)
    return {token: place for place, token in enumerate(known)}, merges


def network(kind: str) -> tuple[Any, Any]:
    """A random network in 64 bits and its tokenizer."""
    if kind == "gpt2":
        vocabulary, merges = byte_level(["<|endoftext|>"])
        tokenizer = hf.GPT2Tokenizer(vocab=vocabulary, merges=merges)
        config = hf.GPT2Config(
            n_embd=32, n_layer=2, n_head=2, n_positions=128, initializer_range=0.5,
            vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        make: Any = hf.GPT2LMHeadModel
    else:
        core = Tokenizer(models.BPE(*byte_level(["<pad>", "<s>", "</s>", "<unk>"])))
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        if kind == "llama_bos":
            core.post_processor = TemplateProcessing(
                single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
            )
        tokenizer = hf.PreTrainedTokenizerFast(
            tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
            unk_token="<unk>", chat_template=ROLES if kind == "llama_chat" else None,
        )  # fmt: skip
        config, make = text_config(tokenizer), hf.LlamaForCausalLM
    torch.manual_seed(3)
    return make(config).double().eval(), tokenizer


def model_of(kind: str = "llama", **options: Any) -> LanguageModel:
    options = {"answers": {"s": ANSWER}, **options}
    return LanguageModel(*network(kind), chat=kind == "llama_chat", **options)


def sample(text: str = PROMPT, name: str = "s") -> Sample:
    return Sample(name, (Part(text),))


def plain(net: Any, ids: list[int], answer: list[int]) -> np.ndarray[Any, Any]:
    """Log-probabilities of the answer's tokens from one forward pass over everything."""
    with torch.no_grad():
        logs = net(torch.tensor([ids + answer])).logits[0].log_softmax(-1)
    return np.array([float(logs[len(ids) + k - 1, token]) for k, token in enumerate(answer)])


def bare(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def prompt_ids(kind: str, tokenizer: Any, text: str) -> list[int]:
    """The prompt's ids, put together by hand."""
    if kind == "llama_chat":
        return bare(tokenizer, f"<user>{text}</s><assistant>")
    return [tokenizer.bos_token_id] * (kind == "llama_bos") + bare(tokenizer, text)


def shapes(model: LanguageModel) -> list[tuple[int, ...]]:
    """Is told the shape of the scores of each forward pass from now on."""
    seen: list[tuple[int, ...]] = []
    model.module.lm_head.register_forward_hook(lambda *a: seen.append(tuple(a[2].shape)))
    return seen


def whole(model: LanguageModel, reading: Any) -> np.ndarray[Any, Any]:
    return model.outputs([reading.left(np.ones(len(reading.ids), dtype=bool))])[0]


def values(attribution: Attribution) -> np.ndarray[Any, Any]:
    return np.array(attribution.values, dtype=float)


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_are_those_of_a_plain_forward_pass(kind: str) -> None:
    net, tokenizer = network(kind)
    end = tokenizer.eos_token_id
    spaced = bare(tokenizer, " here")
    for given, ids in [
        (ANSWER, bare(tokenizer, ANSWER)),
        (" here\n\n", bare(tokenizer, " here\n\n")),
        ((*spaced, end), [*spaced, end]),
        ((end,), [end]),
    ]:
        model = LanguageModel(net, tokenizer, answers={"s": given}, chat=kind == "llama_chat")
        reading = model.read(sample(), Removal())
        wanted = plain(net, prompt_ids(kind, tokenizer, PROMPT), ids)
        np.testing.assert_allclose(whole(model, reading), wanted, atol=CLOSE[kind])
        assert len(model.columns(reading)) == len(ids)


def test_trailing_newlines_and_the_end_token_are_tokens_of_their_own() -> None:
    net, tokenizer = network("llama_bos")
    ids = [*bare(tokenizer, " here\n"), tokenizer.eos_token_id]
    model = LanguageModel(net, tokenizer, answers=[ids])
    reading = model.read(sample(name="0"), Removal())
    assert reading.notes == ("the answer explained: here\\n</s>",)
    names = list(model.columns(reading))
    assert names[-2:] == [f"{len(ids) - 2}: \\n", f"{len(ids) - 1}: </s>"]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_rows_together_say_what_each_says_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(kind)
    for removal in (Removal(), DELETE):
        reading = model.read(sample(), removal)
        kept = np.random.default_rng(0).random((12, len(reading.ids))) < 0.5
        rows = [reading.left(row) for row in kept]
        shapes = [size.shape for size in reading.sizes(kept)]
        alone = np.array([model.outputs([row])[0] for row in rows])
        for shape in set(shapes):
            mine = [place for place, one in enumerate(shapes) if one == shape]
            together = model.outputs([rows[place] for place in mine])
            np.testing.assert_allclose(together, alone[mine], atol=CLOSE[kind])
        monkeypatch.setattr(generation, "_SCORES", 1)
        np.testing.assert_allclose(model.outputs(rows[:1] * 3), alone[[0, 0, 0]], atol=CLOSE[kind])
        monkeypatch.undo()


def test_attributions_do_not_hang_on_the_size_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [sample(), sample("a few of them", "t"), sample("no lesion", "u")]
    model = model_of("gpt2", answers={"s": ANSWER, "t": " here", "u": ANSWER})
    methods: dict[str, Any] = {"loo": LeaveOneOut(), "saliency": Saliency(absolute=False)}
    found = [explain(model, samples, methods, batch_tokens=tokens) for tokens in (1, 10_000)]
    monkeypatch.setattr(generation, "_SCORES", 1)  # scores of one row at a time
    found.append(explain(model, samples, methods))
    for one, *others in zip(*found, strict=True):
        for other in others:
            np.testing.assert_allclose(values(one), values(other), atol=1e-9)


def test_scores_are_made_at_the_answers_places_alone() -> None:
    model = model_of()
    seen = shapes(model)
    reading = model.read(sample(), Removal())
    whole(model, reading)
    assert seen == [(1, len(reading.answer), model.module.config.vocab_size)]


def test_scores_held_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    answer, vocabulary = len(model.read(sample(), Removal()).answer), model.module.config.vocab_size
    monkeypatch.setattr(generation, "_SCORES", 3 * answer * vocabulary)
    seen = shapes(model)
    explain(
        model,
        [sample()],
        {"shap": ExactShapley(), "ig": IntegratedGradients(steps=10, incomplete=True)},
    )
    assert max(rows for rows, _, _ in seen) == 3
    assert {shape[1:] for shape in seen} == {(answer, vocabulary)}


class Bare(torch.nn.Module):
    """A network whose forward pass takes ids and nothing that spares work."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.config = net, net.config

    def get_input_embeddings(self) -> Any:
        return self.net.get_input_embeddings()

    def forward(self, input_ids: Any, attention_mask: Any = None) -> Any:
        return self.net(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)


def test_networks_that_make_all_scores_say_the_same() -> None:
    net, tokenizer = network("llama")
    models = [LanguageModel(m, tokenizer, max_new_tokens=8) for m in (net, Bare(net))]
    readings = [model.read(sample(), Removal()) for model in models]
    np.testing.assert_array_equal(readings[0].answer, readings[1].answer)
    one, other = (whole(m, r) for m, r in zip(models, readings, strict=True))
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_explained_is_the_likeliest_token_each_time(kind: str) -> None:
    net, tokenizer = network(kind)
    model = LanguageModel(net, tokenizer, max_new_tokens=6, chat=kind == "llama_chat")
    ids = prompt_ids(kind, tokenizer, PROMPT)
    wanted: list[int] = []
    for _ in range(6):
        wanted.append(int(net(torch.tensor([ids + wanted])).logits[0, -1].argmax()))
    reading = model.read(sample(), Removal())
    assert reading.answer.tolist() == wanted


def test_a_generated_answer_ends_with_the_token_that_ends_it() -> None:
    net, tokenizer = network("llama")
    first = LanguageModel(net, tokenizer, max_new_tokens=5).read(sample(), Removal()).answer
    net.generation_config.eos_token_id = [int(first[2])]
    again = LanguageModel(net, tokenizer, max_new_tokens=5).read(sample(), Removal()).answer
    stop = first.tolist().index(first[2])
    assert again.tolist() == first[: stop + 1].tolist()


@pytest.mark.parametrize("kind", ["gpt2", "llama_bos"])
@pytest.mark.parametrize("removal", ["delete", "mask"])
def test_values_are_shapley_values_by_brute_force(kind: str, removal: str) -> None:
    net, tokenizer = network(kind)
    text = "the scan shows lesion"
    model = LanguageModel(net, tokenizer, answers={"s": ANSWER})
    (found,) = explain(model, [sample(text)], ExactShapley(), "word", removal=removal)
    pieces = [bare(tokenizer, ("" if n == 0 else " ") + w) for n, w in enumerate(text.split())]
    start = [tokenizer.bos_token_id] * (kind == "llama_bos")
    assert [*start, *itertools.chain(*pieces)] == prompt_ids(kind, tokenizer, text)
    answer = bare(tokenizer, ANSWER)

    def worth(kept: frozenset[int]) -> float:
        gone = [] if removal == "delete" else [tokenizer.unk_token_id]
        ids = list(start)
        for place, piece in enumerate(pieces):
            ids += piece if place in kept else gone * len(piece)
        return float(plain(net, ids or [tokenizer.unk_token_id], answer).sum())

    worths = {
        frozenset(s): worth(frozenset(s))
        for n in range(5)
        for s in itertools.combinations(range(4), n)
    }
    wanted = np.zeros(4)
    for order in itertools.permutations(range(4)):
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            wanted[player] += worths[before | {player}] - worths[before]
    np.testing.assert_allclose(values(found), wanted / math.factorial(4), atol=CLOSE[kind])
    assert found.target == "answer"
    assert found.output == "log_probability"
    assert found.full == pytest.approx(worths[frozenset(range(4))], abs=CLOSE[kind])


@pytest.mark.parametrize("parts", ["tokens", "all", "sentences"])
@pytest.mark.parametrize("method", [ExactShapley, IntegratedGradients])
def test_the_values_of_tokens_and_of_sentences_sum_to_the_answers(method: Any, parts: str) -> None:
    # At a fixed number of steps: as many as needed differ from target to target.
    made = method(steps=20, incomplete=True) if method is IntegratedGradients else method()
    model = model_of("gpt2")
    (answer,) = explain(model, [sample()], made)
    several = explain(model, [sample()], made, target=parts)
    reading = model.read(sample(), Removal())
    assert len(several) == (2 if parts == "sentences" else len(reading.answer))
    np.testing.assert_allclose(sum(values(a) for a in several), values(answer), atol=1e-9)
    assert sum(a.full for a in several) == pytest.approx(answer.full, abs=1e-9)


def test_a_token_is_a_target_by_place_and_by_name() -> None:
    model = model_of()
    tokens = explain(model, [sample()], LeaveOneOut(), target="tokens")
    for target in (2, tokens[2].target):
        (found,) = explain(model, [sample()], LeaveOneOut(), target=target)
        assert found.target == tokens[2].target
        assert found.values == tokens[2].values


@pytest.mark.parametrize(
    ("answer", "sentences"),
    [
        (" It is seen.\nAnd a few more are here!\n\n", ["It is seen.\\n", "And a few more are here!\\n\\n"]),
        ("\n one", ["\\n one"]),
        ("好。是。", ["好。", "是。"]),
        ("It is 😀 here. The end 😀.", ["It is 😀 here.", "The end 😀."]),
    ],
)  # fmt: skip
def test_each_token_counts_in_its_own_sentence(answer: str, sentences: list[str]) -> None:
    _, tokenizer = network("llama")
    model = model_of(answers={"s": [*bare(tokenizer, answer), tokenizer.eos_token_id]})
    reading = model.read(sample(), Removal())
    targets = model.targets(reading, "sentences")
    assert targets.names == tuple(f"{n}: {text}" for n, text in enumerate(sentences))
    np.testing.assert_array_equal(targets.weights.sum(axis=1), 1)
    for column, text in zip(targets.weights.T, sentences, strict=True):
        mine = tokenizer.decode(reading.answer[column == 1], skip_special_tokens=True)
        assert mine.replace("\n", "\\n").strip() == text
    assert targets.weights[-1].tolist() == [0.0] * (len(sentences) - 1) + [1.0]


def test_an_answer_of_an_end_token_alone_is_one_sentence() -> None:
    _, tokenizer = network("llama")
    model = model_of(answers={"s": (tokenizer.eos_token_id,)})
    (found,) = explain(model, [sample()], LeaveOneOut(), target="sentences")
    (answer,) = explain(model, [sample()], LeaveOneOut())
    assert found.values == answer.values


def said_of(model: LanguageModel, reading: Any, points: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the answer's tokens from embeddings given as such, without any hook."""
    answer = torch.as_tensor(reading.answer)
    behind = model.module.get_input_embeddings()(answer).detach()
    logits = model.module(inputs_embeds=torch.cat([points, behind])[None]).logits[0]
    logs = logits[len(points) - 1 : -1].log_softmax(-1)
    return logs.gather(1, answer[:, None])[:, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_by_embeddings_given_as_such(kind: str) -> None:
    model = model_of(kind)
    reading = model.read(sample(), Removal())
    x = model.point(reading)
    points = torch.stack([x, 0.5 * x]).requires_grad_(True)
    others = [x.clone().requires_grad_(True), (0.5 * x).requires_grad_(True)]
    with model.evaluating():
        outputs = model.forward([reading, reading], points)
        outputs.square().sum().backward()  # weighs each token by what is said of it
        for row, other in enumerate(others):
            said = said_of(model, reading, other)
            said.square().sum().backward()
            assert torch.allclose(outputs[row], said, atol=CLOSE[kind])
    assert points.grad is not None
    for gradient, other in zip(points.grad, others, strict=True):
        assert other.grad is not None
        scale = float(other.grad.abs().max())
        assert torch.allclose(gradient, other.grad, atol=CLOSE[kind] * scale)


def test_gradients_are_those_of_finite_differences() -> None:
    model = model_of("gpt2")
    reading = model.read(sample(), Removal())
    (found,) = explain(model, [sample()], InputXGradient(), "token", target=3)
    x = model.point(reading)
    for token in range(len(x)):
        step = torch.zeros_like(x)
        step[token] = 1e-6 * x[token]
        with torch.no_grad():
            ends = [float(said_of(model, reading, x + sign * step)[3]) for sign in (1, -1)]
        wanted = (ends[0] - ends[1]) / 2e-6
        assert found.values[token] == pytest.approx(wanted, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_of_an_answer_are_complete(kind: str) -> None:
    model = model_of(kind)
    (found,) = explain(model, [sample()], IntegratedGradients(tolerance=0.01), "word")
    gap = (found.full or 0.0) - (found.empty or 0.0)
    assert abs(values(found).sum() - gap) <= 0.01 * abs(gap)


@pytest.mark.parametrize("removal", ["mask", "delete"])
@pytest.mark.parametrize("unit", ["word", "sentence", "token"])
@pytest.mark.parametrize("kind", KINDS)
def test_units_speak_of_the_texts_own_characters(kind: str, unit: str, removal: str) -> None:
    text = "The scan shows: no lesion. Seen in\nthe (far) north! "
    (found,) = explain(model_of(kind), [sample(text)], LeaveOneOut(), unit, removal=removal)
    assert "".join(unit.text or "" for unit in found.units) == text
    assert all(text[u.start : u.end] == u.text for u in found.units)
    assert np.isfinite(values(found)).all()
    assert len(found.units) == {"word": 10, "sentence": 2}.get(unit, len(found.units))


@pytest.mark.parametrize("removal", [Removal(), DELETE])
@pytest.mark.parametrize("kind", ["llama_bos", "llama_chat"])
def test_special_tokens_template_and_answer_are_never_removed(kind: str, removal: Removal) -> None:
    _, tokenizer = network(kind)
    model = model_of(kind)
    reading = model.read(sample(), removal)
    left = reading.left(reading.fixed)
    gone = [] if removal == DELETE else [tokenizer.unk_token_id] * len(bare(tokenizer, PROMPT))
    if kind == "llama_bos":
        wanted = [tokenizer.bos_token_id, *gone]
    else:
        wanted = [*bare(tokenizer, "<user>"), *gone, *bare(tokenizer, "</s><assistant>")]
    assert left.prompt.tolist() == wanted
    assert left.answer.tolist() == bare(tokenizer, ANSWER)


def test_the_users_text_is_found_where_it_also_stands_in_the_template() -> None:
    _, tokenizer = network("llama_chat")
    model = model_of("llama_chat")
    reading = model.read(sample("user"), DELETE)
    left = tokenizer.decode(reading.left(reading.fixed).prompt)
    assert left == "<user></s><assistant>"


def test_a_template_that_strips_the_text_leaves_the_units_where_they_stand() -> None:
    net, tokenizer = network("llama_chat")
    tokenizer.chat_template = ROLES.replace("m['content']", "m['content'] | trim")
    model = LanguageModel(net, tokenizer, chat=True, answers={"s": ANSWER})
    text = "  the scan  shows\n"
    reading = model.read(sample(text), Removal())
    stands = [text[a:b] for a, b in reading.parts[0].spans if b > a]
    assert "".join(stands) == text.strip()
    (found,) = explain(model, [sample(text)], LeaveOneOut(), "word")
    assert [unit.text for unit in found.units] == ["  the ", "scan  ", "shows\n"]


def test_a_words_space_may_be_the_templates() -> None:
    net, tokenizer = network("llama_chat")
    tokenizer.chat_template = "[INST] {{ messages[0]['content'] }} [/INST]"
    model = LanguageModel(net, tokenizer, chat=True, answers={"s": ANSWER})
    reading = model.read(sample("the scan"), DELETE)
    assert tokenizer.decode(reading.left(reading.fixed).prompt) == "[INST] [/INST]"
    assert not [note for note in reading.notes if "template" in note]


def test_a_token_shared_with_the_template_stays_and_is_noted() -> None:
    net, tokenizer = network("llama_chat")
    # Of the characters `th` one token is made; the template brings the first of them.
    assert len(bare(tokenizer, "the")) == 1
    tokenizer.chat_template = "t{{ messages[0]['content'] }}"
    model = LanguageModel(net, tokenizer, chat=True, answers={"s": ANSWER})
    reading = model.read(sample("he scan"), DELETE)
    assert tokenizer.decode(reading.left(reading.fixed).prompt) == "the"
    assert "chat template" in reading.notes[0]


@pytest.mark.parametrize(
    "template", ["{{ messages[0]['content'] | upper }}", "{{ messages[0]['content'] * 2 }}", "hello"]
)  # fmt: skip
def test_a_template_that_changes_the_text_is_refused(template: str) -> None:
    net, tokenizer = network("llama_chat")
    tokenizer.chat_template = template
    model = LanguageModel(net, tokenizer, chat=True, answers={"s": ANSWER})
    with pytest.raises(HarnessError, match="'s' is not what stands in the prompt"):
        model.read(sample(), Removal())


def test_a_prompt_that_is_too_long_is_refused_with_numbers() -> None:
    net, tokenizer = network("gpt2")
    count = len(bare(tokenizer, PROMPT))
    fits = LanguageModel(net, tokenizer, max_new_tokens=128 - count)
    assert len(fits.read(sample(), Removal()).answer) <= 128 - count
    with pytest.raises(HarnessError, match=rf"has {count} tokens .* up to {129 - count}, .* 128"):
        LanguageModel(net, tokenizer, max_new_tokens=129 - count).read(sample(), Removal())
    answer = [1] * (129 - count)
    with pytest.raises(HarnessError, match="128 positions; shorten the answer"):
        LanguageModel(net, tokenizer, answers={"s": answer}).read(sample(), Removal())
    fitting = LanguageModel(net, tokenizer, answers={"s": answer[1:]})
    assert np.isfinite(whole(fitting, fitting.read(sample(), Removal()))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answers": {"s": ""}}, "'s' is empty"),
        ({"answers": [()]}, "'0' is empty"),
        ({"answers": {"s": [10_000]}}, "token id 10000; ids are 0 to"),
        ({"answers": {"s": [-1]}}, "token id -1"),
        ({"answers": {"s": 5}}, "neither a text nor token ids"),
        ({"answers": {"s": [0.5]}}, "neither a text nor token ids"),
        ({"answers": "here"}, "mapping by sample id or a list"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"chat": True}, "no chat template"),
        ({"dtype": "float32"}, "neither device nor dtype"),
    ],
)
def test_what_cannot_be_right_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        LanguageModel(*network("llama"), **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (sample(" \n"), "sample 's' is empty"),
        (Sample("s", ()), "sample 's' is none"),
        (sample(name="x"), r"no answer for sample 'x' \(there are for 's'\)"),
    ],
)
def test_samples_that_cannot_be_read_are_named(given: Sample, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        model_of().read(given, Removal())


@pytest.mark.parametrize("target", ["cat", -1, 99, True, ("tokens", "answer"), 1.5])
def test_targets_that_there_are_not_are_refused(target: Any) -> None:
    with pytest.raises(HarnessError, match="sample 's': (target|there is no target)"):
        explain(model_of(), [sample()], LeaveOneOut(), target=target)


def test_answers_in_a_list_are_those_of_samples_by_their_number() -> None:
    net, tokenizer = network("llama")
    answers = [" here", tuple(bare(tokenizer, " a few"))]
    model = LanguageModel(net, tokenizer, answers=answers)
    readings = [model.read(sample(name=str(place)), Removal()) for place in (0, 1)]
    assert [tokenizer.decode(reading.answer) for reading in readings] == [" here", " a few"]


def test_other_answers_and_other_weights_have_other_hashes() -> None:
    net, tokenizer = network("llama")
    one, other = (
        LanguageModel(net, tokenizer, answers={"s": text}).read(sample(), Removal())
        for text in (" here", " seen")
    )
    assert one.input != other.input
    before = LanguageModel(net, tokenizer).revision
    assert before == LanguageModel(*network("llama")).revision
    with torch.no_grad():
        net.lm_head.weight[0, 0] += 1
    assert LanguageModel(net, tokenizer).revision != before


def test_a_folder_is_explained_and_hashed_as_a_checkpoint(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    model = LanguageModel(folder, chat=True, max_new_tokens=4, dtype="float64")
    assert isinstance(model, Model)
    assert isinstance(model, Differentiable)
    assert model.revision == find(str(folder)).revision
    net = hf.LlamaForCausalLM.from_pretrained(folder).double()
    reading = model.read(sample(), DELETE)
    wanted = plain(net, prompt_ids("llama_chat", model.tokenizer, PROMPT), reading.answer.tolist())
    np.testing.assert_allclose(whole(model, reading), wanted, atol=1e-5)
    with pytest.raises(HarnessError, match="there is no model folder"):
        LanguageModel("./nowhere")
    with pytest.raises(HarnessError, match="leave tokenizer out"):
        LanguageModel(folder, model.tokenizer)


def test_explaining_leaves_the_model_as_it_was_and_repeats_exactly() -> None:
    net, tokenizer = network("gpt2")
    net.train()
    net.transformer.h[0].eval()
    flags = [part.training for part in net.modules()]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    settings = net.generation_config.to_dict()
    model = LanguageModel(net, tokenizer, max_new_tokens=5)
    methods: dict[str, Any] = {"loo": LeaveOneOut(), "saliency": Saliency()}
    first, again = (explain(model, [sample()], methods) for _ in range(2))
    assert first.attributions == again.attributions
    assert flags == [part.training for part in net.modules()]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(value.requires_grad for value in net.parameters())
    assert net.generation_config.to_dict() == settings


def test_a_copy_sent_to_another_process_says_the_same() -> None:
    model = model_of("llama_bos")
    copy = pickle.loads(pickle.dumps(model))
    one, other = (explain(m, [sample()], LeaveOneOut()) for m in (model, copy))
    assert one.attributions == other.attributions


def test_attributions_survive_json() -> None:
    for found in explain(model_of(), [sample()], LeaveOneOut(), target="tokens"):
        assert serial.loads(Attribution, serial.dumps(found)) == found


def test_a_trained_model_is_explained_with_its_own_tokenizer(shared_data: Path) -> None:
    folder = shared_data / "stories260k"
    if not folder.is_dir():
        pytest.skip(f"there is no stories260k in {shared_data}")
    text = "Lily had a red ball. One day, she saw a big bear. The bear wanted the red"
    model = LanguageModel(folder, max_new_tokens=20, dtype="float64")
    given = LanguageModel(folder, answers={"s": " Lily was happy.\n"}, dtype="float64")
    net = hf.LlamaForCausalLM.from_pretrained(folder).double()
    ids = [1, *bare(model.tokenizer, text)]
    for one in (model, given):
        reading = one.read(sample(text), Removal())
        wanted = plain(net, ids, reading.answer.tolist())
        np.testing.assert_allclose(whole(one, reading), wanted, atol=1e-5)
    # It goes on with "ball", because it was red, and because a ball was spoken of.
    assert model.read(sample(text), Removal()).notes[-1].startswith("the answer explained: ball")
    ball = LanguageModel(folder, answers={"s": "ball"})
    methods: dict[str, Any] = {"loo": LeaveOneOut(), "ig": IntegratedGradients()}
    for found in explain(ball, [sample(text)], methods, "word"):
        largest = np.argsort(values(found))[-2:]
        assert {(found.units[i].text or "").strip() for i in largest} == {"red", "ball."}
