"""A classifier that is a Python function, or any torch module with its preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import fields, plugins
from harness.classifiers import code
from harness.classifiers.distribution import check_classes, prediction, same_classes
from harness.classifiers.networks import evaluating, fingerprint
from harness.classifiers.revision import revision_of
from harness.identity import sha256
from harness.images import classifier_input
from harness.records import HarnessError, Prediction, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Callable:
    """Predictions of `function`, or of `module` after `preprocess`; exactly one of the two.

    Each is an object, or names one: `package.module:name` or `./file.py:name` (beside the suite).
    Both are given a list of at most `batch_size` inputs: a `str` for a text, a uint8 array of
    height x width x 3 for a picture, a tuple of these for a sample of several parts.

    - `function` returns probabilities, n x classes (an array, a tensor, a pandas frame with a
      column a class), or of each input a mapping from class to probability, or all labels with
      their scores as a pipeline of transformers returns them.
    - `module` is a `torch.nn.Module`, or makes one when called without arguments. `preprocess`
      turns the inputs into a tensor, or into a tuple or mapping of tensors that become the module's
      arguments. It returns logits, n x classes, or an object with `.logits`; a softmax follows. One
      logit for two classes goes through a sigmoid and is the second class's.

    `classes` are the names in the order of the outputs. A module whose `config.id2label` names them
    has its own order, which holds. `revision` is a hash of the module's weights and structure, or
    of the function's source file with what is bound to the function (arguments of a `partial`, the
    object of a method, variables it closes over); give it where the function reads weights of its
    own. In both cases the classes are part of it.
    """

    def __init__(
        self,
        function: Any = None,
        module: Any = None,
        preprocess: Any = None,
        classes: Sequence[str] = (),
        batch_size: int = 32,
        revision: str | None = None,
        beside: str | None = None,
    ) -> None:
        if (function is None) == (module is None):
            raise HarnessError("classifier 'callable': name one of 'function' and 'module'")
        if (module is None) != (preprocess is None):
            raise HarnessError(
                "classifier 'callable': 'module' and 'preprocess' go together; the one turns into "
                "logits what the other makes of the inputs"
            )
        fields.whole("classifier 'callable'", 1, batch_size=batch_size)
        folder = Path(beside) if beside is not None else None
        self.classes = check_classes(classes, "classifier 'callable'")
        self._batch_size = batch_size
        self._function = _object(function, folder)
        self.module: Any = None if module is None else _module(module, folder)
        self.preprocess = _object(preprocess, folder)
        self._name = f"classifier {_name(module if function is None else function)}"
        own = _id2label(self.module) if self.module is not None else ()
        self.classes = same_classes(own, self.classes, self._name) if own else self.classes
        self.revision = revision_of(
            revision or self._fingerprint(), classes=None if own else list(self.classes)
        )

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """One prediction a sample. Raises `HarnessError` for outputs that are no distributions."""
        found: list[Prediction] = []
        for start in range(0, len(samples), self._batch_size):
            batch = samples[start : start + self._batch_size]
            inputs = [classifier_input(sample) for sample in batch]
            rows = self._rows(inputs, batch)
            found += [
                prediction(sample.id, row, self.classes, self._name)
                for sample, row in zip(batch, rows, strict=True)
            ]
        return found

    def _rows(self, inputs: list[Any], batch: Sequence[Sample]) -> list[Any]:
        try:
            if self.module is not None:
                return _probabilities(self.logits(inputs), len(self.classes), self._name)
            return self.probabilities(inputs)
        except HarnessError:
            raise
        except Exception as error:  # the user's code may fail in any way
            raise HarnessError(
                f"{self._name} failed on the samples '{batch[0].id}' to '{batch[-1].id}': "
                f"{type(error).__name__}: {error}"
            ) from error

    def probabilities(self, inputs: list[Any]) -> list[Any]:
        """What the function says of these inputs: numbers, or a mapping by class, of each."""
        rows = _rows(self._function(inputs), self._name)
        if len(rows) != len(inputs):
            raise HarnessError(f"{self._name} returned {len(rows)} rows for {len(inputs)} samples")
        return rows

    def values(self, inputs: list[Any]) -> list[Any]:
        """What the function says of these inputs where it may be any number: one number or several,
        or a mapping by name, of each."""
        rows = returned(self._function(inputs), self._name)
        if len(rows) != len(inputs):
            raise HarnessError(f"{self._name} returned {len(rows)} rows for {len(inputs)} samples")
        return rows

    def logits(self, inputs: list[Any]) -> NDArray[Any]:
        """What the module says of these inputs, float64, with its training flags left as they were:
        inputs x classes, or one number an input."""
        import torch

        prepared = self.preprocess(inputs)
        weights = next(self.module.parameters(), None)
        device = torch.device("cpu") if weights is None else weights.device
        with evaluating(self.module):
            if isinstance(prepared, Mapping):
                output = self.module(**{k: v.to(device) for k, v in prepared.items()})
            elif isinstance(prepared, tuple):
                output = self.module(*(tensor.to(device) for tensor in prepared))
            else:
                output = self.module(prepared.to(device))
        output = getattr(output, "logits", output)
        if not isinstance(output, torch.Tensor):
            raise HarnessError(
                f"{self._name} returned {type(output).__name__}, not a tensor of logits"
            )
        logits: NDArray[Any] = output.detach().to("cpu", torch.float64).numpy()
        if len(logits) != len(inputs):
            raise HarnessError(
                f"{self._name} returned {len(logits)} rows for {len(inputs)} samples"
            )
        return logits

    def _fingerprint(self) -> str:
        if self.module is None:
            return sha256(code.fingerprint(self._function))
        return sha256(fingerprint(self.module) + code.fingerprint(self.preprocess))


def _object(named: Any, folder: Path | None) -> Any:
    if not isinstance(named, str):
        return named
    if ":" not in named:
        raise HarnessError(
            f"classifier 'callable': '{named}' must read package.module:name or ./file.py:name"
        )
    return plugins.load("classifiers", named, folder)


def _module(named: Any, folder: Path | None) -> Any:
    import torch

    found = _object(named, folder)
    if not isinstance(found, torch.nn.Module) and callable(found):
        found = found()
    if not isinstance(found, torch.nn.Module):
        raise HarnessError(f"classifier {_name(named)} is no torch.nn.Module and makes none")
    return found


def _name(named: Any) -> str:
    if isinstance(named, str):
        return f"'{named}'"
    return f"'{getattr(named, '__qualname__', type(named).__qualname__)}'"


def _id2label(module: Any) -> tuple[str, ...]:
    """The output names in a transformers configuration; none where they are the generic LABEL_0."""
    names = getattr(getattr(module, "config", None), "id2label", None) or {}
    ordered = tuple(str(names[index]) for index in sorted(names, key=int))
    generic = ordered == tuple(f"LABEL_{index}" for index in range(len(ordered)))
    return () if generic else ordered


def _probabilities(logits: NDArray[Any], classes: int, name: str) -> list[Any]:
    """Softmax over n x classes logits; a single column is the log-odds of the second class."""
    import numpy as np

    if logits.ndim == 1 or (logits.ndim == 2 and logits.shape[1] == 1):
        if classes != 2:
            raise HarnessError(f"{name} returned one logit a sample for {classes} classes")
        second = logits.reshape(-1)
        logits = np.stack([np.zeros_like(second), second], axis=1)
    if logits.ndim != 2 or logits.shape[1] != classes:
        shape = " x ".join(map(str, logits.shape))
        raise HarnessError(f"{name} returned logits of shape {shape} for {classes} classes")
    if not np.isfinite(logits).all():
        raise HarnessError(f"{name} returned logits that are NaN or infinite")
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: list[Any] = (powers / powers.sum(axis=1, keepdims=True)).tolist()
    return shares


def _rows(output: Any, name: str) -> list[Any]:
    """A function's output as one mapping, or one row of numbers, a sample."""
    import numpy as np

    if hasattr(output, "detach"):
        output = output.detach().cpu().double()
    output = _mappings(output)
    if isinstance(output, list) and output and all(isinstance(row, Mapping) for row in output):
        return output
    try:
        array = np.asarray(output, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise HarnessError(
            f"{name} must return probabilities, one row a sample, or mappings from class to "
            f"probability: {error}"
        ) from error
    if array.ndim != 2:
        raise HarnessError(
            f"{name} must return one row of probabilities a sample, not an array of "
            f"{array.ndim} dimensions"
        )
    rows: list[Any] = array.tolist()
    return rows


def returned(output: Any, name: str) -> list[Any]:
    """A function's output as one mapping, or one row of any numbers, a sample; where it is one
    number a sample, rows of one. Raises `HarnessError`, beginning with `name`, for other things."""
    return _rows(_column(output), name)


def _mappings(output: Any) -> Any:
    """Frames, mappings from class to numbers, and lists of labels with scores, as one mapping a
    sample; all else as it is."""
    if hasattr(output, "columns") and hasattr(output, "to_dict"):
        names = [str(name) for name in output.columns]
        return [dict(zip(names, row, strict=True)) for row in output.to_numpy().tolist()]
    if isinstance(output, Mapping):
        names, values = list(output), [_plain(column) for column in output.values()]
        if all(isinstance(column, list) for column in values):
            return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        return [dict(zip(names, values, strict=True))]
    if isinstance(output, tuple | list):
        return [_labelled(row) for row in output]
    return output


def _plain(column: Any) -> Any:
    """A column as a list of numbers, a single number as it is."""
    if hasattr(column, "detach"):
        column = column.detach().cpu().double()
    return column.tolist() if hasattr(column, "tolist") else column


def _labelled(row: Any) -> Any:
    """A row of labels with scores, as transformers' pipelines say it, as a mapping."""
    entries = isinstance(row, tuple | list) and len(row) > 0
    if entries and all(isinstance(one, Mapping) and {"label", "score"} <= set(one) for one in row):
        return {str(one["label"]): one["score"] for one in row}
    if isinstance(row, Mapping) and set(row) == {"label", "score"}:
        raise HarnessError(
            f"a pipeline said the label '{row['label']}' alone; have it say all (top_k=None)"
        )
    return row


def _column(output: Any) -> Any:
    """One number a sample as rows of one number; all else as it is."""
    import numpy as np

    if hasattr(output, "detach"):
        output = output.detach().cpu().double()
    if isinstance(output, Mapping) or hasattr(output, "columns"):
        return output
    try:
        array = np.asarray(output, dtype=np.float64)
    except (TypeError, ValueError):
        return output
    return array[:, None] if array.ndim == 1 else output
