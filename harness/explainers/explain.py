"""From a classifier and samples to attributions, by any methods at once.

All methods of a call share one engine, so a set of units that several of them look at is paid for
once. Samples go through in blocks, which bounds what is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import checks, fields, plugins
from harness.explainers.block import Block, default_units
from harness.explainers.engine import Engine, Progress
from harness.explainers.explanation import Explanation
from harness.explainers.games import Perturbation
from harness.explainers.gradients import Gradient
from harness.explainers.inside import Inspection
from harness.explainers.models.background import BackgroundEngine, OverBackground
from harness.explainers.models.choose import chosen_inputs, model_of
from harness.explainers.models.derived import derived
from harness.explainers.models.model import Model, choose_output
from harness.explainers.models.reading import Removal
from harness.explainers.reduction import REDUCTIONS
from harness.explainers.results import Question
from harness.explainers.targets import Neuron, Target
from harness.records import Attribution, HarnessError, Sample

_BLOCK = 64  # samples that go through together


def explain(
    classifier: Any,
    samples: Any,
    method: Any = "kernel_shap",
    unit: Any = None,
    *,
    target: Target = None,
    output: str | None = None,
    removal: str = "mask",
    baseline: Any = None,
    background: Any = None,
    reduce: str | None = None,
    budget: int | None = None,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    beside: Path | None = None,
    **inputs: Any,
) -> Explanation:
    """Why a classifier decided as it did: an attribution for each sample, method and target.

    - `classifier`: any of the harness's, any `torch.nn.Module`, any function from a list of inputs
      to probabilities, any fitted estimator with `predict_proba` and `classes_`, any transformers
      pipeline that classifies texts or images (the last three without gradient methods); with the
      output `value` any function, module or estimator that says numbers
    - `samples`: `Sample` records, texts, images (PIL or uint8 arrays), or for a module tensors with
      one example a row (one tensor, a tuple or a mapping of several), or a pandas frame of numbers:
      a module is given its rows, a function frames like it
    - `method`: a name (`harness list explainers`), an explainer of one's own, or several of these
      in a list or a mapping by name, which share evaluations; `settings` are the method's own, or a
      mapping of them by method name
    - `unit`: a name (`harness list units`), a unit of one's own, or several of these in a list or a
      mapping by name: one for the texts and one for the arrays of an input. Unless given, texts are
      divided into words and images into patches; so are the tensors of a module where all of them
      have `channels`, two dimensions besides, and more than one patch. All else is divided into
      features
    - `target`: a class by name or place, `predicted` (the default), `runner_up`, a pair of these (a
      contrast), or `all`; any function from one input's outputs (a tensor, one number a class on
      the scale of `output`) to a number, for gradient methods one that torch can differentiate; or
      a `harness.explainers.targets.Neuron`
    - `output`: `logit` (where there is one), `probability` or `log_probability`; `value` for what a
      function, a module or an estimator says where that is no probability (a regression, logits of
      its own, several labels): any real numbers, one column or several
    - `removal`: `mask` (mask or unknown token, blurred patch, zero), `delete` (a shorter text), or
      give a `baseline`: a token or a text; a number, one a channel or an array in a picture's own
      range of 0 to 255; for tensors and tables in their own units, or a `background`
    - `background`: rows (tensors, arrays, a frame), images, or other texts of the unit `slots`:
      the value of a set of units is the mean output over inputs whose removed units are filled from
      each row, as in the interventional Shapley expectation. For perturbation methods; each row is
      an evaluation of the budget
    - `reduce`: how values of tokens and pixels become a unit's: `sum`, `l2`, `mean`, `max_abs`; the
      method's own unless given. Perturbation methods have values of units from the start
    - `budget`: evaluations a sample; each method's own unless given
    - `inputs`: for modules, `classes`, `scale`, `arguments`, `channels`, `embedding`, `names` of
      `harness.explainers.models.tensors.TensorModel`

    Raises `HarnessError` for whatever a person can mend: a method that the classifier does not
    support, a budget that is too small (with the number needed), a sample without such units.
    """
    methods = make_methods(method, settings or {}, beside)
    found: list[Attribution] = []
    seen: list[Sample] = []
    for block in blocks(
        classifier, samples, unit, target=target, output=output, removal=removal,
        baseline=baseline, background=background, reduce=reduce, budget=budget, seed=seed,
        batch_tokens=batch_tokens, progress=progress, beside=beside, **inputs,
    ):  # fmt: skip
        attributed = block.explained(methods)
        found += [
            attribution
            for number in range(len(block.subjects))
            for method in methods
            for attribution in attributed[method, number]
        ]
        seen += block.samples
    return Explanation(tuple(found), tuple(seen))


def blocks(
    classifier: Any,
    samples: Any,
    unit: Any = None,
    *,
    target: Target = None,
    output: str | None = None,
    removal: str = "mask",
    baseline: Any = None,
    background: Any = None,
    reduce: str | None = None,
    budget: int | None = None,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
    beside: Path | None = None,
    **inputs: Any,
) -> Iterator[Block]:
    """The samples of a classifier, read in blocks: what `explain` explains, by the same options."""
    fields.whole("explain", 0, seed=seed)
    if batch_tokens is not None:
        fields.whole("explain", 1, batch_tokens=batch_tokens)
    if reduce is not None:
        fields.one_of("explain", REDUCTIONS, reduce=reduce)
    kinds = make_units(unit, beside)
    asked, items = chosen_inputs(classifier, samples, inputs, output)
    filled = background is not None
    if filled and (removal not in ("mask", "background") or baseline is not None):
        raise HarnessError("background is a removal of its own; leave removal and baseline out")
    removing = Removal() if filled else Removal.of(removal, baseline)
    for start in range(0, len(items), _BLOCK):
        block = items[start : start + _BLOCK]
        model = (
            asked if isinstance(asked, Model) else model_of(asked, block, output=output, **inputs)
        )
        scale = choose_output(output, model.scale, model.name)
        mine = kinds
        if isinstance(target, Neuron) or callable(target):
            whole = [model.read(one, Removal() if filled else removing) for one in block]
            mine = kinds or default_units(model, whole)
            model = derived(model, target, scale)
            scale = "activation" if isinstance(target, Neuron) else scale
        engine = Engine(model, batch_tokens, progress)
        if filled:
            over = OverBackground(model, background, scale, mine)
            engine = BackgroundEngine(over, batch_tokens, progress)
            removing = Removal("background", over.shown)
            mine = mine or default_units(model, [model.read(one, Removal()) for one in block])
        question = Question(target, scale, removing, "", reduce, budget, seed)
        yield Block.read(engine, block, mine, question)


def make_methods(
    method: Any, settings: Mapping[str, Any], beside: Path | None = None
) -> dict[str, Any]:
    """Explainers by name. Raises `HarnessError` for an unknown one and for settings that none
    takes."""
    named = plugins.by_name(method)
    of_several = len(named) > 1 or (len(settings) > 0 and set(settings) <= set(named))
    if of_several and (strange := sorted(set(settings) - set(named))):
        raise HarnessError(
            f"settings of '{strange[0]}', which is none of the methods {', '.join(named)}; with "
            "several methods, settings are by method name"
        )
    made = {}
    for name, one in named.items():
        mine = settings.get(name, {}) if of_several else settings
        made[name] = (
            plugins.create("explainers", one, beside, **mine) if isinstance(one, str) else one
        )
        if not isinstance(made[name], (Perturbation, Gradient, Inspection)):
            raise HarnessError(
                f"explainer '{name}' has none of play, descend and attribute, so it is no method"
            )
    return made


def make_units(unit: Any, beside: Path | None = None) -> dict[str, Any]:
    """Kinds of units by name; none where none is named."""
    if unit is None:
        return {}
    made = {
        name: plugins.create("units", one, beside) if isinstance(one, str) else one
        for name, one in plugins.by_name(unit).items()
    }
    for name, one in made.items():
        checks.check_unit(name, one)
    return made
