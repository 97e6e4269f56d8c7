"""How the workers read and write their pipes, and load a module that they were given. Imports nothing of ours."""

import importlib.util
import linecache
import math
import numbers as number_types
import os
import struct
import sys
import traceback
import types
from typing import Any

_READ_BYTES = 1 << 20  # in one read
# Exit statuses by which a program's worker says how its source failed (workers/program.py).
STATUS_OF_FAILURE = {"syntax": 65, "exception": 66, "memory": 67}


MAX_REASON = 400  # characters; with it a result fits the node's limit of a line


def send(descriptor: int, *parts: bytes | memoryview) -> None:
    """Write all of these bytes, however many a pipe takes at once."""
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> bytearray:
    """One part with its <u64 length> in front. Ends the process when the pipe has ended."""
    (length,) = struct.unpack("<Q", receive_exactly(descriptor, 8))
    return receive_exactly(descriptor, length)


def receive_exactly(descriptor: int, length: int) -> bytearray:
    data = bytearray()
    while len(data) < length:
        more = os.read(descriptor, min(length - len(data), _READ_BYTES))
        if not more:
            sys.exit(0)
        data += more
    return data


def read(file: int | str, most: int = -1) -> bytes:
    """What is in a file, given by its descriptor or its path; of a large one the first `most` bytes."""
    with open(file, "rb") as opened:
        return opened.read(most)


def read_at(file: int, offset: int, length: int) -> bytearray:
    """So many bytes of a file from an offset on. Raises ValueError when it ends before."""
    content = bytearray(length)
    view = memoryview(content)
    while view:
        count = os.preadv(file, [view[:_READ_BYTES]], offset)
        if not count:
            raise ValueError(f"the file ends {len(view)} bytes too early")
        view, offset = view[count:], offset + count
    return content


def load_module(file: int | str, name: str) -> types.ModuleType:
    """A module of the objective's, from a descriptor or a path. Raises whatever the module raises."""
    path = file if isinstance(file, str) else f"{name}.py"
    content = read(file)
    text = content.decode("utf-8")
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)  # for tracebacks
    spec = importlib.util.spec_from_loader(name, None, origin=path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = path
    sys.modules[name] = module
    exec(compile(content, path, "exec", dont_inherit=True), module.__dict__)
    return module


class NodePipe:
    """The node, from the judge's side: lines in, lines out, some of them with bytes behind."""

    def __init__(self, control: int, verdict: int) -> None:
        self._control = os.fdopen(control, "rb")
        self._verdict = os.fdopen(verdict, "wb")

    def read_line(self) -> bytes:
        """One line. Ends the process when the node has closed the pipe."""
        line = self._control.readline()
        if not line:
            sys.exit(0)
        return line

    def read_bytes(self, length: int) -> bytes:
        """The next `length` bytes. Ends the process when the node has closed the pipe."""
        content = self._control.read(length)
        if len(content) < length:
            sys.exit(0)
        return content

    def send(self, line: str, content: bytes = b"") -> None:
        """A line, and bytes right after it."""
        self._verdict.write(line.encode() + b"\n" + content)
        self._verdict.flush()


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Finite floats by name. Raises ValueError when a judge gave something else."""
    if not isinstance(metrics, dict) or "value" not in metrics:
        raise ValueError(f'judge() must return numbers by name, "value" among them, not {metrics!r:.60}')
    checked = {}
    for name, value in metrics.items():
        if not is_number(value):
            raise ValueError(f"judge() gave {value!r:.60} for {name!r:.60}, which is no finite number; return a float")
        checked[str(name)] = float(value)
    return checked


def is_number(value: object) -> bool:
    """Whether this is a finite number: int, float, or one of numpy's. What could only be made one is not: True, "1",
    an array or a tensor with one element."""
    if isinstance(value, bool) or not isinstance(value, number_types.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond what a float holds
        return False


def told(error: Exception, file: str | None) -> str:
    """An exception of a module of the objective's in one line: where in its file, what kind, and what it says."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f"{file} line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {error}"[:MAX_REASON]
