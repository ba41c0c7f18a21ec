"""AttnLRP: the rules by hand on one block, sums on every type of transformer, and refusals."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from descents_for_tests import MASK, MLP, drawn, inspect, same, state, tensors
from torch.nn import functional

import harness
from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.attn_lrp import AttnLRP
from harness.explainers.attributions.propagation import LRP
from harness.explainers.models.choose import model_of
from harness.explainers.models.generation import LanguageModel
from harness.explainers.units.images import Patch
from harness.records import Attribution, HarnessError

sys.path.insert(0, str(Path(__file__).parent.parent / "classifiers"))
from classification_checkpoints import TEXTS, byte_pairs, make, make_vit, pictures, samples

hf: Any = transformers
KINDS = ("bert", "distilbert", "gpt2", "llama", "vit")


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HuggingFace]:
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        if kind == "vit":
            make_vit(folder)
            hf.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
        else:
            make(kind, folder)
        found[kind] = HuggingFace(str(folder))
    return found


def given(kind: str) -> Any:
    return pictures()[0] if kind == "vit" else samples()[0]


def total(attribution: Attribution) -> float:
    return sum(value or 0.0 for value in attribution.values) + sum(attribution.held.values())


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_what_no_unit_has_sum_to_the_output(
    classifiers: dict[str, HuggingFace], kind: str, implementation: str
) -> None:
    classifier = classifiers[kind]
    classifier.module.set_attn_implementation(implementation)
    unit = Patch(16) if kind == "vit" else "word"
    for attribution in harness.explain(classifier, [given(kind)], AttnLRP(), unit, target="all"):
        assert total(attribution) == pytest.approx(attribution.full, rel=1e-3, abs=1e-4)
        assert set(attribution.held) >= {"special tokens and gaps", "softmax"}


@pytest.mark.parametrize("kind", KINDS)
def test_fused_and_spelt_out_attention_have_the_same_relevance(
    classifiers: dict[str, HuggingFace], kind: str
) -> None:
    classifier, found = classifiers[kind], []
    for implementation in ("eager", "sdpa"):
        classifier.module.set_attn_implementation(implementation)
        model = model_of(classifier, [given(kind)])
        found.append(inspect(AttnLRP(), model, given(kind)))
    np.testing.assert_allclose(found[0].values, found[1].values, atol=1e-4)
    assert found[0].held[0] == pytest.approx(found[1].held[0], abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_without_constants_and_with_constant_weights_features_alone_sum_to_the_output(
    tmp_path: Path, kind: str
) -> None:
    if kind == "vit":
        make_vit(tmp_path)
        hf.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    else:
        make(kind, tmp_path)
    classifier = HuggingFace(str(tmp_path))
    places = ("position_embedding", "token_type", "wpe", "cls_token")
    with torch.no_grad():
        for name, value in classifier.module.named_parameters():
            if name.endswith("bias") or any(place in name for place in places):
                value.zero_()
    model = model_of(classifier, [given(kind)])
    reading = model.read(given(kind), MASK)
    (full,) = model.outputs([reading.left(np.ones(len(reading.fixed), dtype=bool))])
    found = inspect(AttnLRP(softmax="constant"), model, given(kind))
    np.testing.assert_allclose(found.values.flatten(1).sum(dim=1), full, rtol=1e-3, atol=1e-4)
    taylor = inspect(AttnLRP(), model, given(kind))
    sums = taylor.values.flatten(1).sum(dim=1).numpy()
    shifts = [one["softmax"] for one in taylor.held]
    np.testing.assert_allclose(sums + shifts, full, rtol=1e-3, atol=1e-4)
    assert all(abs(one["biases and constants"]) < 1e-6 for one in taylor.held)


class Block(torch.nn.Module):
    """One layer of a transformer with a gated feed-forward part, spelt out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.query, self.key, self.value, self.out, self.gate, self.up, self.down = (
            torch.nn.Linear(4, 4) for _ in range(7)
        )
        self.norm, self.head = torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)
        torch.nn.init.normal_(self.norm.bias)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        scores = q @ k.transpose(1, 2) / math.sqrt(4)
        mask = torch.full((3, 3), float("-inf"), dtype=x.dtype).triu(1)
        h = x + self.out(torch.softmax(scores + mask, dim=-1) @ v)
        n = self.norm(h)
        h = h + self.down(functional.silu(self.gate(n)) * self.up(n))
        return self.head(h[:, -1])


def linear_rule(layer: Any, x: np.ndarray, relevance: np.ndarray) -> tuple[np.ndarray, float]:
    """z_ij / z_j R_j for rows of inputs, and what the bias takes (Bach et al. 2015, without
    epsilon)."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    share = relevance / (x @ weight.T + bias)
    return x * (share @ weight), float((bias * share).sum())


def by_hand(block: Block, x: np.ndarray, target: int) -> tuple[np.ndarray, float, float]:
    """Relevance of x (3 x 4), of biases, and of softmax's constants: layer by layer from the top."""

    def say(layer: Any, rows: np.ndarray) -> np.ndarray:
        return rows @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()

    q, k, v = say(block.query, x), say(block.key, x), say(block.value, x)
    scores = np.where(np.tril(np.ones((3, 3))) > 0, q @ k.T / 2, -np.inf)
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    mixed = weights @ v
    attended = say(block.out, mixed)
    h = x + attended
    centred = h - h.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + block.norm.eps)
    gamma, beta = block.norm.weight.detach().numpy(), block.norm.bias.detach().numpy()
    n = centred * scale * gamma + beta
    gate, up = say(block.gate, n), say(block.up, n)
    inner = gate / (1 + np.exp(-gate)) * up
    fed = say(block.down, inner)
    top = h + fed
    biases = 0.0

    wanted = np.zeros(2)
    wanted[target] = say(block.head, top[-1])[target]
    r_top = np.zeros((3, 4))
    r_top[-1], lost = linear_rule(block.head, top[-1], wanted)
    biases += lost
    r_h, r_fed = h * (r_top / top), fed * (r_top / top)
    r_inner, lost = linear_rule(block.down, inner, r_fed)
    biases += lost
    # A product shares out evenly, and silu hands on all of it.
    from_gate, lost_gate = linear_rule(block.gate, n, r_inner / 2)
    from_up, lost_up = linear_rule(block.up, n, r_inner / 2)
    biases += lost_gate + lost_up
    share = (from_gate + from_up) / n
    biases += float((beta * share).sum())
    # The norm's scale is a constant and the mean is linear.
    slope = share * gamma * scale
    r_h = r_h + h * (slope - slope.mean(axis=1, keepdims=True))
    r_x, r_attended = x * (r_h / h), attended * (r_h / h)
    r_mixed, lost = linear_rule(block.out, mixed, r_attended)
    biases += lost
    # Each product weight x value has a share of what it sums to, halved between the two.
    parts = weights[:, :, None] * v[None] * (r_mixed / mixed)[:, None]
    r_weights, r_v = parts.sum(axis=2) / 2, parts.sum(axis=0) / 2
    finite = np.where(np.isinf(scores), 0, scores)
    r_scores = finite * (r_weights - weights * r_weights.sum(axis=1, keepdims=True))
    shifts = float(r_weights.sum() - r_scores.sum())
    parts = q[:, None] * k[None] / 2 * (r_scores / np.where(finite == 0, 1, finite))[:, :, None]
    r_q, r_k = parts.sum(axis=1) / 2, parts.sum(axis=0) / 2
    for layer, relevance in ((block.query, r_q), (block.key, r_k), (block.value, r_v)):
        back, lost = linear_rule(layer, x, relevance)
        r_x, biases = r_x + back, biases + lost
    return r_x, biases, shifts


@pytest.mark.parametrize("target", [0, 1])
def test_one_block_is_propagated_as_by_hand(target: int) -> None:
    block, x = Block(), drawn(1, 3, 4)
    found = inspect(AttnLRP(), tensors(block, x), tensors(block, x).samples[0])
    wanted, biases, shifts = by_hand(block, x[0].numpy(), target)
    np.testing.assert_allclose(found.values[target].reshape(3, 4), wanted, rtol=1e-8, atol=1e-10)
    assert found.held[target] == pytest.approx({"biases and constants": biases, "softmax": shifts})


@pytest.mark.parametrize(
    "activation", ["gelu_new", "quick_gelu", "gelu_python", "relu2", "mish", "silu"]
)
def test_an_activation_that_is_spelt_out_hands_on_all_relevance(activation: str) -> None:
    act = hf.activations.ACT2FN[activation]
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 5, bias=False), act, torch.nn.Linear(5, 2, bias=False)
    ).double()
    x = drawn(1, 4)
    found = inspect(AttnLRP(), tensors(net, x), tensors(net, x).samples[0])
    hidden = net[0](x)
    slope = (act(hidden) / hidden).detach()
    wanted = (net[2].weight * slope) @ net[0].weight * x
    np.testing.assert_allclose(found.values[..., 0], wanted.detach(), atol=1e-10)
    assert sum(map(abs, found.held[0].values())) < 1e-10


class RMS(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Divided(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / torch.sqrt(x.square().sum(-1, keepdim=True) + 1e-6)


class Cubed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x.pow(2).mean(-1, keepdim=True) + 1e-6) ** -0.5


class Normalised(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.normalize(x, dim=-1)


@pytest.mark.parametrize("norm", [RMS, Divided, Cubed, Normalised, lambda: torch.nn.RMSNorm(4)])
def test_a_norm_however_written_keeps_its_scale(norm: Any) -> None:
    net = torch.nn.Sequential(norm(), torch.nn.Linear(4, 2, bias=False)).double()
    x = drawn(1, 4)
    found = inspect(AttnLRP(), tensors(net, x), tensors(net, x).samples[0])
    np.testing.assert_allclose(
        found.values[..., 0], (net[1].weight * net[0](x)).detach(), atol=1e-6
    )


def test_batch_and_group_norm_and_convolutions_sum_with_their_constants() -> None:
    torch.manual_seed(2)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(inplace=True),
        torch.nn.GroupNorm(2, 4), torch.nn.GELU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(36, 3),
    ).double()  # fmt: skip
    net[1].running_mean.normal_()
    net.eval()
    x = drawn(1, 3, 8, 8)
    found = inspect(AttnLRP(), tensors(net, x, channels="first"), tensors(net, x).samples[0])
    sums = found.values.flatten(1).sum(dim=1).numpy() + [sum(one.values()) for one in found.held]
    np.testing.assert_allclose(sums, net(x)[0].detach(), atol=1e-9)
    assert all(abs(one["biases and constants"]) > 1e-6 for one in found.held)


def test_encoder_layers_of_torch_are_spelt_out() -> None:
    torch.manual_seed(4)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    net = torch.nn.Sequential(layer, torch.nn.Flatten(), torch.nn.Linear(24, 2)).double().eval()
    x = drawn(1, 3, 8)
    found = inspect(AttnLRP(), tensors(net, x), tensors(net, x).samples[0])
    sums = found.values.flatten(1).sum(dim=1).numpy() + [sum(one.values()) for one in found.held]
    np.testing.assert_allclose(sums, net(x)[0].detach(), atol=1e-9)
    assert abs(found.held[0]["softmax"]) > 1e-9


def test_a_network_of_relu_without_biases_is_as_by_lrp() -> None:
    model = tensors(MLP(bias=False), drawn(1, 4))
    one, other = (inspect(kind(), model, model.samples[0]).values for kind in (AttnLRP, LRP))
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "product",
    [
        lambda x: x @ x,
        lambda x: torch.einsum("bij,bkj->bik", x, x),
        lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True),
        lambda x: functional.glu(torch.cat([x, x.flip(-1)], dim=-1)),
        lambda x: torch.baddbmm(x, x, x.transpose(1, 2)),
    ],
)
def test_products_of_a_thing_with_itself_share_out_all_of_it(product: Any) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.last = torch.nn.Linear(9, 2, bias=False).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(product(x).flatten(1))

    net, x = Net(), drawn(1, 3, 3)
    found = inspect(AttnLRP(), tensors(net, x), tensors(net, x).samples[0])
    sums = found.values.flatten(1).sum(dim=1).numpy() + [sum(one.values()) for one in found.held]
    np.testing.assert_allclose(sums, net(x)[0].detach(), atol=1e-9)


class Without(torch.nn.Module):
    """A function that there is no rule for, on the way or beside it."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step, self.first, self.last = step, torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.step(self.first(x)))


class Own(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return x.sin()

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (torch.exp, "exp"),
        (torch.cos, "cos"),
        (lambda x: x + x.abs().sqrt(), "sqrt"),
        (lambda x: 1 / x, "division"),
        (lambda x: x.cumprod(-1), "Cumprod"),
        (torch.linalg.det, "Det"),
        (Own.apply, "Own"),
        (lambda x: x + x.exp() / x.exp().sum(), "exp"),
        (lambda x: torch.lerp(x, x.flip(-1), x), "Lerp"),
        (lambda x: x.clamp(min=0.5), "clamp"),
    ],
)
def test_a_step_without_a_rule_is_refused_by_its_name(step: Any, name: str) -> None:
    if step is torch.linalg.det:
        step = lambda x: x * torch.linalg.det(x.T @ x + 1)  # noqa: E731
    net, x = Without(step), drawn(1, 4)
    with pytest.raises(HarnessError, match=f"no rule for the step '.*{name}"):
        inspect(AttnLRP(), tensors(net, x), tensors(net, x).samples[0])


def test_probabilities_are_refused(classifiers: dict[str, HuggingFace]) -> None:
    with pytest.raises(HarnessError, match="use output logit"):
        harness.explain(classifiers["bert"], [TEXTS[0]], AttnLRP(), output="probability")


def test_lrp_names_the_other_one_where_biases_take_relevance() -> None:
    model = tensors(MLP(bias=True), drawn(1, 4))
    with pytest.raises(HarnessError, match="attn_lrp"):
        inspect(LRP(), model, model.samples[0])


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_network_is_left_as_it_was(classifiers: dict[str, HuggingFace], kind: str) -> None:
    module = classifiers[kind].module
    before = state(module)
    harness.explain(classifiers[kind], [TEXTS[0]], AttnLRP(), "token")
    assert same(before, state(module))


def test_log_probabilities_of_an_answer_are_handed_out() -> None:
    tokenizer = byte_pairs(hf.GPT2Tokenizer, ["<|endoftext|>"])
    torch.manual_seed(3)
    config = hf.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, vocab_size=len(tokenizer), initializer_range=0.5
    )
    model = LanguageModel(hf.GPT2LMHeadModel(config).eval(), tokenizer, answers=[" pain"])
    found = harness.explain(model, [TEXTS[0]], AttnLRP(), "word", target="tokens")
    for attribution in found:
        assert total(attribution) == pytest.approx(attribution.full, rel=1e-3)
        assert attribution.held["logsumexp"] < 0  # the entropy of what could have been said


def test_what_no_unit_has_is_kept_and_shown(
    classifiers: dict[str, HuggingFace], tmp_path: Path
) -> None:
    found = harness.explain(classifiers["bert"], [TEXTS[0]], AttnLRP(), "word")
    assert "softmax" in found.draw(0).html
    found.save(tmp_path / "kept")
    again = type(found).load(tmp_path / "kept")
    assert again[0].held == pytest.approx(found[0].held)
    by_norm = harness.explain(classifiers["bert"], [TEXTS[0]], AttnLRP(), "word", reduce="l2")
    assert by_norm[0].held == {}
