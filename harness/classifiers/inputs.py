"""What a classifier reads of a sample: one text, or one image; anything else is refused."""

from __future__ import annotations

from harness.records import HarnessError, Media, Sample


def text_of(sample: Sample, where: str) -> str:
    """Its text. Raises `HarnessError` for what is not text alone, beginning with `where`."""
    if sample.media or not sample.input:
        raise HarnessError(f"{where} classifies texts, and {_what(sample)}")
    return sample.text


def image_of(sample: Sample, where: str) -> Media:
    """Its image. Raises `HarnessError` for what is not one image, beginning with `where`."""
    media = sample.media
    if len(sample.input) != 1 or not media or not media[0].mime.startswith("image/"):
        raise HarnessError(f"{where} classifies single images, and {_what(sample)}")
    return media[0]


def _what(sample: Sample) -> str:
    kinds = ["text" if part.media is None else part.media.mime for part in sample.input]
    return f"sample '{sample.id}' is none; its input has {' and '.join(kinds) or 'nothing'}"
