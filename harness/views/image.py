"""The view of images: the first frame, decoded and encoded anew at screen size.

That bounds the report, drops metadata that could name a patient, and leaves nothing of a file that
only claims to be an image.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from harness.records import Media
from harness.views.picture import Picture

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

LARGEST_SIDE = 512
PNG_BYTES = 96_000  # above this a PNG is replaced by a JPEG


class ImageView:
    """A PNG or JPEG of at most 512 pixels a side, for all that Pillow reads."""

    mimes = ("image/",)

    def draw(self, media: Media, data: bytes) -> Picture:
        """The first frame of `data`; what cannot be decoded comes back as a note."""
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
        # Pillow raises what its decoders raise: OSError, SyntaxError, struct.error, its bomb error.
        except Exception:
            return Picture(note=f"image {media.sha256[:12]} cannot be decoded")
        uri = f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}"
        return Picture(uri, image.width, image.height)


def _eight_bit(image: PILImage) -> PILImage:
    """A 16-bit or float image stretched to 8 bits by its own lowest and highest value."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / (high - low) if high > low else 0.0)
    return Image.fromarray(scaled.astype(np.uint8))
