"""What a view returns: the one form in which a medium of any modality reaches the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A medium as shown: `uri` with its size in pixels, or `note` saying why there is none.

    `uri` is a data URI of an image, because the report loads nothing; `alt` says in words what
    the picture shows.
    """

    uri: str = ""
    width: int = 0
    height: int = 0
    alt: str = ""
    note: str = ""
