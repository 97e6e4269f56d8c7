"""The process that reads files of a corpus, one after the other: its libraries meet whatever is in them.

    python -m node.authoring.corpus.reading_process

On stdin it gets a path in each message, and answers on stdout with the documents or with why there are none. A message
is its length in four bytes, big-endian, and msgpack. It is limited in memory; the other end limits its time and ends it
(reader.py).
"""

from __future__ import annotations

import os
import resource
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from node.authoring.corpus.formats import Found, UnreadableError, documents_in

MEMORY_BYTES = 3 << 30  # of addresses, which numerical libraries take more of than of memory
HEADER = struct.Struct(">I")


class Answer(msgspec.Struct, frozen=True):
    documents: list[Found]
    skipped: str = ""  # why there are no documents


def main() -> None:
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    while (asked := receive(sys.stdin.buffer)) is not None:
        send(sys.stdout.buffer, msgspec.msgpack.encode(answer_to(Path(os.fsdecode(asked)))))


def answer_to(path: Path) -> Answer:
    try:
        return Answer(documents_in(path))
    except UnreadableError as error:
        return Answer([], str(error))
    except OSError as error:
        return Answer([], f"cannot be read: {error.strerror}")
    except MemoryError:
        return Answer([], "takes too much memory to read")
    except Exception as error:  # what libraries raise on a file that nobody has tried them on; the next one may be good
        return Answer([], f"cannot be read ({type(error).__name__})")


def send(file: IO[bytes], message: bytes) -> None:
    file.write(HEADER.pack(len(message)) + message)
    file.flush()


def receive(file: IO[bytes]) -> bytes | None:
    header = file.read(HEADER.size)
    return file.read(HEADER.unpack(header)[0]) if len(header) == HEADER.size else None


if __name__ == "__main__":
    main()
