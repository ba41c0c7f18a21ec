"""Every metric on every kind of network, and on a classifier and a model trained on real texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification_checkpoints import TEXTS, hf, make, make_vit, pictures
from descents_for_tests import same, state

import harness
from harness.classifiers.huggingface import HuggingFace
from harness.classifiers.mobilecoatnet import MobileCoAtNet
from harness.explainers.metrics.evaluate import METRICS
from harness.sources.octa import Octa

METHODS = ["leave_one_out", "kernel_shap", "integrated_gradients", "saliency"]
SETTINGS: dict[str, Any] = {name: {} for name in METHODS}
SETTINGS["integrated_gradients"] = {"steps": 8, "incomplete": True}
CHEAP = {
    "max_sensitivity": {"copies": 1},
    "local_lipschitz": {"copies": 1},
    "seed_stability": {"seeds": 1},
    "deletion": {"steps": 4},
    "insertion": {"steps": 4},
    "monotonicity": {"steps": 4},
    "infidelity": {"draws": 3},
    "sensitivity_n": {"draws": 3},
}


def check(found: Any, without: Sequence[str] = (), methods: Sequence[str] = METHODS) -> None:
    """Every metric applies to every method on some sample, unless it is named."""
    for metric in METRICS:
        for method in methods:
            values = [
                m.value
                for m in found.measurements
                if (m.metric, m.method) == (metric, method) and m.value is not None
            ]
            if metric in without:
                assert not values, (metric, method)
            else:
                assert values, (metric, method)
                assert np.isfinite(values).all(), (metric, method)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "gpt2", "llama"])
def test_texts_of_transformers(kind: str, tmp_path: Path) -> None:
    classifier = HuggingFace(str(make(kind, tmp_path)[0]))
    before = state(classifier.module)
    found = harness.evaluate(
        classifier, TEXTS[:3], METHODS, "word", settings=SETTINGS, metric_settings=CHEAP,
        evidence=[[(0, 5)]] * 3, output="probability",
    )  # fmt: skip
    assert same(before, state(classifier.module))
    check(found)


def test_images_of_transformers(tmp_path: Path) -> None:
    make_vit(tmp_path)
    hf.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    classifier = HuggingFace(str(tmp_path))
    found = harness.evaluate(
        classifier, pictures()[:2], METHODS, settings=SETTINGS, metric_settings=CHEAP
    )
    check(found, ("pointing_game", "relevance_mass", "relevance_rank", "iou", "f1", "auprc"))
    assert "darkness" in found.references


def test_images_of_mobilecoatnet_with_lesions() -> None:
    samples = list(Octa("fast", samples=6, size=128).samples())
    found = harness.evaluate(
        MobileCoAtNet("builtin:octa"), samples, ["leave_one_out", "saliency"], "superpixel",
        metric_settings=CHEAP, output="log_probability",
    )  # fmt: skip
    check(found, methods=("leave_one_out", "saliency"))
    named = {name for name in found.metrics if "[" in name}
    assert {"auprc[dropout]", "iou[microaneurysm]", "f1[neovascularisation]"} <= named
    assert not any("faz" in name for name in named)  # a landmark is no reason for a label


def test_answers_of_a_model_trained_on_stories(shared_data: Path) -> None:
    from harness.explainers.models.generation import LanguageModel

    model = LanguageModel(str(shared_data / "stories260k"), max_new_tokens=6)
    prompts = ["Once upon a time there was a dog named", "The little girl went to"]
    found = harness.evaluate(
        model, prompts, METHODS, "word", settings=SETTINGS, metric_settings=CHEAP
    )
    no = ("pointing_game", "relevance_mass", "relevance_rank", "iou", "f1", "auprc", "random_logit")
    check(found, no)
    assert {m.target for m in found.measurements} == {"answer"}


def test_a_classifier_trained_on_patient_information(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.cli.command_line import main
    from harness.inputs import samples_of
    from harness.suite import load

    monkeypatch.setenv("HARNESS_DATA", str(shared_data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["train", "nih"]) == 0
    suite = load("nih")
    assert suite.classifier is not None
    classifier = suite.classifier.create("classifiers", suite.folder)
    samples = samples_of(suite, 12)
    found = harness.evaluate(
        classifier, samples, ["leave_one_out", "kernel_shap"], "sentence",
        metrics=["deletion", "insertion", "tau_loo", "sensitivity_n", "completeness"],
    )  # fmt: skip
    means = {(r.method, r.metric): r.mean.value for r in found.rows}
    assert means["leave_one_out", "tau_loo"] == pytest.approx(1.0)
    assert max(m.value for m in found.measurements if (m.method, m.metric) == ("kernel_shap", "completeness")) < 1e-9  # fmt: skip
    ranks = {row.model: row.rank for row in found.ranking().rows}
    assert ranks["random"] == 3
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path)
