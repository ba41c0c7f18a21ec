"""The example blocks of a page, and what its marks say is to be done with them.

A mark is a comment right above a block:

- `<!-- file NAME -->`: the block is a file of the page's folder
- `<!-- run -->`, `<!-- run exits 4 -->`: shell commands that are run there, with this exit code
- `<!-- output -->`: every line stands in what the last commands printed; `...` is any text
- `<!-- schema suite: WHY -->` (or family, variant, gold): checked against the schema alone
- `<!-- not run: WHY -->`: shell commands that a test cannot run

`<!-- with PAGE -->`, anywhere, gives a page the files of another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.M | re.S
)
_WITH = re.compile(r"^<!-- with (\S+) -->$", re.M)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block: its mark (empty without one), language, text, and line in the page."""

    mark: str
    language: str
    text: str
    line: int


def all_pages() -> list[Path]:
    """The README and every page under `docs`."""
    return [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(
            found["mark"] or "",
            found["language"],
            found["text"],
            text.count("\n", 0, found.start()) + 1,
        )
        for found in _BLOCK.finditer(text)
    ]


def borrowed(page: Path) -> list[Path]:
    """The pages whose files this one uses."""
    return [(page.parent / name).resolve() for name in _WITH.findall(page.read_text("utf-8"))]


def links(page: Path) -> list[str]:
    """What a page links to inside the repository, blocks and lines of code left out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "", text)
    return [target for target in _LINK.findall(text) if "://" not in target]


def figures(page: Path) -> list[str]:
    """The figures that the text of a page quotes as they are printed, such as `0.667`."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    return re.findall(r"`(-?\d\.\d{3})`", text)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
