"""Whose answer it is: entries keep their own, and nothing is taken over without proof or a word."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, Reply, completion, serving
from small_suite import as_of_schema_3, changed, write

import harness
from harness.cli import main
from harness.export import cells_table
from harness.pipeline import run_folder
from harness.records import HarnessError
from harness.store import Store
from harness.suite import load

TINY: dict[str, Any] = {
    "arms": ["predicted"], "repeats": 1, "controls": "none", "scorers": ["label"],
    "families": [{"family": "small", "variants": ["base"], "aspects": ["causes"]}],
}  # fmt: skip
CELLS = 4


def entry(name: str, server: FakeServer, **more: Any) -> dict[str, Any]:
    return {"name": name, "backend": "openai", "model": "m", "base_url": server.url, **more}


def suite(folder: Path, *models: dict[str, Any], **changes: Any) -> Path:
    return write(folder, changed(**{**TINY, "models": list(models), **changes}))


@contextmanager
def servers(*texts: str, shown: Sequence[Any] = ()) -> Iterator[list[FakeServer]]:
    with ExitStack() as stack:
        found = [
            stack.enter_context(serving(lambda _, __, text=text: completion(text)))
            for text in texts
        ]
        for server, entry_shown in zip(found, shown, strict=False):
            server.models = Reply({"data": [entry_shown]})
        yield found


def answers(folder: Path) -> dict[str, Counter[str]]:
    with Store.read(folder) as store:
        table = cells_table(store)
    return {m: Counter(rows["text"]) for m, rows in table.groupby("model")}


def asked(server: FakeServer) -> int:
    return len(server.bodies)


def said(report: Path) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", report.read_text()).split())


def test_two_entries_with_one_model_name_on_two_servers_keep_their_own_answers(
    tmp_path: Path,
) -> None:
    with servers("one", "two") as (a, b):
        path = suite(tmp_path, entry("a", a), entry("b", b))
        harness.run(path, out=tmp_path / "run")
        assert answers(tmp_path / "run") == {"a": {"one": CELLS}, "b": {"two": CELLS}}
        assert (asked(a), asked(b)) == (CELLS, CELLS)


@pytest.mark.parametrize(
    "more",
    [
        {"price": {"input": 1, "output": 2}},
        {"timeout": 7},
        {"max_retries": 1, "concurrency": 2},
        {"api_key": "of-another-account"},
    ],
)
def test_entries_that_differ_in_name_price_or_transport_alone_share_their_answers(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    with servers("one") as (a,):
        harness.run(suite(tmp_path, entry("a", a), entry("b", a, **more)), out=tmp_path / "run")
        assert answers(tmp_path / "run") == {"a": {"one": CELLS}, "b": {"one": CELLS}}
        assert asked(a) == CELLS


@pytest.mark.parametrize(
    "more",
    [
        {"sampling": {"temperature": 0.5}},
        {"extra_body": {"min_p": 0.1}},
        {"headers": {"X-Model": "b"}},
    ],
)
def test_entries_that_differ_in_anything_else_are_asked_each(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    with servers("one") as (a,):
        harness.run(suite(tmp_path, entry("a", a), entry("b", a, **more)), out=tmp_path / "run")
        assert asked(a) == 2 * CELLS


def test_answers_in_common_stay_when_the_entries_change_places_or_one_goes(tmp_path: Path) -> None:
    with servers("one") as (a,):
        first, second = entry("a", a), entry("b", a, timeout=9)
        for models in ([first, second], [second, first], [second], [first]):
            harness.run(suite(tmp_path, *models), out=tmp_path / "run")
            assert answers(tmp_path / "run") == {m["name"]: {"one": CELLS} for m in models}
        assert asked(a) == CELLS


def test_entries_on_two_servers_share_answers_where_the_suite_says_they_are_the_same(
    tmp_path: Path,
) -> None:
    with servers("one", "two") as (a, b):
        path = suite(
            tmp_path, entry("a", a), entry("b", b, same_as="a"), entry("c", b, same_as="b")
        )
        harness.run(path, out=tmp_path / "run")
        found = answers(tmp_path / "run")
        assert found["a"] == found["b"] == found["c"]
        assert asked(a) + asked(b) == CELLS


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"same_as": "nobody"}, "there is no model 'nobody'"),
        ({"same_as": "b"}, "'b' is in the end the same as itself"),
        ({"same_as": "a", "sampling": {"temperature": 0.5}}, "differ in sampling"),
        ({"same_as": "a", "extra_body": {"min_p": 0.1}}, "differ in extra_body"),
        ({"same_as": "a", "model": "other"}, "differ in model"),
    ],
)
def test_same_as_is_refused_where_the_answers_cannot_be_the_same(
    tmp_path: Path, more: dict[str, Any], why: str
) -> None:
    with servers("one") as (a,):
        path = suite(tmp_path, entry("a", a), {**entry("b", a), **more})
    with pytest.raises(HarnessError, match=re.escape(why)):
        load(str(path))


def test_a_run_beside_another_asks_its_own_server_and_says_what_lies_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with servers("one", "two") as (a, b):
        harness.run(suite(tmp_path, entry("a", a)), out=tmp_path / "runs" / "first")
        path = suite(tmp_path, entry("b", b), name="second")
        assert main(["run", str(path), "--out", str(tmp_path / "runs" / "second")]) == 0
        assert asked(b) == CELLS
        assert answers(tmp_path / "runs" / "second") == {"b": {"two": CELLS}}
    told = " ".join("".join(capsys.readouterr()).split())
    assert f"{CELLS} answers to these requests lie in {tmp_path / 'runs' / 'first'}" in told
    assert "--reuse" in told


@pytest.mark.parametrize("command", ["plan", "check"])
def test_plan_and_check_say_what_lies_beside_before_anything_is_sent(
    tmp_path: Path,
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with servers("one") as (a,):
        harness.run(suite(tmp_path, entry("a", a)))
        path = suite(tmp_path, entry("b", a), name="second")
        assert main([command, str(path)]) == 0
        assert asked(a) == CELLS
    assert f"{CELLS} answers to these requests lie in reports/small-" in capsys.readouterr().out


def test_a_run_that_is_named_is_taken_from_and_the_report_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with servers("one", "two") as (a, b):
        first, second = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
        harness.run(suite(tmp_path, entry("a", a)), out=first)
        path = suite(tmp_path, entry("b", b), name="second")
        result = harness.run(path, out=second, reuse=[first])
        assert asked(b) == 0
        assert answers(second) == {"b": {"one": CELLS}}
        assert any(
            f"{CELLS} answers of b were taken over from run first" in s for s in result.verdict
        )
        assert "taken over" in said(result.report)
        assert main(["run", str(path), "--out", str(second), "--reuse", str(tmp_path / "no")]) == 2
    assert "is no run" in capsys.readouterr().err


def test_of_a_named_run_whose_entries_disagree_only_the_entry_of_the_same_name_is_taken(
    tmp_path: Path,
) -> None:
    with servers("one", "two", "three") as (a, b, c):
        first = tmp_path / "runs" / "first"
        harness.run(suite(tmp_path, entry("a", a), entry("b", b)), out=first)
        path = suite(
            tmp_path, entry("b", c), entry("d", c, timeout=9, headers={"X": "1"}), name="next"
        )
        harness.run(path, out=tmp_path / "runs" / "next", reuse=[first])
        assert answers(tmp_path / "runs" / "next") == {"b": {"two": CELLS}, "d": {"three": CELLS}}


@pytest.mark.parametrize(
    ("before", "now", "taken"),
    [
        ({"id": "m", "digest": "sha256:" + "a1" * 32}, {"id": "m", "digest": "sha256:" + "a1" * 32}, True),
        ({"id": "m", "digest": "sha256:" + "a1" * 32}, {"id": "m", "digest": "sha256:" + "b2" * 32}, False),
        ({"id": "m", "root": "/x", "size": 7}, {"id": "m", "root": "/x", "size": 7}, False),
    ],
)  # fmt: skip
def test_equal_digests_are_the_same_model_and_equal_signs_prove_nothing(
    tmp_path: Path, before: Any, now: Any, taken: bool
) -> None:
    with servers("one", "two", shown=[before, now]) as (a, b):
        harness.run(suite(tmp_path, entry("a", a)), out=tmp_path / "runs" / "first")
        path = suite(tmp_path, entry("b", b), name="second")
        result = harness.run(path, out=tmp_path / "runs" / "second")
        assert asked(b) == (0 if taken else CELLS)
        assert any("taken over from run first" in s for s in result.verdict) == taken


def test_a_stated_revision_takes_over_and_another_does_not(tmp_path: Path) -> None:
    with servers("one", "two") as (a, b):
        harness.run(suite(tmp_path, entry("a", a, revision="r1")), out=tmp_path / "runs" / "first")
        for revision, count in (("r1", 0), ("r2", CELLS)):
            path = suite(tmp_path, entry("b", b, revision=revision), name="second")
            harness.run(path, out=tmp_path / "runs" / revision)
            assert asked(b) == count


@pytest.mark.parametrize(
    ("now", "other"),
    [
        ({"id": "m", "root": "/y", "max_model_len": 64}, True),
        ({"id": "m", "root": "/x", "max_model_len": 128}, False),
        ({"id": "another"}, True),
        ({"id": "m", "root": "/x", "meta": {"size": 4}}, False),
        (None, False),
    ],
)
def test_a_run_is_continued_by_the_same_model_only_unless_a_change_is_accepted(
    tmp_path: Path, now: Any, other: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"id": "m", "root": "/x", "max_model_len": 64}
    with servers("one", "two", shown=[before, now]) as (a, b):
        path, out = suite(tmp_path, entry("a", a)), str(tmp_path / "run")
        assert main(["run", str(path), "--out", out, "--limit", "2"]) == 0
        path = suite(tmp_path, entry("a", b))
        code = main(["run", str(path), "--out", out])
        assert (code, asked(b)) == ((2, 0) if other else (0, CELLS - 2))
        told = capsys.readouterr().err
        if other:
            assert "another model answers now than before" in told
            assert "--accept-change" in told
            assert main(["run", str(path), "--out", out, "--accept-change"]) == 0
            assert answers(Path(out)) == {"a": {"one": 2, "two": CELLS - 2}}
            assert "come from more than one model" in said(tmp_path / "run" / "report.html")
        elif now is None:
            assert "who answers is unknown" in told
        elif now["root"] == "/x" and "max_model_len" in now:
            assert "context length 64 before, 128 now" in told


MINE = """
import helper
from harness.records import Capabilities, Generation

class Mine:
    capabilities = Capabilities(seed=True)

    def __init__(self, model, style="plain"):
        self.style = style

    async def generate(self, request):
        return Generation(f"{helper.WORD} {self.style}")
"""


def mine(folder: Path, text: str = MINE, word: str = "old", **more: Any) -> Path:
    models = [{"name": "mine", "backend": "./mine.py:Mine", **more}]
    helper = f"WORD = {word!r}\n"
    return write(folder, changed(**TINY, models=models), **{"mine.py": text, "helper.py": helper})


@pytest.mark.parametrize("where", ["run", "beside"])
@pytest.mark.parametrize("edit", ["file", "helper", "option"])
def test_an_edited_plug_in_is_asked_again_in_its_folder_and_beside(
    tmp_path: Path, where: str, edit: str
) -> None:
    harness.run(mine(tmp_path), out=tmp_path / "runs" / "run")
    changes: dict[str, Any] = {
        "file": {"text": MINE.replace("{self.style}", "{self.style}!")},
        "helper": {"word": "new"},
        "option": {"style": "bold"},
    }[edit]
    harness.run(mine(tmp_path, **changes), out=tmp_path / "runs" / where)
    now = {"file": "old plain!", "helper": "new plain", "option": "old bold"}[edit]
    assert answers(tmp_path / "runs" / where) == {"mine": {now: CELLS}}


def test_a_plug_in_as_it_was_is_not_asked_again_and_a_stated_revision_stands_for_its_code(
    tmp_path: Path,
) -> None:
    harness.run(mine(tmp_path), out=tmp_path / "runs" / "a")
    write(tmp_path, other_py="unrelated = 1\n")
    result = harness.run(mine(tmp_path), out=tmp_path / "runs" / "b")
    assert any(f"{CELLS} answers of mine were taken over from run a" in s for s in result.verdict)
    harness.run(mine(tmp_path, revision="7"), out=tmp_path / "runs" / "c")
    harness.run(mine(tmp_path, word="new", revision="7"), out=tmp_path / "runs" / "d")
    assert answers(tmp_path / "runs" / "d") == {"mine": {"old plain": CELLS}}


def test_a_run_stored_before_goes_on_without_asking_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with servers("one", "two") as (a, b):
        path = suite(
            tmp_path,
            entry("a", a),
            {"name": "p", "backend": "./parrot.py:Parrot"},
            entry("c", b, model="n"),
        )
        harness.run(path, out=out)
        before = answers(out)
        as_of_schema_3(out)
        harness.run(path, out=out)
        assert (asked(a), asked(b)) == (CELLS, CELLS)
        assert answers(out) == before


def test_answers_that_two_entries_shared_before_are_asked_of_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with servers("one", "two") as (a, b):
        path = suite(tmp_path, entry("a", a), entry("b", b))
        harness.run(path, out=out)
        as_of_schema_3(out)
        assert main(["run", str(path), "--out", str(out)]) == 0
        assert answers(out) == {"a": {"one": CELLS}, "b": {"two": CELLS}}
        assert (asked(a), asked(b)) == (2 * CELLS, 2 * CELLS)
    told = " ".join(capsys.readouterr().err.split())
    assert f"{CELLS} answers were shared by the models a, b" in told


def test_what_asks_nothing_leaves_the_folder_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with servers("one") as (a,):
        first = harness.run(suite(tmp_path, entry("a", a)))
        edits: list[dict[str, Any]] = [
            {"about": "Another sentence."},
            {"report": {"samples": 1}},
            {"limits": {"max_time": "1h"}},
            {"scorers": ["label", "schema"]},
            {"max_unscored": 0.5},
        ]
        for edit in edits:
            result = harness.run(suite(tmp_path, entry("a", a), **edit))
            assert result.folder == first.folder, edit
        priced = entry("a", a, price={"input": 1, "output": 1})
        assert harness.run(suite(tmp_path, priced)).folder == first.folder
        assert harness.run(suite(tmp_path, priced, repeats=2)).folder != first.folder
        assert asked(a) == CELLS + 2 * CELLS


def test_edited_scorers_and_report_are_shown_although_nothing_is_asked(tmp_path: Path) -> None:
    with servers("one") as (a,):
        out = tmp_path / "run"
        harness.run(suite(tmp_path, entry("a", a)), out=out)
        result = harness.run(suite(tmp_path, entry("a", a), scorers=["label", "schema"]), out=out)
        assert set(result.scores["scorer"]) == {"label", "schema"}
        result = harness.run(suite(tmp_path, entry("a", a), about="Said anew."), out=out)
        assert "Said anew." in result.report.read_text()
        assert asked(a) == CELLS


def test_a_run_begun_under_the_hash_of_before_keeps_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with servers("one") as (a,):
        path = suite(tmp_path, entry("a", a))
        loaded = load(str(path))
        old = Path("reports") / f"small-{loaded.hash_before}"
        harness.run(path, out=old)
        as_of_schema_3(old)
        with Store.write(old) as store:
            manifest = store.meta()["manifest"]
            store.set_meta({"manifest": manifest.replace(loaded.hash, loaded.hash_before)})
        assert run_folder(loaded) == old
        assert harness.run(path).folder == old
        edited = load(str(suite(tmp_path, entry("a", a), scorers=["label", "schema"])))
        assert run_folder(edited) == old  # found by what it asks, whatever else is edited
        assert asked(a) == CELLS


@pytest.mark.parametrize("back", ["another", "the same", "silent"])
def test_a_server_that_comes_back_with_another_model_is_asked_nothing_more(
    tmp_path: Path, back: str, capsys: pytest.CaptureFixture[str]
) -> None:
    away = threading.Event()

    def script(_: dict[str, Any], number: int) -> Reply:
        if number == 1:
            away.set()
        # From the second request on it breaks off, until it is looked at again.
        return completion("one") if number == 0 or not away.is_set() else Reply(cut=True)

    with serving(script) as server:
        shown = {"id": "m", "root": "/x"}
        server.models = Reply({"data": [shown]})
        coming = {"another": {"id": "m", "root": "/y"}, "the same": shown, "silent": None}[back]

        def looked(_: Any) -> Reply:
            if away.is_set():
                server.models = Reply({"data": [coming] if coming else []})
                server.script = lambda _, __: completion("two")
            return server.models

        server.look = looked
        path = suite(tmp_path, entry("a", server, concurrency=1, max_retries=0))
        code = main(["run", str(path), "--out", str(tmp_path / "run")])
    found = answers(tmp_path / "run")["a"]
    if back == "another":
        assert code == 4
        assert found["two"] == 0
        assert "another model" in "".join(capsys.readouterr())
    else:
        assert code == 0
        assert found == {"one": 1, "two": CELLS - 1}
