"""What a run was given, asked, answered and measured, behind functions over records.

What a run was given (samples, predictions, gold, cells, requests) is laid down anew whenever it is
planned; what it was answered (generations), and what was measured and attributed, is only ever
added to. Media and arrays lie in `blobs/` under their SHA-256.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from harness import serial
from harness.identity import attribution_key
from harness.records import (
    Attribution,
    Cell,
    Generation,
    GoldRecord,
    HarnessError,
    Media,
    Prediction,
    Request,
    Sample,
    Span,
    StoredScore,
)
from harness.store.arrays import PACKED, pack, unpack
from harness.store.database import Database, disk


class Store(Database):
    """A run's folder. Use `Store.write` or `Store.read`, and close it."""

    # --- what the run is ------------------------------------------------------------------

    def put_samples(self, samples: Sequence[Sample]) -> None:
        """Lays down the samples, their media in `blobs/`."""
        for sample in samples:
            evidence = [item.value for item in sample.evidence if isinstance(item.value, Media)]
            for media in (*sample.media, *evidence):
                self.put_blob(media)
        self._db.execute("DELETE FROM samples")
        self._db.executemany(
            "INSERT INTO samples VALUES (?, ?, ?)",
            ((sample.id, i, serial.dumps(sample)) for i, sample in enumerate(samples)),
        )

    def samples(self) -> list[Sample]:
        """The samples in the order of their source."""
        rows = self._db.execute("SELECT record FROM samples ORDER BY position")
        return [serial.loads(Sample, text, self.blob) for (text,) in rows]

    def put_predictions(self, classifier: str, predictions: Iterable[Prediction]) -> None:
        """Lays down what one classifier said."""
        self._db.execute("DELETE FROM predictions WHERE classifier = ?", (classifier,))
        self._db.executemany(
            "INSERT INTO predictions VALUES (?, ?, ?)",
            ((classifier, p.sample, serial.dumps(p)) for p in predictions),
        )

    def predictions(self, classifier: str = "classifier") -> dict[str, Prediction]:
        """What a classifier said, by sample."""
        rows = self._db.execute(
            "SELECT sample, record FROM predictions WHERE classifier = ? ORDER BY sample",
            (classifier,),
        )
        return {sample: serial.loads(Prediction, text) for sample, text in rows}

    def put_gold(self, family: str, records: Iterable[GoldRecord]) -> None:
        """Lays down a family's gold."""
        self._db.execute("DELETE FROM gold WHERE family = ?", (family,))
        self._db.executemany(
            "INSERT INTO gold VALUES (?, ?, ?)",
            ((family, i, serial.dumps(record)) for i, record in enumerate(records)),
        )

    def gold(self, family: str) -> list[GoldRecord]:
        """A family's gold."""
        rows = self._db.execute(
            "SELECT record FROM gold WHERE family = ? ORDER BY position", (family,)
        )
        return [serial.loads(GoldRecord, text) for (text,) in rows]

    # --- what is asked --------------------------------------------------------------------

    def put_cells(self, rows: Iterable[tuple[Cell, str | None, str]]) -> None:
        """Lays down the plan: cell, told label, key of its first request."""
        self._db.execute("DELETE FROM cells")
        self._db.executemany(
            "INSERT INTO cells VALUES (?, ?, ?, ?)",
            ((cell.id, i, told, key) for i, (cell, told, key) in enumerate(rows)),
        )

    def cells(self) -> list[tuple[Cell, str | None, str]]:
        """The plan: cell, told label, key of its first request."""
        rows = self._db.execute("SELECT id, told, request FROM cells ORDER BY position")
        return [(Cell.parse(cell), told, key) for cell, told, key in rows]

    def put_requests(self, rows: Iterable[tuple[str, Request, Sequence[Span]]]) -> None:
        """Keeps requests under their keys, their media in `blobs/`."""

        def row(key: str, request: Request, spans: Sequence[Span]) -> tuple[str, str, str]:
            return key, serial.dumps(request), json.dumps([serial.dumps(span) for span in spans])

        self._db.executemany(
            "INSERT OR IGNORE INTO requests VALUES (?, ?, ?)", (row(*item) for item in rows)
        )

    def request(self, key: str) -> tuple[Request, list[Span]]:
        """A request and where template variables stand in it."""
        row = self._db.execute(
            "SELECT record, spans FROM requests WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            raise HarnessError(f"{self.folder} holds no request {key[:12]}")
        spans = [serial.loads(Span, text) for text in json.loads(row[1])]
        return serial.loads(Request, row[0], self.blob), spans

    def put_turns(self, rows: Iterable[tuple[str, int, str]]) -> None:
        """Keeps which request a cell's turn made."""
        self._db.executemany("INSERT OR REPLACE INTO turns VALUES (?, ?, ?)", rows)

    def turns(self) -> dict[str, dict[int, str]]:
        """Request keys by cell id and turn (1, 2, ...)."""
        found: dict[str, dict[int, str]] = {}
        rows = self._db.execute(
            "SELECT t.cell, t.turn, t.request FROM turns t JOIN cells c ON c.id = t.cell"
        )
        for cell, turn, key in rows:
            found.setdefault(cell, {})[turn] = key
        return found

    # --- what was answered ----------------------------------------------------------------

    def put_generations(self, rows: Iterable[tuple[str, Generation]]) -> None:
        """Keeps answers; a transport or server failure is kept apart and may be asked again."""
        for key, generation in rows:
            if generation.outcome in ("transport", "server"):
                self._db.execute(
                    "INSERT INTO failures VALUES (?, ?, 1) ON CONFLICT (request) DO UPDATE "
                    "SET record = excluded.record, attempts = attempts + 1",
                    (key, serial.dumps(generation)),
                )
                continue
            self._db.execute(
                "INSERT OR IGNORE INTO generations VALUES (?, ?, ?)",
                (key, _without_seconds(generation), generation.seconds),
            )
            self._db.execute("DELETE FROM failures WHERE request = ?", (key,))

    def answered(self) -> set[str]:
        """The keys of all requests that are answered."""
        return {key for (key,) in self._db.execute("SELECT request FROM generations")}

    def generation(self, key: str) -> Generation | None:
        """The answer to a request, else its last failure, else `None`."""
        for table in ("generations", "failures"):
            row = self._db.execute(
                f"SELECT record FROM {table} WHERE request = ?", (key,)
            ).fetchone()
            if row is not None:
                return serial.loads(Generation, row[0])
        return None

    def generations(self) -> dict[str, Generation]:
        """Every answer, and the last failure of what is not answered, by request key."""
        return self._generations("")

    def cell_generations(self) -> dict[str, Generation]:
        """The same of the cells' turns alone: scorers may have asked far more than cells did."""
        return self._generations(
            "WHERE request IN (SELECT request FROM turns UNION SELECT request FROM cells)"
        )

    def _generations(self, which: str) -> dict[str, Generation]:
        found: dict[str, Generation] = {}
        for table in ("failures", "generations"):
            for key, text in self._db.execute(f"SELECT request, record FROM {table} {which}"):
                found[key] = serial.loads(Generation, text)
        return found

    def take_over(self, keys: Iterable[str]) -> None:
        """Takes over what the runs beside this one were answered to the same requests."""
        missing = set(keys) - self.answered()
        here = self.folder.resolve()
        for path in sorted(here.parent.glob("*/run.sqlite")):
            if missing and path.parent != here:
                self.copy_generations(missing, path.parent)

    def copy_generations(self, keys: Iterable[str], other: Path) -> int:
        """Takes over what another run's folder was answered to the same requests."""
        try:
            with Store.read(other) as store:
                wanted = set(keys) & store.answered()
                rows = [(key, store.generation(key)) for key in sorted(wanted)]
        except (HarnessError, sqlite3.Error):
            return 0  # an older run, or one that is being written: nothing to take
        with self.transaction():
            self.put_generations((key, found) for key, found in rows if found is not None)
        return len(rows)

    # --- why the classifier decided -------------------------------------------------------

    def put_attributions(self, attributions: Iterable[Attribution]) -> None:
        """Keeps attributions under their keys, their numbers in `blobs/`."""
        for attribution in attributions:
            record, blob = pack(attribution)
            self.put_blob(blob)
            self._db.execute(
                "INSERT OR REPLACE INTO attributions VALUES (?, ?, ?, ?, ?)",
                (
                    attribution_key(attribution), attribution.sample, attribution.method,
                    serial.dumps(record), blob.sha256,
                ),
            )  # fmt: skip

    def attributions(self, keys: Iterable[str] | None = None) -> dict[str, Attribution]:
        """Attributions by key: all, in the order they came, or these."""
        wanted = None if keys is None else set(keys)
        if self._version < 3:
            return {}
        rows = self._db.execute("SELECT key, record, blob FROM attributions ORDER BY rowid")
        return {
            key: unpack(serial.loads(Attribution, record), self.blob(blob, PACKED).read())
            for key, record, blob in rows
            if wanted is None or key in wanted
        }

    def attribution_records(self) -> Iterator[tuple[str, Attribution]]:
        """Every attribution's key and its record without numbers, in the order they came."""
        if self._version < 3:
            return
        rows = self._db.execute("SELECT key, record FROM attributions ORDER BY rowid")
        for key, record in rows:
            yield key, serial.loads(Attribution, record)

    # --- what was measured ----------------------------------------------------------------

    def put_scores(self, scores: Iterable[StoredScore]) -> None:
        """Adds scores; one that stands already, made of the same, stays."""
        last = (
            "SELECT {} FROM scores WHERE scorer = ?4 AND version = ?5 AND metric = ?3 "
            "AND subject_kind = ?1 AND subject = ?2 ORDER BY added DESC LIMIT 1"
        )
        self._db.executemany(
            "INSERT INTO scores SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
            f"coalesce(({last.format('added')}) + 1, 0) "
            f"WHERE ({last.format('of')}) IS NOT ?8",
            (
                (
                    s.subject_kind, s.subject, s.metric, s.scorer, s.version, s.value,
                    None if s.detail is None else serial.dumps(s.detail), s.of,
                )
                for s in scores
            ),
        )  # fmt: skip

    def scores(self, versions: Mapping[str, str] | None = None) -> Iterator[StoredScore]:
        """All scores, or those of one version a scorer, in a fixed order.

        Of a subject that was scored again, because more of it was answered, the last.
        """
        rows = self._db.execute(
            "SELECT scorer, version, metric, subject_kind, subject, value, detail, of FROM scores "
            "ORDER BY scorer, version, metric, subject_kind, subject, added DESC"
        )
        before = None
        for *key, value, detail, of in rows:
            if key == before:
                continue
            before = key
            scorer, version, metric, kind, subject = key
            if versions is None or versions.get(scorer) == version:
                found = json.loads(detail) if detail else None
                yield StoredScore(kind, subject, metric, scorer, version, value, found, of)

    def scored(self, scorer: str, version: str) -> set[tuple[str, str, str]]:
        """What a scorer's version scored last: subject (kind, id), and what it was made of."""
        rows = self._db.execute(
            "SELECT subject_kind, subject, of FROM scores WHERE scorer = ? AND version = ? "
            "ORDER BY added",
            (scorer, version),
        )
        last = {(kind, subject): of for kind, subject, of in rows}
        return {(kind, subject, of) for (kind, subject), of in last.items()}

    # --- media ----------------------------------------------------------------------------

    def put_blob(self, media: Media) -> None:
        """Keeps a medium's bytes under their hash; a half-written file never has that name."""
        path = self.folder / "blobs" / media.sha256
        if path.exists():
            return
        with disk():
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(media.read())
            part.replace(path)

    def blob(self, sha256: str, mime: str) -> Media:
        """A medium whose bytes lie in `blobs/`."""
        return Media(sha256, mime, path=str(self.folder / "blobs" / sha256))


def _without_seconds(generation: Generation) -> str:
    record = json.loads(serial.dumps(generation))
    record.pop("seconds", None)
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
