"""A scorer's version is another one where anything is that its scores follow from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_suite import changed, write

import harness
from harness.manifest import Manifest
from harness.records import Metric, Score
from harness.scoring import code_hash, version
from harness.store import Store


def manifest_of(folder: Path, **edit: str) -> Manifest:
    """The manifest of a small run; `edit` replaces words of its gold."""
    path = write(folder, changed(scorers=["label"], controls="none", arms=["predicted"]))
    gold = folder / "gold" / "small" / "gold.json"
    for old, new in edit.items():
        assert old in gold.read_text()
        gold.write_text(gold.read_text().replace(old, new))
    harness.run(path, out=folder / "run", samples=1)
    with Store.read(folder / "run") as store:
        return Manifest.load(store)


class Model:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class Other(Model):
    pass


class Rated:
    """A scorer of which a test says all that its scores follow from."""

    __module__ = "small_suite"  # which imports nothing of the harness: its hash is soon made
    metrics = (Metric("rated"),)

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def requests(self, subject: Any) -> tuple[()]:
        return ()

    def score(self, subject: Any, generations: Any) -> list[Score]:
        return [Score("rated", 1.0)]


class Regraded(Rated):
    __module__ = Rated.__module__


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return manifest_of(tmp_path_factory.mktemp("versions"))


ALL = {"settings": {"bar": 0.5}, "fingerprint": {"weights": "ab"}}
JUDGE = {"model": "small", "revision": "r1", "extras": {"top": 1}}


@pytest.mark.parametrize(
    "other",
    [
        Rated(**ALL | {"settings": {"bar": 0.6}}, backend=Model(**JUDGE)),
        Rated(**ALL | {"settings": {}}, backend=Model(**JUDGE)),
        Rated(**ALL | {"fingerprint": {"weights": "cd"}}, backend=Model(**JUDGE)),
        Rated(**ALL, backend=Model(**JUDGE | {"model": "large"})),
        Rated(**ALL, backend=Model(**JUDGE, model_id="org/small")),
        Rated(**ALL, backend=Model(**JUDGE | {"revision": "r2"})),
        Rated(**ALL, backend=Model(**JUDGE | {"revision": None})),
        Rated(**ALL, backend=Model(**JUDGE | {"extras": {"top": 2}})),
        Rated(**ALL, backend=Other(**JUDGE)),
        Rated(**ALL),
        Regraded(**ALL, backend=Model(**JUDGE)),
    ],
    ids=[
        "setting", "no settings", "fingerprint", "judge", "judge's id", "judge's revision",
        "no revision", "judge's extras", "judge's backend", "no judge", "class",
    ],
)  # fmt: skip
def test_whatever_changes_a_scorers_scores_changes_its_version(
    manifest: Manifest, other: Rated
) -> None:
    assert version(other, manifest) != version(Rated(**ALL, backend=Model(**JUDGE)), manifest)


def test_a_version_is_the_same_for_the_same_scorer_wherever_its_judge_is_reached(
    manifest: Manifest,
) -> None:
    first = Rated(**ALL, backend=Model(**JUDGE, base_url="http://a", api_key="secret"))
    second = Rated(**ALL, backend=Model(**JUDGE, base_url="http://b"))
    assert version(first, manifest) == version(second, manifest)


def test_a_version_follows_from_all_code_that_a_scorer_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "__path__", [*harness.__path__, str(tmp_path)])

    def hashed(name: str, far: str, around: str = "") -> str:
        (tmp_path / f"far_{name}.py").write_text(far)
        (tmp_path / f"near_{name}.py").write_text(f"from harness import far_{name}\n")
        (tmp_path / f"{name}.py").write_text(f"import harness.near_{name}{around}\n")
        return code_hash.__wrapped__(f"harness.{name}")

    first = hashed("scorer", "LIMIT = 1\n")
    assert hashed("scorer", "LIMIT = 1\n") == first
    assert hashed("scorer", "LIMIT = 2\n") != first
    assert hashed("scorer", "LIMIT = 1\n", ", harness.records") != first


def test_another_gold_makes_another_version(tmp_path: Path, manifest: Manifest) -> None:
    edited = manifest_of(tmp_path, bacteria="germs")
    assert version(Rated(**ALL), edited) != version(Rated(**ALL), manifest)
