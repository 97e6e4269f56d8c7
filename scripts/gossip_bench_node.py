"""One node of the swarm that gossip_bench.py measures: the real network with a real ledger, and scripted records.

It keeps its ledger in the working folder, does what its standard input says, one JSON object per line, and answers in
kind (gossip_bench.py knows the conversation; tests/interop/swarm_node.mjs holds the same). It knows nothing of
other nodes or results: the monotonic clock is the machine's, so that a record's age can be read where it arrives.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.ledger.store import Ledger
from node.network import Network, Settings, open_network
from node.network.discovery import addresses as discovery
from protocol.identity import Identity
from protocol.messages import Presence
from protocol.records import Effect, Experiment, Pair, Record, Run

OBJECTIVE = hashlib.sha256(b"gossip bench").digest()
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
PAIRS = 6
CONNECT_SECONDS = 30.0


def scripted(seed: int) -> Experiment:
    """An experiment as long as they get: a wire form of about 2 KB. The title carries the time it was made."""
    run = Run(3.0 + seed / 1e6, 9.5, 524288, ((20, 5.0), (50, 4.5), (100, 4.0)), None)
    return Experiment(
        title=f"made at {time.monotonic_ns()}",
        category="initialisation",
        reason="The baseline's weights are far too large for its depth, so that the first steps are lost. " * 5,
        proposer="catalogue",
        parent=hashlib.sha256(b"parent").digest(),
        child=hashlib.sha256(b"child").digest(),
        fingerprint=hashlib.sha256(b"fingerprint").digest(),
        compute_class="cpu",
        device="a processor",
        sandbox="bwrap",
        decision="improved",
        effect=Effect(-0.2, 0.01, PAIRS),
        holdout=Effect(-0.2, 0.01, PAIRS),
        cost_ratio=1.01,
        screening=Pair(seed, run, run),
        pairs=tuple(Pair(seed + number, run, run) for number in range(PAIRS)),
    )


def age_ms(record: Record) -> float:
    assert isinstance(record.body, Experiment)
    return (time.monotonic_ns() - int(record.body.title.removeprefix("made at "))) / 1e6


class Tally:
    """What arrived: the age of every record of others, how many of them came by sync, and what the node logged."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.ages: list[float] = []
        self.by_sync = 0
        self.logged: Counter[str] = Counter()
        self.changed = trio.Event()

    async def count(self, task_status: Any) -> None:
        async with self._ledger.subscribe() as arrivals:
            task_status.started()
            async for arrived in arrivals:
                if arrived.origin != "own":
                    self.ages.append(age_ms(arrived.record))
                    self.changed.set()
                    self.changed = trio.Event()

    def events(self, event: str, **details: Any) -> None:
        """The node's log: sync says there what it brought."""
        self.logged[event] += 1
        if event == "synced":
            self.by_sync += details["got"]


async def orders() -> AsyncIterator[dict[str, Any]]:
    stream = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
    rest = b""
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


def answer(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


async def until_ns(moment: int) -> None:
    await trio.sleep(max(0, moment - time.monotonic_ns()) / 1e9)


async def meet(network: Network, count: int) -> None:
    """Say how many peers there are, once they are as many as expected or it has taken too long; then, what we are."""
    with trio.move_on_after(CONNECT_SECONDS):
        while len(network.peers()) < count:
            await trio.sleep(0.2)
    answer(peers=len(network.peers()))
    network.announce(Presence("cpu", 0, 0, ()))


async def publish(identity: Identity, ledger: Ledger, tally: Tally, order: dict[str, Any]) -> None:
    """Make a record at each of the moments, then wait until everybody else's are here or time is up."""
    for number, moment in enumerate(order["moments"]):
        await until_ns(moment)
        ledger.append_own(identity, scripted(number), time.time_ns() // 10**6)
    with trio.move_on_after(max(0, order["end"] - time.monotonic_ns()) / 1e9):
        while len(tally.ages) < order["expected"]:
            await tally.changed.wait()
    answer(ages=tally.ages, by_sync=tally.by_sync, logged=tally.logged)


async def main() -> None:
    identity = Identity.from_seed(os.urandom(32))
    ledger = Ledger.open(Path(f"{identity.peer_id}.sqlite"), OBJECTIVE)
    tally = Tally(ledger)
    asked = orders()
    answer(ready=True)
    opening = await anext(asked)
    # The topology is given: a node with so many looks for no others.
    discovery.PEERS_WANTED, discovery.OUTGOING_LEAST = opening["peers"], 0  # type: ignore[attr-defined]
    settings = Settings([LOOPBACK], opening["dial"])
    async with open_network(identity, ledger, settings, tally.events) as network, trio.open_nursery() as nursery:
        await nursery.start(tally.count)
        answer(address=network.addresses()[0])
        async for order in asked:
            if "moments" not in order:
                await meet(network, opening["peers"])
            else:
                await publish(identity, ledger, tally, order)
        nursery.cancel_scope.cancel()
    ledger.close()


if __name__ == "__main__":
    trio.run(main)
