"""Images, and other arrays over a plane, in patches, superpixels or given masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.identity import file_hash, sha256
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Patch:
    """Squares of `size` pixels, row by row; they tile, and the last row and column may be smaller.

    `size` is a number, or one for each of the array's last dimensions before the channels: (height,
    width). Dimensions in front of these, such as a video's frames, are divided step by step, unless
    `size` has a number for them too. Raises `HarnessError` for an array with fewer dimensions.
    """

    reads = "array"
    within: str | None = None

    def __init__(self, size: int | Sequence[int] = 16) -> None:
        where = "unit 'patch'"
        sides = (size, size) if isinstance(size, int) else size
        if isinstance(sides, str) or not isinstance(sides, Sequence) or not len(sides):
            raise HarnessError(
                f"{where}: size is a number of pixels or a list of them, not {size!r}"
            )
        for side in sides:
            fields.whole(where, 1, size=side)
        self.sides = tuple(sides)
        self.settings: Mapping[str, Any] = {"size": size if isinstance(size, int) else self.sides}

    def split(self, array: NDArray[Any], sample: str = "") -> NDArray[np.int32]:
        """A label map of `array.shape[:-1]`, numbered in C order."""
        import numpy as np

        shape = array.shape[:-1]
        if len(shape) < len(self.sides):
            raise HarnessError(
                f"unit 'patch': patches have {len(self.sides)} sides, but the array of sample "
                f"'{sample}' has {len(shape)} dimensions besides its channels; give as many sizes"
            )
        sides = (1,) * (len(shape) - len(self.sides)) + self.sides
        labels = np.zeros(shape, dtype=np.int32)
        for axis, (length, side) in enumerate(zip(shape, sides, strict=True)):
            along = (np.arange(length) // side).reshape(-1, *[1] * (len(shape) - axis - 1))
            labels = labels * math.ceil(length / side) + along.astype(np.int32)
        return labels


class Superpixel:
    """About `count` connected regions of similar colour, by SLIC.

    `compactness` weighs nearness in the plane against likeness of colour: higher is squarer. The
    array is first brought to [0, 1] by its lowest and highest value; three channels are read as
    red, green and blue and compared in CIELAB. Deterministic. Raises `HarnessError` for an array
    that is not height x width x channels or holds what is no finite number.

    Source: Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods";
    scikit-image's implementation.
    """

    reads = "array"
    within: str | None = None

    def __init__(self, count: int = 50, compactness: float = 10.0) -> None:
        where = "unit 'superpixel'"
        fields.whole(where, 1, count=count)
        number = isinstance(compactness, int | float) and not isinstance(compactness, bool)
        if not number or not 0 < compactness < math.inf:
            raise HarnessError(f"{where}: compactness is a number above 0, not {compactness!r}")
        self.settings: Mapping[str, Any] = {"count": count, "compactness": compactness}

    def split(self, array: NDArray[Any], sample: str = "") -> NDArray[np.int32]:
        """A label map of height x width."""
        import numpy as np
        from skimage.segmentation import slic

        values = np.asarray(array, dtype=np.float64)
        if values.ndim != 3 or not values.size or not np.isfinite(values).all():
            raise HarnessError(
                f"unit 'superpixel': sample '{sample}' has no finite array of height x width x "
                f"channels; its shape is {_sizes(values.shape)}"
            )
        low, high = values.min(), values.max()
        labels = slic(
            (values - low) / ((high - low) or 1.0),
            n_segments=self.settings["count"],
            compactness=self.settings["compactness"],
            convert2lab=values.shape[-1] == 3,
            channel_axis=-1,
            start_label=0,
        )
        return _numbered(np.asarray(labels))


class Mask:
    """Given regions: a label map as an array, a nested list, or the path of a PNG or NPY file.

    One map for every sample, or a mapping from a sample's id to its own. Each number from 0 on is a
    unit, 0 too, in order of the numbers; what is negative belongs to none and is never removed. A
    map of true and false has two units. `settings` holds a map's hash. Raises `HarnessError` for a
    map that is not of whole numbers or not of the array's size, and for a sample without one.
    """

    reads = "array"
    within: str | None = None

    def __init__(self, mask: Any) -> None:
        if isinstance(mask, Mapping):
            self._by_sample = {str(name): _source(own) for name, own in mask.items()}
            self._for_all = None
            hashes: Any = {name: _hash(own) for name, own in self._by_sample.items()}
        else:
            self._by_sample, self._for_all = {}, _source(mask)
            hashes = _hash(self._for_all)
        self.settings: Mapping[str, Any] = {"mask": hashes}

    def split(self, array: NDArray[Any], sample: str = "") -> NDArray[np.int32]:
        """A label map of `array.shape[:-1]`."""
        source = self._by_sample.get(sample) if self._for_all is None else self._for_all
        if source is None:
            raise HarnessError(f"unit 'mask': there is no mask for sample '{sample}'; add one")
        labels = _labels(_read(source), str(source)) if isinstance(source, Path) else source
        if labels.shape != array.shape[:-1]:
            raise HarnessError(
                f"unit 'mask': the mask for sample '{sample}' is {_sizes(labels.shape)}, but its "
                f"array is {_sizes(array.shape[:-1])}; resize the mask to the array that the "
                "classifier is given"
            )
        return _numbered(labels)


def _source(mask: Any) -> Path | NDArray[Any]:
    """Where a map is, or the map; raises `HarnessError` where it is neither."""
    import numpy as np

    if isinstance(mask, str | Path):
        path = Path(mask)
        if path.suffix.lower() not in (".png", ".npy") or not path.is_file():
            raise HarnessError(f"unit 'mask': '{mask}' is no PNG or NPY file that can be read")
        return path
    try:
        return _labels(np.asarray(mask), "the mask")
    except ValueError:
        raise HarnessError("unit 'mask': the rows of the mask differ in length") from None


def _hash(source: Path | NDArray[Any]) -> str:
    if isinstance(source, Path):
        return file_hash(source)
    return sha256(_sizes(source.shape).encode() + source.astype("<i8").tobytes())


def _read(path: Path) -> NDArray[Any]:
    import numpy as np
    from PIL import Image

    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        with Image.open(path, formats=("PNG",)) as opened:
            return np.asarray(opened)
    except (OSError, ValueError, SyntaxError) as error:
        raise HarnessError(f"unit 'mask': '{path}' cannot be read: {error}") from error


def _labels(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    """A map as whole numbers; raises `HarnessError` where it holds others."""
    import numpy as np

    if (
        values.dtype.kind not in "biuf"
        or not (np.isfinite(values) & (values == np.floor(values))).all()
    ):
        raise HarnessError(f"unit 'mask': {where} holds what is no whole number")
    return values.astype(np.int64)


def _numbered(labels: NDArray[Any]) -> NDArray[np.int32]:
    """The same regions, numbered from 0 without a gap in order of their numbers; below 0 is -1."""
    import numpy as np

    numbers, places = np.unique(labels, return_inverse=True)
    nobody = int((numbers < 0).sum())
    return np.maximum(places.reshape(labels.shape) - nobody, -1).astype(np.int32)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
