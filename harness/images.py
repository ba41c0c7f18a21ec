"""Image files become what may travel: upright 8-bit PNG or JPEG pictures that hold pixels only.

Every file is decoded in full when it is read, so a corrupt one is found before anything is sent.
An 8-bit PNG or baseline JPEG keeps its compressed pixels and loses its metadata; all else (16 bits,
TIFF, DICOM, a rotated or CMYK JPEG) is converted to 8-bit PNG. Names, dates, places, comments,
colour profiles and thumbnails never leave. The same file and versions give the same bytes.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import TYPE_CHECKING, Any

from harness.identity import sha256
from harness.records import HarnessError, Media, Part, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Chunks that say how pixels look; all others (text, time, EXIF, profiles, animation) are dropped.
_PNG_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"IDAT", b"IEND"})
_SERVED_MODES = {"PNG": ("1", "L", "LA", "P", "RGB", "RGBA"), "JPEG": ("L", "RGB")}
# The end of a JPEG scan: a marker that is neither a stuffed zero, nor a restart, nor a fill byte.
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_ORIENTATION = 274  # the tag's number in EXIF and TIFF alike


class _BrokenError(Exception):
    """Why a file cannot be decoded; becomes a `HarnessError` that names the file."""


def media_of(data: bytes, name: str, path: str | None = None) -> tuple[Media, ...]:
    """The pictures in a file's bytes, one a page or frame, each fully decoded once.

    `name` stands in errors. With `path`, bytes that need no change are left where they lie.
    Raises `HarnessError` for what is no image of a known kind, is corrupt, is too large, or is a
    DICOM file whose pixels are said to show the patient's name.
    """
    kind = kind_of(data)
    if kind in ("PNG", "JPEG"):
        clean, image = _guarded(_compressed, name, data, kind)
        if clean is not None:
            mime = f"image/{kind.lower()}"
            if clean == data and path is not None:
                return (Media(sha256(clean), mime, path=path),)
            return (Media(sha256(clean), mime, data=clean),)
        return (png_medium(image),)
    return tuple(png_medium(image) for image in decode(data, name))


def decode(data: bytes, name: str) -> tuple[Image.Image, ...]:
    """The upright 8-bit pictures (mode 1, L, LA, P, RGB or RGBA) in a file, one a page or frame.

    More than 8 bits are mapped to 8 linearly. For PNG and TIFF the range is that of the file's own
    values, shared by its pages and channels (Pillow reads 16-bit colour PNG as its high bytes). For
    DICOM it is the file's first VOI LUT or window, after its modality LUT, and the range of its
    values where it has neither; MONOCHROME1 is inverted. Raises `HarnessError` as `media_of` does.
    """
    kind = kind_of(data)
    if kind is None:
        raise HarnessError(f"{name} is no PNG, JPEG, TIFF or DICOM image")
    if kind in ("PNG", "JPEG"):
        return (_guarded(_compressed, name, data, kind)[1],)
    pages: tuple[Image.Image, ...] = _guarded(_tiff if kind == "TIFF" else _dicom, name, data)
    return pages


def to_png(image: Image.Image) -> bytes:
    """PNG bytes of the pixels and of nothing else that the image object carries."""
    if image.mode not in _SERVED_MODES["PNG"]:
        image = image.convert("RGB")
    image = image.copy()
    image.info = {key: value for key, value in image.info.items() if key == "transparency"}
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def png_medium(image: Image.Image) -> Media:
    """A picture as a medium of PNG bytes."""
    data = to_png(image)
    return Media(sha256(data), "image/png", data=data)


def load_array(media: Media) -> NDArray[np.uint8]:
    """The pixels of a picture as uint8, height x width x 3 (red, green, blue); alpha is dropped."""
    import numpy as np

    images = decode(media.read(), f"image {media.sha256[:12]}")
    return np.array(images[0].convert("RGB"), dtype=np.uint8)


def classifier_input(sample: Sample) -> Any:
    """What a classifier's function is given of a sample.

    Text is a `str`, a picture a uint8 array of height x width x 3; several parts are a tuple of
    these, in their order. Raises `HarnessError` for a medium that is no picture.
    """
    parts = tuple(_part(sample, part) for part in sample.input)
    return parts[0] if len(parts) == 1 else parts


def _part(sample: Sample, part: Part) -> Any:
    if part.media is None:
        return part.text
    if not part.media.mime.startswith("image/"):
        raise HarnessError(
            f"sample '{sample.id}' holds {part.media.mime}; only text and images can be classified"
        )
    return load_array(part.media)


def kind_of(data: bytes) -> str | None:
    """`PNG`, `JPEG`, `TIFF` or `DICOM` by the first bytes, never by the name; else `None`."""
    if data.startswith(_PNG):
        return "PNG"
    if data.startswith(_JPEG):
        return "JPEG"
    # Before TIFF, because scanners may begin a DICOM file with a TIFF header.
    if data[128:132] == b"DICM":
        return "DICOM"
    return "TIFF" if data[:4] in _TIFF else None


def _guarded(reader: Any, name: str, *arguments: Any) -> Any:
    """Runs a reader; whatever a decoder raises on bad bytes becomes one sentence."""
    from PIL import Image

    try:
        return reader(*arguments)
    except HarnessError as error:
        raise HarnessError(f"image {name}: {error}") from error
    except Image.DecompressionBombError as error:
        raise HarnessError(f"image {name} is too large to decode safely: {error}") from error
    # Decoders raise OSError, SyntaxError, struct.error, ValueError and more on the same damage.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HarnessError(f"image {name} is corrupt and cannot be decoded: {reason}") from error


# --- PNG and JPEG -------------------------------------------------------------------------


def _compressed(data: bytes, kind: str) -> tuple[bytes | None, Image.Image]:
    """The file without metadata, `None` where it must be converted, and its upright picture."""
    from PIL import Image, ImageOps

    clean = _clean_png(data) if kind == "PNG" else _clean_jpeg(data)
    with Image.open(io.BytesIO(data), formats=(kind,)) as opened:
        opened.load()
        turned = opened.getexif().get(_ORIENTATION, 1) not in (0, 1)
        image = ImageOps.exif_transpose(opened)
    deep = kind == "PNG" and data[24] == 16  # bits a sample, in IHDR
    if image.mode.startswith(("I", "F")):
        image = _eight_bits([_array(image)])[0]
    elif image.mode not in _SERVED_MODES[kind]:
        image = image.convert("RGB")
        deep = True
    return (None if turned or deep else clean), image


def _clean_png(data: bytes) -> bytes:
    """The chunks that pixels need, checksums verified; nothing after the end."""
    kept, at = [_PNG], len(_PNG)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise _BrokenError(f"wrong checksum of chunk {kind.decode('latin-1')}")
        if kind in _PNG_CHUNKS:
            kept.append(data[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    raise _BrokenError("the file is truncated")


def _clean_jpeg(data: bytes) -> bytes:
    """The segments that pixels need: no EXIF, profile, comment, thumbnail or trailing bytes."""
    kept, at = [data[:2]], 2
    while at < len(data):
        if data[at] != 0xFF:
            raise _BrokenError(f"no marker where one is due, at byte {at}")
        while data[at : at + 1] == b"\xff":
            at += 1
        marker = data[at : at + 1]
        if marker == b"\xd9":
            return b"".join([*kept, b"\xff\xd9"])
        end = at + 1 + int.from_bytes(data[at + 1 : at + 3], "big")
        if not marker or end > len(data):
            break
        segment = b"\xff" + data[at:end]
        if marker == b"\xda":
            found = _NEXT_MARKER.search(data, end)
            if found is None:
                break
            segment += data[end : found.start()]
            end = found.start()
        if not _is_metadata(marker[0], segment):
            kept.append(segment)
        at = end
    raise _BrokenError("the file is truncated")


def _is_metadata(marker: int, segment: bytes) -> bool:
    if marker == 0xE0:  # JFIF is part of the format; its thumbnail, and its extension, are not
        return not (segment[4:9] == b"JFIF\0" and len(segment) == 18)
    return marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE)  # APP14 tells the colours


# --- TIFF ---------------------------------------------------------------------------------


def _tiff(data: bytes) -> tuple[Image.Image, ...]:
    """Pages of up to 8 bits by Pillow, deeper ones by tifffile; previews of a page left out."""
    import numpy as np
    import tifffile
    from PIL import Image, ImageOps

    done: dict[int, Image.Image] = {}
    deep: dict[int, tuple[NDArray[Any], int, bool]] = {}
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any
        for number, page in enumerate(file.pages):
            if page.is_reduced:
                continue
            tag = page.tags.get(_ORIENTATION)
            orientation = int(tag.value) if tag is not None else 1
            white_is_zero = int(page.photometric) == 0
            if int(np.max(page.bitspersample)) > 8:
                deep[number] = (_deep_page(page, data, number), orientation, white_is_zero)
                continue
            with Image.open(io.BytesIO(data), formats=("TIFF",)) as opened:
                opened.seek(number)
                opened.load()
                image = ImageOps.exif_transpose(opened)
            if image.mode not in _SERVED_MODES["PNG"]:
                image = image.convert("RGB")
            done[number] = image
    arrays = [array for array, _, _ in deep.values()]
    for (number, (_, orientation, white_is_zero)), image in zip(
        deep.items(), _eight_bits(arrays), strict=True
    ):
        upright = _upright(image, orientation)
        done[number] = ImageOps.invert(upright) if white_is_zero else upright
    if not done:
        raise _BrokenError("it holds no picture")
    return tuple(done[number] for number in sorted(done))


def _deep_page(page: Any, data: bytes, number: int) -> NDArray[Any]:
    """A page of more than 8 bits as height x width, or height x width x 3."""
    import numpy as np
    from PIL import Image

    try:
        array: NDArray[Any] = page.asarray()
    except ValueError:
        if "imagecodecs" not in str(page.compression) and int(page.samplesperpixel) > 1:
            raise
        # tifffile leaves some compressions to another package; Pillow has them for one channel.
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as opened:
            opened.seek(number)
            return _array(opened)
    if page.axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] in (1, 2):
        array = array[:, :, 0]
    if array.ndim == 3 and array.shape[2] in (3, 4) and int(page.photometric) == 2:
        array = array[:, :, :3]
    elif array.ndim != 2:
        raise HarnessError(
            f"page {number + 1} is neither grey nor RGB (shape {'x'.join(map(str, array.shape))}); "
            "save it as one of these"
        )
    return array


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }  # fmt: skip
    return image.transpose(turns[orientation]) if orientation in turns else image


# --- DICOM --------------------------------------------------------------------------------


def _dicom(data: bytes) -> tuple[Image.Image, ...]:
    """The frames of a DICOM file as its own window shows them."""
    import numpy as np

    try:
        from pydicom import dcmread
        from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
        from pydicom.pixels.utils import pixel_array
    except ImportError as error:
        raise HarnessError(
            "reading DICOM needs pydicom; install explanation-harness[dicom]"
        ) from error
    from PIL import Image, ImageOps

    dataset = dcmread(io.BytesIO(data))
    if "PixelData" not in dataset and "FloatPixelData" not in dataset:
        raise HarnessError("it is a DICOM file without pixels")
    if str(dataset.get("BurnedInAnnotation", "NO")).upper() == "YES":
        raise HarnessError(
            "it is marked as having annotation burned into its pixels (0028,0301), which may name "
            "the patient; remove the writing and the mark"
        )
    photometric = str(dataset.PhotometricInterpretation)
    try:
        array = pixel_array(dataset)
    except RuntimeError as error:  # a compression for which no decoder is installed
        syntax = dataset.file_meta.TransferSyntaxUID.name
        raise HarnessError(
            f"its pixels ({syntax}) cannot be decoded with what is installed; save it "
            "uncompressed, or install pylibjpeg"
        ) from error
    if int(dataset.get("NumberOfFrames", 1) or 1) == 1:
        array = array[np.newaxis]
    if photometric == "PALETTE COLOR":
        array = np.stack([apply_color_lut(frame, dataset) for frame in array])
        bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
        return tuple(_scaled(frame, 0, 2**bits - 1) for frame in array)
    if not photometric.startswith("MONOCHROME"):
        if array.dtype == np.uint8:
            return tuple(Image.fromarray(frame) for frame in array)
        return tuple(_scaled(frame, 0, 2 ** int(dataset.BitsStored) - 1) for frame in array)
    values = apply_modality_lut(array, dataset)
    low, high = _displayed_range(values, dataset)
    shown = apply_voi_lut(values, dataset)
    images = tuple(_scaled(frame, low, high) for frame in shown)
    if photometric == "MONOCHROME1":
        images = tuple(ImageOps.invert(image) for image in images)
    return images


def _displayed_range(values: NDArray[Any], dataset: Any) -> tuple[float, float]:
    """Which values the file's own VOI LUT or window maps to black and to white."""
    import numpy as np
    from pydicom.pixels.processing import apply_windowing

    if dataset.get("VOILUTSequence"):
        return 0.0, float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        # Values far outside of any window come out as its two ends.
        ends = apply_windowing(np.array([-1e12, 1e12]), dataset)
        return float(ends[0]), float(ends[1])
    if values.dtype == np.uint8:  # what fits in 8 bits is left as it is, as in every other format
        return 0.0, float(2 ** int(dataset.BitsStored) - 1)
    return float(values.min()), float(values.max())


# --- more than 8 bits ---------------------------------------------------------------------


def _array(image: Image.Image) -> NDArray[Any]:
    import numpy as np

    return np.asarray(image)


def _eight_bits(arrays: list[NDArray[Any]]) -> list[Image.Image]:
    """Arrays of any number type as 8 bits, by one linear map from their common range."""
    import numpy as np

    finite = [array[np.isfinite(array)] for array in arrays]
    sizes = [values for values in finite if values.size]
    if len(sizes) < len(arrays):
        raise _BrokenError("a page holds no finite value")
    if not arrays:
        return []
    low = min(float(values.min()) for values in sizes)
    high = max(float(values.max()) for values in sizes)
    return [_scaled(array, low, high) for array in arrays]


def _scaled(array: NDArray[Any], low: float, high: float) -> Image.Image:
    """8 bits by the linear map of [low, high] to [0, 255], rounded; what is no number is black."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(array.astype(np.float64), nan=low, posinf=high, neginf=low)
    span = high - low if high > low else 1.0
    scaled = np.clip((values - low) * 255.0 / span, 0.0, 255.0)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))
