"""A run's progress on the terminal: live bars where it is one, plain lines where it is not."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING

from harness import terminal

if TYPE_CHECKING:
    from rich.text import Text


class Live:
    """Draws `classify 24/24` and `generate 2,112/3,200  31/s  ok 2,109  truncated 3  left 55 s`.

    The rate and the time left are of `generate`, the models' requests; controls answer at once and
    have a line of their own.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        # Rich draws with control characters of its own, so what it is given has to be clean.
        self._console = Console(
            file=terminal.bare(sys.stderr), highlight=False, markup=False, emoji=False
        )
        self._lines: dict[str, tuple[int, int]] = {}
        self._outcomes: Counter[str] = Counter()
        self._started = time.monotonic()
        self._last = self._started
        self._said = self._started
        self._live = RichLive(
            console=self._console, refresh_per_second=8, transient=False, get_renderable=self._draw
        )

    def __enter__(self) -> Live:
        if self._console.is_terminal:
            self._live.start()
            terminal.screen()  # before the streams that it has put in their places
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        elif self._lines:
            terminal.say_lines(self._text(), error=True)

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """A stage begins."""
        self._lines[name] = (done, total)
        if name == "generate":
            self._started = time.monotonic()

    def answer(self, outcome: str) -> None:
        """One answer arrived."""
        self._outcomes[outcome] += 1
        self._last = time.monotonic()
        done, total = self._lines.get("generate", (0, 0))
        self._lines["generate"] = (done + 1, max(total, done + 1))
        if not self._console.is_terminal and time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            terminal.say(self._generate(), error=True)

    def advance(self, name: str, done: int, total: int) -> None:
        """A part got on: `score claims`, `explain`."""
        self._lines[name] = (done, total)

    def note(self, text: str) -> None:
        """Something a person should know."""
        self._console.print(f"note: {terminal.line(text)}", soft_wrap=True)

    def _draw(self) -> Text:
        from rich.text import Text

        return Text(self._text())

    def _text(self) -> str:
        lines = []
        for name, (done, total) in self._lines.items():
            line = self._generate() if name == "generate" else f"{name:<18}{done:,}/{total:,}"
            lines.append(f"  {line}")
        return terminal.page(lines)

    def _generate(self) -> str:
        done, total = self._lines["generate"]
        new = sum(self._outcomes.values())
        rate = new / max(self._last - self._started, 1e-3)
        parts = [f"{'generate':<18}{done:,}/{total:,}"]
        if new:
            parts.append(f"{rate:,.0f}/s" if rate >= 1 else f"{rate:.2f}/s")
            parts += [f"{name} {count:,}" for name, count in self._outcomes.most_common()]
            if done < total:
                parts.append(f"left {_duration((total - done) / rate)}")
        return "  ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
