"""What a part of one's own gives is checked where it is called: a sentence that names the part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_suite import changed, write

from harness import checks, contracts, plugins
from harness.cli import main
from harness.explainers import explain as explain_module
from harness.records import (
    Claim,
    Evidence,
    GoldRecord,
    HarnessError,
    Media,
    Part,
    Prediction,
    Sample,
)

SAMPLES = [Sample(name, (Part(f"Text of {name}."),)) for name in ("a", "b", "c")]


class Source:
    """A source that gives what it is told to."""

    def __init__(self, given: Any, gold: Any = None) -> None:
        self._given = given
        if gold is not None:
            self.gold: Callable[[], Any] = lambda: gold

    def samples(self) -> Any:
        return self._given() if callable(self._given) else self._given


class Classifier:
    """A classifier that gives what it is told to."""

    classes: Any = ("flu", "gout")
    revision: Any = "1"

    def __init__(self, given: Any = None, **attributes: Any) -> None:
        self._given = given
        vars(self).update(attributes)

    def predict(self, samples: Sequence[Sample]) -> Any:
        if isinstance(self._given, dict):
            return [Prediction(sample.id, **self._given) for sample in samples]
        return self._given(samples) if callable(self._given) else self._given


def right(samples: Sequence[Sample]) -> list[Prediction]:
    return [Prediction(sample.id, "flu", {"flu": 0.75, "gout": 0.25}) for sample in samples]


def without(name: str) -> type:
    """A classifier's class that lacks one attribute."""
    held = {"classes": ("flu",), "revision": "1", "predict": lambda _, samples: right(samples)}
    return type("Lacking", (), {key: value for key, value in held.items() if key != name})


def failing(*_: Any) -> Any:
    raise OSError("the file is gone")


# --- sources ------------------------------------------------------------------------------


def test_right_samples_pass_as_they_are() -> None:
    assert checks.samples_of("x", Source(SAMPLES)) == SAMPLES
    assert checks.samples_of("x", Source(lambda: iter(SAMPLES))) == SAMPLES


def test_bytes_and_numpy_strings_become_text_and_labels_lose_their_white_space() -> None:
    given = Sample(b"a", (Part(b"caf\xc3\xa9"),), np.str_(" flu\u00a0"))  # type: ignore[arg-type]
    (found,) = checks.samples_of("x", Source([given]))
    assert found == Sample("a", (Part("café"),), "flu")
    assert {type(found.id), type(found.text), type(found.label)} == {str}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"id": "x"}], "source 'x': item 0 is dict, no harness.records.Sample"),
        ([SAMPLES[0], None], "source 'x': item 1 is None, no harness.records.Sample"),
        (failing, "source 'x' failed in samples: OSError: the file is gone"),
        (None, "source 'x' gave None in samples, no samples"),
        ("abc", "source 'x' gave str in samples"),
        ([], "source 'x' gave no samples"),
        ([SAMPLES[0], SAMPLES[0]], "source 'x': the sample id 'a' stands 2 times"),
        ([Sample(3, (Part("t"),))], "source 'x': item 0: its id is 3, no text"),
        ([Sample(" ", (Part("t"),))], "source 'x': item 0 has an empty id"),
        ([Sample("a", ())], "source 'x': sample 'a': its input is empty"),
        ([Sample("a", "text")], "sample 'a': its input is str, no tuple of harness.records.Part"),
        ([Sample("a", ("text",))], "its input holds str, no harness.records.Part"),
        ([Sample("a", (Part(4.5),))], "source 'x': sample 'a': its text is 4.5, no text"),
        ([Sample("a", (Part(b"\xff"),))], "its text is bytes that are no UTF-8"),
        ([Sample("a", (Part("\ud800"),))], "its text holds half of a surrogate pair"),
        ([Sample("a", (Part(media=b"png"),))], "a medium is bytes, no harness.records.Media"),
        ([Sample("a", (Part("t"),), 1)], "sample 'a': its label is 1, no text"),
        ([Sample("a", (Part("t"),), "  ")], "sample 'a': its label is empty"),
        ([Sample("a", (Part("t"),), metadata=["site"])], "its metadata is list, no mapping"),
        ([Sample("a", (Part("t"),), metadata={"s": np.ones(2)})], "its metadata 's' is array"),
        ([Sample("a", (Part("t"),), metadata={"n": float("inf")})], "its metadata 'n' is inf"),
        ([Sample("a", (Part("t"),), metadata={"n": 2**60})], "its metadata 'n' is 1152921504"),
        ([Sample("a", (Part("t"),), cluster=7)], "its cluster is 7, no text"),
        ([Sample("a", (Part("t"),), None, ("spans",))], "str is no harness.records.Evidence"),
        (
            [Sample("a", (Part("text"),), None, (Evidence("spans", "w", ((0, 9),)),))],
            "its evidence 'w' holds (0, 9), which lies in no text of it (the longest has 4",
        ),
        (
            [Sample("a", (Part("t"),), None, (Evidence("mask", "m", "m.png"),))],
            "its evidence 'm' is str, no mask",
        ),
    ],
)  # fmt: skip
def test_what_is_no_sample_is_one_sentence_with_the_sources_name(given: Any, said: str) -> None:
    with pytest.raises(HarnessError) as error:
        checks.samples_of("x", Source(given))
    assert str(error.value).startswith("source 'x'")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"aspect": "a"}], "gold record 0 is dict, no harness.records.GoldRecord"),
        ([GoldRecord("a", (Claim("c", "A b."),))], "gold record 0 names a label or a sample"),
        ([GoldRecord("a", (), sample="s")], "gold of 's': it holds no claim"),
        ([GoldRecord("a", ("A b.",), sample="s")], "it holds str, no harness.records.Claim"),
        ([GoldRecord("a", (Claim("c", ["x"]),), sample="s")], "its claim 'c' is ['x'], no text"),
        ([GoldRecord("a", (Claim("c", " "),), sample="s")], "its claim 'c' is empty"),
        (failing, "failed in gold: "),
        (3, "gave int in gold"),
    ],
)
def test_what_is_no_gold_is_one_sentence_with_the_sources_name(given: Any, said: str) -> None:
    source = Source(SAMPLES)
    source.gold = given if callable(given) else lambda: given
    with pytest.raises(HarnessError) as error:
        checks.gold_of("x", source)
    assert str(error.value).startswith("source 'x'")
    assert said in str(error.value)


# --- classifiers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classifier", "said"),
    [
        (without("classes")(), "has no 'classes', the names of its classes in the order"),
        (without("revision")(), "has no 'revision', the hash of what it predicts by"),
        (without("predict")(), "has no 'predict'"),
        (Classifier(classes="flu"), "'classes' is str, no list of names"),
        (Classifier(classes=(0, 1)), "its class is 0, no text"),
        (Classifier(classes=("flu", "flu")), "has two classes named 'flu'"),
        (Classifier(classes=()), "has no classes"),
        (Classifier(revision=None), "'revision' is None, no text"),
        (Classifier(revision=3), "'revision' is 3, no text"),
    ],
)
def test_a_classifier_that_lacks_what_its_contract_asks_is_named(
    classifier: Any, said: str
) -> None:
    with pytest.raises(HarnessError) as error:
        checks.check_classifier("x", classifier)
    assert str(error.value).startswith("classifier 'x'")
    assert said in str(error.value)


def test_a_required_name_that_is_nearly_there_is_told() -> None:
    misspelt = type("Nearly", (), {"classes": ("flu",), "revison": "1", "predict": right})()
    with pytest.raises(HarnessError, match="has no 'revision'.*it has 'revison', is that meant"):
        checks.check_classifier("x", misspelt)


def test_right_predictions_pass_as_they_are() -> None:
    assert checks.predictions_of("x", Classifier(right), SAMPLES) == right(SAMPLES)


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("ranking", ("gout", "flu")),
        ("ranking", (("gout", 0.9), ("flu", 0.1))),
        ("sequence", (0.1, None, 2)),
        ("sequence", ((0, 0.1), (1, 0.2))),
        ("array", {"flu": 0.9, "gout": 0.9}),
        ("array", ((0.1, 0.2), (0.3, 0.4))),
        ("array", Media("0" * 64, "image/png", b"")),
        ("text", "free answer"),
    ],
)
def test_every_kind_of_prediction_may_hold_what_it_promises(kind: Any, output: Any) -> None:
    classifier = Classifier({"label": "flu", "kind": kind, "output": output})
    found = checks.predictions_of("x", classifier, SAMPLES)
    assert [one.output for one in found] == [output] * 3


def test_white_space_around_labels_of_predictions_is_no_part_of_them() -> None:
    spaced = Classifier(
        lambda samples: [Prediction(s.id, "flu ", {" flu": 0.5, "gout\t": 0.5}) for s in samples],
        classes=("flu  ", "gout"),
    )
    found = checks.predictions_of("x", spaced, SAMPLES[:1])
    assert found == [Prediction("a", "flu", {"flu": 0.5, "gout": 0.5})]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (failing, "classifier 'x' failed in predict: OSError: the file is gone"),
        (None, "classifier 'x' gave None in predict, no predictions"),
        (lambda samples: right(samples)[:-1], "classifier 'x' gave 2 predictions for 3 samples"),
        ([{"label": "flu"}] * 3, "prediction 0 is dict, no harness.records.Prediction"),
        (
            lambda samples: right(samples)[::-1],
            "classifier 'x': sample 'a' is given the prediction of sample 'c'",
        ),
        ({"label": "measles"}, "sample 'a' is given the label 'measles', which is none of its"),
        ({"label": 1}, "sample 'a': its label is 1, no text"),
        ({"label": "flu", "probabilities": {"flu": 0.9, "gout": 0.9}}, "sum to 1.8, not 1"),
        ({"label": "flu", "probabilities": {"flu": 0.4}}, "sum to 0.4, not 1"),
        ({"label": "flu", "probabilities": {"flu": -1, "gout": 2}}, "of 'flu' is -1, no number"),
        ({"label": "flu", "probabilities": {"flu": float("nan")}}, "of 'flu' is nan, no number"),
        ({"label": "flu", "probabilities": {"flu": "1"}}, "of 'flu' is '1', no number"),
        ({"label": "flu", "probabilities": {"mumps": 1}}, "a probability for 'mumps', which is"),
        ({"label": "flu", "probabilities": [0.5, 0.5]}, "probabilities are list, no mapping"),
        ({"label": "flu", "kind": "vector"}, "of the kind 'vector'; there is distribution"),
        (
            {"label": "flu", "kind": "ranking", "output": (("a", 0.1), ("b", 0.2))},
            "its ranking rises",
        ),
        ({"label": "flu", "kind": "ranking", "output": ("a", "a")}, "names 'a' twice"),
        ({"label": "flu", "kind": "ranking", "output": "ab"}, "its output is str"),
        ({"label": "flu", "kind": "sequence", "output": (1, float("inf"))}, "no finite number"),
        ({"label": "flu", "kind": "array", "output": np.ones(3)}, "its output is ndarray"),
        ({"label": "flu", "kind": "array", "output": {"flu": 1.5}}, "no number between 0 and 1"),
        ({"label": "flu", "kind": "text", "output": 3}, "its output is 3, no text"),
    ],
)
def test_what_is_no_prediction_is_one_sentence_with_the_classifiers_name(
    given: Any, said: str
) -> None:
    with pytest.raises(HarnessError) as error:
        checks.predictions_of("x", Classifier(given), SAMPLES)
    assert str(error.value).startswith("classifier 'x'")
    assert said in str(error.value)


def test_a_classifier_that_may_not_know_its_classes_may_name_others() -> None:
    retrieval = Classifier(
        lambda samples: [Prediction(s.id, f"near-{s.id}") for s in samples],
        classes=(), classes_known=False,
    )  # fmt: skip
    labels = [one.label for one in checks.predictions_of("x", retrieval, SAMPLES)]
    assert labels == ["near-a", "near-b", "near-c"]


# --- units --------------------------------------------------------------------------------


class Unit:
    """A unit that divides as it is told."""

    reads: Any = "text"
    within: Any = None

    def __init__(self, given: Any = None, **attributes: Any) -> None:
        self._given = given
        vars(self).update(attributes)

    def split(self, content: Any, sample: str = "") -> Any:
        return self._given(content) if callable(self._given) else self._given


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        (type("NoReads", (), {"within": None, "split": len})(), "has no 'reads', which is one of"),
        (type("NoWithin", (), {"reads": "text", "split": len})(), "has no 'within', the larger"),
        (type("NoSplit", (), {"reads": "text", "within": None})(), "has no 'split'"),
        (Unit(reads="texts"), "'reads' is 'texts', none of text, array, tokens"),
        (Unit(within="chapter"), "'within' is 'chapter', which is no registered unit"),
        (Unit(settings={"size": np.ones(2)}), "has settings that are no JSON"),
    ],
)
def test_a_unit_that_could_divide_nothing_is_named(unit: Any, said: str) -> None:
    with pytest.raises(HarnessError) as error:
        checks.check_unit("x", unit)
    assert str(error.value).startswith("unit 'x'")
    assert said in str(error.value)


TEXT = "Red hot big toe since the night."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (((0, 10), (5, len(TEXT))), "the units of sample 'a' overlap at character 5"),
        (((5, 10), (20, 30)), "the units of sample 'a' leave out the characters 0 to 5"),
        (((0, 10), (12, len(TEXT))), "leave out the characters 10 to 12"),
        (((0, 10),), f"leave out the characters 10 to {len(TEXT)}"),
        (((10, len(TEXT)), (0, 10)), "leave out the characters 0 to 10"),
        (((0, 99),), f"end at character 99, and its text at {len(TEXT)}"),
        (((0, 0), (0, len(TEXT))), "hold (0, 0), no (start, end) of characters"),
        (((0, 1.5),), "hold (0, 1.5), no (start, end) of characters"),
        (["Red hot"], "hold 'Red hot', no (start, end)"),
        (None, "gave None in split, no spans"),
        (failing, "failed in split: OSError: the file is gone"),
    ],
)
def test_spans_that_are_no_division_are_one_sentence(given: Any, said: str) -> None:
    with pytest.raises(HarnessError) as error:
        checks.spans_of("x", Unit(given), TEXT, "a")
    assert str(error.value).startswith("unit 'x'")
    assert said in str(error.value)


def test_a_unit_may_say_that_it_leaves_gaps() -> None:
    spans = ((0, 3), (np.int64(8), np.int64(11)))
    assert checks.spans_of("x", Unit(spans, gaps=True), TEXT, "a") == ((0, 3), (8, 11))
    with pytest.raises(HarnessError, match="leave out"):
        checks.spans_of("x", Unit(spans, gaps=False), TEXT, "a")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros((2, 2), int), "are a label map of 2 x 2 for an array of 3 x 4 x 1"),
        (np.zeros((3, 4)), "are a label map of float64, not of whole numbers"),
        (np.full((3, 4), -2), "hold the number -2; -1 is the least"),
        (np.full((3, 4), 1), "are numbered without a unit 0"),
        (np.array([[0, 0, 2, 2]] * 3), "are numbered without a unit 1"),
        (failing, "failed in split"),
    ],
)
def test_label_maps_that_are_no_division_are_one_sentence(labels: Any, said: str) -> None:
    array = np.zeros((3, 4, 1))
    with pytest.raises(HarnessError) as error:
        checks.labels_of("x", Unit(labels), array, "a", "3 x 4 x 1")
    assert str(error.value).startswith("unit 'x'")
    assert said in str(error.value)
    whole = checks.labels_of("x", Unit(np.full((3, 4), -1)), array, "a", "3 x 4 x 1")
    assert (whole == -1).all()


def test_units_are_checked_where_texts_are_explained() -> None:
    def classify(texts: Sequence[str]) -> list[list[float]]:
        return [[0.5, 0.5] for _ in texts]

    with pytest.raises(HarnessError, match="unit 'mine': the units of sample 'a' overlap at"):
        explain_module.explain(classify, SAMPLES, unit={"mine": Unit(((0, 10), (5, 10)))})
    with pytest.raises(HarnessError, match="unit 'mine' has no 'reads'"):
        explain_module.explain(classify, SAMPLES, unit={"mine": object()})


def test_predictions_of_changed_inputs_are_checked_too() -> None:
    broken = Classifier({"label": "flu", "probabilities": {"flu": 0.9, "gout": 0.9}})
    with pytest.raises(HarnessError, match="classifier 'Classifier': sample .* sum to 1.8"):
        explain_module.explain(broken, SAMPLES, "leave_one_out")


# --- misspelt methods ---------------------------------------------------------------------


def test_no_registered_part_has_a_method_that_looks_misspelt() -> None:
    for kind in contracts.OPTIONAL:
        for name in plugins.registered(kind):
            assert checks.misspelt(kind, name) == []


@pytest.mark.parametrize(
    ("kind", "method", "meant"),
    [
        ("sources", "golds", "gold"),
        ("classifiers", "trains", "train"),
        ("backends", "log_likelihood", "loglikelihood"),
        ("backends", "helth", "health"),
        ("backends", "generate_batches", "generate_batch"),
        ("scorers", "prepair", "prepare"),
        ("scorers", "request", "requests"),
        ("units", "splits", "split"),
        ("views", "draw_attributions", "draw_attribution"),
    ],
)
def test_a_method_that_is_nearly_an_optional_one_is_told(
    tmp_path: Path, kind: str, method: str, meant: str
) -> None:
    code = f"class Mine:\n    def {method}(self): ...\n    def unlike_any_of_them(self): ...\n"
    (tmp_path / "mine.py").write_text(code)
    (said,) = checks.misspelt(kind, "./mine.py:Mine", tmp_path)
    one = kind.removesuffix("s")
    assert said == f"{one} 'Mine' has a method '{method}'; did you mean '{meant}'?"


def test_an_attribute_that_is_nearly_an_optional_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine:\n    ask_models = True\n    name = 'x'\n")
    (said,) = checks.misspelt("scorers", "./mine.py:Mine", tmp_path)
    assert said == "scorer 'Mine' has an attribute 'ask_models'; did you mean 'asks_models'?"


def test_check_tells_of_misspelt_methods(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    code = (tmp_path / "parrot.py").read_text() + "\n    def prepair(self, subjects, given): ...\n"
    (tmp_path / "parrot.py").write_text(code)
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "note: scorer 'WordCount' has a method 'prepair'; did you mean 'prepare'?" in out


# --- in suites ----------------------------------------------------------------------------

PARTS = """
from harness.records import Part, Prediction, Sample


class Source:
    def samples(self):
        return [Sample(f"s{i}", (Part(f"Text {i}."),), "ab"[i % 2]) for i in range(4)]


class Classifier:
    classes, revision = ("a", "b"), "1"

    def predict(self, samples):
        return [Prediction(s.id, "a", {"a": 0.6, "b": 0.4}) for s in samples]


class Dicts(Source):
    def samples(self):
        return [{"id": "x"}]


class NoClasses:
    revision = "1"

    def predict(self, samples):
        return [Prediction(s.id, "a", {"a": 1.0}) for s in samples]


class Reversed(Classifier):
    def predict(self, samples):
        return super().predict(samples)[::-1]


class Loud(Classifier):
    def predict(self, samples):
        return [Prediction(s.id, "a", {"a": 0.9, "b": 0.9}) for s in samples]


class Raises(Classifier):
    def predict(self, samples):
        raise ValueError("weights are missing")


class NoReads:
    def split(self, text, sample=""):
        return ((0, len(text)),)


class Gap:
    reads, within = "text", None

    def split(self, text, sample=""):
        return ((1, 3),)
"""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "Dicts"}, "harness: source 'Dicts': item 0 is dict"),
        ({"classifier": "NoClasses"}, "harness: classifier 'NoClasses' has no 'classes'"),
        ({"classifier": "Reversed"}, "sample 's0' is given the prediction of sample 's3'"),
        ({"classifier": "Loud"}, "sample 's0': the probabilities sum to 1.8, not 1"),
        ({"classifier": "Raises"}, "'Raises' failed in predict: ValueError: weights are missing"),
        ({"unit": "NoReads"}, "unit 'NoReads' has no 'reads'"),
        ({"unit": "Gap"}, "unit 'Gap': the units of sample 's0' leave out the characters 0 to 1"),
    ],
)
def test_a_mistake_in_a_part_ends_a_run_with_one_sentence(
    tmp_path: Path, changes: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"source": "Source", "classifier": "Classifier"} | changes
    unit = {"kind": f"./parts.py:{parts.pop('unit')}"} if "unit" in parts else "word"
    named: dict[str, Any] = {name: {"kind": f"./parts.py:{kind}"} for name, kind in parts.items()}
    text = changed(
        **named, arms=["predicted"], repeats=1, scorers=["label"],
        explain={"methods": ["leave_one_out"], "unit": unit},
    )  # fmt: skip
    path = write(tmp_path, text, **{"parts.py": PARTS})
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "internal error" not in error


def test_media_stay_as_they_are_in_checked_samples() -> None:
    data = json.dumps({"n": 1}).encode()
    media = Media(hashlib.sha256(data).hexdigest(), "application/vnd.graph+json", data)
    (found,) = checks.samples_of("x", Source([Sample("a", (Part(media=media),))]))
    assert found.media[0].data == data
