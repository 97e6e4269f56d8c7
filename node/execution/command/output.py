"""What a command prints, as it comes: its end is kept, as text that a person can read, and how far it says it is.

It knows bytes, encodings and terminals; not which values are looked for. A command may print in any encoding, rewrite a
line with carriage returns, colour its text, and print without end: what is kept is bounded.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable

KEPT_BYTES = 1 << 20  # of the output: values come last, and a node reads this much in a tenth of a second
_SLACK_BYTES = 1 << 18  # that may be kept in addition, so that not every read moves a megabyte
_LINE_BYTES = 2000  # in which the last line, and so the progress, is looked for
_PERCENT = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d+)?) ?%")
# Colours, titles and movements of the cursor (ECMA-48).
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# JavaScript's line ends, which are what the tools understand that print METRIC lines; \x85, \x0b and \x0c are none.
LINE_ENDS = re.compile("\r\n|[\r\n\u2028\u2029]")
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before the mark of UTF-16, with which it begins
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class Output:
    """Everything that one command printed, in the order in which it came. `add` is what a sandboxed process calls."""

    def __init__(self, failed_by: Iterable[str] = ()) -> None:
        """failed_by: texts to look for in all of the output, also in what is not kept."""
        self._head = b""
        self._kept = bytearray()
        self._dropped = 0
        self._wanted = {
            text: [text.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")] for text in failed_by
        }
        self._longest = max((len(form) for forms in self._wanted.values() for form in forms), default=1)
        self.found: str | None = None  # the first of these texts that was printed

    def add(self, data: bytes) -> None:
        """Take in what was printed next."""
        if len(self._head) < 4:
            self._head = (self._head + data)[:4]
        if self.found is None and self._wanted:
            seen = bytes(self._kept[-(self._longest - 1) :] if self._longest > 1 else b"") + data
            self.found = next(
                (text for text, forms in self._wanted.items() if any(form in seen for form in forms)), None
            )
        self._kept += data
        if len(self._kept) > KEPT_BYTES + _SLACK_BYTES:
            surplus = (len(self._kept) - KEPT_BYTES) & ~3  # whole characters, in the encodings of two and four bytes
            del self._kept[:surplus]
            self._dropped += surplus

    def text(self) -> str:
        """The end of the output, its lines ended as they were, without escape sequences."""
        text = _ESCAPES.sub("", self._decoded(bytes(self._kept)))
        if self._dropped and (begun := LINE_ENDS.search(text)) is not None:
            return text[begun.end() :]  # what is left of the first line could be read as a whole one
        return text

    def tail(self, characters: int) -> str:
        """The last characters, as a terminal would show them: of a line that was rewritten, what stands there last."""
        shown = (_as_shown(line) for line in re.split("\r?\n|[\u2028\u2029]", self.text()[-8 * characters :]))
        return "\n".join(shown).strip("\n")[-characters:]

    def share(self) -> float | None:
        """How much is done, 0 to 1, by the first percentage in the last line that was printed; None without one."""
        start = max(0, len(self._kept) - _LINE_BYTES) & ~3  # where a character begins, as in `add`
        text = _ESCAPES.sub("", self._decoded(bytes(self._kept[start:]), cut=start > 0))
        last = next((line for line in reversed(LINE_ENDS.split(text)) if line.strip()), "")
        found = _PERCENT.search(last)
        return None if found is None else min(float(found[1]) / 100, 1.0)

    def _decoded(self, data: bytes, cut: bool = False) -> str:
        cut = cut or self._dropped > 0
        for mark, encoding in _MARKS.items():
            if self._head.startswith(mark):
                return (data if cut else data[len(mark) :]).decode(encoding, "replace")
        try:
            return data.decode()
        except UnicodeDecodeError:
            # Line by line: a message in an older encoding does not make the others unreadable.
            return "".join(_line(part) for part in re.split(rb"(\r\n|[\r\n])", data))


def _line(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _as_shown(line: str) -> str:
    parts = [part for part in line.replace("\t", "    ").split("\r") if part.strip()]
    return "".join(letter for letter in (parts or [""])[-1] if not unicodedata.category(letter).startswith("C"))
