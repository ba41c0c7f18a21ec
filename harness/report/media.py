"""Pictures of the report as data URIs.

Every image is decoded and encoded anew at screen size: that bounds the file, drops metadata
that could name a patient, and leaves nothing of a file that only claims to be an image.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from harness.records import HarnessError, Media

LARGEST_SIDE = 512
PNG_BYTES = 96_000  # above this a PNG is replaced by a JPEG


@dataclass(frozen=True)
class Picture:
    """A medium as shown: `uri` with its size in pixels, or `note` saying why there is none."""

    uri: str = ""
    width: int = 0
    height: int = 0
    note: str = ""


def picture(media: Media, blobs: Path | None = None) -> Picture:
    """The first frame of `media` as a PNG or JPEG of at most 512 pixels a side.

    Bytes that the record does not hold are looked for in `blobs/<sha256>`. What cannot be shown
    comes back as a note, because one bad file must not cost the report.
    """
    if not media.mime.startswith("image/"):
        return Picture(note=f"{media.mime} (SHA-256 {media.sha256[:12]}) is not shown here")
    try:
        data = _read(media, blobs)
    except (OSError, HarnessError):
        return Picture(note=f"image {media.sha256[:12]} is not stored with this run")
    return _encode(data, media.sha256)


def _read(media: Media, blobs: Path | None) -> bytes:
    if media.data is None and blobs is not None:
        stored = blobs / media.sha256
        if stored.is_file():
            return stored.read_bytes()
    return media.read()


def _encode(data: bytes, name: str) -> Picture:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith(("I", "F")):
                image = _eight_bit(image)
            if image.mode not in ("L", "RGB"):
                image = image.convert("RGB")
            image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
            image.info = {}
            buffer, mime = io.BytesIO(), "image/png"
            image.save(buffer, "PNG", optimize=True)
            if buffer.tell() > PNG_BYTES:
                buffer, mime = io.BytesIO(), "image/jpeg"
                image.save(buffer, "JPEG", quality=85, optimize=True)
    # Pillow raises what its decoders raise: OSError, SyntaxError, struct.error, its own bomb error.
    except Exception:
        return Picture(note=f"image {name[:12]} cannot be decoded")
    uri = f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(uri, image.width, image.height)


def _eight_bit(image: Image.Image) -> Image.Image:  # type: ignore[name-defined]  # noqa: F821
    """A 16-bit or float image stretched to 8 bits by its own lowest and highest value."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / (high - low) if high > low else 0.0)
    return Image.fromarray(scaled.astype(np.uint8))
