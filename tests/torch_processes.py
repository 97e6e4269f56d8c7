"""Programs for tests that need torch, each in a process of its own that has it imported already.

Importing torch and what its optimizers load takes three seconds of CPU; so one process does it once for all tests of a
worker, computes nothing, and forks for every program. It is no child of this one, whose children other tests count, and
ends with it, as its standard input does.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SECONDS = 280.0  # for a program, on a busy machine
SERVER = """
import json, os, sys, traceback
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
import torch, torch._dynamo
torch.set_num_threads(1)  # of two, each would wait for the other whenever the machine is busy

def run(job):
    for number, path in ((0, job["input"]), (1, job["output"]), (2, job["errors"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    sys.stdin = open(0)
    sys.argv = ["-c", *job["arguments"]]
    try:
        exec(compile(job["code"], "<program>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        code = run(json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def python(code: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program as `python -c CODE ARGUMENTS` would. given: its standard input."""
    server, pid = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder, name) for name in ("input", "output", "errors")}
        for place in places.values():
            place.touch()
        places["input"].write_text(given)
        job = {"code": code, "arguments": arguments, **{name: str(place) for name, place in places.items()}}
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
            _server.cache_clear()
            raise TimeoutError(f"no end after {SECONDS:.0f} s: {places['errors'].read_text()[-2000:]}")
        returncode = int(server.stdout.readline())
        return subprocess.CompletedProcess(
            arguments, returncode, places["output"].read_text(), places["errors"].read_text()
        )


@cache
def _server() -> tuple[subprocess.Popen[str], int]:
    """What started it, with its pipes, and its process id."""
    started = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    pid = int(started.stdout.readline())
    started.wait()
    return started, pid
