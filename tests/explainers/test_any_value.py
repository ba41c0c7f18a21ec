"""Functions, modules and estimators that say anything: the output `value`, what they may return, and
one sentence for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from descents_for_tests import MLP, drawn

import harness
from harness.explainers.attributions.integrated_gradients import IntegratedGradients
from harness.records import HarnessError

TABLE = pd.DataFrame({"age": [40.0], "sex": [1.0]})


def only(*given: Any, **options: Any) -> Any:
    (found,) = harness.explain(*given, **options)
    return found


def words(texts: list[str]) -> list[float]:
    """A regression: three a word."""
    return [3.0 * len(text.split()) for text in texts]


def test_a_regression_on_a_table_is_a_value_and_no_probability() -> None:
    found = only(lambda t: 2 * t.age - t.sex, TABLE, "exact_shapley", output="value")
    assert (found.output, found.full, found.values) == ("value", 79.0, (80.0, -1.0))
    for output in (None, "probability", "log_probability"):
        with pytest.raises(HarnessError, match="no probabilities .*use output value"):
            harness.explain(lambda t: t.age, TABLE, "exact_shapley", output=output)


@pytest.mark.parametrize("method", ["exact_shapley", "kernel_shap", "lime", "leave_one_out"])
def test_any_number_of_texts_can_be_explained(method: str) -> None:
    found = only(words, ["good bad ugly"], method, output="value", removal="delete")
    assert found.full == 9
    np.testing.assert_allclose(found.values, 3, atol=1e-2)


RETURNED = {
    "frame": lambda ts: pd.DataFrame({"neg": [0.3] * len(ts), "pos": [0.7] * len(ts)}),
    "columns": lambda ts: {"neg": [0.3] * len(ts), "pos": np.full(len(ts), 0.7)},
    "mappings": lambda ts: [{"neg": 0.3, "pos": 0.7} for _ in ts],
    "pipeline": lambda ts: [
        [{"label": "pos", "score": 0.7}, {"label": "neg", "score": 0.3}] for _ in ts
    ],
    "tensor": lambda ts: torch.tensor([[0.3, 0.7]] * len(ts), dtype=torch.bfloat16),
}


@pytest.mark.parametrize("kind", RETURNED)
def test_what_functions_return_is_read(kind: str) -> None:
    found = only(RETURNED[kind], ["good bad"], "leave_one_out")
    assert found.target == ("1" if kind == "tensor" else "pos")
    assert found.full == pytest.approx(0.7, abs=2e-3)
    assert found.output == "probability"


@pytest.mark.parametrize("said", [[3.0, -1.0], [0.9, 0.8], [1.5]])
def test_logits_and_several_labels_are_values_alone(said: list[float]) -> None:
    def function(texts: list[str]) -> list[list[float]]:
        return [said for _ in texts]

    with pytest.raises(HarnessError, match="use output value"):
        harness.explain(function, ["good bad"], "leave_one_out")
    found = harness.explain(function, ["good bad"], "leave_one_out", output="value", target="all")
    assert [one.full for one in found] == said


def test_a_module_may_say_a_tuple_a_mapping_or_an_object() -> None:
    net, x = MLP(), drawn(2, 4)
    wanted = harness.explain(net, x, "saliency")[1].values

    class Wrapped(torch.nn.Module):
        def __init__(self, wrap: Any) -> None:
            super().__init__()
            self.net, self.wrap = net, wrap

        def forward(self, x: torch.Tensor) -> Any:
            return self.wrap(self.net(x))

    for wrap in (
        lambda y: (y, y.sum()),
        lambda y: {"logits": y, "loss": y.sum()},
        lambda y: {"a": y},
    ):
        assert harness.explain(Wrapped(wrap), x, "saliency")[1].values == pytest.approx(wanted)
    with pytest.raises(HarnessError, match="returned a dict of a, b, in which its outputs"):
        harness.explain(Wrapped(lambda y: {"a": y, "b": y}), x, "saliency")


def test_a_module_of_real_numbers_has_gradients_too() -> None:
    net = torch.nn.Linear(4, 1).double()
    found = only(net, drawn(1, 4), "integrated_gradients", output="value")
    np.testing.assert_allclose(found.values, (net.weight * drawn(1, 4))[0].detach(), atol=1e-9)
    assert found.output == "value"


def test_a_compiled_module_is_the_module_that_was_compiled() -> None:
    net, x = MLP(), drawn(1, 4)
    compiled = torch.compile(net)
    for method in ("deep_lift", "kernel_shap"):
        assert only(compiled, x, method).values == only(net, x, method).values


def test_estimators_of_scikit_learn_say_values_where_they_say_no_probabilities() -> None:
    from sklearn.linear_model import LinearRegression, RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    x = np.random.default_rng(0).normal(size=(20, 3))
    line = make_pipeline(FunctionTransformer(lambda a: 2 * a), LinearRegression()).fit(
        x, x @ [1.0, -2.0, 0.0]
    )
    found = only(line, x[:1], "exact_shapley", output="value")
    np.testing.assert_allclose(found.values, x[0] * [1, -2, 0], atol=1e-9)
    ridge = RidgeClassifier().fit(x, x[:, 0] > 0)
    assert only(ridge, x[:1], "exact_shapley", output="value").full == pytest.approx(
        ridge.decision_function(x[:1])[0]
    )
    with pytest.raises(HarnessError, match="has no predict_proba.* use output value"):
        harness.explain(ridge, x[:1], "exact_shapley")


@pytest.mark.parametrize(
    ("classifier", "samples", "said"),
    [
        (words, ["a \ud800 b"], "half of a character .U.D800 at 2."),
        (MLP(), torch.zeros(0, 4).double(), "no rows"),
        (lambda t: t.age, TABLE.iloc[:0], "no rows or no columns"),
        (words, [], "no samples"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(classifier: Any, samples: Any, said: str) -> None:
    with pytest.raises(HarnessError, match=said) as caught:
        harness.explain(classifier, samples, "leave_one_out", output=None)
    assert "\n" not in str(caught.value)


def test_a_baseline_of_a_picture_counts_as_the_picture_does() -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)

    def prepared(arrays: list[Any]) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()
        return (pixels / 255 - 0.5) / 0.25

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(48, 3))
    from harness.classifiers.functions import Callable

    classifier = Callable(module=net, preprocess=prepared, classes=("a", "b", "c"))
    with torch.no_grad():
        grey = net(prepared([np.full_like(image, 128)]))[0, 1].item()
    found = only(classifier, [image], "leave_one_out", target=1, baseline=(128, 128, 128))
    assert found.empty == pytest.approx(grey, abs=1e-5)
    with pytest.raises(HarnessError, match="counts from 0 to 255"):
        harness.explain(classifier, [image], "leave_one_out", baseline=-1)


def test_integrated_gradients_that_are_not_complete_are_refused_or_marked() -> None:
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Sigmoid(), torch.nn.Linear(8, 2)
    ).double()
    torch.manual_seed(1)
    for value in net.parameters():
        torch.nn.init.normal_(value, std=6)
    x = drawn(1, 4)
    with pytest.raises(HarnessError, match="miss what they must sum to by .*ask for them"):
        harness.explain(net, x, IntegratedGradients(1, "midpoint"))
    asked = harness.explain(net, x, {"ig": IntegratedGradients(1, "midpoint", incomplete=True)})
    assert asked[0].completeness_error > 0.05
    assert "incomplete: values miss what they must sum to" in repr(asked)
    assert "ncomplete: values miss" in asked.draw().svg + asked.draw().html
    assert (asked.frame.completeness_error > 0.05).all()
    whole = harness.explain(net, x, "integrated_gradients", settings={"most": 4000})
    assert "incomplete" not in repr(whole)


def test_random_logit_says_nothing_of_two_shares_of_one() -> None:
    def judge(texts: list[str]) -> list[list[float]]:
        return [[1 - 0.2 * len(t.split()), 0.2 * len(t.split())] for t in texts]

    found = harness.evaluate(judge, ["a b c"], "leave_one_out", metrics=["random_logit"])
    assert all(m.value is None and "sign turned" in m.why for m in found.measurements)


def test_better_than_random_is_better_than_the_mean_of_ten_draws() -> None:
    net, x = MLP(), drawn(3, 4)
    found = harness.evaluate(net, x, "leave_one_out", metrics=["deletion", "sparseness"])
    random = [m for m in found.measurements if m.method == "random"]
    assert len(random) == 6
    assert all(m.detail["draws"] == 10 for m in random)
    plain = [m for m in found.measurements if m.method == "leave_one_out"]
    assert all("draws" not in m.detail for m in plain)
