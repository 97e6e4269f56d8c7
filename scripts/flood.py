"""One peer sends a thousand records a second: is it limited, and does anybody else notice?

    .venv/bin/python scripts/flood.py [--rate 1000] [--seconds 30]

A small swarm of plain nodes in which two honest ones exchange a record every half second through a third; then a
stranger floods that third one. Prints the latency of the honest records before and during, and what became of the
flood.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from plain_node import OBJECTIVE
from plain_swarm import PlainNode, wait_for

from node.ledger.store import Ledger
from node.network import Settings, open_network
from protocol.identity import Identity
from protocol.messages import GossipRecord, encode_gossip
from protocol.records import Hypothesis, Record, sign_record
from tests.node.network.stranger import Stranger, stranger_on

EVERY_SECONDS = 0.5


class Honest:
    """A node in this process that says something now and then, and one that notes how long it took to arrive."""

    def __init__(self) -> None:
        self.ages: list[float] = []

    async def speak(self, ledger: Ledger, identity: Identity) -> None:
        while True:
            ledger.append_own(identity, idea(str(time.monotonic_ns())), time.time_ns() // 10**6)
            await trio.sleep(EVERY_SECONDS)

    async def hear(self, ledger: Ledger, speaker: bytes) -> None:
        async with ledger.subscribe() as arrivals:
            async for arrived in arrivals:
                if arrived.record.author == speaker and isinstance(arrived.record.body, Hypothesis):
                    self.ages.append((time.monotonic_ns() - int(arrived.record.body.title)) / 1e6)


def idea(title: str) -> Hypothesis:
    return Hypothesis(title, "optimizer", "x" * 500, None, None)


def feed(identity: Identity, count: int) -> list[Record]:
    before, made = bytes(32), []
    for seq in range(count):
        made.append(sign_record(identity, OBJECTIVE, seq, before, 1_700_000_000_000, idea(f"flood {seq}")))
        before = made[-1].id
    return made


async def flood(stranger: Stranger, rate: int, seconds: float) -> int:
    """Send as fast as asked; how many it could send before it was thrown out for good."""
    sent, records = 0, feed(stranger.identity, round(rate * seconds))
    batch = max(1, rate // 20)
    end = trio.current_time() + seconds
    while trio.current_time() < end and sent < len(records):
        try:
            wires = [encode_gossip(GossipRecord(record.wire())) for record in records[sent : sent + batch]]
            await stranger.gossip(*(stranger.message(wire) for wire in wires))
            sent += len(wires)
        except Exception:  # thrown out, in whatever way the library tells it
            await trio.sleep(1.0)  # banned; it tries again
        await trio.sleep(batch / rate)
    return sent


def told(ages: list[float]) -> str:
    ordered = sorted(ages)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"p50 {statistics.median(ordered):.0f} ms, p99 {p99:.0f} ms ({len(ordered)} records)"


async def play(folder: Path, middle: PlainNode, rate: int, seconds: float) -> None:
    def silent(*_: object, **__: object) -> None:
        pass

    address = middle.of("address")
    speaker, listener = Identity.from_seed(os.urandom(32)), Identity.from_seed(os.urandom(32))
    ledgers = [Ledger.open(folder / f"{name}.sqlite", OBJECTIVE) for name in ("speaker", "listener")]
    settings = Settings(["/ip4/127.0.0.1/tcp/0"], [address])
    honest = Honest()
    async with (
        open_network(speaker, ledgers[0], settings, silent) as one,
        open_network(listener, ledgers[1], settings, silent) as two,
        trio.open_nursery() as nursery,
    ):
        while not (one.peers() and two.peers()):
            await trio.sleep(0.1)
        await trio.sleep(3)
        nursery.start_soon(honest.hear, ledgers[1], speaker.author)
        nursery.start_soon(honest.speak, ledgers[0], speaker)
        await trio.sleep(seconds)
        before, honest.ages = honest.ages, []
        async with stranger_on(address, OBJECTIVE) as stranger:
            sent = await flood(stranger, rate, seconds)
            taken = sum(record.author == stranger.identity.author for record in ledgers[1].all_records())
        during = honest.ages
        print(f"before: {told(before)}")
        print(f"during: {told(during)}")
        print(f"the flood: {sent} records sent in {seconds:.0f} s, {taken} reached the honest listener")
        nursery.cancel_scope.cancel()
    for ledger in ledgers:
        ledger.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flood-") as name, ExitStack() as stack:
        middle = PlainNode(Path(name) / "middle")
        stack.callback(middle.stop)
        middle.start()
        assert wait_for(lambda: middle.of("address"), 60), middle.complaints
        trio.run(play, Path(name), middle, options.rate, options.seconds)
        said = [line for line in middle.complaints if "banned" in line or "too much" in line]
        print(f"the node in the middle: running {middle.running()}, memory {middle.of('mib')} MiB; it says:")
        for line in said[:4]:
            print(f"  {line}")
        return 0 if middle.running() else 1


if __name__ == "__main__":
    sys.exit(main())
