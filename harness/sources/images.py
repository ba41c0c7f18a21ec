"""Pictures from a folder whose sub-folders name the labels, or from a table of image paths.

All files are decoded when samples are read, so a corrupt one stops the run before anything is
sent. What a sample holds is pixels alone: `harness.images` says how each format gets there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import fields, images
from harness.records import HarnessError, Part, Sample
from harness.sources.invalid import LeftOut
from harness.sources.table import column_names, row_id, row_metadata
from harness.tables import Row


class ImageFolder:
    """The images under a folder: PNG, JPEG, TIFF and DICOM (with the extra `dicom`).

    The label is the sub-folder of `path` that a file lies in, at any depth; a file directly in
    `path` has none. The id is the file's path below `path`. Hidden files and files of other kinds
    are left out; a file without an ending is taken where its content is DICOM. A file of several
    pages or frames is one sample with a medium for each. `skip_invalid` leaves out each file that
    cannot be read, and lists it, in place of stopping.
    """

    def __init__(self, path: str, skip_invalid: bool = False) -> None:
        fields.switches("source 'image_folder'", skip_invalid=skip_invalid)
        self._path = Path(path)
        self._left_out = LeftOut(path, skip_invalid, "files")

    @property
    def notes(self) -> tuple[str, ...]:
        """Which files were left out."""
        return tuple(self._left_out.notes)

    def samples(self) -> list[Sample]:
        """One sample a file, ordered by id. Raises `HarnessError` naming a file that is corrupt."""
        if not self._path.is_dir():
            raise HarnessError(f"there is no folder {self._path}")
        found = []
        self._left_out.begin()
        for file in sorted(self._files(), key=lambda file: file.relative_to(self._path).as_posix()):
            below = file.relative_to(self._path)
            label = below.parts[0].strip() if len(below.parts) > 1 else None
            with self._left_out.unless_valid():
                found.append(Sample(below.as_posix(), _parts(file), label=label))
        if not found:
            raise HarnessError(f"{self._path} holds no PNG, JPEG, TIFF or DICOM image")
        return found

    def _files(self) -> list[Path]:
        found = []
        for folder, below, names in os.walk(self._path):
            below[:] = [name for name in below if not name.startswith(".")]
            found += [Path(folder, name) for name in names if not name.startswith(".")]
        return [file for file in found if _is_image(file)]


class ImageTable:
    """Images named in a CSV, JSON lines or Parquet table.

    `image` is the column of paths, relative to the table's folder. `label`, `id`, `cluster` and
    each of `metadata` name columns; without `id` the path as written is the id. `where` keeps the
    rows with a value, or one of several. White space around labels is no part of them.
    `skip_invalid` leaves out each row with an error (an image that is not there or corrupt), and
    lists it, in place of stopping.
    """

    def __init__(
        self,
        path: str,
        image: str = "image",
        label: str | None = None,
        id: str | None = None,
        metadata: Sequence[str] = (),
        cluster: str | None = None,
        where: Mapping[str, Any] | None = None,
        skip_invalid: bool = False,
    ) -> None:
        fields.switches("source 'image_table'", skip_invalid=skip_invalid)
        self._left_out = LeftOut(path, skip_invalid)
        self._path = path
        self._image = image
        self._label = label
        self._id = id
        self._metadata = column_names(metadata)
        self._cluster = cluster
        self._where = where

    @property
    def notes(self) -> tuple[str, ...]:
        """Which rows were left out."""
        return tuple(self._left_out.notes)

    def samples(self) -> list[Sample]:
        """One sample a row, in the table's order. Raises `HarnessError` naming line or file."""
        lines: dict[str, int] = {}
        found = []
        columns = [self._image, self._label, self._id, self._cluster, *self._metadata]
        for row in self._left_out.rows(self._where, columns):
            with self._left_out.unless_valid():
                sample = self._sample(row)
                if sample.id in lines:
                    raise HarnessError(
                        f"{row.place}: the id '{sample.id}' is already that of line "
                        f"{lines[sample.id]}; ids must differ"
                    )
                lines[sample.id] = row.line
                found.append(sample)
        if not found:
            raise HarnessError(f"{self._path} has no rows")
        return found

    def _sample(self, row: Row) -> Sample:
        written = row_id(row, self._image)
        file = Path(self._path).parent / written
        if not file.is_file():
            raise HarnessError(f"{row.place}: there is no image {file}")
        return Sample(
            id=row_id(row, self._id) if self._id else written,
            input=_parts(file),
            label=row.label(self._label) if self._label else None,
            metadata=row_metadata(row, self._metadata),
            cluster=row.text(self._cluster) if self._cluster else None,
        )


def _parts(file: Path) -> tuple[Part, ...]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise HarnessError(f"image {file} cannot be read: {error.strerror}") from error
    return tuple(Part(media=media) for media in images.media_of(data, str(file), str(file)))


def _is_image(file: Path) -> bool:
    if file.suffix:
        return file.suffix.lower() in images.SUFFIXES
    with file.open("rb") as opened:
        return images.kind_of(opened.read(132)) == "DICOM"
