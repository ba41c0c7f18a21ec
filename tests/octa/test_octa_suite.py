"""The built-in suite `octa`, which `make demo` runs: what it asks, and that there is something to see."""

from __future__ import annotations

from harness import suite


def test_it_asks_whether_explanations_are_true_stable_and_why_they_were_written() -> None:
    demo = suite.load("octa")
    assert {"findings", "claims", "stability", "rationale", "context"} <= {
        s.kind for s in demo.scorers
    }
    assert demo.explain is not None
    (family,) = demo.families
    asked = [one for one in family.family.variants if one.name in family.variants]
    assert sum(variant.preserves_meaning for variant in asked) >= 3, "to compare wordings"
    assert not all(variant.preserves_meaning for variant in asked), "to take the image away"


def test_its_classifier_is_wrong_on_a_few_samples_and_right_on_most() -> None:
    demo = suite.load("octa")
    assert demo.classifier is not None
    samples = list(demo.source.create("sources", demo.folder).samples())
    told = demo.classifier.create("classifiers", demo.folder).predict(samples)
    wrong = [s.id for p, s in zip(told, samples, strict=True) if p.label != s.label]
    assert len(samples) == 24
    assert 2 <= len(wrong) <= 6
