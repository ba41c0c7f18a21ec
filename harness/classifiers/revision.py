"""The revision of a classifier: the hash of all that its predictions follow from.

Two classifiers that read the same file and predict differently must not share a revision, because
attributions, concepts and stored predictions are found by it.
"""

from __future__ import annotations

from typing import Any

from harness.identity import digest


def revision_of(read: str, **options: Any) -> str:
    """The hash of what is read, joined by the options that change what is predicted.

    `read` is the hash of weights, a table or code. An option that is `None` is what it is where
    nobody sets it, so that a file read as it stands has the file's own hash.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    return digest({"read": read, "options": chosen}) if chosen else read
