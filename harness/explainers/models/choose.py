"""Which model explains a classifier: by what it is, never by what it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import checks
from harness.classifiers.distribution import check_distribution
from harness.explainers.models.foreign import adapted
from harness.explainers.models.model import NO_PROBABILITIES, Model, Scale
from harness.images import classifier_input, png_medium
from harness.plugins import blamed
from harness.records import HarnessError, Part, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.classifiers.functions import Callable as Functions
    from harness.explainers.models.tensors import TensorModel


def model_of(
    classifier: Any,
    samples: Sequence[Sample],
    classes: Sequence[str] = (),
    output: str | None = None,
) -> Model:
    """The model for a classifier of the harness, or for a function of inputs.

    A function is given a list of texts, of uint8 arrays of height x width x 3, or of tuples of
    these, and returns probabilities, inputs x classes; with the output `value` any numbers. Raises
    `HarnessError` for a classifier that
    cannot be asked about changed inputs.
    """
    from harness.classifiers.functions import Callable as FunctionClassifier
    from harness.classifiers.huggingface import HuggingFace
    from harness.classifiers.huggingface.preprocessing import Texts
    from harness.classifiers.mobilecoatnet import MobileCoAtNet
    from harness.classifiers.recorded import Recorded
    from harness.explainers.models.images import HuggingFacePixels, MobileCoAtNetPixels
    from harness.explainers.models.inputs import InputModel, Predicts
    from harness.explainers.models.text import TokenModel

    if isinstance(classifier, HuggingFace):
        reader = classifier.reader
        if isinstance(reader, Texts):
            return TokenModel(classifier, reader)
        return HuggingFacePixels(classifier)
    if isinstance(classifier, MobileCoAtNet):
        return MobileCoAtNetPixels(classifier)
    if isinstance(classifier, Recorded):
        raise HarnessError(
            "recorded predictions cannot be explained: what the classifier says of a changed input "
            "stands in no table; name the classifier itself"
        )
    if isinstance(classifier, FunctionClassifier):
        return _functions(classifier, samples, output)
    if hasattr(classifier, "predict") and hasattr(classifier, "classes"):
        called = type(classifier).__name__
        own = checks.check_classifier(called, classifier)
        name, revision = f"classifier '{called}'", classifier.revision
        return InputModel(name, Predicts(classifier), own, "probability", revision)
    if callable(classifier):
        named = tuple(classes) or _numbered(classifier, samples)
        asked = FunctionClassifier(function=classifier, classes=named)
        return model_of(asked, samples, output=output)
    raise HarnessError(
        f"{type(classifier).__name__} cannot be explained: give a classifier of the harness, a "
        "torch module, an estimator with predict_proba, a transformers pipeline, or a function "
        "from a list of inputs to probabilities, inputs x classes"
    )


def chosen_inputs(
    classifier: Any, samples: Any, inputs: Mapping[str, Any], output: str | None = None
) -> tuple[Any, list[Sample]]:
    """What is to be asked, and samples of whatever was given.

    A torch module on tensors is its own model; a compiled one is the module that was compiled,
    whose parts have their names and take hooks. With the output `value` what a function or a module
    says is any number. Raises `HarnessError` for inputs of no known kind,
    for no samples, and for ids that stand twice.
    """
    import torch

    from harness.explainers.models.tensors import TensorModel

    if isinstance(classifier, Model):
        return classifier, samples_of(samples)
    classifier, samples = adapted(uncompiled(classifier), samples, output)
    inputs = {"scale": "real", **inputs} if output == "value" else inputs
    if hasattr(samples, "to_numpy") and hasattr(samples, "columns"):
        model = _of_table(classifier, samples, inputs)
        return model, model.samples
    tensors = _tensors(samples)
    if tensors is not None:
        if not (isinstance(classifier, torch.nn.Module) or callable(classifier)):
            raise HarnessError(
                f"{type(classifier).__name__} takes samples; tensors are for a torch module"
            )
        model = TensorModel(classifier, tensors, **inputs)
        return model, model.samples
    if isinstance(classifier, torch.nn.Module):
        raise HarnessError(
            "a torch module takes tensors with one example a row; for samples use the classifier "
            "'callable' with 'module' and 'preprocess', or 'huggingface' for a checkpoint"
        )
    return classifier, samples_of(samples)


def uncompiled(module: Any) -> Any:
    """The module that `torch.compile` was given; any other as it is."""
    return getattr(module, "_orig_mod", module)


class _OfFrames:
    """A function of pandas frames, asked with tensors."""

    def __init__(self, function: Any, columns: Sequence[str]) -> None:
        self._function, self._columns = function, columns
        self.__qualname__ = str(getattr(function, "__qualname__", type(function).__qualname__))

    def __call__(self, rows: Any) -> Any:
        import pandas as pd
        import torch

        from harness.classifiers.functions import returned

        frame = pd.DataFrame(rows.numpy(), columns=pd.Index(self._columns))
        said = returned(self._function(frame), f"'{self.__qualname__}'")
        if said and isinstance(said[0], Mapping):
            said = [list(row.values()) for row in said]
        return torch.tensor(said, dtype=torch.float64)


def _of_table(classifier: Any, table: Any, inputs: Mapping[str, Any]) -> TensorModel:
    """A frame of numbers: a module is given its rows as a tensor, a function frames like it, of
    which it says probabilities. Raises `HarnessError` for what is no number."""
    import torch

    from harness.explainers.models.tensors import TensorModel

    names = [str(name) for name in table.columns]
    try:
        rows = torch.from_numpy(table.to_numpy(dtype="float64", copy=True))
    except (TypeError, ValueError) as error:
        raise HarnessError(
            f"the table holds what is no number ({error}); encode it before, and divide columns "
            "that belong together by unit mask"
        ) from error
    classes = getattr(classifier, "classes", None)
    options = {"names": names, **({"classes": classes} if classes else {}), **inputs}
    if isinstance(classifier, torch.nn.Module):
        dtype = next((value.dtype for value in classifier.parameters()), torch.float32)
        return TensorModel(classifier, [rows.to(dtype)], **options)
    if not rows.numel():
        raise HarnessError("the table has no rows or no columns, so there is nothing to explain")
    if not callable(classifier):
        raise HarnessError(
            f"{type(classifier).__name__} takes samples; a table is for a function or a module"
        )
    call = _OfFrames(classifier, table.columns)
    return TensorModel(call, [rows], **{"scale": "probability", **options})


def samples_of(samples: Any) -> list[Sample]:
    """Samples of whatever was given, each with an id of its own."""
    several = [samples] if isinstance(samples, (str, Sample)) else list(samples)
    found = [_sample(given, place) for place, given in enumerate(several)]
    if not found:
        raise HarnessError("there are no samples to explain")
    for sample in found:
        _check_unicode(sample)
    ids = [sample.id for sample in found]
    if len(set(ids)) < len(ids):
        double = next(one for one in ids if ids.count(one) > 1)
        raise HarnessError(f"the sample id '{double}' stands {ids.count(double)} times")
    return found


def _check_unicode(sample: Sample) -> None:
    for part in sample.input:
        try:
            part.text.encode()
        except UnicodeEncodeError as error:
            raise HarnessError(
                f"the text of sample '{sample.id}' holds half of a character "
                f"(U+{ord(part.text[error.start]):04X} at {error.start}), which no encoding knows; "
                "read its source with the right encoding, or replace it"
            ) from error


def _tensors(samples: Any) -> Any:
    """Tensors that were given as such: one, several in a tuple, or by name."""
    import torch

    if isinstance(samples, torch.Tensor):
        return [samples]
    if isinstance(samples, Mapping):
        return samples
    if isinstance(samples, tuple) and samples and isinstance(samples[0], torch.Tensor):
        return samples
    return None


def _sample(given: Any, place: int) -> Sample:
    """A sample of what was given: a text, a picture, several of these in a tuple."""
    if isinstance(given, Sample):
        return given
    contents = given if isinstance(given, tuple) else (given,)
    return Sample(str(place), tuple(_part(content, place) for content in contents))


def _part(content: Any, place: int) -> Part:
    import numpy as np
    from PIL import Image

    if isinstance(content, str):
        return Part(content)
    if isinstance(content, np.ndarray) and content.dtype == np.uint8 and content.ndim in (2, 3):
        content = Image.fromarray(content)
    if isinstance(content, Image.Image):
        return Part(media=png_medium(content.convert("RGB")))
    raise HarnessError(
        f"input {place} is {type(content).__name__}; give a Sample, a text, an image (PIL or a "
        "uint8 array), or a tuple of texts and images"
    )


def _functions(
    classifier: Functions, samples: Sequence[Sample], output: str | None = None
) -> Model:
    """A module whose inputs become one tensor of numbers is explained on these, with gradients; any
    other, and a function, on the inputs themselves."""
    import torch

    from harness.explainers.models.inputs import InputModel
    from harness.explainers.models.tensors import TensorModel

    name = f"classifier '{type(classifier.module or classifier).__name__}'"
    if classifier.module is None:
        ask: Any = (ValuesOf if output == "value" else FunctionOf)(classifier)
        means: Scale = "real" if output == "value" else "probability"
        return InputModel(name, ask, classifier.classes, means, classifier.revision)
    with blamed(f"{name}: the preprocessing failed"):
        prepared = classifier.preprocess([classifier_input(sample) for sample in samples])
    single = classifier.logits([classifier_input(samples[0])]).reshape(1, -1).shape[1] == 1
    if not isinstance(prepared, torch.Tensor) or not prepared.is_floating_point():
        ask = LogitsOf(classifier)
        scale: Scale = "sigmoid" if single else "softmax"
        return InputModel(name, ask, classifier.classes, scale, classifier.revision)
    model = TensorModel(
        classifier.module,
        [prepared],
        classes=classifier.classes,
        channels="first" if prepared.ndim == 4 else None,
        single=single,
        samples=samples,
        baseline_of=_prepared_baseline(classifier, samples),
    )
    model.revision = classifier.revision
    return model


def _prepared_baseline(classifier: Functions, samples: Sequence[Sample]) -> Any:
    """What a baseline in a picture's own range is after the preprocessing; `None` where samples are
    no pictures, whose baselines are the module's own numbers."""
    import numpy as np

    from harness.explainers.models.images import own_picture

    if not all(isinstance(classifier_input(sample), np.ndarray) for sample in samples):
        return None

    def prepared(sample: Sample, given: Any) -> Any:
        shape = classifier_input(sample).shape
        picture = own_picture(shape, given, f"sample '{sample.id}'")
        return classifier.preprocess([picture])[0]

    return prepared


class FunctionOf:
    """Probabilities of a function: inputs x classes."""

    def __init__(self, classifier: Functions) -> None:
        self._classifier = classifier

    def __call__(self, contents: Sequence[Any]) -> NDArray[np.float64]:
        import numpy as np

        classes = self._classifier.classes
        try:
            rows = self._classifier.probabilities(list(contents))
            checked = [check_distribution(row, classes, "a changed input") for row in rows]
        except HarnessError as error:
            raise HarnessError(f"{error}; {NO_PROBABILITIES}") from error
        return np.array([list(row.values()) for row in checked])


class ValuesOf:
    """Any numbers that a function says: inputs x columns."""

    def __init__(self, classifier: Functions) -> None:
        self._classifier = classifier

    def __call__(self, contents: Sequence[Any]) -> NDArray[np.float64]:
        import numpy as np

        names = self._classifier.classes
        rows = self._classifier.values(list(contents))
        try:
            ordered = [
                [row[name] for name in names] if isinstance(row, Mapping) else row for row in rows
            ]
            return np.array(ordered, dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise HarnessError(
                f"the function says other things of one input than of another ({error}); it must "
                f"say a number for each of {', '.join(names)}"
            ) from error


class LogitsOf:
    """Logits of a module after its preprocessing: inputs x classes."""

    def __init__(self, classifier: Functions) -> None:
        self._classifier = classifier

    def __call__(self, contents: Sequence[Any]) -> NDArray[np.float64]:
        import numpy as np

        logits = self._classifier.logits(list(contents)).reshape(len(contents), -1)
        return np.concatenate([-logits, logits], axis=1) if logits.shape[1] == 1 else logits


def _numbered(function: Any, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Class names of a function that has none: the places of what it returns."""
    from harness.classifiers.functions import returned

    with blamed("the function to be explained failed"):
        output = function([classifier_input(samples[0])])
    first = returned(output, f"'{getattr(function, '__qualname__', type(function).__qualname__)}'")
    if len(first) != 1:
        raise HarnessError(f"the function to be explained returned {len(first)} rows for one input")
    row = first[0]
    return tuple(str(name) for name in (row if isinstance(row, Mapping) else range(len(row))))
