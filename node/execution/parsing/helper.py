"""The helper process: reads questions about sources on its standard input, and answers on its standard output.

    python -I -S -B helper.py NODE_PID MEMORY_BYTES

Before the first question it gives up all it does not need: it can open no file, make no process and reach no network,
and its memory is limited. So a text that breaks the parser breaks this process, and nothing else. Time is the node's to
watch: it kills a helper that takes too long. The helper dies with the node.

A question is a length (4 bytes, big-endian) and a JSON list of its name and its values. An answer is a length and a
JSON object: "answer", or "refused" with a sentence; and "last", whether this process ends now.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import unicodedata  # noqa: F401  # Python's own parser imports it for names beyond ASCII, when no file can be opened
import warnings
from typing import Any

# Isolated mode has no path to our package; appended last, so that nothing beside it can stand in for the library.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

from node.execution.parsing.questions import MAX_SENTENCE, QUESTIONS
from node.execution.sandbox import landlock, seccomp
from node.objective.edits import EditError

NICENESS = 10  # behind what a person does at this machine, before the runs
LENGTH_BYTES = 4
STATUS_BYTES = 1 << 14  # of /proc/self/status, which has some 1.5 KB
_SET_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38  # options of prctl(2)


def main() -> None:
    """Answer questions until the node closes its end or there was no memory for one."""
    memory_bytes = int(sys.argv[2])
    status = os.open("/proc/self/status", os.O_RDONLY)  # while files can be opened
    _give_up_power(int(sys.argv[1]), memory_bytes)
    warnings.simplefilter("ignore")  # of "\\d" and the like: a source can have thousands, and they go to stderr
    last = False
    while not last and (head := _read(LENGTH_BYTES)):
        try:
            answer = _answer(_read(int.from_bytes(head, "big")))
        except MemoryError:
            answer = {"refused": "the source takes too much memory to parse"}
        # Memory that much was taken of may be left in pieces, too small for the next large source: begin afresh.
        last = _peak_bytes(status) > memory_bytes // 2
        data = json.dumps({**answer, "last": last}).encode()
        _write(len(data).to_bytes(LENGTH_BYTES, "big") + data)


def _peak_bytes(status: int) -> int:
    """The most memory that was resident in this process. What getrusage(2) says is the node's, where that had more."""
    for line in os.pread(status, STATUS_BYTES, 0).splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


def _answer(question: bytes) -> dict[str, Any]:
    name, *values = json.loads(question.decode("utf-8", "surrogatepass"))
    try:
        return {"answer": QUESTIONS[name](*values)}
    except EditError as refusal:
        return {"refused": str(refusal)[:MAX_SENTENCE]}
    except RecursionError:
        return {"refused": "the source is nested too deep"}


def _give_up_power(node: int, memory_bytes: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != node:
        sys.exit()  # the node died before the death signal was set
    os.nice(NICENESS)
    for kind, limit in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (limit, limit))
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    truncate_guarded = landlock.abi() > 0 and landlock.restrict([]) >= landlock.ABI_TRUNCATE
    if seccomp.supported():
        seccomp.install(seccomp.program(processes="none", own_pid=os.getpid(), truncate_guarded=truncate_guarded))


def _read(size: int) -> bytes:
    """Exactly so many bytes; none when the node has closed its end."""
    data = bytearray()
    while len(data) < size:
        piece = os.read(0, min(size - len(data), 1 << 20))
        if not piece:
            return b""
        data += piece
    return bytes(data)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
