"""The report opened in a real browser: nothing planted in it runs, and it looks as it should.

Every test that shows the absence of something has a counterpart on a page without the defence,
where the same thing is present, so that a browser which runs nothing cannot make them pass.
"""

from __future__ import annotations

import dataclasses
import html
import importlib.util
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image, ImageChops

from harness.report import page

pytestmark = pytest.mark.system

RUN = "document.title='planted script ran';document.documentElement.dataset.ran='1'"
PAYLOADS = {
    "script": f"<script>{RUN}</script>",
    "closing": f"</title></style></textarea></svg></p><script>{RUN}</script>",
    "image": f'<img src="x" onerror="{RUN}">',
    "attribute": f'"><svg onload="{RUN}">',
    "details": f'\' "><details open ontoggle="{RUN}">',
    "comment": f"]]>--><script>{RUN}</script>",
}
STRAY = "</td></tr></table><style>body{display:none}</style>\u202e" + "W" * 300


def _example() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "report" / "report_example.py"
    spec = importlib.util.spec_from_file_location("report_example", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["report_example"] = module
    spec.loader.exec_module(module)
    return module


report_example = _example()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path. Without one the tests are skipped, on CI they fail."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        path = shutil.which(name)
        if path:
            return path
    if os.environ.get("CI"):
        pytest.fail("there is no Chromium; install the Debian package chromium")
    pytest.skip("there is no Chromium; install the Debian package chromium")


class Browser:
    """Headless Chromium, started anew for each page."""

    def __init__(self, path: str, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self.count = 0

    def _run(self, source: str, width: int, height: int, *options: str) -> bytes:
        self.count += 1
        file = self.folder / f"page-{self.count}.html"
        file.write_text(source, encoding="utf-8")
        done = subprocess.run(
            [
                self.path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--hide-scrollbars",
                f"--user-data-dir={self.folder / f'profile-{self.count}'}",
                f"--window-size={width},{height}", *options, file.as_uri(),
            ],
            capture_output=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout

    def dom(self, source: str) -> str:
        """The page's document after everything in it has loaded and run."""
        return self._run(source, 1440, 1000, "--dump-dom").decode("utf-8", "replace")

    def picture(self, source: str) -> Image.Image:
        """The page as drawn."""
        target = self.folder / f"shot-{self.count + 1}.png"
        self._run(source, 1440, 12000, f"--screenshot={target}")
        return Image.open(io.BytesIO(target.read_bytes())).convert("RGB")

    def measured(self, source: str, expression: str, width: int = 1440) -> Any:
        """The value of a JavaScript expression on the page, every fold open, without its policy.

        The page stands in a frame, because a window cannot be as narrow as a telephone.
        """
        script = (
            "<script>document.querySelectorAll('details').forEach(d => d.open = true);"
            f"parent.document.documentElement.dataset.measured = JSON.stringify({expression});"
            "</script>"
        )
        inner = html.escape(unprotected(source).replace("</body>", script + "</body>"))
        dom = self.dom(
            f'<!DOCTYPE html><html><body><iframe width="{width}" height="900" frameborder="0" '
            f'srcdoc="{inner}"></iframe></body></html>'
        )
        found = re.search(r'<html[^>]* data-measured="([^"]*)"', dom)
        assert found, "the measuring script did not run"
        return json.loads(html.unescape(found.group(1)))


@pytest.fixture
def browser(chromium: str, tmp_path: Path) -> Browser:
    return Browser(chromium, tmp_path)


def unprotected(source: str) -> str:
    """The page without its content security policy."""
    bare, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)
    assert count == 1
    return bare


def unescaped(source: str) -> str:
    """The page as it would be if nothing had been escaped."""
    head, body = source.split("<body>")
    return f"{head}<body>{html.unescape(body)}"


def ran(dom: str) -> bool:
    return 'data-ran="1"' in dom.split("<head>")[0] or "<title>planted script ran" in dom


def same(a: Image.Image, b: Image.Image) -> bool:
    return ImageChops.difference(a, b).getbbox() is None


def planted(payload: str) -> str:
    results = report_example.example(samples=2, explanations=4)
    return page.render(report_example.planted(results, payload))


@pytest.mark.parametrize("name", PAYLOADS)
def test_script_planted_in_every_text_does_not_run(browser: Browser, name: str) -> None:
    source = planted(PAYLOADS[name])
    assert source.count(" script ") > 100
    dom = browser.dom(source)
    assert "</html>" in dom
    assert not ran(dom)


def test_without_policy_and_escaping_the_planted_script_would_run(browser: Browser) -> None:
    assert ran(browser.dom(unescaped(unprotected(planted(PAYLOADS["script"])))))


def test_escaping_alone_stops_it(browser: Browser) -> None:
    assert not ran(browser.dom(unprotected(planted(PAYLOADS["closing"]))))


@pytest.mark.parametrize("name", ["script", "image"])
def test_the_policy_alone_stops_it(browser: Browser, name: str) -> None:
    assert not ran(browser.dom(unescaped(planted(PAYLOADS[name]))))


def test_the_policy_blocks_neither_the_page_s_style_nor_its_pictures(browser: Browser) -> None:
    results = report_example.example(samples=2, explanations=1)
    source = page.render(dataclasses.replace(results, views=results.views[1:]))
    assert "data:image/png" in source
    bare = re.sub(r"<style>.*?</style>", "", source, flags=re.DOTALL)
    without = re.sub(r'src="data:image/[^"]*"', "", source)
    shown = browser.picture(source)
    assert same(shown, browser.picture(unprotected(source)))
    assert not same(shown, browser.picture(bare))
    assert not same(shown, browser.picture(without))


@pytest.mark.parametrize("width", [390, 900, 1440])
@pytest.mark.parametrize("text", ["", STRAY], ids=["usual", "hostile"])
def test_the_page_never_scrolls_sideways(browser: Browser, width: int, text: str) -> None:
    source = planted(text)
    found = browser.measured(
        source, "[document.documentElement.scrollWidth, window.innerWidth]", width
    )
    assert found[1] == width
    assert found[0] <= width


def test_a_page_that_does_scroll_sideways_would_be_noticed(browser: Browser) -> None:
    source = planted("").replace("<main>", '<main><pre class="scale">' + "W" * 400 + "</pre>")
    found = browser.measured(source, "document.documentElement.scrollWidth", 390)
    assert found > 390


@pytest.mark.parametrize(("width", "shown"), [(390, "narrow"), (1440, "wide")])
def test_labels_in_the_scatter_do_not_overlap_as_drawn(
    browser: Browser, width: int, shown: str
) -> None:
    found = browser.measured(
        planted(""),
        f"[...document.querySelectorAll('svg.{shown} text.label')].map(t => {{"
        "const b = t.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]})",
        width,
    )
    assert len(found) >= 9
    for a, b in itertools.combinations(found, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 1 or b[3] <= a[1] + 1


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_in_a_picture_is_cut_off_at_its_edge(browser: Browser, width: int) -> None:
    found = browser.measured(
        planted(""),
        "[...document.querySelectorAll('svg.sheet')].flatMap(svg => {"
        "const s = svg.getBoundingClientRect();"
        "return [...svg.querySelectorAll('text')].map(t => { const b = t.getBoundingClientRect();"
        "return [b.left - s.left, s.right - b.right, b.top - s.top, s.bottom - b.bottom]})})",
        width,
    )
    assert len(found) > 10
    assert min(min(sides) for sides in found) > -1


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server on loopback, and the paths it was asked for."""
    asked: list[str] = []

    class Note(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Note)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_planted_links_make_the_page_ask_for_nothing(
    browser: Browser, listener: tuple[str, list[str]]
) -> None:
    address, asked = listener
    source = planted(
        f'<img src="{address}/image"><link rel="stylesheet" href="{address}/style">'
        f"<style>body{{background:url({address}/background)}}</style>"
    )
    browser.dom(source)
    browser.dom(unprotected(source))
    browser.dom(unescaped(source))
    assert asked == []
    browser.dom(unescaped(unprotected(source)))
    assert {"/image", "/style"} <= set(asked)
