"""What is stored stays: on a kill, in a copy, in a folder that cannot be written."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness import serial
from harness.identity import request_key, sha256
from harness.records import (
    Attribution,
    Capabilities,
    Cell,
    Claim,
    Evidence,
    Generation,
    GoldRecord,
    HarnessError,
    InfrastructureError,
    Media,
    Message,
    Part,
    Prediction,
    Request,
    Sample,
    Sampling,
    Span,
    StoredScore,
    Unit,
)
from harness.store import SCHEMA_VERSION, Store

PICTURE = Media(sha256(b"pixels"), "image/png", data=b"pixels")
SAMPLE = Sample(
    "s/1",
    (Part("a note"), Part(media=PICTURE)),
    label="x",
    evidence=(Evidence("spans", "why", ((0, 1),)), Evidence("mask", "lesion", PICTURE)),
    metadata={"site": "A", "age": 40},
    cluster="c",
)


def test_records_come_back_as_they_went() -> None:
    records = [
        SAMPLE,
        Prediction("s", "x", {"x": 0.75, "y": 0.25}),
        Request("openai", "m", (Message.of("user", "ü"),), sampling=Sampling(stop=("a", "b"), seed=3)),
        Generation("text", outcome="truncated", token_ids=(1, 2), logprobs=(-0.5,), notes=("n",)),
        GoldRecord("causes", (Claim("a", "t", paraphrases=("p", "q")),), label="x"),
        Span("label", 1, 0, 4, 9),
        Capabilities(images=True),
        Attribution("s", "lime", "patch", "x", "logit", "mask", (Unit(box=(0, 8, 4, 4)),), (0.5,)),
    ]  # fmt: skip
    for record in records:
        assert serial.loads(type(record), serial.dumps(record)) == record


def test_a_lone_surrogate_in_an_answer_does_not_stop_a_run(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        with store.transaction():
            store.put_generations([("k", Generation("broken \ud800 text"))])
        found = store.generation("k")
    assert found is not None
    assert found.text == "broken ? text"


@pytest.mark.parametrize(
    "cell",
    [
        Cell("m", "s", "f", "v", "predicted", "causes", 1),
        Cell("org/model", "a/b c%.png", "f", "v", "none", "follow-up", 12),
        Cell("ü*", "s?#", "f", "v", "gold", "a", 1),
    ],
)
def test_cell_ids_are_unambiguous(cell: Cell) -> None:
    assert cell.id.count("/") == 6
    assert Cell.parse(cell.id) == cell


def test_a_copied_folder_is_the_same_run(tmp_path: Path) -> None:
    with Store.write(tmp_path / "run") as store, store.transaction():
        store.put_samples([SAMPLE])
        store.put_generations([("k", Generation("yes"))])
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    with Store.read(tmp_path / "elsewhere") as store:
        assert store.samples() == [SAMPLE]
        assert store.samples()[0].media[0].read() == b"pixels"
        assert store.generation("k") == Generation("yes")


def test_a_closed_run_is_one_file_that_opens_where_nothing_can_be_written(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store, store.transaction():
        store.put_generations([("k", Generation("yes"))])
    assert not list(tmp_path.glob("run.sqlite-*"))
    before = sorted(path.name for path in tmp_path.iterdir())
    tmp_path.chmod(0o555)
    try:
        with Store.read(tmp_path) as store:
            assert store.generation("k") == Generation("yes")
    finally:
        tmp_path.chmod(0o755)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from harness.store import Store; Store.write(Path({str(tmp_path)!r}))"
    with Store.write(tmp_path):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another process is writing" in second.stderr
    assert subprocess.run([sys.executable, "-c", code], check=True).returncode == 0


def test_an_older_run_is_refused_in_one_sentence(tmp_path: Path) -> None:
    Store.write(tmp_path).close()
    with sqlite3.connect(tmp_path / "run.sqlite") as db:
        db.execute("UPDATE meta SET value = '0' WHERE key = 'schema_version'")
    for use in (Store.write, Store.read):
        with pytest.raises(
            HarnessError, match=f"run schema 0, and this version reads {SCHEMA_VERSION}"
        ):
            use(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="is no run"):
        Store.read(tmp_path)
    (tmp_path / "run.sqlite").write_text(
        "not a database at all, but long enough to look like one" * 20
    )
    with pytest.raises(HarnessError, match="is no run"):
        Store.read(tmp_path)


def test_an_answer_is_kept_and_a_failure_may_be_asked_again(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        with store.transaction():
            store.put_generations([("k", Generation(outcome="transport", error="gone"))])
        assert store.answered() == set()
        assert store.generation("k") == Generation(outcome="transport", error="gone")
        with store.transaction():
            store.put_generations([("k", Generation("first")), ("k", Generation("second"))])
        assert store.answered() == {"k"}
        assert store.generations() == {"k": Generation("first")}


def test_answers_to_cells_are_told_from_those_to_scorers(tmp_path: Path) -> None:
    cell = Cell("m", "s", "f", "base", "none", "a", 1)
    with Store.write(tmp_path) as store, store.transaction():
        store.put_cells([(cell, None, "first")])
        store.put_turns([(cell.id, 2, "second")])
        answers = {key: Generation(key) for key in ("first", "second", "asked")}
        store.put_generations(answers.items())
        store.put_generations([("failed", Generation(outcome="server", error="gone"))])
        assert store.cell_generations() == {key: answers[key] for key in ("first", "second")}
        assert set(store.generations()) == {*answers, "failed"}


def test_scores_are_append_only(tmp_path: Path) -> None:
    first = StoredScore("cell", "c", "recall", "claims", "v1", 0.5, {"claims": []})
    with Store.write(tmp_path) as store:
        for score in (first, StoredScore("cell", "c", "recall", "claims", "v1", 0.9)):
            with store.transaction():
                store.put_scores([score])
        with store.transaction():
            store.put_scores([StoredScore("cell", "c", "recall", "claims", "v2", None)])
        assert [s.value for s in store.scores()] == [0.5, None]
        assert list(store.scores({"claims": "v1"})) == [first]
        assert store.scored("claims", "v2") == {("cell", "c", "")}
        for of, value in (("ab", 0.1), ("abc", 0.2), ("ab", 0.3)):  # a group of which more came
            with store.transaction():
                store.put_scores([StoredScore("group", "g", "same", "s", "v1", value, None, of)])
        assert [s.value for s in store.scores({"s": "v1"})] == [0.3]
        assert store.scored("s", "v1") == {("group", "g", "ab")}
        with store.transaction():
            store.put_scores([StoredScore("group", "g", "same", "s", "v1", 0.9, None, "ab")])
        assert [s.value for s in store.scores({"s": "v1"})] == [0.3]


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        with store.transaction():
            store.put_generations([("kept", Generation("x" * 100))])
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 1}")  # SQLite's own "disk is full"
        with (
            pytest.raises(InfrastructureError, match="full.*what is stored is kept"),
            store.transaction(),
        ):
            store.put_generations((f"k{i}", Generation("y" * 4000)) for i in range(100))
        assert store.answered() == {"kept"}


def test_answers_are_taken_over_from_a_run_beside(tmp_path: Path) -> None:
    with Store.write(tmp_path / "a") as store, store.transaction():
        store.put_generations([("k1", Generation("one")), ("k2", Generation("two"))])
    with Store.write(tmp_path / "b") as store:
        assert store.copy_generations(["k2", "k3"], tmp_path / "a") == 1
        assert store.generations() == {"k2": Generation("two")}
        assert store.copy_generations(["k1"], tmp_path / "nowhere") == 0


def test_requests_keep_their_pictures(tmp_path: Path) -> None:
    request = Request("openai", "m", (Message("user", (Part(media=PICTURE),)),))
    with Store.write(tmp_path) as store:
        with store.transaction():
            store.put_samples([SAMPLE])
            store.put_requests([(request_key(request), request, (Span("input", 0, 0, 0, 0),))])
        found, spans = store.request(request_key(request))
        assert found == request
        assert spans == [Span("input", 0, 0, 0, 0)]
        assert found.messages[0].parts[0].media is not None
        assert found.messages[0].parts[0].media.read() == b"pixels"
