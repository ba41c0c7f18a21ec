"""Classifiers that are asked with whole inputs: functions, scikit-learn pipelines, anyone's own.

Nothing is known of what they do with an input, so the input itself is changed: characters of texts,
pixels of pictures. They have no gradients.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness import checks
from harness.explainers.models.images import fill, own_picture
from harness.explainers.models.model import Scale
from harness.explainers.models.reading import ArrayPart, Removal, Size, TextPart
from harness.identity import digest
from harness.images import classifier_input, png_medium
from harness.records import HarnessError, Part, Prediction, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What each removed word becomes where the classifier has no mask token: LIME's word for a word that
# no vocabulary holds (lime 0.2, IndexedString.mask_string).
UNKNOWN_WORD = "UNKWORDZ"


@dataclass(frozen=True, eq=False)
class InputReading:
    """A sample's texts by character and its pictures by pixel."""

    sample: str
    input: str
    parts: tuple[TextPart | ArrayPart, ...]
    fixed: NDArray[np.bool_]
    fillers: tuple[Any, ...]  # for each part: a word, `None` for deletion, or an array
    notes: tuple[str, ...] = ()

    def sizes(self, kept: NDArray[np.bool_]) -> list[Size]:
        """Any inputs share a batch; a token is four characters, or 16 x 16 pixels."""
        tokens = sum(
            1 + part.features // (4 if isinstance(part, TextPart) else 256) for part in self.parts
        )
        return [Size(None, tokens)] * len(kept)

    def left(self, kept: NDArray[np.bool_]) -> Any:
        """The changed input: a text, an array, or a tuple of these for several parts."""
        import numpy as np

        contents: list[Any] = []
        start = 0
        for part, filler in zip(self.parts, self.fillers, strict=True):
            mine = kept[start : start + part.features]
            start += part.features
            if isinstance(part, TextPart):
                contents.append(_without(part.text, mine, filler))
            else:
                mask = mine.reshape(part.array.shape[:-1])[..., np.newaxis]
                contents.append(np.where(mask, part.array, filler))
        return contents[0] if len(contents) == 1 else tuple(contents)


class Asks(Protocol):
    """What says something of changed inputs: rows x classes."""

    def __call__(self, contents: Sequence[Any]) -> NDArray[np.float64]: ...


class InputModel:
    """A classifier behind a function from inputs to outputs, one column a class."""

    def __init__(
        self, name: str, ask: Asks, columns: Sequence[str], scale: Scale, revision: str
    ) -> None:
        self.name, self._ask, self._classes = name, ask, columns
        self.scale, self.revision, self.tokens = scale, revision, 8192

    def read(self, sample: Sample, removal: Removal) -> InputReading:
        """Raises `HarnessError` for a medium that is no picture, and for a baseline that does not
        fit."""
        import numpy as np

        given = classifier_input(sample)
        parts: list[TextPart | ArrayPart] = []
        fillers: list[Any] = []
        for content in given if isinstance(given, tuple) else (given,):
            if isinstance(content, str):
                parts.append(TextPart.of_characters(content))
                fillers.append(_word(removal, self.name))
            else:
                parts.append(ArrayPart(content))
                where = f"sample '{sample.id}'"
                fillers.append(
                    own_picture(content.shape, removal.baseline, where)
                    if removal.kind == "baseline"
                    else fill(content, removal, where)
                )
        fixed = np.zeros(sum(part.features for part in parts), dtype=bool)
        return InputReading(sample.id, digest(sample.input), tuple(parts), fixed, tuple(fillers))

    def columns(self, reading: InputReading) -> Sequence[str]:  # noqa: ARG002  the same for all
        """The classes."""
        return self._classes

    def outputs(self, left: Sequence[Any]) -> NDArray[np.float64]:
        """What the classifier says, rows x classes."""
        import numpy as np

        found = np.asarray(self._ask(left), dtype=np.float64)
        if found.shape != (len(left), len(self._classes)):
            raise HarnessError(
                f"{self.name} returned {' x '.join(map(str, found.shape))} numbers for "
                f"{len(left)} inputs and {len(self._classes)} classes"
            )
        return found


class Predicts:
    """Any classifier of the harness, asked with changed samples."""

    def __init__(self, classifier: Any) -> None:
        self._classifier = classifier

    def __call__(self, contents: Sequence[Any]) -> NDArray[np.float64]:
        import numpy as np

        samples = [Sample(f"changed-{n}", _parts(given)) for n, given in enumerate(contents)]
        name = type(self._classifier).__name__
        classes = [label.strip() for label in self._classifier.classes]
        predictions = checks.predictions_of(name, self._classifier, samples)
        return np.array([_numbers(one, classes) for one in predictions], dtype=np.float64)


def _numbers(prediction: Prediction, classes: Sequence[str]) -> list[float]:
    values = prediction.output if prediction.kind == "array" else prediction.probabilities
    try:
        return [float(values[name]) for name in classes]
    except (KeyError, TypeError, IndexError) as error:
        raise HarnessError(
            "a classifier can be explained whose predictions hold a number for each class; this "
            f"one's are of the kind {prediction.kind}"
        ) from error


def _parts(content: Any) -> tuple[Part, ...]:
    from PIL import Image

    parts = []
    for given in content if isinstance(content, tuple) else (content,):
        if isinstance(given, str):
            parts.append(Part(given))
        else:
            parts.append(Part(media=png_medium(Image.fromarray(given))))
    return tuple(parts)


def _word(removal: Removal, name: str) -> str | None:
    if removal.kind == "delete":
        return None
    if removal.kind == "mask":
        return UNKNOWN_WORD
    if not isinstance(removal.baseline, str):
        raise HarnessError(
            f"baseline of {name} is the text that takes a removed word's place, not "
            f"{removal.baseline!r:.40}"
        )
    return removal.baseline


def _without(text: str, kept: NDArray[np.bool_], word: str | None) -> str:
    """The kept characters; in a removed stretch each word becomes `word`, or all is left out."""
    characters = _characters(text)
    if word is None:
        return characters.text(kept)
    removed = ~(kept | characters.space)
    begins = removed.copy()
    begins[1:] &= ~removed[:-1]
    # A removed word is written where it begins; the white space of removed stretches stays.
    return characters.text(~removed | begins, begins).replace(characters.unused, word)


@dataclass(frozen=True, eq=False)
class _Characters:
    """A text as an array of code points: a loop over characters took nine tenths of the time.

    `space` says which are white space; `unused` is a character that the text does not hold.
    """

    codes: NDArray[np.unsignedinteger[Any]]
    space: NDArray[np.bool_]
    unused: str
    encoding: str

    def text(self, kept: NDArray[np.bool_], marked: NDArray[np.bool_] | None = None) -> str:
        """The kept characters, the marked ones as `unused`."""
        codes = self.codes
        if marked is not None:
            codes = codes.copy()
            codes[marked] = ord(self.unused)
        return codes[kept].tobytes().decode(self.encoding, "surrogatepass")


@functools.lru_cache(maxsize=64)
def _characters(text: str) -> _Characters:
    import numpy as np

    # One byte a character where that holds the text; lone surrogates of broken files pass.
    encoding, code = ("latin-1", "u1") if text.isascii() else ("utf-32-le", "<u4")
    codes = np.frombuffer(text.encode(encoding, "surrogatepass"), np.dtype(code))
    space = np.fromiter(map(str.isspace, text), bool, len(text))
    there, last = set(text), 255 if text.isascii() else sys.maxunicode
    unused = next(chr(code) for code in range(last, 0, -1) if chr(code) not in there)
    return _Characters(codes, space, unused, encoding)
