"""One SQLite file a run: opened for writing by one process at a time, for reading anywhere.

A copied folder works, a finished one also where nothing can be written; a run that an older version
made is read, and written on, after what it lacks is added.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

from harness import private
from harness.records import HarnessError, InfrastructureError
from harness.secrets import concealed

SCHEMA_VERSION = 4

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE samples (id TEXT PRIMARY KEY, position INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE predictions (
    classifier TEXT NOT NULL, sample TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (classifier, sample));
CREATE TABLE gold (family TEXT NOT NULL, position INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (family, position));
CREATE TABLE cells (
    id TEXT PRIMARY KEY, position INTEGER NOT NULL, told TEXT, request TEXT NOT NULL);
CREATE TABLE requests (key TEXT PRIMARY KEY, record TEXT NOT NULL, spans TEXT NOT NULL);
CREATE TABLE turns (
    cell TEXT NOT NULL, turn INTEGER NOT NULL, request TEXT NOT NULL,
    PRIMARY KEY (cell, turn)) WITHOUT ROWID;
CREATE TABLE scores (
    subject_kind TEXT NOT NULL, subject TEXT NOT NULL, metric TEXT NOT NULL,
    scorer TEXT NOT NULL, version TEXT NOT NULL, value REAL, detail TEXT,
    of TEXT NOT NULL, added INTEGER NOT NULL,
    PRIMARY KEY (scorer, version, metric, subject_kind, subject, added)) WITHOUT ROWID;
"""
_ATTRIBUTIONS = """
CREATE TABLE attributions (
    key TEXT PRIMARY KEY, sample TEXT NOT NULL, method TEXT NOT NULL, record TEXT NOT NULL,
    blob TEXT NOT NULL);
"""
# Answers by the suite's entry and the request's key. `served` is who was seen to answer, `taken`
# the run that an answer was taken over from.
_ANSWERS = """
CREATE TABLE generations (
    entry TEXT NOT NULL, request TEXT NOT NULL, record TEXT NOT NULL, seconds REAL,
    served INTEGER, taken TEXT, PRIMARY KEY (entry, request));
CREATE TABLE failures (
    entry TEXT NOT NULL, request TEXT NOT NULL, record TEXT NOT NULL, attempts INTEGER NOT NULL,
    PRIMARY KEY (entry, request));
CREATE TABLE served (id INTEGER PRIMARY KEY, entry TEXT NOT NULL, record TEXT NOT NULL);
"""
# Until schema 3 answers were kept by key alone: these belong to the entry "" until a run says whose
# they are (`Store.adopt`).
_GENERATIONS_3 = "SELECT '' AS entry, request, record, seconds, NULL AS served, NULL AS taken FROM"
_FAILURES_3 = "SELECT '' AS entry, request, record, attempts FROM"
_ANSWERS_FROM_3 = f"""
ALTER TABLE generations RENAME TO generations_3;
ALTER TABLE failures RENAME TO failures_3;
{_ANSWERS}
INSERT INTO generations {_GENERATIONS_3} generations_3;
INSERT INTO failures {_FAILURES_3} failures_3;
DROP TABLE generations_3;
DROP TABLE failures_3;
"""
# What completes a run of an older schema when it is written on, by the schema it has.
_COMPLETED = {2: _ATTRIBUTIONS + _ANSWERS_FROM_3, 3: _ANSWERS_FROM_3}
# What stands in for it while such a run is only read.
_ANSWERS_SEEN = f"""
CREATE TEMP VIEW generations AS {_GENERATIONS_3} main.generations;
CREATE TEMP VIEW failures AS {_FAILURES_3} main.failures;
CREATE TEMP TABLE served (id INTEGER PRIMARY KEY, entry TEXT NOT NULL, record TEXT NOT NULL);
"""
_SEEN = {2: _ATTRIBUTIONS.replace("TABLE", "TEMP TABLE") + _ANSWERS_SEEN, 3: _ANSWERS_SEEN}


class Database:
    """A run's folder and its database. Use `write` or `read`, and close it."""

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, lock: IO[str] | None = None
    ) -> None:
        self.folder = folder
        self._db = connection
        self._lock = lock
        self._version = SCHEMA_VERSION
        self._answering: dict[str, int] = {}  # by entry, the number of who is seen to answer it

    # --- opening --------------------------------------------------------------------------

    @classmethod
    def write(cls, folder: Path) -> Self:
        """Opens a run to continue it, or begins one.

        Raises `HarnessError` where another process writes to it or its schema is another, and
        `InfrastructureError` where the folder cannot be written.
        """
        with disk():
            private.folder(folder)
            private.folder(folder / "blobs")
            lock = private.file(folder / "run.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise HarnessError(
                f"another process is writing to {folder}; wait for it, or use --out"
            ) from error
        path = folder / "run.sqlite"
        new = not path.exists() or path.stat().st_size == 0
        with disk():
            # the log beside it takes over its mode
            connection = sqlite3.connect(private.file(path), isolation_level=None)
            store = cls(folder, connection, lock)
            try:
                if not new:
                    store._check_version()
                store._journal()
                whole = _TABLES + _ATTRIBUTIONS + _ANSWERS
                lacking = whole if new else _COMPLETED.get(store._version)
                if lacking is not None:
                    known = "INSERT OR REPLACE INTO meta VALUES ('schema_version', '{}');"
                    known = known.format(SCHEMA_VERSION)
                    connection.executescript(f"BEGIN; {lacking} {known} COMMIT;")
            except BaseException:
                store.close()
                raise
        return store

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Opens a run to look at it; the folder may be read-only."""
        path = folder / "run.sqlite"
        if not path.is_file():
            raise HarnessError(f"{folder} is no run: it holds no run.sqlite")
        uri = f"{path.resolve().as_uri()}?mode=ro"
        for options in ("", "&immutable=1"):  # the second for a log that cannot be opened
            store = cls(folder, sqlite3.connect(uri + options, uri=True, isolation_level=None))
            try:
                store._check_version()
                if store._version in _SEEN:
                    store._db.execute("PRAGMA temp_store=MEMORY")
                    store._db.executescript(_SEEN[store._version])
                return store
            except sqlite3.OperationalError:
                store.close()
            except BaseException:
                store.close()
                raise
        raise HarnessError(f"{path} cannot be read")

    def _check_version(self) -> None:
        try:
            row = self._db.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
            found = None if row is None else json.loads(row[0])
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise HarnessError(f"{self.folder / 'run.sqlite'} is no run: {error}") from error
        if found != SCHEMA_VERSION and found not in _COMPLETED:
            raise HarnessError(
                f"{self.folder} was made with run schema {found}, and this version reads "
                f"{SCHEMA_VERSION}; read it with the version that made it, or run with --fresh"
            )

        self._version = int(found)

    @property
    def old_schema(self) -> bool:
        """Whether the run has an older schema, and is only being read."""
        return self._version != SCHEMA_VERSION

    def _journal(self) -> None:
        """WAL where the file system can do it (a probe tells), else a rollback journal."""
        try:
            mode = self._db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode == "wal":
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute("ROLLBACK")
        except sqlite3.OperationalError:
            mode = "delete"
        if mode != "wal":
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        """Leaves one file behind: the log is folded into the database."""
        if self._lock is not None:
            # On a full disk the log stays beside the database, which is as good.
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises `InfrastructureError` where the disk is full."""
        with disk():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back by itself
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # --- the manifest ---------------------------------------------------------------------

    def meta(self) -> dict[str, Any]:
        """The run's manifest."""
        return {key: json.loads(value) for key, value in self._db.execute("SELECT * FROM meta")}

    def set_meta(self, values: Mapping[str, Any]) -> None:
        """Adds to the manifest."""
        rows = [
            (key, json.dumps(concealed(value), ensure_ascii=False)) for key, value in values.items()
        ]
        with disk():
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)


@contextmanager
def disk() -> Iterator[None]:
    """Says in one sentence that a disk is full or a folder cannot be written."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InfrastructureError(
            f"the run cannot be written ({error}); what is stored is kept, and the same command "
            "continues"
        ) from error
    except OSError as error:
        raise InfrastructureError(
            f"{error.filename or 'the run folder'} cannot be written ({error.strerror}); what is "
            "stored is kept, and the same command continues"
        ) from error
