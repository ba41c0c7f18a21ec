"""The way in: what each layer says, by the logit lens or by a tuned one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.classifiers.networks import evaluating
from harness.explainers.lenses.divergence import divergence, scale_of
from harness.explainers.lenses.readings import LensReading, LensReadings
from harness.explainers.lenses.stream import Lensed, Stream, lens_inputs, read, stream
from harness.explainers.lenses.tuned import TunedLens
from harness.explainers.models.generation import LanguageModel
from harness.explainers.models.model import transformed
from harness.explainers.models.prompts import decoded, shown
from harness.explainers.targets import resolve
from harness.records import HarnessError, Sample

if TYPE_CHECKING:
    from torch import Tensor

    Translate = Callable[[int, Tensor], Tensor]


def logit_lens(
    classifier: Any, samples: Any, *, target: str | int | None = None, top: int = 5
) -> LensReadings:
    """What each layer's residual stream says of the target, put through the model's own final norm
    and head, at the position that the head reads.

    - `classifier`: a `harness.explainers.models.generation.LanguageModel`, whose positions are the
      tokens of its answer, or a classifier `huggingface` of texts or images, whose position is that
      which it reads: the first token, the pooled ones or the last token
    - `samples`: as for `harness.explain`
    - `target`: of a classifier a class by name or place, `predicted` (by the whole model; the
      default), `runner_up` or `all`; of a language model always the answer's tokens
    - `top`: how many of the likeliest tokens or classes are kept

    The last layer's values are the model's own. One pass, and for each layer one through the head
    alone. Source: nostalgebraist 2020, "interpreting GPT: the logit lens". Raises `HarnessError`
    for models that are no transformers with one residual stream, and for a target that there is
    not.
    """
    model, items = lens_inputs(classifier, samples)
    return _readings(model, items, target, top, _Lens("logit", lambda _, residual: residual))


def tuned_lens(
    lens: TunedLens | None,
    classifier: Any,
    samples: Any,
    *,
    target: str | int | None = None,
    top: int = 5,
) -> LensReadings:
    """The same as `logit_lens`, with each layer's residual stream translated before by a tuned lens
    that `harness.explainers.lenses.tuned.train_tuned_lens` trained for this model.

    Source: Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned
    Lens", section 2. Raises `HarnessError` for a lens that is not trained, or for another model.
    """
    model, items = lens_inputs(classifier, samples)
    if lens is None or not lens.trained:
        raise HarnessError(
            "the tuned lens is not trained; train it with train_tuned_lens, or use logit_lens"
        )
    lens.check(model)
    how = _Lens("tuned", lens.translated, lens.seed, lens.settings)
    return _readings(model, items, target, top, how)


@dataclass(frozen=True, eq=False)
class _Lens:
    """How a layer's residual (by the layer's place) becomes what the head is given."""

    name: Any
    translate: Translate
    seed: int | None = None
    settings: Mapping[str, Any] | None = None


def _readings(
    model: Lensed, samples: Sequence[Sample], target: Any, top: int, lens: _Lens
) -> LensReadings:
    fields.whole("lens", 1, top=top)
    found: list[LensReading] = []
    for sample in samples:
        reading = read(model, sample)
        with evaluating(model.module):
            seen = stream(model, reading)
            said = [
                seen.said(lens.translate(depth, residual)).double().cpu()
                for depth, residual in enumerate(seen.residuals)
            ]
        found += [
            _record(model, seen, said, positions, names, columns, top, lens)
            for positions, names, columns in _targets(model, seen, said[-1], target)
        ]
    return LensReadings(tuple(found))


def _targets(
    model: Lensed, seen: Stream, final: Tensor, target: Any
) -> list[tuple[tuple[str, ...], tuple[str, ...], list[int]]]:
    """For each reading to be made its positions, their targets, and the columns of these."""
    reading: Any = seen.reading
    if isinstance(model, LanguageModel):
        if target not in (None, "answer", "tokens", "all"):
            raise HarnessError(
                f"a lens on {model.name} reads the tokens of its answer; leave target out"
            )
        answer = reading.answer.tolist()
        names = tuple(shown(decoded(model.tokenizer, [token])) for token in answer)
        return [(tuple(model.columns(reading)), names, answer)]
    columns = list(model.columns(reading))
    if isinstance(target, (tuple, list)):
        raise HarnessError("a lens reads single classes, which have ranks; name one, or all")
    row = final[0].numpy()
    found = resolve(target, columns, row, f"sample '{reading.sample}'")
    return [(("classification",), (name,), [columns.index(name)]) for name in found.names]


def _record(
    model: Lensed,
    seen: Stream,
    said: Sequence[Tensor],
    positions: tuple[str, ...],
    targets: tuple[str, ...],
    columns: Sequence[int],
    top: int,
    lens: _Lens,
) -> LensReading:
    import torch

    reading: Any = seen.reading
    chosen = torch.tensor(columns)[:, None]
    scale = scale_of(model)
    logs = [transformed(logits, scale, "log_probability", torch) for logits in said]

    def of(values: Tensor) -> tuple[float, ...]:
        return tuple(values.gather(1, chosen)[:, 0].tolist())

    return LensReading(
        sample=reading.sample,
        lens=lens.name,
        layers=seen.layers,
        positions=positions,
        targets=targets,
        logits=tuple(of(logits) for logits in said),
        log_probabilities=tuple(of(rows) for rows in logs),
        ranks=tuple(
            tuple((1 + (rows > rows.gather(1, chosen)).sum(dim=1)).tolist()) for rows in said
        ),
        divergences=tuple(
            tuple(divergence(said[-1], logits, scale).clamp(min=0).tolist()) for logits in said
        ),
        top=tuple(_top(model, reading, rows, top) for rows in logs),
        classifier=model.revision,
        input=reading.input,
        seed=lens.seed,
        settings=dict(lens.settings or {}),
        notes=tuple(reading.notes),
    )


def _top(
    model: Lensed, reading: Any, logs: Tensor, top: int
) -> tuple[tuple[tuple[str, float], ...], ...]:
    """The likeliest columns of each position, by name, with their log-probabilities."""
    values, places = logs.topk(min(top, logs.shape[1]))
    if isinstance(model, LanguageModel):
        tokenizer = model.tokenizer
        names = [[shown(decoded(tokenizer, [place])) for place in row] for row in places.tolist()]
    else:
        columns = list(model.columns(reading))
        names = [[columns[place] for place in row] for row in places.tolist()]
    return tuple(
        tuple(zip(row, numbers, strict=True))
        for row, numbers in zip(names, values.tolist(), strict=True)
    )
