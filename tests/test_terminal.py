"""Text of strangers reaches a terminal as text: nothing in it acts, hides or turns round."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_suite import GOLD, NOTES, changed, write

from harness import cli, terminal
from harness.cli.progress import Live

# What each does on a terminal, and how it is written out.
ACTING = {
    "a colour": ("\x1b[31m", r"\x1b[31m"),
    "a window title": ("\x1b]0;OWNED\x07", r"\x1b]0;OWNED\x07"),
    "a hyperlink": ("\x1b]8;;http://x\x1b\\", r"\x1b]8;;http://x\x1b" + "\\"),
    "an eight-bit control sequence": ("\x9b31m", r"\x9b31m"),
    "an eight-bit string": ("\x9d0;x\x9c", r"\x9d0;x\x9c"),
    "deletion": ("\x7f\x08", r"\x7f\x08"),
    "a return to the start": ("a\rb", r"a\rb"),
    "a right-to-left override": ("\u202egnp", r"\u202egnp"),
    "an isolate": ("\u2067x\u2069", r"\u2067x\u2069"),
    "a mark of direction": ("\u200f\u061c", r"\u200f\u061c"),
    "a line separator": ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
    "a zero-width space": ("ad\u200bmin\ufeff", r"ad\u200bmin\ufeff"),
    "a joiner between Latin letters": ("ad\u200dmin", r"ad\u200dmin"),
    "a tag": ("\U000e0041\U000e007f", r"\U000e0041\U000e007f"),
    "selectors that spell a message": ("x\ufe0f\ufe01", r"x\ufe0f\ufe01"),
    "a filler": ("a\u3164b\u115fc", r"a\u3164b\u115fc"),
    "a lone surrogate": ("\ud83d", r"\ud83d"),
}
WRITING = [
    "Gastritis: 38.2 °C, “burning”, µg — naïve",
    "שלום עליכם", "نمی\u200cخواهم", "क्\u200dष", "👩\u200d⚕️ 🇩🇪 1️⃣ ☂️", "葛󠄀城市", "e\u0301", "٣\u0600", "a\tb",
]  # fmt: skip


@pytest.mark.parametrize("case", ACTING)
def test_what_acts_is_written_out(case: str) -> None:
    given_text, written = ACTING[case]
    assert terminal.line(given_text) == written


@pytest.mark.parametrize("text", WRITING)
def test_writing_of_any_script_stays_as_it_is(text: str) -> None:
    assert terminal.line(text) == text


@given(st.text(st.characters(categories=None)) | st.text("\x1b\x9b\u202e\u200d\ufe0f\ud800a👩\n"))
def test_no_text_leaves_anything_that_acts(text: str) -> None:
    shown = terminal.line(text)
    shown.encode("utf-8")
    for letter in set(shown) - set("\t\u200c\u200d"):
        acts = unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        assert not acts or unicodedata.name(letter, "").startswith(("ARABIC", "SYRIAC", "KAITHI"))


def test_line_breaks_are_kept_where_they_are_meant_and_written_out_elsewhere() -> None:
    assert terminal.block("one\r\ntwo\nthree\rfour") == ["one", "two", r"three\rfour"]
    assert terminal.page(["id s1\noutcome ok", "next"]) == "id s1\\noutcome ok\nnext"


def test_what_the_encoding_of_a_stream_lacks_is_written_out() -> None:
    bytes_ = io.BytesIO()
    stream = io.TextIOWrapper(bytes_, encoding="ascii")
    terminal.Screen(stream).write("µ \ud800\n")
    stream.flush()
    assert bytes_.getvalue() == b"\\xb5 \\ud800\n"


def test_whatever_prints_during_a_command_goes_through_the_screen() -> None:
    code = (
        "import logging, sys, warnings\n"
        "from harness import terminal\n"
        "with terminal.screened():\n"
        "    print('\\x1b[2J', file=sys.stderr)\n"
        "    sys.stdout.writelines(['\\x07', 'x\\n'])\n"
        "    warnings.warn('turn \\u202e round')\n"
        "    logging.getLogger('of a library').warning('\\x9b31m')\n"
        "    raise ValueError('\\x1b[3J')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.stdout == "\\x07x\n"
    for written in (r"\x1b[2J", r"turn \u202e round", r"\x9b31m", r"ValueError: \x1b[3J"):
        assert written in done.stderr
    assert not {"\x1b", "\u202e", "\x9b", "\x07"} & set(done.stderr)


def test_streams_are_given_back_after_a_command_and_stay_screens_for_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with terminal.screened():
        pass
    assert sys.stderr is stream
    with pytest.raises(SystemExit), terminal.screened():
        raise SystemExit
    assert sys.stderr is stream
    with pytest.raises(ValueError, match="x"), terminal.screened():
        raise ValueError("x")
    assert terminal.bare(sys.stderr) is stream
    assert sys.stderr is not stream


def test_a_live_display_shows_what_it_is_told_and_obeys_none_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with terminal.screened(), Live() as live:
        live.stage("score \x1b]0;OWNED\x07", 3)
        live.note("[bold]:smile:[/bold] \u202e \x1b[41m")
        print("\x1b]0;OWNED\x07", file=sys.stderr)
    shown = stream.getvalue()
    assert r"[bold]:smile:[/bold] \u202e \x1b[41m" in shown
    assert not {"\x07", "\u202e", "\x1b]"} & {
        *shown,
        *(shown[i : i + 2] for i in range(len(shown))),
    }
    assert "\x1b[41m" not in shown


def test_commands_print_through_the_one_place() -> None:
    for path in Path(cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "print",
                "sys.stdout.write",
            ):
                assert not node.args, f"{path.name}:{node.lineno} prints past harness.terminal"


EVIL = "\x1b[31m\x07\u202e\x9b"


@pytest.mark.parametrize(
    "command",
    ["run", "plan", "check", "show", "show cell", "explain", "error", "argument", "no such cell"],
)
def test_no_command_hands_a_control_character_on(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = NOTES.replace("gastritis", f"gastritis {EVIL}").replace("s1,", f"s1{EVIL},")
    code = (
        "from harness.records import Capabilities, Generation\n"
        "class Odd:\n    capabilities = Capabilities()\n    def __init__(self, model): ...\n"
        f"    async def generate(self, request): return Generation({EVIL!r} + 'b', "
        f"reasoning={EVIL!r}, notes=({EVIL!r},))\n"
        "def judge(texts): return [{'indigestion': 1.0, 'gastritis " + repr(EVIL)[1:-1] + "': 0.0}"
        " for _ in texts]\n"
    )
    gold = [record | {"label": f"{record['label']} {EVIL}"} for record in GOLD]
    suite = changed(
        models=[{"name": "odd", "backend": "./odd.py:Odd"}], scorers=["claims"],
        classifier={"kind": "callable", "function": "./odd.py:judge",
                    "classes": ["indigestion", f"gastritis {EVIL}"]},
    )  # fmt: skip
    files = {"notes.csv": notes, "odd.py": code, "gold__small__gold.json": json.dumps(gold)}
    path, out = write(tmp_path, suite, **files), str(tmp_path / "run")
    if command in ("show", "show cell", "no such cell"):
        assert cli.main(["run", str(path), "--out", out]) == 0
    cell = f"odd/s1{EVIL}/small/base/predicted/causes/1"
    done = {
        "run": ["run", str(path), "--out", out],
        "plan": ["plan", str(path)],
        "check": ["check", str(path)],
        "show": ["show", out],
        "show cell": ["show", out, cell],
        "explain": ["explain", str(path), "--out", out, "--target", f"gastritis {EVIL}"],
        "error": ["run", str(path), "--set", f"arms=[{EVIL}]"],
        "argument": ["show", out, cell, EVIL],
        "no such cell": ["show", out, cell.replace("s1", "s9")],
    }[command]
    try:
        ended = cli.main(done)
    except SystemExit as end:
        ended = int(end.code or 0)
    printed = capsys.readouterr()
    assert ended == (2 if command in ("error", "argument", "no such cell") else 0), printed
    assert not set(EVIL[:1] + EVIL[-3:]) & set(printed.out + printed.err)
    if command in ("show", "show cell", "explain", "no such cell"):
        assert r"\x1b[31m\x07\u202e\x9b" in printed.out + printed.err


def test_the_command_line_starts_without_the_records_of_a_run() -> None:
    code = (
        "import sys, harness.cli; print(sorted(m for m in sys.modules if m.startswith('harness.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "harness.records" not in done.stdout
    assert "harness.cli.command_line" in done.stdout
