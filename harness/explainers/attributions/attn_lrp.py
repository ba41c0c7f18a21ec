"""AttnLRP: layer-wise relevance propagation for transformers, and any network of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.attributions.modules import network_of
from harness.explainers.gradients import Descended
from harness.explainers.inside import Inside
from harness.records import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

_WHAT = "AttnLRP"
SOFTMAX = ("taylor", "constant")
# Values and what else holds relevance must sum to the output, but for rounding.
_MISS = 0.01


class AttnLRP:
    """Layer-wise relevance propagation through attention: signed, in units of the output, with
    nothing taken off for an empty sample.

    Relevance is gradient x input of the network with these steps changed: linear maps and sums hand
    on in proportion to what each part contributes (the epsilon rule, epsilon towards 0);
    element-wise functions hand on everything; norms, and whatever else divides, count as constants;
    products of things that both depend on the input share evenly; softmax is its first-order Taylor
    expansion. Each attribution holds in `held` the relevance that no unit has: of biases, position
    embeddings and other constants, of the constants of softmax's expansions, and of features that
    belong to no unit, such as special tokens. Values and these sum to the output. One forward pass,
    and a backward pass a target.

    With `softmax` "constant" no relevance goes through attention weights, all of it through what
    they weigh (conservative propagation): then, in a network without biases and other constants,
    the features alone sum to the output.

    Source: Achtibat, Hatefi, Dreyer, Jain, Wiegand, Lapuschkin and Samek 2024, "AttnLRP:
    Attention-Aware Layer-Wise Relevance Propagation for Transformers", section 3; log-softmax and
    log-sum-exp by the same expansion, for log-probabilities of an answer. Constant weights: Ali,
    Schnake, Eberle, Montavon, Müller and Wolf 2022, "XAI for Transformers: Better Explanations
    through Conservative Propagation". Raises `HarnessError` for
    a function on the way that there is no rule for, for an output other than the network's own, and
    where the sum misses the output by more than 1 % of the larger of the output and 1 % of the
    outputs' range.
    """

    reduce = "sum"
    deterministic = True

    def __init__(self, softmax: str = "taylor") -> None:
        fields.one_of("explainer 'attn_lrp'", SOFTMAX, softmax=softmax)
        self.settings: Mapping[str, Any] = {"softmax": softmax}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x ...."""
        import torch

        from harness.explainers.attributions.relevance_rules import Rules
        from harness.explainers.attributions.relevance_steps import Ledger, without_rule

        model = inside.model
        network_of(inside, _WHAT)
        if inside.output != "logit" and model.scale in ("softmax", "sigmoid"):
            raise HarnessError(
                f"{_WHAT} explains what the last layer of {model.name} says; use output logit"
            )
        ledger = Ledger()
        points = inside.slope.x.detach().clone()[None].requires_grad_(True)
        with Rules(ledger, self.settings["softmax"] == "constant"):
            outputs = model.forward([inside.reading], points)[0]
        if outputs.grad_fn is None:
            raise HarnessError(f"{_WHAT}: what {model.name} says does not depend on its input")
        if (step := without_rule(outputs.grad_fn)) is not None:
            raise HarnessError(
                f"{_WHAT} does not support {model.name}: it has no rule for the step '{step}' on "
                "the way from the input to the output; use integrated_gradients or kernel_shap"
            )
        weights = torch.as_tensor(inside.weights).to(outputs)
        values, held = [], []
        for target in range(weights.shape[1]):
            gradient, *others = torch.autograd.grad(
                outputs, [points, *ledger.constants], weights[:, target],
                retain_graph=target + 1 < weights.shape[1], allow_unused=True,
            )  # fmt: skip
            assert gradient is not None  # the outputs depend on the points
            values.append((gradient * points).detach()[0].double())
            held.append(ledger.close(others))
        found = torch.stack(values)
        _check_sums(inside, found, held)
        return Descended(found, held=tuple(held))


def _check_sums(inside: Inside, values: Tensor, held: list[dict[str, float]]) -> None:
    sums = values.flatten(1).sum(dim=1).tolist()
    for own, others, full in zip(sums, held, inside.slope.full_value.tolist(), strict=True):
        found = own + sum(others.values())
        size = max(abs(full), 0.01 * inside.slope.range)
        # Written so that NaN is refused as well.
        if not abs(found - full) <= max(_MISS * size, 1e-12):
            raise HarnessError(
                f"{_WHAT} does not support {inside.model.name}: relevance at sample "
                f"'{inside.reading.sample}' sums to {found:.4g} where {full:.4g} is to be explained"
                "; a constant is added where no rule sees it, or the weights have too few bits"
            )
