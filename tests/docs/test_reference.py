"""The reference pages are what the code says."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
from docs_pages import CHECKOUT

from harness import cli, documents, plugins


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """`tools/make_reference.py`, which is no part of the package."""
    path = CHECKOUT / "tools" / "make_reference.py"
    spec = importlib.util.spec_from_file_location("make_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_pages_are_what_the_command_makes(tool: ModuleType) -> None:
    for name, text in tool.pages().items():
        committed = (tool.REFERENCE / name).read_text("utf-8")
        assert committed == text, f"{name} is out of date: run `python tools/make_reference.py`"


def test_every_command_and_every_built_in_part_has_a_section(tool: ModuleType) -> None:
    pages = tool.pages()
    for name in cli.COMMANDS:
        assert f"## harness {name}\n" in pages["commands.md"]
    for kind in ("sources", "classifiers", "backends", "scorers"):
        for name, point in plugins.registered(kind).items():
            if point.value.startswith("harness."):
                assert f"### {kind.removesuffix('s')} `{name}`\n" in pages["parts.md"]


def test_every_top_level_field_of_every_file_is_listed(tool: ModuleType) -> None:
    page = tool.pages()["files.md"]
    for name in documents.SCHEMAS:
        for field in documents.schema(name)["properties"]:
            assert f"`{field}`" in page


def test_nested_fields_and_shared_definitions_are_written_out(tool: ModuleType) -> None:
    schema = documents.schema("suite")
    paths = {path for path, _, _ in tool.fields(schema, schema)}
    assert {"models[].sampling.temperature", "families[].gold.claim", "limits.max_cost"} <= paths


def test_a_cell_of_a_table_keeps_to_its_row(tool: ModuleType) -> None:
    assert tool.table(["a"], [["x | y\nz"]]).splitlines() == ["| a |", "| --- |", r"| x \| y z |"]
