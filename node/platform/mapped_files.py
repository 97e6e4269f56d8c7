"""What a person is told when a page of a file in memory cannot be had: the kernel then ends a program without a word.

SQLite keeps the index of its log in such a file. On a file system that writes every change to a new place (btrfs), a
full disk or a quota takes the page away; elsewhere an error of the disk does, or somebody who cuts the file short. No
call fails that could be answered: the signal SIGBUS comes, in the middle of SQLite. What is durable is so by then.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

ENDED = 2  # the exit status, as of everything that a person can mend
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
_in_use: list[object] = []  # what the kernel calls must not be freed


def tell_when_a_page_is_lost(home: Path) -> None:
    """From now on, end this program with a sentence when a page of a mapped file cannot be had.

    A handler of Python's own would not do: it runs after the instruction that fails, which never ends.
    """
    text = (
        f"\nautoresearch-node: no room is left for a page of a file in {home}, or its disk does not answer: make room "
        "(a quota counts, too), see what `dmesg` says, and start again; the records are safe\n"
    )
    message = os.fsencode(text)

    def end(_: int) -> None:
        os.write(2, message)
        os._exit(ENDED)

    handler = _HANDLER(end)
    _in_use.append(handler)
    ctypes.CDLL(None).signal(int(signal.SIGBUS), handler)
