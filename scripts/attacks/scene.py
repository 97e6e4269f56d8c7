"""The scene of an attack: honest nodes in processes of their own, attackers in this one, and what is measured of both.

Two honest nodes are there before the attack, the second joined to the first, which is attacked. Newcomers wait in
processes that have loaded the program already, so what is measured of them is what the network does. Everything that
this process sends is the attacker's, and so is its CPU time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any

import trio

from protocol.records import Record
from tests.node.records_for_tests import OBJECTIVE

NODE = Path(__file__).resolve().parent / "honest.py"
START_SECONDS = 90.0
ANSWER_SECONDS = 60.0
FOLD_SECONDS = 60.0  # after which a fold is not waited for any longer
NEVER_SECONDS = 30.0  # after which something is said never to come
QUIET_SECONDS = 3.0  # without another record, after which a flood is over
SETTLE_SECONDS = 2.0  # for what two nodes say to each other at first
LENGTH_BYTES = 4


class HonestNode:
    """A process of `honest.py`, or of another program that understands the same lines."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._answers: tuple[trio.MemorySendChannel[Any], trio.MemoryReceiveChannel[Any]] = trio.open_memory_channel(8)
        self.state: dict[str, Any] = {}
        self.most_mib = 0.0
        self.address = ""

    async def listen(self) -> None:
        """Take in what it says, until it ends."""
        assert self._process.stdout is not None
        waiting = b""
        async for chunk in self._process.stdout:
            *lines, waiting = (waiting + chunk).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "mib" in said:
                    self.state = said
                    self.most_mib = max(self.most_mib, said["mib"])
                else:
                    await self._answers[0].send(said)

    async def ask(self, line: str, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """What it answers to a line. Raises trio.TooSlowError."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(line.encode() + b"\n")
        with trio.fail_after(seconds):
            answer: dict[str, Any] = await self._answers[1].receive()
            return answer

    async def join(self, *peers: str) -> None:
        self.address = (await self.ask(" ".join(["join", *peers])))["address"]

    async def watch(self, what: str) -> None:
        await self.ask(f"watch {what}")

    def has(self, what: str) -> bool:
        return what in self.state.get("here", ())

    @property
    def author(self) -> str:
        return str(self.state["author"])


@dataclass
class Scene:
    """The honest nodes of one attack, and what it cost whoever made it.

    checkout: of the program that is attacked. command: another program, in place of its node.
    """

    folder: Path
    checkout: Path
    nursery: trio.Nursery
    command: Sequence[str] = ()
    blob_mib: int = 512
    keys: int = 0
    bytes_sent: int = 0
    _begun: float = 0.0
    _mib_before: float = 0.0
    _folds_end: bool = True
    _nodes: list[HonestNode] = field(default_factory=list)

    async def start(self, newcomers: int) -> None:
        for _ in range(2 + newcomers):
            self._nodes.append(await self._start_node())
        with trio.fail_after(START_SECONDS):
            while not all(node.state for node in self._nodes):
                await trio.sleep(0.1)
        await self.victim.join()
        await self.second.join(self.victim.address)
        await self.until(lambda: self.victim.state["peers"] >= 1, START_SECONDS)
        await trio.sleep(SETTLE_SECONDS)

    def begin(self) -> None:
        """From here on, what it costs and what grows is the attack's."""
        if self._nodes:
            self._mib_before = self.victim.most_mib = self.victim.state["mib"]
        self.bytes_sent, self._begun = 0, time.process_time()

    async def _start_node(self) -> HonestNode:
        folder = self.folder / f"node-{len(self._nodes)}"
        command = [*(self.command or [sys.executable, str(NODE)]), str(folder), OBJECTIVE.hex(), str(self.blob_mib)]
        process = await trio.lowlevel.open_process(
            command, stdin=PIPE, stdout=PIPE, env={**os.environ, "PYTHONPATH": str(self.checkout)}
        )
        node = HonestNode(process)
        self.nursery.start_soon(node.listen)
        return node

    @property
    def victim(self) -> HonestNode:
        return self._nodes[0]

    @property
    def second(self) -> HonestNode:
        """An honest node that no attacker has dialled."""
        return self._nodes[1]

    def newcomer(self, number: int = 0) -> HonestNode:
        return self._nodes[2 + number]

    async def stop(self) -> None:
        for node in self._nodes:
            assert node._process.stdin is not None
            await node._process.stdin.aclose()
        for node in self._nodes:
            with trio.move_on_after(5.0):
                await node._process.wait()
            if node._process.returncode is None:
                node._process.kill()
                await node._process.wait()

    # ---- what is measured --------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], object], seconds: float = NEVER_SECONDS) -> float | None:
        """Seconds until the condition held; None when it did not within the time."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if condition():
                return time.monotonic() - begun
            await trio.sleep(0.05)
        return None

    async def flooded(self, records: int, seconds: float) -> None:
        """Return when the attacked node holds so many records, or gets no more of them."""
        held, since = -1, time.monotonic()
        with trio.move_on_after(seconds):
            while self.victim.state["records"] < records and time.monotonic() - since < QUIET_SECONDS:
                if self.victim.state["records"] != held:
                    held, since = self.victim.state["records"], time.monotonic()
                await trio.sleep(0.1)

    async def newcomer_heard(self, number: int = 0) -> float | None:
        """Seconds that a newcomer needs to connect to the attacked node, and then, with its first record, until both
        honest ones hold it. Between the two it waits, as whoever has first to run something does."""
        newcomer = self.newcomer(number)
        for node in (self.victim, self.second):
            await node.watch(newcomer.author)
        connected = await self.connected(newcomer)
        await newcomer.ask("say")
        heard = await self.until(lambda: self.victim.has(newcomer.author) and self.second.has(newcomer.author))
        return connected + heard if connected is not None and heard is not None else None

    async def connected(self, newcomer: HonestNode) -> float | None:
        """Seconds until a newcomer is connected to the attacked node; then it has settled."""
        begun = time.monotonic()
        await newcomer.join(self.victim.address)
        found = await self.until(lambda: newcomer.state["peers"] >= 1)
        connected = time.monotonic() - begun
        await trio.sleep(SETTLE_SECONDS)
        return connected if found is not None else None

    async def source_fetched(self, number: int = 0) -> float | None:
        """Seconds from when a newcomer that is connected claims a source until the attacked node has it."""
        newcomer = self.newcomer(number)
        text = self.folder / f"source-{number}.py"
        text.write_bytes(os.urandom(200).hex().encode())
        await self.connected(newcomer)
        begun = time.monotonic()
        source = (await newcomer.ask(f"claim {text}"))["claimed"]
        await self.victim.watch(source)
        return time.monotonic() - begun if await self.until(lambda: self.victim.has(source)) is not None else None

    async def fold_seconds(self) -> float:
        """CPU seconds in which the attacked node works out what it holds now; FOLD_SECONDS where it takes longer."""
        return await self._folded("fold")

    async def fold_seconds_of(self, records: Sequence[Record], me: bytes | None = None) -> float:
        """The same of these records, as if it held them all; me: as the node with this key."""
        path = self.folder / "records"
        wires = [record.wire() for record in records]
        path.write_bytes(b"".join(len(wire).to_bytes(LENGTH_BYTES, "big") + wire for wire in wires))
        return await self._folded(f"fold {path}" + (f" {me.hex()}" if me is not None else ""))

    async def _folded(self, line: str) -> float:
        if not self._folds_end:
            return FOLD_SECONDS
        try:
            return float((await self.victim.ask(line, FOLD_SECONDS))["fold_seconds"])
        except trio.TooSlowError:
            self._folds_end = False  # it is at it still, and answers nothing else
            return FOLD_SECONDS

    @property
    def memory_mib(self) -> float:
        """By how much the attacked node's memory has grown at most."""
        return self.victim.most_mib - self._mib_before

    @property
    def attacker_cpu_seconds(self) -> float:
        return time.process_time() - self._begun


@asynccontextmanager
async def counted_bytes(scene: Scene) -> AsyncIterator[None]:
    """Count what this process sends over sockets while the block lasts."""
    send_all = trio.SocketStream.send_all

    async def counting(stream: trio.SocketStream, data: bytes) -> None:
        scene.bytes_sent += len(data)
        await send_all(stream, data)

    trio.SocketStream.send_all = counting  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        trio.SocketStream.send_all = send_all  # type: ignore[method-assign]
