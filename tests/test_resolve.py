"""What the environment gives has the type that the suite's schema says, or is told to have none."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_suite import changed, write

from harness import plugins
from harness.records import HarnessError
from harness.suite import load


@pytest.mark.parametrize(
    ("field", "text", "read", "expected"),
    [
        ("seed: ${V}", "5", "seed", 5),
        ("seed: '${V}5'", "1", "seed", 15),
        ("repeats: ${V}", "3", "repeats", 3),
        ("max_unscored: ${V}", "0.25", "max_unscored", 0.25),
        ("max_unscored: ${V}", "1", "max_unscored", 1),
        ("limits: {max_cost: '${V}'}", "2.5", "max_cost", 2.5),
        ("limits: {max_time: '${V}'}", "90s", "max_time", 90.0),
        ("limits: {max_time: '${V}'}", "90", "max_time", 90.0),
        ("controls: ${V}", "all", "models", 13),
        ("controls: ${V}", "[gold, empty]", "models", 3),
        ("arms: ['${V}']", "wrong", "arms", ("wrong",)),
        ("arms: ${V}", "[gold, wrong]", "arms", ("gold", "wrong")),
        ("report: {samples: '${V}'}", "0", "report_samples", 0),
        ("about: ${V}", "5", "about", "5"),
    ],
)
def test_a_variable_is_read_as_what_the_schema_expects(
    field: str, text: str, read: str, expected: object, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("V", text)
    found = getattr(load(str(write(tmp_path, changed(**yaml.safe_load(field))))), read)
    assert (len(found) if read == "models" else found) == expected


def test_sampling_and_prices_of_a_model_are_numbers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("V", "0.5")
    model = {"name": "m", "backend": "openai", "sampling": {"temperature": "${V}"}, "price": {"input": "${V}", "output": "${V}"}}  # fmt: skip
    (spec,) = load(str(write(tmp_path, changed(models=[model], controls="none")))).models
    assert (spec.sampling.temperature, spec.price) == (0.5, (0.5, 0.5))


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("seed: ${V}", "abc", r'seed: expected integer, found "abc" \(from \$\{V\}\)'),
        ("seed: ${V}", "1.5", r"seed: expected integer, found 1\.5 \(from \$\{V\}\)"),
        ("seed: ${V}", "-1", r"seed: -1 is less than the minimum of 0 \(from \$\{V\}\)"),
        ("seed: ${V}", "", r"seed: expected integer, found \"\" \(from"),
        ("repeats: ${V}", "[1]", r"repeats: expected integer, found \[1\] \(from"),
        ("max_unscored: ${V}", "true", r"max_unscored: expected number, found true"),
        ("controls: ${V}", "some", r"controls: .*'all', 'none', or a list .*\(from \$\{V\}\)"),
        ("arms: ['${V}']", "golden", r"arms\[0\]: 'golden' is none of predicted.*\(from"),
        ("seed: ${UNSET_V}", "", r"seed: the environment variable UNSET_V is not set"),
    ],
)
def test_a_variable_of_another_type_is_told_with_line_place_and_name(
    field: str, text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("V", text)
    path = write(tmp_path, changed(**yaml.safe_load(field)))
    with pytest.raises(HarnessError, match=rf"suite\.yaml:\d+: {said}"):
        load(str(path))


PART = """
class Part:
    def __init__(self, size: int = 1, share: 'float | None' = None, on: bool = False,
                 name: str = '', either: 'int | str' = 0, layers: 'Sequence[int]' = (), any=None):
        self.given = (size, share, on, name, either, list(layers), any)
"""


def test_a_parts_own_number_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "part.py").write_text("from __future__ import annotations\n" + PART)
    monkeypatch.setenv("V", "5")
    source = {"kind": "./part.py:Part", "size": "${V}", "share": "${V}", "on": "true", "name": "${V}", "either": "${V}", "layers": ["${V}", 2], "any": "${V}"}  # fmt: skip
    spec = load(str(write(tmp_path, changed(source=source)))).source
    assert spec.create("sources", tmp_path).given == (5, 5, True, "5", "5", [5, 2], "5")
    made = plugins.create("sources", "./part.py:Part", tmp_path, layers="[1, 2]", size="many")
    assert made.given[0] == "many"  # its own check says what is wrong
    assert made.given[5] == [1, 2]


def test_a_path_from_the_environment_does_not_change_the_suites_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"kind": "table", "path": "${V}/notes.csv", "text": "note"}
    path = str(write(tmp_path, changed(source=source)))
    monkeypatch.setenv("V", "/a")
    first = load(path)
    monkeypatch.setenv("V", "/b")
    assert load(path).hash == first.hash
    assert load(path).source.options["path"] == "/b/notes.csv"
