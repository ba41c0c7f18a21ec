"""A secret is used where it is needed and stands nowhere else, in whatever form it comes back."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_suite import changed, write

sys.path.append(str(Path(__file__).parent / "backends"))
from fake_server import Reply, completion, free_port, serving

import harness
from harness import plugins, secrets
from harness.backends.openai import OpenAI
from harness.cli import main
from harness.records import HarnessError
from harness.suite import load

PARTS = '''
from harness.records import Capabilities, Generation, Metric, Prediction, Score, Sample, Part
from harness import plugins

class Notes:
    def __init__(self, url, options):
        assert "planted-source-url" in url and options[0]["password"] == "planted-source-deep"
        self.url = url
    def samples(self):
        return [Sample(f"s{i}", (Part(f"note {i}"),), "gastritis") for i in range(4)]

class Says:
    classes = ("gastritis", "indigestion")
    revision = "1"
    def __init__(self, token, probabilities=None):
        assert token.startswith("planted-")
        self.notes = (f"the token is {token}",)
    def predict(self, samples):
        return [Prediction(s.id, "gastritis", {"gastritis": 0.75, "indigestion": 0.25}) for s in samples]

class Echo:
    """Repeats its keys in its answers, in its notes, and in what it raises."""
    capabilities = Capabilities()
    def __init__(self, model, tokens, env):
        self.tokens, self.env = tokens, env
    async def generate(self, request):
        if "treatment" in request.messages[-1].text:
            raise RuntimeError(f"cannot log in with {self.tokens[0]} and {self.env['LOGIN']}")
        return Generation(f"I was asked with {self.tokens[0]}", notes=(f"by {self.tokens}",))

class Judge:
    metrics = (Metric("fine"),)
    def __init__(self, judge, panel, backend: "Backend"):
        assert judge["api_key"] == "planted-judge-key"
        assert panel[1]["headers"]["X-Login"] == "planted-panel-login"
        assert panel[0]["judge"]["client_secret"] == "planted-deepest"
        self.settings = {"judge": judge["kind"]}
        self.judge, self.panel, self.backend = judge, panel, backend
    def requests(self, subject): return ()
    def score(self, subject, generations):
        return [Score("fine", 1.0, {"why": f"asked with {self.judge}"})]
'''


def suite(url: str) -> str:
    return changed(
        source={"kind": "./parts.py:Notes", "url": "postgresql://me:${P_SOURCE_URL}@db/notes?x=${P_SOURCE_QUERY}", "options": [{"password": "${P_SOURCE_DEEP}"}]},
        classifier={"kind": "./parts.py:Says", "token": "${P_CLASSIFIER}"},
        classifier_baselines={"other": {"kind": "./parts.py:Says", "token": "${P_BASELINE}"}},
        models=[
            {"name": "echo", "backend": "./parts.py:Echo", "tokens": ["${P_LIST}"], "env": {"LOGIN": "${P_ENV}"}},
            {"name": "keyed", "backend": "openai", "base_url": url, "api_key": "${P_KEY}", "extra_body": {"api_key": "${P_BODY}"}},
            {"name": "headed", "backend": "openai", "base_url": url + "?sig=${P_QUERY}&api-version=2024-10-21", "headers": {"X-Login": "${P_HEADER}"}},
            {"name": "user", "backend": "openai", "base_url": url.replace("//", "//me:${P_USER}@")},
        ],
        scorers=[{"kind": "./parts.py:Judge",
                  "judge": {"kind": "openai", "model": "j", "api_key": "${P_JUDGE}"},
                  "panel": [{"kind": "x", "judge": {"kind": "y", "client_secret": "${P_DEEPEST}"}}, {"kind": "openai", "headers": {"X-Login": "${P_PANEL}"}}],
                  "backend": {"kind": "openai", "model": "j", "base_url": url, "api_key": "${P_BACKEND}"}}],
        controls=["empty"], arms=["predicted"], repeats=1,
    )  # fmt: skip


PLANTED = {
    "P_SOURCE_URL": "planted-source-url", "P_SOURCE_QUERY": "planted-source-query",
    "P_SOURCE_DEEP": "planted-source-deep", "P_CLASSIFIER": "planted-classifier",
    "P_BASELINE": "planted-baseline", "P_LIST": "planted-list", "P_ENV": "planted-env",
    "P_KEY": "planted-model-key", "P_BODY": "planted-body", "P_QUERY": "planted%2Fquery%3D%3D",
    "P_HEADER": "planted-header", "P_USER": "planted%40user", "P_JUDGE": "planted-judge-key",
    "P_PANEL": "planted-panel-login", "P_DEEPEST": "planted-deepest", "P_BACKEND": "planted-backend",
}  # fmt: skip


def found_in(text: bytes) -> list[str]:
    """The secrets that stand in some bytes, as planted, decoded or in base64."""
    forms = {
        form: secret
        for secret in PLANTED.values()
        for form in (secret, unquote(secret), base64.b64encode(unquote(secret).encode()).decode())
    }
    login = base64.b64encode(f"me:{unquote(PLANTED['P_USER'])}".encode()).decode()
    return [secret for form, secret in {**forms, login: "login"}.items() if form.encode() in text]


def test_sixteen_secrets_in_sixteen_places_stand_nowhere_in_what_a_run_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, secret in PLANTED.items():
        monkeypatch.setenv(name, secret)

    def script(body: dict[str, Any], _: int) -> Reply:
        """Answers some requests, and repeats everything it was sent to the others."""
        if "causes" in str(body["messages"]):
            return completion()
        said = (
            f"{'.' * 270}{server.paths[-1]} {server.headers[-1]} {body} {unquote(server.paths[-1])}"
        )
        return Reply({"error": {"message": said}}, 422)

    out = tmp_path / "run"
    with serving(script) as server:
        path = str(write(tmp_path, suite(server.url), **{"parts.py": PARTS}))
        for command in (
            ["check", path], ["plan", path], ["run", path, "--out", str(out)],
            ["run", path, "--out", str(out), "--only-failed"],
            ["score", str(out)], ["report", str(out)], ["show", str(out)],
            ["show", str(out), "echo/s1/small/base/predicted/treatment/1"],
            ["show", str(out), "keyed/s1/small/base/predicted/treatment/1"],
            ["export", str(out), "--to", "csv"], ["export", str(out), "--to", "jsonl"],
        ):  # fmt: skip
            main(command)
    sent = " ".join(map(str, [*server.headers, *server.paths, *server.bodies]))
    for name in ("P_KEY", "P_BODY", "P_HEADER"):
        assert PLANTED[name] in sent  # they are used
    printed = capsys.readouterr()
    loaded = load(path)
    parts = [loaded.source, loaded.classifier, loaded.models, loaded.scorers, loaded]
    assert "report: " in printed.out
    assert "[hidden]" in printed.out
    for text in (printed.out, printed.err, repr(parts)):
        assert found_in(text.encode("utf-8", "replace")) == []
    files = [file for file in out.rglob("*") if file.is_file()]
    assert {"run.sqlite", "report.html", "cells.csv", "cells.jsonl"} <= {
        file.name for file in files
    }
    for file in files:
        assert found_in(file.read_bytes()) == [], file


def test_a_secret_keeps_its_name_in_the_suite_at_any_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secret in PLANTED.items():
        monkeypatch.setenv(name, secret)
    loaded = load(str(write(tmp_path, suite("http://127.0.0.1:1/v1"), **{"parts.py": PARTS})))
    options = loaded.scorers[0].options
    assert options["judge"]["api_key"] == "${P_JUDGE}"
    assert options["panel"][0]["judge"]["client_secret"] == "${P_DEEPEST}"
    assert options["panel"][1]["headers"] == {"X-Login": "${P_PANEL}"}
    assert loaded.source.options["options"] == [{"password": "${P_SOURCE_DEEP}"}]
    assert loaded.models[0].options["tokens"] == ["${P_LIST}"]


def test_a_secret_counts_nothing_and_the_rest_of_a_nested_part_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P_JUDGE", "one-secret")
    judge = {"kind": "openai", "model": "a", "api_key": "${P_JUDGE}", "timeout": 3}

    def hash_of(**change: Any) -> str:
        classifier = {"kind": "./parts.py:Says", "judge": {**judge, **change}}
        return load(str(write(tmp_path, changed(classifier=classifier)))).hash

    first = hash_of()
    monkeypatch.setenv("P_JUDGE", "another-secret")
    assert hash_of() == first
    assert hash_of(timeout=9, api_key="${HOME}", base_url="http://x/v1") == first
    assert hash_of(model="b") != first


@pytest.mark.parametrize(
    "judge",
    [
        {"kind": "openai", "api_key": "sk-written"},
        {"kind": "openai", "base_url": "http://me:written@x/v1"},
        {"kind": "openai", "base_url": "http://x/v1?sig=written"},
        {"kind": "openai", "headers": {"Authorization": "Bearer written"}},
    ],
)
def test_a_secret_written_into_a_scorers_part_is_refused(
    tmp_path: Path, judge: dict[str, Any]
) -> None:
    path = write(tmp_path, changed(scorers=[{"kind": "./parts.py:Judge", "panel": [judge]}]))
    with pytest.raises(HarnessError, match=r"scorers\[0\]\.panel\[0\]\..*write a secret as \$"):
        load(str(path))


def test_a_path_of_a_nested_part_lies_beside_the_suite_and_data_stay(tmp_path: Path) -> None:
    scorer = {"kind": "label", "judge": {"kind": "openai", "ca_bundle": "ca.pem"}, "of": [{"kind": "x", "weights": "w.bin"}], "where": {"path": "a/b"}}  # fmt: skip
    (options,) = (spec.options for spec in load(str(write(tmp_path, changed(scorers=[scorer])))).scorers)  # fmt: skip
    assert options["judge"]["ca_bundle"] == str(tmp_path / "ca.pem")
    assert options["of"] == [{"kind": "x", "weights": str(tmp_path / "w.bin")}]
    assert options["where"] == {"path": "a/b"}


NESTED = """
class Takes:
    def __init__(self, judge: 'Backend | None' = None, data=None, plain: 'Mapping' = None):
        self.judge, self.data, self.plain = judge, data, plain
"""


def test_a_field_that_is_declared_a_part_arrives_made_and_others_as_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "takes.py").write_text(NESTED)
    monkeypatch.setenv("P_JUDGE", "planted-judge")
    part = {"kind": "openai", "model": "m", "api_key": "${P_JUDGE}"}
    made = plugins.create(
        "scorers", "./takes.py:Takes", tmp_path, judge=part, data=part, plain=part
    )
    assert isinstance(made.judge, OpenAI)
    assert made.data == made.plain == {**part, "api_key": "planted-judge"}
    with pytest.raises(HarnessError, match=r"Takes': judge: there is no backend 'opnai'; did you"):
        plugins.create("scorers", "./takes.py:Takes", tmp_path, judge={"kind": "opnai"})


@pytest.mark.parametrize("place", ["query", "user", "proxy"])
def test_an_address_is_told_without_what_is_secret_in_it(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("P_SECRET", "planted%2Bsecret")
    here = f"127.0.0.1:{free_port()}"
    fields = {
        "query": {"base_url": f"http://{here}/v1?code=${{P_SECRET}}"},
        "user": {"base_url": f"http://${{P_SECRET}}@{here}/v1"},
        "proxy": {"base_url": "http://example.org/v1", "proxy": f"http://me:${{P_SECRET}}@{here}"},
    }[place]
    path = write(tmp_path, changed(models=[{"name": "m", "backend": "openai", **fields}]))
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 4
    printed = "".join(capsys.readouterr())
    assert here in printed
    assert "planted" not in printed


@given(
    st.text("aZ09 %+/=&?#\"'\\\n-_ü", min_size=6, max_size=20).filter(
        lambda t: len(unquote(t).strip()) > 5
    )
)
def test_a_secret_is_struck_out_in_every_form(secret: str) -> None:
    struck = sorted(secrets.forms(secret), key=len, reverse=True)
    for said in (secret, quote(secret), quote(secret, safe=""), unquote(secret), repr(secret)):
        assert secret not in secrets.strike(f"the server says {said}!", struck)
        assert secrets.HIDDEN in secrets.strike(f"the server says {said}!", struck)


def test_what_says_which_interface_is_meant_is_no_secret() -> None:
    address = "https://x/v1?api-version=2024-10-21&sig=abc%3D"
    assert set(secrets.of_address(address)) == {"abc%3D", "abc="}
    assert list(secrets.of_address("no address at all")) == []
    assert list(secrets.of_address("http://[bad/")) == []


def test_switches_numbers_and_folders_are_not_struck_out() -> None:
    secrets.learn(["1", "true", "12345678", "/usr/local/cuda"])
    assert secrets.conceal("port 12345678, /usr/local/cuda is true") == "port 12345678, /usr/local/cuda is true"  # fmt: skip


def test_a_run_in_python_names_no_secret_in_what_it_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P_SECRET", "planted-constructor")
    code = "class Broken:\n    def __init__(self, model, api_key): raise ValueError(api_key)\n"
    models = [{"name": "m", "backend": "./broken.py:Broken", "api_key": "${P_SECRET}"}]
    path = write(tmp_path, changed(models=models), **{"broken.py": code})
    with pytest.raises(HarnessError, match=r"cannot be made: ValueError: \[hidden\]"):
        harness.run(path, out=tmp_path / "run")
