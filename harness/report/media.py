"""Media of the report as pictures, each drawn by the view of its modality.

The registered views know modalities; here is only who draws, and what stands in place of a picture
that cannot be had. One bad file or one bad view must not cost the report.
"""

from __future__ import annotations

from pathlib import Path

from harness import plugins
from harness.contracts import View
from harness.drawing.words import short
from harness.records import HarnessError, Media
from harness.views.picture import Picture

URI_CHARACTERS = 2_000_000  # one picture may not fill a report that is to be sent by mail


def picture(media: Media, blobs: Path | None = None) -> Picture:
    """`media` as its view draws it, or a note saying why there is no picture.

    Bytes that the record does not hold are looked for in `blobs/<sha256>`.
    """
    name = f"{media.mime} {media.sha256[:12]}"
    fits, broken = _fitting(media.mime)
    if not fits:
        return Picture(note=f"{name} (SHA-256) is not shown here: no view draws it{broken}")
    try:
        data = _read(media, blobs)
    except (OSError, HarnessError):
        return Picture(note=f"{name} is not stored with this run")
    view_name, view = fits[0]
    try:
        return _checked(view.draw(media, data))
    # A view is code of anyone's, and a report is worth more than one of its pictures.
    except Exception as error:
        return Picture(note=f"{name} is not shown: view '{view_name}' failed: {_cause(error)}")


def _fitting(mime: str) -> tuple[list[tuple[str, View]], str]:
    """The views that draw this media type, longest beginning first, and which cannot be loaded."""
    found, broken = [], []
    for name in sorted(plugins.registered("views")):
        view = _view(name)
        if isinstance(view, str):
            broken.append(f"; view '{name}' cannot be used: {view}")
            continue
        longest = max((len(m) for m in view.mimes if mime.startswith(m)), default=0)
        if longest:
            found.append((longest, name, view))
    found.sort(key=lambda row: (-row[0], row[1]))
    return [(name, view) for _, name, view in found], "".join(broken)


def _view(name: str) -> View | str:
    """The view of this name, or why it cannot be made."""
    try:
        view = plugins.create("views", name)
    except Exception as error:  # whatever the module of a third party raises when it is imported
        return _cause(error)
    if not isinstance(view, View):
        return "it has no 'mimes' or no 'draw'"
    # A string would match by its single letters.
    return view if isinstance(view.mimes, tuple) else "its 'mimes' must be a tuple"


def _checked(drawn: Picture) -> Picture:
    """What a view returned; raises where the report cannot or must not show it."""
    if not isinstance(drawn, Picture):
        raise TypeError(f"it returned {type(drawn).__name__}, no Picture")
    if not drawn.uri and not drawn.note:
        raise ValueError("it returned neither a picture nor a note")
    if drawn.uri and not drawn.uri.startswith("data:image/"):
        raise ValueError("its picture is no data URI of an image")
    if len(drawn.uri) > URI_CHARACTERS:
        raise ValueError(f"its picture has more than {URI_CHARACTERS:,} characters")
    return drawn


def _cause(error: Exception) -> str:
    return short(str(error) or type(error).__name__, 200)


def _read(media: Media, blobs: Path | None) -> bytes:
    if media.data is None and blobs is not None:
        stored = blobs / media.sha256
        if stored.is_file():
            return stored.read_bytes()
    return media.read()
