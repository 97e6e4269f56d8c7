"""A worker that misbehaves, as a process of its own: `python fake_worker.py BEHAVIOUR`. It speaks the real protocol.

It stands for what can come back from a command that a person has written: other versions, other machines, a program
that is no worker, one that dies or hangs.
"""

from __future__ import annotations

import os
import sys
import time

from node.execution.remote.worker_protocol import (
    PRELUDE,
    VERSION,
    Beat,
    Hello,
    Lacks,
    Made,
    Ready,
    Run,
    RunMade,
    Told,
    UseObjective,
    WorkerSide,
)

PLATFORM = "torch 2.13.0+cpu avx2 x86_64"


def main(behaviour: str) -> None:
    if behaviour == "prints":
        os.write(1, b"Usage: something else\n" * 10_000)
        time.sleep(60)
    if behaviour == "ends":
        sys.exit("no such partition: gpu")
    os.write(1, b"Welcome to the cluster!\n" + PRELUDE)
    if behaviour == "oversized":
        os.write(1, (1 << 30).to_bytes(4, "big"))
        time.sleep(60)
    if behaviour == "garbage":
        os.write(1, (4).to_bytes(4, "big") + b"\xff\xfe\xfd\xfc\n")
        time.sleep(60)
    side = WorkerSide()
    hello = Hello(
        protocol=VERSION + (behaviour == "other version"),
        program="0.0.9",
        host=f"fake-{behaviour.replace(' ', '-')}",
        platform="torch 1.0 x86_64" if behaviour == "other platform" else PLATFORM,
        device="a processor",
        cores=2,
        memory_bytes=1 << 30,
        gpus=(),
        sandbox="bwrap",
        store=b"0123456789abcdef",
    )
    os.write(1, side.say(hello))
    while data := os.read(0, 1 << 20):
        for frame in side.receive(data):
            match frame:
                case UseObjective():
                    os.write(1, side.say(Lacks(())))
                    os.write(1, side.say(Ready(False)))
                case Run() if behaviour == "dies":
                    os._exit(9)
                case Run() if behaviour == "hangs":
                    time.sleep(600)
                case Run() if behaviour == "stalls":
                    while True:
                        os.write(1, side.say(Beat()) + side.say(Told(frame.job, 0, 0.5, 1.0, 1.0, "train")))
                        time.sleep(0.1)
                case Run() if behaviour == "impossible":
                    os.write(1, side.say(Made(frame.job, (outcome(-1.0),), 1.0, 1.0, False)))
                case Run():
                    os.write(1, side.say(Made(frame.job, (outcome(1.5),), 1.0, 1.0, False)))


def outcome(value: float) -> RunMade:
    return RunMade(value, {}, (), 1, 1.0, 1.0, 1, None, "", "bwrap")


if __name__ == "__main__":
    main(sys.argv[1])
