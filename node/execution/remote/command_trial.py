"""Trying the command of `[workers]` once: what comes back, without giving the worker anything to do."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import trio

from node.execution.remote.worker_link import LAST_WORDS_SECONDS, Command, end
from node.execution.remote.worker_protocol import Hello, NodeSide, Refused
from node.platform.log import one_line
from protocol.codec import MalformedError

TRIAL_SECONDS = 30.0  # for a worker to say hello; a scheduler's queue may take longer, which is no fault
LAST_WORDS = 300  # characters of standard error that are shown
_KEPT_BYTES = 4096  # of standard error


@dataclass(frozen=True)
class Tried:
    """What a command came to. hello: its worker's, if that spoke. why: else, in words. waits: it had not ended."""

    hello: Hello | None
    why: str = ""
    waits: bool = False


async def try_command(command: Command, seconds: float = TRIAL_SECONDS) -> Tried:
    """Start the command, wait for its worker's hello, and end it."""
    try:
        process = await trio.lowlevel.open_process(
            list(command.words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(command.environment),
            start_new_session=True,
        )
    except OSError as error:
        return Tried(None, f"`{command.words[0]}` cannot be started: {error.strerror}")
    assert process.stdout is not None
    assert process.stderr is not None
    printed = bytearray()
    tried: Tried | None = None
    try:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep, process.stderr, printed, read := trio.Event())
                tried = await _first_word(process.stdout)
                if tried.hello is None:
                    with trio.move_on_after(LAST_WORDS_SECONDS):
                        await read.wait()
                        await process.wait()
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await end(process)
    said = one_line(printed.decode("utf-8", errors="replace")).strip()[-LAST_WORDS:]
    if tried is None:
        why = f"no word of a worker in {seconds:.0f} s; a scheduler may hold it in its queue"
        return Tried(None, f"{why}: {said}" if said else why, waits=True)
    if tried.hello is None and process.returncode and not tried.why:
        return Tried(None, _with(f"`{command.words[0]}` ended with status {process.returncode}", said))
    return tried if tried.hello is not None or tried.why else Tried(None, _with("it ended without a word", said))


def _with(why: str, said: str) -> str:
    """What happened, with what the command printed if that was anything."""
    return f"{why}: {said}" if said else f"{why}, and printed nothing on standard error"


async def _first_word(stdout: trio.abc.ReceiveStream) -> Tried:
    """The first that a worker says; nothing where the output ends before."""
    side = NodeSide()
    try:
        async for data in stdout:
            for said in side.receive(bytes(data)):
                if isinstance(said, Hello):
                    return Tried(said)
                if isinstance(said, Refused):
                    return Tried(None, said.why)
    except MalformedError as error:
        return Tried(None, str(error))
    return Tried(None)


async def _keep(stderr: trio.abc.ReceiveStream, printed: bytearray, read: trio.Event) -> None:
    """The last of what is printed; `read` is set when that was all."""
    async for data in stderr:
        printed += data
        del printed[:-_KEPT_BYTES]
    read.set()
