"""Made-up results with every part a report can show, for the report's tests.

Numbers are drawn from a seed and mean nothing. `planted` puts a string into every text of the
results, wherever it stands, so that a test need not know where the report shows what.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import random
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw

from harness.records import (
    Attribution,
    Cell,
    Generation,
    Media,
    Message,
    Metric,
    Part,
    Prediction,
    Sample,
    Segmentation,
    Unit,
)
from harness.results import (
    Agreement,
    AnomalyCount,
    ArmEffect,
    Breakdown,
    ClaimVerdict,
    ClassifierPage,
    Comparison,
    Estimate,
    ExplainerSummary,
    Explanation,
    Failure,
    FailureShare,
    GoldStatus,
    MetricSummary,
    ModelSummary,
    Rank,
    Requirement,
    Results,
    SampleView,
    Sentence,
    SeparationResult,
    VarianceShares,
    WorstCase,
)

MODELS = {"north-8b": (0.72, 0.81), "north-1b": (0.49, 0.66), "delta-instruct": (0.63, 0.58),
          "delta-large": (0.78, 0.80)}  # fmt: skip
CONTROLS = {"gold": (0.97, 1.0), "paraphrase": (0.91, 0.88), "other-label": (0.18, 0.97),
            "negated": (0.06, 0.96), "empty": (0.0, 1.0), "echo": (0.09, 0.71),
            "mix(0.5)": (0.56, 0.53)}  # fmt: skip
ASPECTS = ("causes", "symptoms", "treatment", "lifestyle", "follow-up")
VARIANTS = ("base", "reworded", "persona-clinician", "order-reversed", "json", "typos",
            "probabilities", "are-you-sure")  # fmt: skip
ARMS = ("predicted", "gold", "wrong", "none")
LABELS = ("gastritis", "gastroparesis", "indigestion")
METRICS = (
    ("claims", Metric("recall_vs_true", headline="accuracy",
                      about="Share of must-have claims of the true label that the text supports."),
     "valid"),
    ("claims", Metric("recall_vs_told", about="The same against the label in the prompt."),
     "valid"),
    ("claims", Metric("contradiction_vs_true", direction="lower",
                      about="Share of claims that the text contradicts."), "not shown"),
    ("stability", Metric("prompt", subject="group", axis="variant", headline="stability",
                         about="Mean similarity over variants that preserve meaning."), "valid"),
    ("stability", Metric("sampling", subject="group", axis="repeat",
                         about="Mean similarity over repeats of one prompt."), "valid"),
    ("label", Metric("consistency", about="Whether the text names the told label."), "invalid"),
    ("similarity", Metric("rouge_l", baseline=True), "baseline"),
    ("similarity", Metric("words", range=(0.0, None), direction=None, baseline=True), "baseline"),
)  # fmt: skip
IDS = tuple(f"{scorer}.{metric.name}" for scorer, metric, _ in METRICS)
METHOD = "t, 7 degrees of freedom, by condition"
TEXTS = (
    "Gastritis is an inflammation of the stomach's lining. It is often caused by infection with "
    "Helicobacter pylori, and regular use of pain relievers such as ibuprofen can also bring it "
    "on. It is never caused by alcohol.",
    "In gastroparesis the stomach empties too slowly although nothing blocks the way out. "
    "Diabetes is the most common known cause.",
    "Indigestion means discomfort in the upper abdomen during or after eating. Eating smaller "
    "meals and avoiding late food can help; see a doctor when weight falls without a reason.",
)


def example(seed: int = 7, samples: int = 6, explanations: int = 10) -> Results:
    """Results of four models and seven controls."""
    rng = random.Random(seed)

    def estimate(mean: float, spread: float = 0.06, n: int = 480) -> Estimate:
        value = min(1.0, max(0.0, rng.gauss(mean, 0.03)))
        half = spread * (0.7 + 0.6 * rng.random())
        return Estimate(value, max(0.0, value - half), min(1.0, value + half), n, 8, METHOD)

    def difference(mean: float, half: float = 0.07) -> Estimate:
        return Estimate(mean, mean - half, mean + half, 240, 8, "paired " + METHOD)

    def by_metric(accuracy: float, stability: float) -> dict[str, Estimate]:
        words = 40 + 90 * rng.random()
        return {
            IDS[0]: estimate(accuracy),
            IDS[1]: estimate(min(1.0, accuracy + 0.08)),
            IDS[2]: estimate(max(0.0, 0.3 - 0.3 * accuracy), 0.03),
            IDS[3]: estimate(stability, 0.04),
            IDS[4]: estimate(min(1.0, stability + 0.07), 0.03) if stability < 1 else Estimate(None),
            IDS[5]: estimate(0.6),
            IDS[6]: estimate(0.2 + 0.4 * accuracy, 0.02),
            IDS[7]: Estimate(words, words - 9, words + 9, 480, 8, METHOD),
        }

    models = []
    for name, (accuracy, stability) in {**MODELS, **CONTROLS}.items():
        control = name in CONTROLS
        failed = 0 if control else rng.randint(4, 40)
        models.append(
            ModelSummary(
                name=name,
                backend="control" if control else "openai",
                control=control,
                estimates=by_metric(accuracy, stability),
                planned=480,
                outcomes={
                    "ok": 480 - 3 * failed,
                    "refusal": failed,
                    "truncated": failed // 2,
                    "server": failed - failed // 2,
                    "not_run": failed,
                },
                not_planned={} if control else {"the model declares no images": 60},
                bounds={} if control else {IDS[0]: (accuracy - 0.05, accuracy + 0.06)},
                repro_rate=1.0 if control else 0.62 + 0.3 * rng.random(),
                served=() if control else (f"{name}@2026-05", f"{name}@2026-06")[: failed % 2 + 1],
            )
        )

    def breakdown(axis: str, metric: int, levels: tuple[str, ...]) -> Breakdown:
        rows = []
        for model in models:
            mean = model.estimates[IDS[metric]].value or 0.0
            for level in levels:
                told_none = axis == "arm" and level == "none" and metric == 1
                unmeasured = told_none or (model.name == "empty" and level == levels[-1])
                shift = rng.gauss(0, 0.09) - (0.25 if level == "wrong" and metric == 0 else 0)
                entry = Estimate(None) if unmeasured else estimate(mean + shift, 0.09, 96)
                rows.append((model.name, level, entry))
        return Breakdown(axis, IDS[metric], tuple(rows))

    ranked = list(MODELS)
    return Results(
        suite="gi-demo",
        run="reports/gi-demo-3f9a1c20",
        created="2026-06-01 09:30 UTC",
        harness_version="0.1.0",
        seed=7,
        cluster="condition",
        samples=24,
        finished=True,
        verdict=(
            Sentence("accuracy", "north-8b states more of what it must than the other models: "
                     "recall 0.72 [0.66, 0.78], 0.09 [0.02, 0.16] above delta-instruct.", "good"),
            Sentence("stability", "north-8b and delta-instruct cannot be told apart in how far "
                     "their answers change with the wording of the question.", "unsure"),
            Sentence("faithfulness", "Nothing here says why the classifier decided: this suite "
                     "asks for no attributions.", "plain"),
            Sentence("validity", "The scorer label.consistency is invalid: it does not tell gold "
                     "from echo. Its figures are struck through.", "bad"),
            Sentence("gold", "No expert has verified the gold: 40 of 40 records are drafts.",
                     "bad"),
        ),
        warnings=(
            "north-1b was served under two names, so its answers may come from two models.",
            "Only 8 conditions: intervals use t with 7 degrees of freedom.",
        ),
        failures=(
            Failure("north-1b", "server", "the server answered HTTP 500: out of memory at …", 12,
                    ("north-1b/s1/gi/base/predicted/causes/1",
                     "the server answered HTTP 500: out of memory at 0x7f")),
            Failure("north-1b", "not_run", "not asked", 3,
                    ("north-1b/s2/gi/base/predicted/causes/1", "")),
        ),
        failure_shares=(
            FailureShare("north-1b", "variant", (("gi/json", 12, 60), ("gi/base", 0, 60)), 0.004),
        ),
        anomalies=(
            AnomalyCount("delta-large", "marks of a chat template", 4, 480,
                         ("delta-large/s1/gi/base/predicted/causes/1", "<|im_end|>")),
        ),
        metrics=tuple(
            MetricSummary(key, scorer, metric, hashlib.sha256(key.encode()).hexdigest(), validity)
            for key, (scorer, metric, validity) in zip(IDS, METRICS, strict=True)
        ),
        models=tuple(models),
        ranks=(
            *(
                Rank(metric, name, float(place), max(1.0, place - 1.0), min(3.0, place + 1.0))
                for metric in (IDS[0], IDS[3])
                for place, name in enumerate(("north-8b", "delta-instruct", "north-1b"), 1)
            ),
            Rank(IDS[5], "north-8b", None, None, None, "the models share no samples"),
        ),
        comparisons=tuple(
            Comparison(metric, a, b, difference(rng.gauss(0.05, 0.1)), rng.random() ** 4)
            for metric in IDS[:5]
            for i, a in enumerate(ranked)
            for b in ranked[i + 1 :]
        ),
        breakdowns=(
            breakdown("aspect", 0, ASPECTS),
            breakdown("aspect", 2, ASPECTS),
            breakdown("aspect", 5, ASPECTS),
            breakdown("variant", 0, VARIANTS),
            breakdown("variant", 2, VARIANTS),
            breakdown("arm", 0, ARMS),
            breakdown("arm", 1, ARMS),
            breakdown("arm", 2, ARMS),
            breakdown("site", 0, ("A", "B")),
        ),
        worst_cases=tuple(
            WorstCase(IDS[0], name, "typos", estimate(accuracy - 0.15, 0.1))
            for name, (accuracy, _) in MODELS.items()
        ),
        variance=tuple(
            VarianceShares(
                IDS[0], name,
                tuple((part, estimate(0.25, 0.1)) for part in
                      ("sample", "variant", "interaction", "repeat")),
            )
            for name in MODELS
        ),
        arm_effects=tuple(
            ArmEffect(name, metric, contrast, difference(mean))
            for name in MODELS
            for metric, contrast, mean in (
                (IDS[0], "gold - predicted, misclassified samples", 0.21),
                (IDS[0], "predicted - wrong, correctly classified samples", 0.27),
                (IDS[1], "predicted - wrong, correctly classified samples", 0.01),
            )
        ),
        separations=(
            SeparationResult(IDS[0], "gold", "other-label", 0.3, difference(0.79), "valid"),
            SeparationResult(IDS[0], "gold", "negated", 0.3, difference(0.91), "valid"),
            SeparationResult(IDS[2], "negated", "gold", 0.2, difference(0.22, 0.3), "not shown"),
            SeparationResult(IDS[3], "gold", "mix(0.5)", 0.2, difference(0.47), "valid"),
            SeparationResult(IDS[5], "gold", "echo", 0.1, difference(-0.02), "invalid"),
        ),
        agreements=(
            Agreement("claim support", "all", estimate(0.8), estimate(0.45), 222, 131),
            Agreement("overlap alone", "all", estimate(0.71), Estimate(None), 222, 131,
                      baseline=True, gain=difference(0.09)),
            Agreement("one person against the others", "all", estimate(0.9), estimate(0.7), 222,
                      131, people=True, alpha=estimate(0.66)),
            Agreement("claim support", "within models", estimate(0.77), Estimate(None), 222, 131),
            Agreement("claim support", "north-8b", estimate(0.78), estimate(0.4), 80, 52),
        ),
        classifier=ClassifierPage(
            name="TF-IDF with logistic regression",
            classes=LABELS,
            confusion=((17, 2, 1), (3, 14, 3), (0, 4, 16)),
            accuracy=estimate(0.78, 0.1, 60),
            balanced_accuracy=estimate(0.78, 0.1, 60),
            ece=estimate(0.09, 0.04, 60),
            brier=estimate(0.14, 0.05, 60),
            reliability=((0.35, 0.3, 6), (0.5, 0.55, 12), (0.7, 0.62, 18), (0.92, 0.9, 24)),
            groups=(("site", "A", estimate(0.8, 0.12, 30)), ("site", "B", estimate(0.7, 0.14, 30))),
            baselines=(("majority", Estimate(1 / 3, 1 / 3, 1 / 3, 60, 8, METHOD)),
                       ("length", estimate(0.41, 0.1, 60))),
            unlabelled=2,
        ),
        gold=GoldStatus(40, 231, {"draft": 40}, 38, 40),
        views=tuple(_view(rng, index, explanations) for index in range(samples)),
        requirements=(
            Requirement(IDS[0], METRICS[0][1].title, 0.6, "higher", "north-8b", "site=A",
                        estimate(0.72), True),
            Requirement(IDS[2], METRICS[2][1].title, 0.05, "lower", "north-1b", "",
                        estimate(0.2), False, "the metric is not shown to be valid on this gold"),
            Requirement("claims.gone", "", 0.5, "higher", "", reason="there is no metric"),
        ),
        explainers=tuple(
            ExplainerSummary(
                method, "word", "probability", "mask", samples, 4 * samples, LABELS, 256.0, error,
                ("texts of 3 samples are longer than the model's positions",),
            )
            for method, error in (("kernel_shap", 0.004), ("leave_one_out", None))
        ),
        manifest={
            "about": "Eight conditions of the stomach, explained to patients.",
            "python": "3.11.7",
            "machine": "Linux x86_64",
            "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
            "suite": {"name": "gi-demo", "families": ["gi"], "arms": list(ARMS)},
        },
    )  # fmt: skip


def _view(rng: random.Random, index: int, explanations: int) -> SampleView:
    label = LABELS[index % 3]
    text = Part("A person reports burning pain in the upper abdomen after meals and early fullness "
                "for three weeks. The condition was examined with an endoscope.")  # fmt: skip
    parts = (Part(media=drawing(index)),) if index % 2 else (text,)
    sample = Sample(f"s{index:02d}-5be{index}", parts, label, metadata={"site": "AB"[index % 2]})
    probabilities = dict.fromkeys(LABELS, 0.15) | {LABELS[(index + index // 3) % 3]: 0.7}
    told = max(probabilities, key=lambda name: probabilities[name])
    shown = []
    names = [*MODELS, "gold"]
    for number in range(explanations):
        cell = Cell(names[number % 5], sample.id, "gi", VARIANTS[number % 8], ARMS[number % 4],
                    ASPECTS[number % 5], 1 + number // 5)  # fmt: skip
        answer = TEXTS[index % 3]
        claims = (
            ClaimVerdict("hp", "Infection with Helicobacter pylori is a common cause.", "must",
                         "supported", 0.86, answer.split(". ")[1]),
            ClaimVerdict("alc", "Heavy drinking can cause it.", "nice", "contradicted", 0.71,
                         answer.split(". ")[-1]),
            ClaimVerdict("auto", "The immune system may attack the lining.", "must",
                         "unsupported", 0.12),
            ClaimVerdict("stop", "Stop all medicines at once.", "must_not", "unsupported", 0.05),
        )  # fmt: skip
        generation: Generation | None = Generation(answer, reasoning="The label says so.")
        if number == 3:
            generation = Generation(outcome="server", error="the server answered 503 three times")
        if number == 6:
            generation = None
        shown.append(
            Explanation(
                cell,
                None if cell.arm == "none" else told,
                (
                    Message.of("system", "You explain findings to patients. Be brief and correct."),
                    Message("user", (Part(f"Finding: {told} (probability 0.7)."), *parts)),
                ),
                generation,
                claims if generation and generation.outcome == "ok" else (),
                {IDS[0]: rng.random(), IDS[1]: None},
            )
        )
    prediction = Prediction(sample.id, told, probabilities)
    made = attributions(rng, sample, told)
    return SampleView(sample, prediction, tuple(shown), made, attributions_left=2)


def attributions(rng: random.Random, sample: Sample, target: str) -> tuple[Attribution, ...]:
    """By two methods, of the words of a text or of 8 x 8 patches of an image of 64 x 64."""
    units: tuple[Unit, ...]
    maps: tuple[Segmentation, ...] = ()
    if sample.media:
        boxes = [(top, left) for top in range(0, 64, 8) for left in range(0, 64, 8)]
        units = tuple(Unit(box=(*corner, 8, 8)) for corner in boxes)
        runs = [n for y in range(64) for x in range(8) for n in (8 * (y // 8) + x, 8)]
        maps = (Segmentation((64, 64), tuple(runs)),)
    else:
        spans = [found.span() for found in re.finditer(r"\S+\s*", sample.text)]
        units = tuple(Unit(sample.text[a:b], a, b) for a, b in spans)
    made = []
    for method in ("kernel_shap", "leave_one_out"):
        values = [rng.gauss(0, 0.04) + (rng.random() > 0.9) * rng.gauss(0, 0.3) for _ in units]
        made.append(
            Attribution(
                sample.id, method, "patch" if maps else "word", target, "probability", "mask", units,
                (*values[:-1], None), full=0.7, empty=0.2, evaluations=256,
                completeness_error=0.004 if method == "kernel_shap" else None, segmentation=maps,
                notes=("the last unit lies beyond the model's positions",),
            )
        )  # fmt: skip
    return tuple(made)


def drawing(seed: int, side: int = 304) -> Media:
    """A picture of bright lines on black, as PNG bytes."""
    rng = random.Random(seed)
    image = Image.new("L", (side, side))
    pen = ImageDraw.Draw(image)
    for _ in range(90):
        x, y = rng.uniform(0, side), rng.uniform(0, side)
        for _ in range(12):
            to = (x + rng.gauss(0, 9), y + rng.gauss(0, 9))
            pen.line((x, y, *to), fill=rng.randint(90, 255), width=rng.choice((1, 1, 2, 3)))
            x, y = to
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = buffer.getvalue()
    return Media(hashlib.sha256(data).hexdigest(), "image/png", data)


def with_input(results: Results, medium: Media) -> Results:
    """The same results with one sample, whose input is this medium."""
    view = results.views[0]
    sample = dataclasses.replace(view.sample, input=(Part(media=medium),))
    return dataclasses.replace(results, views=(dataclasses.replace(view, sample=sample),))


# Fields whose values come from a closed list, so that no outside text can stand there.
_AXES = {"aspect", "variant", "arm", "repeat"}
_CLOSED = {
    "tone", "validity", "role", "outcome", "kind", "importance", "verdict", "headline", "direction",
    "subject", "mime", "sha256", "outcomes", "arm", "by_status", "axis",
}  # fmt: skip


def planted(results: Results, payload: str) -> Results:
    """The same results with `payload` at the end of every text that is not from a closed list."""
    return _plant(results, payload)


def _plant(value: Any, payload: str) -> Any:
    if isinstance(value, str):
        return value if value in _AXES else value + payload
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        new = {}
        for field in dataclasses.fields(value):
            old = getattr(value, field.name)
            # `Results.verdict` holds sentences, `ClaimVerdict.verdict` one word of three.
            closed = field.name in _CLOSED and not isinstance(old, tuple)
            new[field.name] = old if closed else _plant(old, payload)
        return type(value)(**new)
    if isinstance(value, Mapping):
        return {_plant(key, payload): _plant(item, payload) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plant(item, payload) for item in value)
    return value
