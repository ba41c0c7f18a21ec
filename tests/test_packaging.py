"""What is installed: every dependency is pinned within its range, and extras hold what code uses."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]


def pins(name: str) -> dict[str, str]:
    lines = (CHECKOUT / name).read_text("utf-8").splitlines()
    found = [re.match(r"([\w.-]+)==(\S+)", line) for line in lines]
    rows = [(canonicalize_name(one[1]), one[2]) for one in found if one is not None]
    assert len(dict(rows)) == len(rows), f"{name} pins a package twice"
    return dict(rows)


def wanted(*extras: str) -> list[Requirement]:
    texts = PROJECT["dependencies"] + [
        text for extra in extras for text in PROJECT["optional-dependencies"][extra]
    ]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize(
    ("file", "extras"),
    [("constraints.txt", ("dicom", "dev")), ("constraints-vllm-gpu.txt", ("vllm", "dicom"))],
)
def test_every_dependency_is_pinned_within_the_range_that_is_asked_for(
    file: str, extras: tuple[str, ...]
) -> None:
    pinned = pins(file)
    pinned |= pins("requirements-minilm.txt") if file == "constraints.txt" else {}
    for requirement in wanted(*extras):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{file}: {requirement.name} has no pin"
        assert version in requirement.specifier, f"{file}: {requirement} is pinned to {version}"


def test_the_environment_of_a_gpu_has_what_vllm_itself_asks_for() -> None:
    pinned = pins("constraints-vllm-gpu.txt")
    assert pinned["vllm"].startswith("0.33.")
    assert pinned["torch"] == "2.14.0"
    assert pinned["transformers"] in Requirement("transformers>=5.16.1,<5.21").specifier


def test_an_extra_is_there_only_where_code_or_documentation_uses_it() -> None:
    sources = [*(CHECKOUT / "harness").rglob("*.py"), *(CHECKOUT / "docs").rglob("*.md")]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    for extra in set(PROJECT["optional-dependencies"]) - {"dev"}:
        assert re.search(rf"\[(\w+,)*{extra}(,\w+)*\]", text), f"nobody uses the extra {extra}"


def test_vllm_is_asked_for_on_linux_alone() -> None:
    (vllm,) = (Requirement(text) for text in PROJECT["optional-dependencies"]["vllm"])
    assert vllm.marker is not None
    assert vllm.marker.evaluate({"sys_platform": "linux"})
    assert not vllm.marker.evaluate({"sys_platform": "darwin"})
