"""A GPU room: a process of its own that gets everything ready for one worker, waits for its job, and serves once.

    gpu_room.py ORDERS

A fork server cannot serve a GPU: what CUDA has set up for a process does not survive a fork, and a compiler needs
children that execute other programs. So a room is a whole process in a sandbox, started ahead of need. It imports
torch, and where it is a candidate's it sets up the device too and caps its memory there. Then it says READY on its
socket and waits. What comes is one message with descriptors: the arguments of the worker it becomes (train.py,
answer.py or program.py), which finds the descriptors as 3, 4, and so on, as a fork does. No source is run before that.

ORDERS is JSON: {socket, program, device, memory, deterministic}. memory: bytes of the device that this process may
use, 0 for what is free; deterministic: whether the same run is to give the same bits. Imports nothing of ours.
"""

import contextlib
import fcntl
import importlib
import json
import os
import socket
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any, NoReturn

if __name__ == "__main__":
    # Of ours one folder can be read here, and no package above it.
    for _length in range(1, 4):
        _package = types.ModuleType(".".join(("node", "execution", "workers")[:_length]))
        _package.__path__ = [os.path.dirname(os.path.abspath(__file__))] if _length == 3 else []
        sys.modules[_package.__name__] = _package

import torch

from node.execution.workers import answer, preload_torch, program, train

READY = b"ready"
FIRST_GIVEN, MOST_GIVEN = 3, 16  # descriptors of a job: where they begin, and how many there may be
MOST_MESSAGE_BYTES = 8192
PROGRAMS: dict[str, Callable[[], None]] = {"train": train.main, "answer": answer.main, "program": program.main}
_HIGH = 64  # descriptors from here on are free for moving others about


def main() -> None:
    orders = json.loads(sys.argv[1])
    node = reserve_descriptors(orders["socket"])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(orders["deterministic"])
    compiles = orders["program"] != "answer"
    if compiles:
        importlib.import_module("torch._inductor.compile_fx")  # two seconds that no run waits for
        # The examination's waits until its job comes: till then the device is the candidate's, who is dead by then.
        set_up(orders["device"], orders["memory"])
        preload_torch.warm_up(orders["device"])
    else:
        compile_nothing()
        preload_torch.compile_on_request()
        preload_torch.warm_up("cpu")
    with node:
        node.send(READY)
        message, descriptors, *_ = socket.recv_fds(node, MOST_MESSAGE_BYTES, MOST_GIVEN)
    if not message:
        return  # the node needs this room no more
    place(descriptors)
    if not compiles:
        set_up(orders["device"], orders["memory"])
    become(PROGRAMS[orders["program"]], [orders["program"], *json.loads(message)])


def set_up(device: str, memory: int) -> None:
    """Have a context on the device, and take no more of its memory than so many bytes, 0 for what is free."""
    if device == "cpu":  # of a stand-in, whose memory is not torch's to cap
        return
    torch.cuda.init()
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (memory or free) / total))
    torch.zeros(1, device=device)
    torch.cuda.synchronize()


def compile_nothing() -> None:
    """Have torch.compile hand back what it is given.

    An examination can write nowhere and start no compiler, and what a model says is the same without. Not by a setting
    of torch's alone, since asking for its compiler would import that, which takes seconds.
    """

    def compiled(model: Any = None, **_: Any) -> Any:
        return model if model is not None else lambda given: given

    torch.compile = compiled


def reserve_descriptors(given: int) -> socket.socket:
    """The socket to the node, moved away from the numbers under which the job's descriptors are to be found.

    These are taken meanwhile, or what the device's driver opens would have them.
    """
    node = socket.socket(fileno=fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, _HIGH))
    os.close(given)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number in range(FIRST_GIVEN, FIRST_GIVEN + MOST_GIVEN):
        if number != nothing:
            os.dup2(nothing, number, inheritable=False)
    return node


def place(descriptors: list[int]) -> None:
    """Make these the descriptors 3, 4, and so on, and close what was reserved beyond them."""
    for number, descriptor in enumerate(descriptors, FIRST_GIVEN):
        os.dup2(descriptor, number, inheritable=False)
        os.close(descriptor)
    os.closerange(FIRST_GIVEN + len(descriptors), FIRST_GIVEN + MOST_GIVEN)


def become(program: Callable[[], None], arguments: list[str]) -> NoReturn:
    """Be the worker, as if it had been started by itself."""
    status = 1
    try:
        sys.argv = arguments
        program()
        status = 0
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else 0 if asked.code is None else 1
        if not isinstance(asked.code, int | None):
            print(asked.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(status & 0xFF)


if __name__ == "__main__":
    main()
