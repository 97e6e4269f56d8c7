"""A small world for the network's tests: real nodes on loopback, each with a real ledger, and what they logged."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from node.ledger.files import BlobFiles
from node.ledger.store import Ledger
from node.network import Network, Settings, open_network
from node.platform.key_mark import KeyMark
from protocol.identity import Identity
from protocol.records import Record
from tests.node.records_for_tests import OBJECTIVE, experiment

LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]


def identity_of(name: str) -> Identity:
    return Identity.from_seed(hashlib.sha256(name.encode()).digest())


@dataclass
class Log:
    """What a node said: (event, details)."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, event: str, level: str = "info", **details: Any) -> None:
        self.lines.append((event, details))

    def of(self, event: str, **details: Any) -> list[dict[str, Any]]:
        return [d for e, d in self.lines if e == event and all(d.get(name) == value for name, value in details.items())]

    def reasons(self, event: str) -> str:
        """All reasons given with an event, for a look at one of them."""
        return " | ".join(d.get("reason", "") for d in self.of(event))


@dataclass
class Node:
    """A node of the tests. `name` is its key."""

    name: str
    ledger: Ledger
    log: Log
    network: Network
    files: BlobFiles

    @property
    def identity(self) -> Identity:
        return identity_of(self.name)

    @property
    def address(self) -> str:
        return self.network.addresses()[0]

    def write(self, title: str, decision: str = "improved") -> Record:
        """Make a record, as research does."""
        return self.ledger.append_own(self.identity, experiment(title, decision=decision), 1_700_000_000_000)

    def titles(self) -> set[str]:
        return {record.body.title for record in self.ledger.all_records()}  # type: ignore[union-attr]

    def peer_ids(self) -> set[str]:
        return {peer.peer_id for peer in self.network.peers()}


async def until(condition: Callable[[], object], seconds: float = 5.0) -> float:
    """Wait until the condition holds; the seconds it took. Fails the test when it takes too long."""
    started = trio.current_time()
    with trio.move_on_after(seconds):
        while not condition():
            await trio.sleep(0.01)
        return trio.current_time() - started
    raise AssertionError(f"did not come true within {seconds} s")


Start = Callable[..., AbstractAsyncContextManager[Node]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts nodes: `async with start("a", bootstrap=[address]) as a`. home: another one than that of its name."""

    @asynccontextmanager
    async def begin(
        name: str,
        bootstrap: Sequence[str] = (),
        listen: Sequence[str] = LOOPBACK,
        home: str = "",
        objective: bytes = OBJECTIVE,
        **settings: Any,
    ) -> AsyncIterator[Node]:
        folder = tmp_path / (home or name)
        folder.mkdir(exist_ok=True)
        mark = KeyMark.read(folder / "signed", identity_of(name).author)
        mark.begin()
        ledger = Ledger.open(folder / "ledger.sqlite", objective, mark=mark)
        log, files = Log(), BlobFiles(folder / "blobs", 64 << 20)
        here = Settings(listen, bootstrap, **settings)
        try:
            async with open_network(identity_of(name), ledger, here, log, files) as network:
                yield Node(name, ledger, log, network, files)
        finally:
            ledger.close()

    return begin
