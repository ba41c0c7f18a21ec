"""What is stored stays: on a kill, in a copy, in a folder that cannot be written."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_suite import as_of_schema_3

from harness import serial
from harness.identity import attribution_key, request_key, sha256
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
    Served,
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
            store.put_generations([("", "k", Generation("broken \ud800 text"))])
        found = store.generation("", "k")
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
        store.put_generations([("", "k", Generation("yes"))])
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    with Store.read(tmp_path / "elsewhere") as store:
        assert store.samples() == [SAMPLE]
        assert store.samples()[0].media[0].read() == b"pixels"
        assert store.generation("", "k") == Generation("yes")


def test_a_closed_run_is_one_file_that_opens_where_nothing_can_be_written(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store, store.transaction():
        store.put_generations([("", "k", Generation("yes"))])
    assert not list(tmp_path.glob("run.sqlite-*"))
    before = sorted(path.name for path in tmp_path.iterdir())
    tmp_path.chmod(0o555)
    try:
        with Store.read(tmp_path) as store:
            assert store.generation("", "k") == Generation("yes")
    finally:
        tmp_path.chmod(0o755)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from harness.store import Store; Store.write(Path({str(tmp_path)!r}))"
    with Store.write(tmp_path):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another process is writing" in second.stderr
    assert subprocess.run([sys.executable, "-c", code], check=True).returncode == 0


@pytest.mark.parametrize("found", [0, 1, SCHEMA_VERSION + 1])
def test_an_older_or_newer_run_is_refused_in_one_sentence(tmp_path: Path, found: int) -> None:
    Store.write(tmp_path).close()
    with sqlite3.connect(tmp_path / "run.sqlite") as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(found),))
    for use in (Store.write, Store.read):
        with pytest.raises(
            HarnessError, match=f"run schema {found}, and this version reads {SCHEMA_VERSION}"
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
            store.put_generations([("", "k", Generation(outcome="transport", error="gone"))])
        assert store.answered("") == set()
        assert store.generation("", "k") == Generation(outcome="transport", error="gone")
        with store.transaction():
            store.put_generations([("", "k", Generation("first")), ("", "k", Generation("second"))])
        assert store.answered("") == {"k"}
        assert store.generations() == {("", "k"): Generation("first")}
    with sqlite3.connect(tmp_path / "run.sqlite") as db:  # as other tools read the file
        assert db.execute("SELECT count(*) FROM failures").fetchone() == (0,)


def test_a_failure_that_comes_after_an_answer_does_not_stand_before_it(tmp_path: Path) -> None:
    cell = Cell("m", "s", "f", "base", "none", "a", 1)
    with Store.write(tmp_path) as store, store.transaction():
        store.put_cells([(cell, None, "k")])
        store.put_generations([("m", "k", Generation("yes"))])
        store.put_generations([("m", "k", Generation(outcome="server", error="gone"))])
        assert store.generation("m", "k") == Generation("yes")
        assert store.generations() == store.cell_generations() == {("m", "k"): Generation("yes")}


def test_how_long_an_answer_took_is_no_part_of_its_record(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store, store.transaction():
        store.put_generations(
            [("m", "a", Generation("yes", seconds=1.5)), ("m", "b", Generation("yes", seconds=9.0))]
        )
    with sqlite3.connect(tmp_path / "run.sqlite") as db:
        rows = db.execute("SELECT record, seconds FROM generations ORDER BY seconds").fetchall()
    assert [seconds for _, seconds in rows] == [1.5, 9.0]
    assert rows[0][0] == rows[1][0]


def test_answers_to_cells_are_told_from_those_to_scorers(tmp_path: Path) -> None:
    cell = Cell("m", "s", "f", "base", "none", "a", 1)
    with Store.write(tmp_path) as store, store.transaction():
        store.put_cells([(cell, None, "first")])
        store.put_turns([(cell.id, 2, "second")])
        answers = {key: Generation(key) for key in ("first", "second", "asked")}
        store.put_generations(("m", *item) for item in answers.items())
        store.put_generations([("m", "failed", Generation(outcome="server", error="gone"))])
        assert store.cell_generations() == {("m", k): answers[k] for k in ("first", "second")}
        assert {key for _, key in store.generations()} == {*answers, "failed"}


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
            store.put_generations([("m", "kept", Generation("x" * 100))])
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 1}")  # SQLite's own "disk is full"
        with (
            pytest.raises(InfrastructureError, match="full.*what is stored is kept"),
            store.transaction(),
        ):
            store.put_generations(("m", f"k{i}", Generation("y" * 4000)) for i in range(100))
        assert store.answered("m") == {"kept"}


def test_each_classifier_and_each_family_has_records_of_its_own(tmp_path: Path) -> None:
    said = {name: Prediction("s/1", name) for name in ("x", "y", "z")}
    gold = {name: GoldRecord("causes", (Claim("a", name),), label="x") for name in ("x", "y", "z")}
    with Store.write(tmp_path) as store, store.transaction():
        store.put_predictions("classifier", [said["x"]])
        store.put_predictions("baseline", [said["y"]])
        store.put_gold("one", [gold["x"]])
        store.put_gold("two", [gold["y"]])
        store.put_predictions("baseline", [said["z"]])
        store.put_gold("two", [gold["z"]])
        assert store.predictions() == {"s/1": said["x"]}
        assert store.predictions("baseline") == {"s/1": said["z"]}
        assert (store.gold("one"), store.gold("two")) == ([gold["x"]], [gold["z"]])


def test_turns_are_those_of_the_cells_that_are_planned_now(tmp_path: Path) -> None:
    kept, gone = (Cell("m", "s", "f", "base", "none", aspect, 1) for aspect in ("a", "b"))
    with Store.write(tmp_path) as store, store.transaction():
        store.put_cells([(kept, None, "k"), (gone, None, "g")])
        store.put_turns([(kept.id, 2, "k2"), (gone.id, 2, "g2"), (kept.id, 2, "k3")])
        store.put_cells([(kept, None, "k")])
        assert store.turns() == {kept.id: {2: "k3"}}


def test_a_newer_record_is_read_for_what_is_known_of_it() -> None:
    found = serial.loads(Generation, '{"text": "yes", "mood": "sure", "notes": ["n"]}')
    assert found == Generation("yes", notes=("n",))


def test_what_is_given_up_halfway_leaves_nothing(tmp_path: Path) -> None:
    def half() -> Iterator[Prediction]:
        yield Prediction("s/1", "x")
        raise KeyError("s/2")

    with Store.write(tmp_path) as store:
        with pytest.raises(KeyError), store.transaction():
            store.put_predictions("classifier", half())
        assert store.predictions() == {}
    with Store.read(tmp_path) as store:
        assert store.predictions() == {}
        with pytest.raises(InfrastructureError, match="cannot be written"), store.transaction():
            store.put_samples([SAMPLE])


def test_the_answers_of_two_entries_to_one_request_are_two(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store, store.transaction():
        store.put_generations([("a", "k", Generation("one")), ("b", "k", Generation("two"))])
        assert store.generation("a", "k") == Generation("one")
        assert store.generation("b", "k") == Generation("two")
        assert store.generation("c", "k") is None
        assert store.answered("a") == {"k"}
        assert store.answered("c") == set()


def test_a_prompt_that_was_too_long_may_be_answered_later_and_nothing_else_may(
    tmp_path: Path,
) -> None:
    with Store.write(tmp_path) as store, store.transaction():
        store.put_generations([("m", "k", Generation(outcome="too_long", error="64 tokens"))])
        store.put_generations([("m", "k", Generation("at last"))])
        store.put_generations([("m", "k", Generation("and again"))])
        assert store.generation("m", "k") == Generation("at last")


def test_who_answered_is_kept_beside_answers_and_what_was_taken_has_its_run(tmp_path: Path) -> None:
    first, second = Served("digest:aa", {"size": "1"}), Served(None, {"size": "2"})
    with Store.write(tmp_path) as store, store.transaction():
        store.put_served("m", first)
        store.put_generations([("m", "k1", Generation("one"))])
        store.put_served("m", second)
        store.put_generations([("m", "k2", Generation("two"))])
        store.put_served("m", Served(None, {"size": "of nobody who answered"}))
        store.put_taken([("m", "k3", Generation("three"), first)], "other-run")
        assert store.who_answered() == {"m": [first, second]}
        assert store.taken() == {("m", "other-run"): 1}
        held = store.held(["k1", "k2", "k3", "k4"])
    assert held == {
        ("m", "k1"): (Generation("one"), first),
        ("m", "k2"): (Generation("two"), second),
        ("m", "k3"): (Generation("three"), first),
    }


def test_a_run_of_schema_3_is_read_as_it_is_and_completed_when_it_is_written_on(
    tmp_path: Path,
) -> None:
    cells = [Cell(m, "s", "f", "base", "none", "a", 1) for m in ("a", "b", "c")]
    with Store.write(tmp_path) as store, store.transaction():
        keys = ("k1", "shared", "shared")
        store.put_cells((c, None, k) for c, k in zip(cells, keys, strict=True))
        store.put_turns((c.id, 1, k) for c, k in zip(cells, keys, strict=True))
        answers = {"k1": "one", "shared": "two", "judged": "yes"}
        store.put_generations(("m", key, Generation(text)) for key, text in answers.items())
        store.put_generations([("m", "k9", Generation(outcome="server", error="gone"))])
    as_of_schema_3(tmp_path)
    for _ in range(2):  # reading changes nothing
        with Store.read(tmp_path) as store:
            assert store.old_schema
            assert store.generation("", "k1") == Generation("one")
            assert store.generation("", "k9") == Generation(outcome="server", error="gone")
            assert store.who_answered() == {}
    with Store.write(tmp_path) as store, store.transaction():
        assert store.adopt({"a": "a", "b": "b", "c": "c"}) == {("b", "c"): 1}
        assert store.answered("a") == {"k1"}
        assert store.answered("b") == store.answered("c") == set()  # nobody knows whose it is
        store.adopt_asked(["judged", "shared"], "scorer:j")
        assert store.answered("scorer:j") == {"judged"}
        store.adopt_as("a", {"k1": "with code"})
        assert store.answered("a") == {"with code"}
    with Store.read(tmp_path) as store:
        assert not store.old_schema


def test_an_attributions_numbers_come_back_to_the_last_bit(tmp_path: Path) -> None:
    plain = Attribution(
        "s", "lime", "word", "x", "logit", "mask", (Unit("a"), Unit("b"), Unit("c")),
        (1 / 3, None, -1e-300), full=0.1, empty=1 / 7, seed=3, settings={"samples": 10},
    )  # fmt: skip
    other = replace(plain, method="rise", standard_errors=(1 / 9, None, 0.0))
    with Store.write(tmp_path) as store, store.transaction():
        store.put_attributions([plain, other])
    with Store.read(tmp_path) as store:
        held = store.attributions()
        assert list(held.values()) == [plain, other]
        assert list(held) == [attribution_key(plain), attribution_key(other)]
        assert store.attributions([attribution_key(other), "unknown"]) == {
            attribution_key(other): other
        }


def test_a_medium_that_the_disk_holds_only_half_of_is_not_there(tmp_path: Path) -> None:
    data = bytes(range(256)) * 800
    media = Media(sha256(data), "image/png", data=data)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Store.write(tmp_path) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(InfrastructureError, match="cannot be written"):
                store.put_blob(media)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not (tmp_path / "blobs" / media.sha256).exists()
        store.put_blob(media)
        assert store.blob(media.sha256, media.mime).read() == data


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
