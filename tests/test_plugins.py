"""Parts of one's own: installed like a third party's, or named by their file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_suite import PARROT, changed, write

from harness import plugins
from harness.cli import main
from harness.contracts import Backend, Classifier, Scorer, Source
from harness.records import HarnessError


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The third-party package, installed with pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    package = tmp_path_factory.mktemp("package") / "parrot"
    shutil.copytree(PARROT.parent, package)
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
            "--no-build-isolation", "--target", str(folder), str(package),
        ],
        check=True,
    )  # fmt: skip
    return folder


def harness_command(folder: Path, site: Path | None, *arguments: str) -> str:
    environment = dict(os.environ)
    if site is not None:
        environment["PYTHONPATH"] = str(site)
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_package_adds_a_backend_and_a_scorer(tmp_path: Path, site: Path) -> None:
    models = [{"name": "polly", "backend": "parrot", "prefix": "Squawk! "}]
    write(tmp_path, changed(models=models, scorers=["word_count"]))
    assert "parrot" in harness_command(tmp_path, site, "list", "backends")
    harness_command(tmp_path, site, "run", "suite.yaml", "--out", "run")
    shown = harness_command(tmp_path, site, "show", "run", "polly/s1/small/base/predicted/causes/1")
    assert "Squawk! Finding: gastritis (probability 0.8)." in shown
    assert "word_count.words" in shown


def test_the_same_file_works_without_packaging(tmp_path: Path) -> None:
    models = [{"name": "polly", "backend": "./parrot.py:Parrot", "prefix": "Squawk! "}]
    write(tmp_path, changed(models=models, scorers=["./parrot.py:WordCount"]))
    harness_command(tmp_path, None, "run", "suite.yaml", "--out", "run")
    shown = harness_command(tmp_path, None, "show", "run", "polly/s1/small/base/predicted/causes/1")
    assert "Squawk! Finding: gastritis (probability 0.8)." in shown
    assert "WordCount.words" in shown


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [("sources", Source), ("classifiers", Classifier), ("backends", Backend), ("scorers", Scorer)],
)
def test_every_registered_part_has_what_its_contract_asks(kind: str, protocol: type) -> None:
    names = {n for n in protocol.__dict__ if not n.startswith("_")} - {"classes", "revision"}
    points = plugins.registered(kind)
    assert points
    for name in points:
        part = plugins.load(kind, name)
        missing = [n for n in names if not hasattr(part, n)]
        assert missing in ([], ["capabilities"]), f"{name} lacks {missing}"


def test_an_unknown_part_is_told_the_nearest_name() -> None:
    with pytest.raises(HarnessError, match="there is no backend 'opnai'; did you mean 'openai'?"):
        plugins.load("backends", "opnai")
    with pytest.raises(HarnessError, match="there is no kind 'backend'"):
        plugins.registered("backend")


def test_an_error_inside_a_constructor_is_not_mistaken_for_a_wrong_option(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "class Broken:\n    def __init__(self, model):\n        len(3)\n"
    )
    with pytest.raises(HarnessError, match="has no field 'colour'; it takes model"):
        plugins.create("backends", "./broken.py:Broken", tmp_path, model="m", colour=1)
    with pytest.raises(HarnessError, match=r"broken\.py:Broken' cannot be made: TypeError"):
        plugins.create("backends", "./broken.py:Broken", tmp_path, model="m")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", r"'\./part\.py:Part' cannot be loaded: ZeroDivisionError"),
        ("Part = 3", r"backend '\./part\.py:Part' is 3, no class or function"),
    ],
)
def test_a_file_that_is_no_part_is_one_sentence(tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "part.py").write_text(code)
    with pytest.raises(HarnessError, match=said):
        plugins.create("backends", "./part.py:Part", tmp_path, model="m")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("module", "'./part.py:Part' cannot be loaded"),
        ("__init__", "backend './part.py:Part' cannot be made"),
        ("start", "model 'm' cannot be started"),
    ],
)
def test_a_part_that_exits_does_not_choose_the_exit_code(
    tmp_path: Path, place: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys\nfrom harness.records import Capabilities\n\nclass Part:\n"
    code += "    capabilities = Capabilities()\n    async def generate(self, request): ...\n"
    for name in ("def __init__(self, model)", "async def start(self)"):
        code += f"    {name}: {'sys.exit(3)' if place in name else '...'}\n"
    code += "sys.exit(3)\n" if place == "module" else ""
    models = [{"name": "m", "backend": "./part.py:Part"}]
    path = write(tmp_path, changed(models=models, scorers=["label"]), **{"part.py": code})
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert f"{said}: it called sys.exit(3)" in error
    assert "Traceback" not in error


def test_the_place_of_a_mistake_is_shown_to_whoever_debugs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = PARROT.read_text().replace('[Score("words",', '[1 / 0, Score("words",')
    path = write(tmp_path, changed(scorers=["./parrot.py:WordCount"]), **{"parrot.py": code})
    command = ["run", str(path), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "harness: scorer 'WordCount' failed on " in said
    assert "ZeroDivisionError: division by zero (HARNESS_DEBUG=1 shows where)" in said
    monkeypatch.setenv("HARNESS_DEBUG", "1")
    with pytest.raises(HarnessError) as error:
        main(command)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_a_file_of_ones_own_is_loaded_anew_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "part.py"
    path.write_text("class Part:\n    version = 1\n")
    assert plugins.load("backends", "./part.py:Part", tmp_path).version == 1
    path.write_text("class Part:\n    version = 2\n")
    assert plugins.load("backends", "./part.py:Part", tmp_path).version == 2
