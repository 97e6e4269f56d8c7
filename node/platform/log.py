"""The log: what happens here, as lines for people and as JSON lines in HOME/node.log.jsonl.

An event is a short verb phrase with details. A line for people shows the time, the event, then the details that a
person wants to see first, in a fixed order and without their names:

    14:03:22  discovery received    Kaiming initialisation  claimed +21.2 % ± 0.7 (2 pairs)  from …q8f3Kqdx  cpu
              title, gain, claimed, holdout, measured, decision, failure, why, category, proposer, peer, compute class

and all other details as key=value. A warning or an error has a "!" before the event. `log_tail`, the last output of a
run, follows on lines of its own that begin with "|".

Details come from peers and from strangers' code, so they are treated as data: control characters and escape sequences
are removed, texts are cut at MAX_TEXT characters, and a detail that is named like a secret is not written. Logging
never stops the node: a line that cannot be written is dropped and counted.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from node.platform.environment import variable
from node.platform.file_trouble import trouble
from node.platform.hidden_imports import hidden
from node.platform.program import in_hints

with hidden("rich", "greenlet"):  # for output of structlog's own making, which no log here is: 4 MiB
    import structlog
    from structlog.typing import FilteringBoundLogger

Json = dict[str, Any]  # a JSON object: what a view gives to the code that shows it

FILE_NAME = "node.log.jsonl"
MAX_FILE_BYTES = 10_000_000  # after which the file is set aside; two are kept
MAX_TEXT = 500  # characters of one text
MAX_ITEMS = 50  # of one list or map
MAX_DEPTH = 4  # of lists and maps inside each other
FOLLOW_SECONDS = 0.2  # between two reads of a file that is followed

SECRET_WORDS = frozenset({"key", "apikey", "secret", "token", "password", "seed32"})
SHORT_ID_CHARACTERS = 10  # of a record's, source's or objective's id, wherever a person is shown one
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

EVENT_WIDTH = 20
SHOWN_FIRST = {  # what a person wants to see first, in this order, and the form in which it is shown
    "title": "{}",
    "gain": "{}",
    "parts": "({})",
    "claimed": "claimed {}",
    "holdout": "holdout {}",
    "measured": "{}",
    "decision": "{}",
    "failure": "{}",
    "why": "{}",
    "category": "{}",
    "proposer": "by {}",
    "peer": "from …{}",
    "compute_class": "{}",
}
NOT_IN_DETAILS = frozenset({"time", "level", "event", "log_tail", *SHOWN_FIRST})
COLOURS = {
    "hypothesis": "34",
    "kept": "32",
    "claimed": "1;32",
    "adopted": "1;32",
    "adopted by a peer": "1;32",
    "discovery sent": "36",
    "discovery received": "35",
    "discovery confirmed": "1;32",
    "replication result": "36",
    "audited": "36",
    "claim contradicted": "33",
    "rolled back": "33",
}
LEVEL_COLOURS = {"debug": "2", "warning": "33", "error": "1;31"}

ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, clipboard
    r"|\x1b[ -/]*[0-~]"
)


class Log(Protocol):
    """How every part of a node logs what happens: an event of docs/log-events.md, with details.

    The detail `level`, if given, is one of LEVELS; without it the event is of level "info".
    """

    def __call__(self, event: str, **details: Any) -> None: ...


# Details that are values of a metric or gains, which somebody has measured.
FIGURES = frozenset(
    {"gain", "claimed", "holdout", "replicated", "found", "reported", "expected_gain", "best_gain", "value"}
)


def saying_who_measured(onward: Log, measured: str) -> Log:
    """The same log, in which every event with a figure has `measured` as well."""

    def say(event: str, **details: Any) -> None:
        onward(event, **details, **({"measured": measured} if FIGURES & details.keys() else {}))

    return say


def short_id(content_id: bytes | str) -> str:
    """The start of an id of a record, source or objective, in hexadecimal, for people. Takes bytes or hexadecimal."""
    text = content_id if isinstance(content_id, str) else content_id.hex()
    return text[:SHORT_ID_CHARACTERS]


# ---- what may be written --------------------------------------------------------------------------------------------


def clean(text: str, end: bool = False) -> str:
    """At most MAX_TEXT characters of a text, the last ones if `end`, without anything a terminal would act on.

    Line ends stay; other control and format characters are removed, among them those that reverse the direction of
    writing.
    """
    # Escape sequences do not count towards MAX_TEXT, so more is cut out first; not all of it, as it may be very long.
    rough = text[-4 * MAX_TEXT :] if end else text[: 4 * MAX_TEXT]
    rough = ESCAPE_SEQUENCE.sub("", rough).replace("\t", " ")
    kept = "".join(c for c in rough if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    if len(kept) <= MAX_TEXT and len(text) <= 4 * MAX_TEXT:
        return kept
    return "…" + kept[-MAX_TEXT + 1 :] if end else kept[: MAX_TEXT - 1] + "…"


def _is_secret(name: str) -> bool:
    """Whether the last word of a name is one of SECRET_WORDS: "api-key" is, "key_count" is not."""
    return name.lower().replace("-", "_").rpartition("_")[2] in SECRET_WORDS


def _plain(value: object, name: str = "", depth: int = 0) -> Any:
    """The value as JSON can hold it, within limits."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value[:8]).hex() + ("…" if len(value) > 8 else "")
        case Mapping() if depth < MAX_DEPTH:
            items = list(value.items())[:MAX_ITEMS]
            return {clean(str(k)): _plain(v, str(k), depth + 1) for k, v in items if not _is_secret(str(k))}
        case list() | tuple() | set() | frozenset() if depth < MAX_DEPTH:
            return [_plain(item, name, depth + 1) for item in list(value)[:MAX_ITEMS]]
        case _:
            return clean(str(value), end=name == "log_tail")


def _make_safe(logger: object, method: str, event: structlog.typing.EventDict) -> dict[str, Any]:
    """structlog processor: an event as it is written, its fields in the order of the file."""
    head = {"time": _now(), "level": method, "event": clean(str(event.pop("event")))}
    details = {name: value for name, value in event.items() if name not in head}
    return {**head, **_plain(details)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- writing --------------------------------------------------------------------------------------------------------


def open_log(home: Path, level: str, console: bool = True) -> FilteringBoundLogger:
    """A logger that appends to HOME/node.log.jsonl and, if `console`, prints lines for people on standard output.

    home: an existing folder. level: the lowest of LEVELS that is written. The logger may be used from any thread.
    """
    logger = structlog.wrap_logger(
        _Output(LogFile(home / FILE_NAME), _Terminal() if console else None),
        processors=[_make_safe, _as_one_argument],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
    )
    return cast(FilteringBoundLogger, logger)


def _as_one_argument(
    logger: object, method: str, event: structlog.typing.EventDict
) -> tuple[tuple[Any], dict[str, Any]]:
    return (event,), {}


class _Output:
    """What structlog gives its finished events to: the file and, if there is one, the terminal."""

    def __init__(self, file: LogFile, terminal: _Terminal | None) -> None:
        self._file = file
        self._terminal = terminal
        self._lock = threading.Lock()

    def write(self, event: dict[str, Any]) -> None:
        with self._lock:
            why_not = self._file.append(event)
            if self._terminal is not None:
                if why_not is not None:
                    said = {"time": _now(), "level": "warning", "event": "log not written", "why": why_not}
                    self._terminal.print(said)
                self._terminal.print(event)

    debug = info = warning = error = write


class _Terminal:
    """Standard output. sys.stdout is read anew for every line, since a progress bar replaces it while it is shown."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and not variable("NO_COLOR")

    def print(self, event: dict[str, Any]) -> None:
        try:
            print(render_line(event, self._colour), flush=True)
        except (OSError, ValueError):
            return  # the terminal is closed, or cannot show these characters; the line is in the file


class LogFile:
    """An append-only file of JSON lines that is renamed to NAME.1 when it would grow beyond MAX_FILE_BYTES.

    Other programs may move, remove or empty it too: the next line goes to the file that has the name then, which is
    made if there is none. Lines that cannot be written (a full disk) are dropped; before the next one that can, an
    event with their number is written, and `append` says why when that begins.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._torn = False  # the file's last line has no line end, because its writing was interrupted
        self._dropped = 0

    def append(self, event: dict[str, Any]) -> str | None:
        """Why this line is dropped, if it is the first that is."""
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        if self._dropped:
            lost = {"time": _now(), "level": "warning", "event": "log lines lost", "count": self._dropped}
            line = json.dumps(lost).encode() + b"\n" + line
        try:
            self._write(line)
            self._dropped = 0
        except OSError as error:
            self._dropped += 1
            return trouble(self._path, error) if self._dropped == 1 else None
        return None

    def _write(self, data: bytes) -> None:
        if self._handle is not None and _is_replaced(self._path, self._handle):
            self._close()
        handle = self._open()
        size = os.fstat(handle).st_size
        if size and size + len(data) > MAX_FILE_BYTES:
            self._path.replace(self._path.with_name(f"{FILE_NAME}.1"))
            self._close()
            handle, size = self._open(), 0
        data = b"\n" + data if self._torn and size else data
        written = os.write(handle, data)
        if written:
            self._torn = written < len(data)
        if written < len(data):
            raise OSError("short write")

    def _open(self) -> int:
        if self._handle is None:
            self._handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            size = os.lseek(self._handle, 0, os.SEEK_END)
            self._torn = size > 0 and os.pread(self._handle, 1, size - 1) != b"\n"
        return self._handle

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


# ---- reading --------------------------------------------------------------------------------------------------------


def read_log(home: Path, follow: bool) -> Iterator[dict[str, Any]]:
    """The events in HOME's log, oldest first; with `follow`, it then waits for new ones, without end.

    Lines that are no events, such as one cut short by a power cut, are left out.
    """
    path = home / FILE_NAME
    older, file = _both(path)
    if older is not None:
        with older:
            yield from _events(older.read().split(b"\n"))
    while file is not None or follow:
        if file is None:
            time.sleep(FOLLOW_SECONDS)
            file = _opened(path)
            continue
        with file:
            yield from _events_of(file, path, follow)
        if not follow:
            return
        file = _opened(path)


def _events_of(file: BinaryIO, path: Path, follow: bool) -> Iterator[dict[str, Any]]:
    """The events in an open file and, with `follow`, those that are added until another file has its name."""
    pending = b""
    while True:
        # Asked before reading: a replaced file gets no more lines, so the read that follows sees all of them.
        replaced = follow and _is_replaced(path, file.fileno())
        if os.fstat(file.fileno()).st_size < file.tell():  # another program has emptied it
            file.seek(0)
            pending = b""
        pieces = (pending + file.read()).split(b"\n")
        pending = pieces.pop()
        yield from _events(pieces)
        if not follow:
            yield from _events([pending])
        if not follow or replaced:
            return
        time.sleep(FOLLOW_SECONDS)


def _both(path: Path) -> tuple[BinaryIO | None, BinaryIO | None]:
    """The file that was set aside (NAME.1) and the present one, as they were at one moment; None for a missing one."""
    file = _opened(path)
    older = _opened(path.with_name(f"{FILE_NAME}.1"))
    if file is not None and older is not None and _is_same(file, older):  # it was renamed between the two calls
        file.close()
        file = _opened(path)
    return older, file


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _is_same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


def _events(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            yield event


def _is_replaced(path: Path, handle: int) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return True


# ---- for people -----------------------------------------------------------------------------------------------------


def render_line(event: Mapping[str, Any], colour: bool) -> str:
    """The human form of an event: one line, and one more for each line of a run's last output."""
    level, name = str(event.get("level", "info")), one_line(event.get("event", ""))
    mark = "!" if level in ("warning", "error") else " "
    shown = _paint(name, LEVEL_COLOURS.get(level) or COLOURS.get(name), colour) + " " * (EVENT_WIDTH - len(name))
    first = [_shown_first(key, event[key], name) for key in SHOWN_FIRST if event.get(key) not in (None, "")]
    details = {key: value for key, value in event.items() if key not in NOT_IN_DETAILS and value not in (None, "", [])}
    rest = [f"{one_line(key)}={_quoted(value)}" for key, value in details.items()]
    told = "  ".join(first + ([_paint(" ".join(rest), "2", colour)] if rest else []))
    line = f"{_clock(event.get('time'))} {mark}{shown}  {in_hints(told)}".rstrip()
    tail = clean(str(event.get("log_tail") or ""), end=True).strip("\n")
    return "\n".join([line, *(f"{'':10}| {part}" for part in tail.split("\n"))]) if tail else line


def _shown_first(key: str, value: object, event: str) -> str:
    text = one_line(value)
    if key == "peer":
        text = text[-8:]  # as protocol.identity.short writes it
        if event.startswith("peer"):
            return f"…{text}"
    return SHOWN_FIRST[key].format(text)


def one_line(value: object) -> str:
    """A value as text on one line, cleaned."""
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return clean(value).replace("\n", " ")


def _quoted(value: object) -> str:
    text = one_line(value)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and re.search(r"[\s=\"]|^$", text) else text


def _clock(stamp: object) -> str:
    try:
        return datetime.fromisoformat(str(stamp)).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "--:--:--"


def _paint(text: str, code: str | None, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text
