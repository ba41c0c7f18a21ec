"""Text as it may be drawn or put on a page, whatever a model or a data set brings along.

Escaping lets no tag through; what it does not catch (control characters, bidirectional overrides,
lone surrogates) is made visible.
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup, escape

# C0 and C1 controls except tab and line feed, bidirectional embeddings, overrides and isolates
# (Unicode TR 9; "Trojan Source", CVE-2021-42574), line separators, annotation marks, the byte
# order mark, what XML cannot hold, lone surrogates (not encodable as UTF-8), and tag characters,
# which hide text.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029"
    "\ufff9-\ufffb\ufeff\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)


def neutral(text: str) -> str:
    """`text` with every invisible control character replaced by a visible sign.

    The sign is its code point in angle brackets. Line feeds and tabs stay.
    """
    return _HIDDEN.sub(lambda sign: f"⟨U+{ord(sign.group()):04X}⟩", text.replace("\r\n", "\n"))


def safe(text: Any) -> Markup:
    """`text` neutralised and escaped, for markup made outside the templates."""
    return escape(neutral(str(text)))


def short(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` characters, with an ellipsis where it was longer."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def unpadded(text: str) -> str:
    """A number without the zero before its point, with a true minus: `-0.5` as `−.5`."""
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "−")
