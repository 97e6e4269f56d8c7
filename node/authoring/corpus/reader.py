"""Files of a corpus, read by a process that is ended when it takes too long over one; the next file gets a new one."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from node.authoring.corpus.reading_process import HEADER, Answer, send
from node.platform.environment import child_environment

SECONDS = 20.0  # for a file
SLOW_SECONDS = {".pdf": 120.0, ".parquet": 300.0}
MOST_ANSWER = 1 << 29  # bytes
CHUNK = 1 << 20


class Reader:
    """Reads files, each within its time."""

    def __init__(self, seconds: float | None = None) -> None:
        """seconds: for every file, where not as above."""
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: Path) -> Answer:
        """The documents of a file, or why there are none."""
        seconds = self._seconds or SLOW_SECONDS.get(path.suffix.lower(), SECONDS)
        process = self._running()
        assert process.stdin is not None
        try:
            send(process.stdin, os.fsencode(path))
            return msgspec.msgpack.decode(self._received(process, time.monotonic() + seconds), type=Answer)
        except TimeoutError:
            self.end()
            return Answer([], f"takes longer than {seconds:g} s to read")
        except (OSError, EOFError, msgspec.DecodeError):
            self.end()
            return Answer([], "ends the program that reads it")

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.end()
            command = [sys.executable, "-m", "node.authoring.corpus.reading_process"]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=child_environment(),
            )
        return self._process

    def _received(self, process: subprocess.Popen[bytes], until: float) -> bytes:
        size = HEADER.unpack(self._exactly(process, HEADER.size, until))[0]
        if size > MOST_ANSWER:
            raise EOFError
        return self._exactly(process, size, until)

    def _exactly(self, process: subprocess.Popen[bytes], count: int, until: float) -> bytes:
        assert process.stdout is not None
        descriptor, parts = process.stdout.fileno(), bytearray()
        while len(parts) < count:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError
            part = os.read(descriptor, min(CHUNK, count - len(parts)))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)


@contextmanager
def open_reader(seconds: float | None = None) -> Iterator[Reader]:
    reader = Reader(seconds)
    try:
        yield reader
    finally:
        reader.end()
