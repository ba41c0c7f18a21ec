"""A suite's identity is what it asks, not where it lies; secrets stay out of the run."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from small_suite import changed, write

from harness.pipeline import finish, run
from harness.records import HarnessError
from harness.store import Store
from harness.suite import load


def test_places_keys_and_urls_do_not_change_the_run_but_questions_do(tmp_path: Path) -> None:
    model = {"name": "m", "backend": "openai", "model": "x", "base_url": "http://127.0.0.1:1/v1"}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = load(str(write(tmp_path / "a", changed(models=[model]))))
    moved = load(str(write(tmp_path / "b", changed(models=[model | {"base_url": "http://127.0.0.1:2/v1", "api_key": "k", "timeout": 3}]))))  # fmt: skip
    other = load(str(write(tmp_path / "b", changed(models=[model | {"model": "y"}]))))
    assert first.hash == moved.hash
    assert first.hash != other.hash
    family = tmp_path / "a" / "prompts" / "small" / "family.yaml"
    family.write_text(family.read_text().replace("Explain its", "Describe its"))
    assert load(str(tmp_path / "a" / "suite.yaml")).hash != first.hash


def test_where_a_variable_in_a_path_leads_does_not_change_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write(tmp_path))
    found = []
    for place in ("here", "there"):
        monkeypatch.setenv("HARNESS_TEST_PLACE", place)
        found.append(load(path, ["source.path=./${HARNESS_TEST_PLACE}/notes.csv"]))
        assert found[-1].source.options["path"] == str(tmp_path / place / "notes.csv")
    assert found[0].hash == found[1].hash


def test_variables_come_from_the_environment_and_must_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, changed(about="${HARNESS_TEST_WORD} here"))
    with pytest.raises(
        HarnessError, match=r"suite\.yaml:\d+: about: .*HARNESS_TEST_WORD is not set"
    ):
        load(str(path))
    monkeypatch.setenv("HARNESS_TEST_WORD", "now")
    assert load(str(path)).about == "now here"


@pytest.mark.parametrize("option", ["api_key", "openai_api_key", "hf_token", "client_secret"])
def test_a_secret_is_nowhere_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("HARNESS_TEST_KEY", "sk-very-secret")
    model = {"name": "m", "backend": "./keyed.py:Keyed", option: "${HARNESS_TEST_KEY}"}
    path = write(tmp_path, changed(models=[model]))
    (tmp_path / "keyed.py").write_text(
        "from harness.records import Capabilities, Generation\n"
        "class Keyed:\n"
        "    capabilities = Capabilities()\n"
        f"    def __init__(self, model, {option}):\n"
        f"        assert {option} == 'sk-very-secret'\n"
        "    async def generate(self, request):\n"
        "        return Generation('fine')\n"
    )
    result = run(load(str(path)), out=tmp_path / "run")
    for file in result.folder.rglob("*"):
        if file.is_file():
            assert b"sk-very-secret" not in file.read_bytes(), file
    with sqlite3.connect(result.folder / "run.sqlite") as db:
        assert db.execute("SELECT count(*) FROM generations").fetchone()[0] > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["repeats"], "expected key=value"),
        (["repeats=0"], "repeats: 0 is less than the minimum of 1"),
        (["models=[{name: 'control:gold', backend: ./parrot.py:Parrot}]"], "is kept for controls"),
        (
            [
                "models=[{name: a, backend: ./parrot.py:Parrot}, {name: a, backend: ./parrot.py:Parrot}]"
            ],
            "two models are named 'a'",
        ),
        (["models.nobody.model=x"], "'nobody' is no place in the suite"),
        (["source.kind=tabel"], "did you mean 'table'?"),
        (["scorers=[claim]"], "did you mean 'claims'?"),
        (["controls=[golden]"], "there is no control 'golden'"),
        (["families=[gii]"], "there is no 'gii'"),
        (["families=[{family: small, variants: [bse]}]"], "has no variant 'bse'"),
        (["families=[{family: small, aspects: [cause]}]"], "has no aspect 'cause'"),
        (["source.txt=note"], "source 'table' has no field 'txt'; it takes path"),
        (["models=[{name: a, backend: ./parrot.py:Parot}]"], "cannot be loaded"),
        (["models=[{name: a, backend: ./no.py:Parrot}]"], "there is no file"),
        (["explain={methods: [kernel_shup]}"], "explain.methods: there is no explainer"),
        (["explain={methods: [lime], unit: wird}"], "did you mean 'word'?"),
        (["explain={methods: [lime, lime]}"], "there is already a method 'lime'"),
        (["explain={methods: [{kind: lime, widht: 1}]}"], "has no field 'widht'"),
        (["explain={methods: [lime]}"], "recorded predictions cannot be explained"),
        (["limits={max_time: soon}"], "no time such as"),
        (["repeats=1.0"], "repeats: expected integer, found 1.0"),
        (["sampling.temperature=1e999"], "cannot read '1e999'"),
        (["arms=[gold, gold]"], '"gold" stands twice'),
        (["controls=[gold, gold]"], '"gold" stands twice'),
        (["families=[small, {family: small}]"], "there is already a family 'small'"),
        (["families=[{family: small, variants: [base, base]}]"], "families"),
        (["scorers=[label, {kind: label}]"], "there is already a scorer 'label'; give this one"),
        (["report.group_by=[sitte]"], "no sample has metadata 'sitte'; there is site"),
        (["controls=[paraphrase]", "models=[]", "gold=null"], "there is nothing to ask"),
        (["scorers=[{kind: claims, embedder: ./nowhere}]"], "cannot be loaded"),
    ],
)
def test_what_is_wrong_in_a_suite_is_said_before_anything_is_sent(
    tmp_path: Path, settings: list[str], said: str
) -> None:
    path = write(tmp_path)
    with pytest.raises(HarnessError) as error:
        run(load(str(path), settings), out=tmp_path / "run")
    assert said in str(error.value)
    assert not (tmp_path / "run" / "run.sqlite").exists()


def test_one_scorer_may_stand_twice_under_two_names(tmp_path: Path) -> None:
    strict = {"kind": "claims", "name": "strict", "threshold": 0.99}
    path = write(tmp_path, changed(scorers=["claims", strict], models=None, controls=["gold"]))
    scores = run(load(str(path)), out=tmp_path / "run").scores
    assert set(scores["scorer"]) == {"claims", "strict"}
    assert scores.groupby("scorer")["version"].first().nunique() == 2


@pytest.mark.parametrize(
    "how",
    [
        {"base_url": "http://127.0.0.1:2/v1"},
        {"proxy": "http://127.0.0.1:3"},
        {"headers": {"X-Team": "a"}},
        {"env": {"CUDA_VISIBLE_DEVICES": "0"}},
        {"ca_bundle": "ca.pem"},
        {"timeout": 3},
        {"max_retries": 1},
        {"concurrency": 2},
        {"start_timeout": 9},
        {"environment": "./venv"},
        {"api_key": "k"},
        {"API_KEY": "k"},
        {"hf_token": "k"},
        {"azure_client_secret": "k"},
    ],
    ids=lambda how: next(iter(how)),
)
def test_how_a_model_is_reached_is_no_part_of_what_a_suite_is(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    model = {"name": "m", "backend": "openai", "model": "x"}
    path = str(write(tmp_path, changed(models=[model])))
    plain, reached = load(path), load(str(write(tmp_path, changed(models=[model | how]))))
    assert reached.models[0].options
    assert plain.hash == reached.hash
    for what in ({"revision": "a"}, {"model": "y"}):
        assert load(str(write(tmp_path, changed(models=[model | what])))).hash != plain.hash


def test_a_field_called_like_a_secret_or_a_place_counts_where_it_is_none(tmp_path: Path) -> None:
    path = str(write(tmp_path))
    base = load(path)
    for setting in ("label_map={token: gastritis}", "source.metadata=[timeout]"):
        assert load(path, [setting]).hash != base.hash
    where = [load(path, [f"source.where={{environment: {word}}}"]).hash for word in ("a", "b")]
    assert where[0] != where[1]


def test_a_cost_limit_says_whom_it_does_not_count(tmp_path: Path) -> None:
    result = run(load(str(write(tmp_path)), ["limits.max_cost=1"]), out=tmp_path / "run")
    assert "limits.max_cost does not count parrot: give each a price." in result.results.warnings


def test_a_scorer_keeps_the_name_of_its_secret_and_never_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = {"kind": "./judge.py:Judge", "api_key": "${HARNESS_TEST_KEY}",
             "base_url": "http://me:${HARNESS_TEST_KEY}@127.0.0.1:1/v1"}  # fmt: skip
    path = write(tmp_path, changed(scorers=[judge]))
    (tmp_path / "judge.py").write_text(
        "from harness.records import Metric, Score\n"
        "class Judge:\n"
        "    metrics = (Metric('fine'),)\n"
        "    def __init__(self, api_key, base_url):\n"
        "        assert api_key == 'sk-very-secret' and ':sk-very-secret@' in base_url\n"
        "    def requests(self, subject): return ()\n"
        "    def score(self, subject, generations): return [Score('fine', 1.0)]\n"
    )
    monkeypatch.setenv("HARNESS_TEST_KEY", "sk-very-secret")
    result = run(load(str(path)), out=tmp_path / "run")
    with Store.write(result.folder) as store:
        finish(store)  # the scorer is made again, from what the run holds
    for file in result.folder.rglob("*"):
        assert not file.is_file() or b"sk-very-secret" not in file.read_bytes(), file
    path.write_text(path.read_text().replace("${HARNESS_TEST_KEY}", "sk-very-secret"))
    with pytest.raises(HarnessError, match=r"scorers\[0\]\.api_key: .*write a secret as"):
        load(str(path))


def test_limits_and_prices_are_read_in_their_units(tmp_path: Path) -> None:
    times = {"90": 90, "90s": 90, "1.5m": 90, "2h": 7200, "1d": 86400, "1 h": 3600}
    path = str(write(tmp_path))
    for text, seconds in times.items():
        assert load(path, [f"limits.max_time={text}"]).max_time == seconds
    assert load(path).max_time is None
    priced = load(path, ["models.parrot.price={input: 1, output: 4}"])
    assert priced.models[0].price == (1, 4)


def test_what_a_classifier_is_trained_on_keeps_its_secrets_and_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_TEST_KEY", "sk-very-secret")

    def train(**more: str) -> dict[str, Any]:
        return {"source": {"kind": "table", "path": "./t.csv", "text": "note", **more}, "out": "w"}

    path = str(write(tmp_path, changed(train=train())))
    plain = load(path)
    write(tmp_path, changed(train=train(api_key="${HARNESS_TEST_KEY}")))
    keyed = load(path)
    assert keyed.hash == plain.hash
    assert keyed.train is not None
    assert keyed.train.source.options["api_key"] == "${HARNESS_TEST_KEY}"
    assert keyed.train.source.options["path"] == str(tmp_path / "t.csv")
    assert "sk-very-secret" not in repr(keyed)


def test_prompts_and_gold_beside_the_suite_stand_before_those_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    write(there)
    family = there / "prompts" / "small" / "family.yaml"
    family.write_text(family.read_text().replace("Why?", "Why elsewhere?"))
    path = str(write(here))
    monkeypatch.setenv("HARNESS_PATH", str(there))
    assert load(path).families[0].family.question == "Why?"
    for file in (here / "prompts" / "small").iterdir():
        file.unlink()
    (here / "prompts" / "small").rmdir()
    assert load(path).families[0].family.question == "Why elsewhere?"


def test_set_reaches_into_lists_by_number_and_by_name(tmp_path: Path) -> None:
    path = str(write(tmp_path, changed(models=[{"name": "m", "backend": "openai", "model": "x"}])))
    for step in ("0", "m"):
        suite = load(path, [f"models.{step}.model=y", "report.samples=3"])
        assert (suite.models[0].model, suite.report_samples) == ("y", 3)
    replaced = load(path, ["models.m={name: other, backend: openai, model: z}"])
    assert [model.name for model in replaced.models if not model.control] == ["other"]
    for wrong in ("models.n.model=y", "models.7=y", "name.x=y"):
        with pytest.raises(HarnessError, match="is no place in the suite"):
            load(path, [wrong])


def test_files_of_a_model_lie_beside_the_suite(tmp_path: Path) -> None:
    model = {"name": "m", "backend": "openai", "model": "x", "ca_bundle": "ca.pem"}
    suite = load(str(write(tmp_path, changed(models=[model]))))
    assert suite.models[0].options["ca_bundle"] == str(tmp_path / "ca.pem")


def test_without_a_classifier_only_the_arm_none_is_possible(tmp_path: Path) -> None:
    path = write(tmp_path, changed(classifier=None))
    with pytest.raises(HarnessError, match="the only arm is 'none'"):
        load(str(path))
    assert load(str(write(tmp_path, changed(classifier=None, arms=None)))).arms == ("none",)


def test_models_keeps_the_named_models_and_the_controls(tmp_path: Path) -> None:
    path = write(tmp_path)
    names = [m.name for m in load(str(path), models=["parrot"]).models]
    assert names == ["parrot", "control:gold", "control:empty"]
    with pytest.raises(HarnessError, match="there is no model 'perrot'"):
        load(str(path), models=["perrot"])
