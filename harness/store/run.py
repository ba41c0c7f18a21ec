"""What a run was given, asked, answered and measured, behind functions over records.

What a run was given (samples, predictions, gold, cells, requests) is laid down anew whenever it is
planned; what it was answered (generations), and what was measured and attributed, is only ever
added to. Media and arrays lie in `blobs/` under their SHA-256.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

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
    Served,
    Span,
    StoredScore,
)
from harness.secrets import conceal, concealed
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

    def put_generations(self, rows: Iterable[tuple[str, str, Generation]]) -> None:
        """Keeps answers by entry and request key, beside who is seen to answer the entry.

        A transport or server failure is kept apart and may be asked again. So may a prompt that was
        too long, since a server's context may grow: the later answer takes its place.
        """
        for entry, key, given in rows:
            generation = _concealed(given)
            if generation.outcome in ("transport", "server"):
                self._db.execute(
                    "INSERT INTO failures VALUES (?, ?, ?, 1) ON CONFLICT (entry, request) "
                    "DO UPDATE SET record = excluded.record, attempts = attempts + 1",
                    (entry, key, serial.dumps(generation)),
                )
                continue
            self._put_answer(entry, key, generation, self._answering.get(entry), None)

    def put_taken(
        self, rows: Iterable[tuple[str, str, Generation, Served | None]], run: str
    ) -> None:
        """Keeps answers that another run was given, with who gave them and the run's name."""
        for entry, key, generation, served in rows:
            number = None if served is None else self._served_number(entry, served)
            self._put_answer(entry, key, generation, number, run)

    def _put_answer(
        self, entry: str, key: str, generation: Generation, served: int | None, taken: str | None
    ) -> None:
        self._db.execute(
            "INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (entry, request) DO UPDATE SET record = excluded.record, "
            "seconds = excluded.seconds, served = excluded.served, taken = excluded.taken "
            "WHERE json_extract(generations.record, '$.outcome') = 'too_long'",
            (entry, key, _without_seconds(generation), generation.seconds, served, taken),
        )
        self._db.execute("DELETE FROM failures WHERE entry = ? AND request = ?", (entry, key))

    def answered(self, entry: str) -> set[str]:
        """The keys of all requests that an entry has answered."""
        rows = self._db.execute("SELECT request FROM generations WHERE entry = ?", (entry,))
        return {key for (key,) in rows}

    def generation(self, entry: str, key: str) -> Generation | None:
        """An entry's answer to a request, else its last failure, else `None`."""
        for table in ("generations", "failures"):
            row = self._db.execute(
                f"SELECT record FROM {table} WHERE entry = ? AND request = ?", (entry, key)
            ).fetchone()
            if row is not None:
                return serial.loads(Generation, row[0])
        return None

    def generations(self) -> dict[tuple[str, str], Generation]:
        """Every answer, and the last failure of what is not answered, by entry and request key."""
        return self._generations("")

    def cell_generations(self) -> dict[tuple[str, str], Generation]:
        """The same of the cells' turns alone: scorers may have asked far more than cells did."""
        return self._generations(
            "WHERE request IN (SELECT request FROM turns UNION SELECT request FROM cells)"
        )

    def _generations(self, which: str) -> dict[tuple[str, str], Generation]:
        found: dict[tuple[str, str], Generation] = {}
        for table in ("failures", "generations"):
            rows = self._db.execute(f"SELECT entry, request, record FROM {table} {which}")
            for entry, key, text in rows:
                found[entry, key] = serial.loads(Generation, text)
        return found

    # --- who answered ---------------------------------------------------------------------

    def put_served(self, entry: str, served: Served) -> None:
        """Keeps who is seen to answer an entry from now on."""
        self._answering[entry] = self._served_number(entry, served)

    def _served_number(self, entry: str, served: Served) -> int:
        record = conceal(serial.dumps(served))
        place = (entry, record)
        row = self._db.execute(
            "SELECT id FROM served WHERE entry = ? AND record = ?", place
        ).fetchone()
        if row is None:
            row = self._db.execute(
                "INSERT INTO served (entry, record) VALUES (?, ?) RETURNING id", place
            ).fetchone()
        return int(row[0])

    def who_answered(self) -> dict[str, list[Served]]:
        """By entry, all that were seen to answer what cells or scorers ask now, in their order."""
        found: dict[str, list[Served]] = {}
        rows = self._db.execute(
            "SELECT entry, record FROM served WHERE id IN (SELECT served FROM generations WHERE "
            "request NOT IN (SELECT request FROM turns) OR request IN "
            "(SELECT t.request FROM turns t JOIN cells c ON c.id = t.cell)) ORDER BY id"
        )
        for entry, record in rows:
            found.setdefault(entry, []).append(serial.loads(Served, record))
        return found

    def taken(self) -> dict[tuple[str, str], int]:
        """How many answers of (entry, run) were taken over from that run."""
        rows = self._db.execute(
            "SELECT entry, taken, COUNT(*) FROM generations WHERE taken IS NOT NULL "
            "GROUP BY entry, taken ORDER BY entry, taken"
        )
        return {(entry, run): count for entry, run, count in rows}

    def held(self, keys: Iterable[str]) -> dict[tuple[str, str], tuple[Generation, Served | None]]:
        """What this run was answered to these requests, by entry and key, with who answered.

        What may change is left out: a prompt that was too long for one server may fit another.
        """
        found: dict[tuple[str, str], tuple[Generation, Served | None]] = {}
        served = {
            number: serial.loads(Served, record)
            for number, record in self._db.execute("SELECT id, record FROM served")
        }
        for some in _chunks(sorted(keys)):
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                f"SELECT entry, request, record, served FROM generations WHERE request IN ({marks})"
                " ORDER BY entry, request",
                some,
            )
            for entry, key, record, number in rows:
                generation = serial.loads(Generation, record)
                if generation.outcome != "too_long":
                    found[entry, key] = generation, served.get(number)
        return found

    # --- answers of older schemas, which no entry has yet ---------------------------------

    def adopt(self, entries: Mapping[str, str]) -> dict[tuple[str, ...], int]:
        """Gives answers that were kept by key alone to the entries (by model) whose they are.

        An answer that models of several entries shared stays with none, since nobody knows who gave
        it; these are counted by their models.
        """
        owners: dict[str, set[str]] = {}
        for cell, key in self._db.execute(
            "SELECT cell, request FROM turns WHERE request IN "
            "(SELECT request FROM generations WHERE entry = '')"
        ):
            owners.setdefault(key, set()).add(Cell.parse(cell).model)
        shared: dict[tuple[str, ...], int] = {}
        for key, models in owners.items():
            found = {entries[model] for model in models if model in entries}
            if len(found) == 1:
                self._move([key], found.pop())
            elif found:
                names = tuple(sorted(models))
                shared[names] = shared.get(names, 0) + 1
        return shared

    def hand_on(self, before: str, entry: str, models: Iterable[str]) -> None:
        """Gives an entry what these models, whose answers it keeps now, were answered as another.

        Which of several that share is named first may change from one edit of a suite to the next.
        """
        names = set(models)
        turns = self._db.execute("SELECT DISTINCT cell, request FROM turns")
        keys = {key for cell, key in turns if Cell.parse(cell).model in names}
        for (name, key), (generation, served) in self.held(keys).items():
            if name == before:
                number = None if served is None else self._served_number(entry, served)
                self._put_answer(entry, key, generation, number, None)

    def adopt_as(self, entry: str, keys: Mapping[str, str]) -> None:
        """Gives an entry answers under other keys than they were kept by: new by old."""
        for table in ("generations", "failures"):
            self._db.executemany(
                f"UPDATE OR IGNORE {table} SET entry = ?1, request = ?3 "
                "WHERE entry IN ('', ?1) AND request = ?2",
                [(entry, old, new) for old, new in keys.items()],
            )

    def adopt_asked(self, keys: Iterable[str], entry: str) -> None:
        """The same for what no cell but a scorer asked."""
        of_cells = {key for (key,) in self._db.execute("SELECT request FROM turns")}
        self._move((key for key in self.answered("") & set(keys) if key not in of_cells), entry)

    def _move(self, keys: Iterable[str], entry: str) -> None:
        for table in ("generations", "failures"):
            self._db.executemany(
                f"UPDATE OR IGNORE {table} SET entry = ? WHERE entry = '' AND request = ?",
                [(entry, key) for key in keys],
            )

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
        rows = self._db.execute("SELECT key, record, blob FROM attributions ORDER BY rowid")
        return {
            key: unpack(serial.loads(Attribution, record), self.blob(blob, PACKED).read())
            for key, record, blob in rows
            if wanted is None or key in wanted
        }

    def attribution_records(self) -> Iterator[tuple[str, Attribution]]:
        """Every attribution's key and its record without numbers, in the order they came."""
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
                    None if s.detail is None else serial.dumps(concealed(s.detail)), s.of,
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


def _chunks(keys: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """Keys in pieces that one statement takes."""
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _concealed(generation: Generation) -> Generation:
    """An answer, and what went wrong, without a secret of the suite's that they repeat."""
    texts: dict[str, Any] = {
        "text": conceal(generation.text),
        "reasoning": generation.reasoning and conceal(generation.reasoning),
        "error": generation.error and conceal(generation.error),
        "finish_reason": generation.finish_reason and conceal(generation.finish_reason),
        "served_model": generation.served_model and conceal(generation.served_model),
        "fingerprint": generation.fingerprint and conceal(generation.fingerprint),
        "notes": tuple(map(conceal, generation.notes)),
    }
    changed = {name: text for name, text in texts.items() if text != getattr(generation, name)}
    return replace(generation, **changed) if changed else generation


def _without_seconds(generation: Generation) -> str:
    record = json.loads(serial.dumps(generation))
    record.pop("seconds", None)
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
