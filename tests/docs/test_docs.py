"""Every example in the README and the documentation does what its page says."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_pages import CHECKOUT, Block, all_pages, anchors, blocks, borrowed, figures, links

from harness import documents, plugins
from harness.cli.command_line import EXIT_CODES
from harness.records import MODEL_OUTCOMES, UNSCORABLE

TESTED = {"yaml", "json", "python", "sh", "csv"}
MARK = re.compile(
    r"file \S+|run( exits \d+)?|output|schema (suite|family|variant|gold): \S.*|not run: \S.*"
)
SMALLEST_SUITE = {"name": "x", "source": {"kind": "table", "path": "x.csv"}, "families": ["gi"]}
PAGES = [pytest.param(page, id=str(page.relative_to(CHECKOUT))) for page in all_pages()]
GROUPS = {"source": "sources", "classifier": "classifiers"}


@pytest.mark.parametrize("page", PAGES)
def test_every_example_says_how_it_is_tested(page: Path) -> None:
    for block in blocks(page):
        if block.language in TESTED or block.mark:
            assert MARK.fullmatch(block.mark), f"{page}:{block.line}: the mark '{block.mark}'"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p.values[0])])
def test_the_examples_of_a_page_work(page: Path, tmp_path: Path) -> None:
    for other in borrowed(page):
        for block in blocks(other):
            write(block, tmp_path)
    printed = everything = ""
    for block in blocks(page):
        place = f"{page.name}:{block.line}"
        kind, _, rest = block.mark.partition(" ")
        write(block, tmp_path)
        if kind == "run":
            printed = run(block, tmp_path, int(rest.removeprefix("exits ") or 0), place)
            everything += printed
        elif kind == "output":
            for line in filter(str.strip, block.text.splitlines()):
                assert occurs(line, printed), f"{place}: '{line}' is not in\n{printed}"
        elif kind == "schema":
            check(rest.partition(":")[0], block, place)
    for figure in figures(page):
        assert figure in everything, f"{page.name}: the text speaks of {figure}; nothing prints it"


@pytest.mark.parametrize("page", PAGES)
def test_an_example_shows_the_figure_of_each_metric_that_it_names(page: Path) -> None:
    for block in blocks(page):
        for line in block.text.splitlines() if block.mark == "output" else ():
            named = re.fullmatch(r"[^.:]*\b[a-z_]+\.[a-z_0-9]+\)?\s*\.\.\.\s*", line)
            assert named is None, f"{page}: '{line}' names a metric and not its figure"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(found), f"{page}: {target}"


def test_every_page_is_in_the_index() -> None:
    index = CHECKOUT / "docs" / "README.md"
    listed = {(index.parent / target).resolve() for target in links(index)}
    assert {page for page in all_pages() if page.parent != CHECKOUT} - listed == {index}


def test_the_page_of_outcomes_names_every_outcome_and_exit_code() -> None:
    text = (CHECKOUT / "docs/reference/outcomes.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert named >= {*MODEL_OUTCOMES, *UNSCORABLE, "ok", "not_run"}
    codes = set(re.findall(r"(?<![-\w])(\d+)(?= [a-z])", EXIT_CODES))
    assert codes == set(re.findall(r"^\| (\d+) \|", text, re.M))


def test_a_line_occurs_in_what_was_printed_whatever_its_spacing() -> None:
    assert occurs("tiny ... 16 cells", "x\n  tiny      16   cells  2 requests")
    assert not occurs("tiny ... 16 cells", "  tiny   \n   16 cells")
    assert not occurs("a.b", "axb")


def write(block: Block, folder: Path) -> None:
    """Lays down a block that is a file."""
    kind, _, name = block.mark.partition(" ")
    if kind == "file":
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")


def run(block: Block, folder: Path, code: int, place: str) -> str:
    """What the commands print; the first that fails ends them."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block.text],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{place}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def occurs(line: str, printed: str) -> bool:
    """Whether a line stands in a text, `...` being anything and all spaces alike."""
    pieces = [re.escape(" ".join(piece.split())) for piece in line.split("...")]
    pattern = ".*".join(pieces)
    return any(re.search(pattern, " ".join(other.split())) for other in printed.splitlines())


def check(schema: str, block: Block, place: str) -> None:
    """Checks a block against a schema; of suites also the names of parts and of their fields."""
    value = json.loads(block.text) if block.language == "json" else yaml.safe_load(block.text)
    if schema == "suite":
        value = {**SMALLEST_SUITE, **value}
    document = documents.parse(yaml.safe_dump(value, sort_keys=False), place)
    documents.check(document, schema)
    if schema == "suite":
        for group, name, options in suite_parts(value):
            takes = inspect.signature(plugins.load(group, name)).parameters
            assert set(options) <= set(takes), f"{place}: {name} takes {', '.join(takes)}"


def suite_parts(value: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """The registered parts that a suite names, each with the fields it is given."""
    own = ("name", "backend", "sampling", "price", "kind")
    entries = [
        *((group, value[field]) for field, group in GROUPS.items() if field in value),
        *(("backends", model) for model in value.get("models", ())),
        *(("scorers", scorer) for scorer in value.get("scorers", ()) if isinstance(scorer, dict)),
    ]
    found = [(g, e.get("backend") or e["kind"], e) for g, e in entries]
    return [
        (group, name, {key: item for key, item in entry.items() if key not in own})
        for group, name, entry in found
        if ":" not in name
    ]
