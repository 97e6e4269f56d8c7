"""An honest node under attack: the program's own network and ledger, steered by lines and watched by JSON.

    PYTHONPATH=CHECKOUT python scripts/attacks/honest.py FOLDER OBJECTIVE_HEX [BLOB_MIB]

`scripts/adversaries.py` starts it, with the checkout that is put to the test on its path, so it uses only what both
today's and earlier ones have. A node of another make can be put to the same test: it needs to understand these lines on
its standard input, each answered by the words in the last column, one object of JSON on a line of its standard output.

    join [MULTIADDR]     listen on loopback, and dial this peer           address
    say                  sign and publish a short record                  said (its author, in hex)
    claim PATH           keep this file as a source, and claim it         claimed (the source's id, in hex)
    serve PATH           keep this file's content for whoever asks        served (its id, in hex)
    watch HEX            an author or a source to look out for            watching
    fold [PATH AUTHOR]   work out schedule and leaderboard of the          fold_seconds, records_folded
                         records held, or of those in a file, as
                         the node with this author key (hex)

Besides, every quarter of a second it says how it is: `author` (its key, in hex), `records`, `peers`, `mib` of memory,
`cpu_seconds` so far, and `here`: what is watched and has come.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import trio

from node.ledger.projections.leaderboard import author_bests
from node.ledger.store import Ledger, Quota
from node.network import Network, Settings, open_network
from node.network.content.missing import MissingSources
from node.review.schedule import Schedule, SearchPosition
from protocol.identity import Identity
from protocol.records import Effect, Experiment, Hypothesis, Pair, Record, Run, open_record

try:
    from protocol.weights import weights_of
except ImportError:  # an earlier version, where every key counted alike
    weights_of = None

TELL_SECONDS = 0.25
BASELINE = hashlib.sha256(b"baseline").digest()
LENGTH_BYTES = 4  # before each record in a file


class HonestNode:
    """One node: its ledger, and its network once it has joined."""

    def __init__(self, folder: Path, objective: bytes, blob_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.identity = Identity.from_seed(os.urandom(32))
        self.ledger = Ledger.open(folder / "ledger.sqlite", objective, Quota(blob_bytes=blob_bytes))
        self.network: Network | None = None
        self.watched: set[bytes] = set()
        self.authors: set[bytes] = set()  # of the watched, those of whom a record is here

    async def obey(self, nursery: trio.Nursery) -> None:
        waiting = b""
        async for chunk in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            *lines, waiting = (waiting + chunk).split(b"\n")
            for line in lines:
                word, _, rest = line.decode().partition(" ")
                tell(await self.do(word, rest, nursery))

    async def do(self, word: str, rest: str, nursery: trio.Nursery) -> dict[str, Any]:
        match word:
            case "join":
                return {"address": await nursery.start(self.take_part, rest.split())}
            case "say":
                idea = Hypothesis(f"idea {time.time_ns()}", "optimizer", "x" * 300, None, None)
                return {"said": self.ledger.append_own(self.identity, idea, now()).author.hex()}
            case "claim":
                source = self.ledger.put_blob(Path(rest).read_bytes())
                self.ledger.append_own(self.identity, claim(source), now())
                return {"claimed": source.hex()}
            case "serve":
                return {"served": self.ledger.put_blob(Path(rest).read_bytes()).hex()}
            case "watch":
                self.watched.add(bytes.fromhex(rest))
                return {"watching": rest}
            case _:
                path, _, author = rest.partition(" ")
                records = records_in(Path(path)) if path else list(self.ledger.all_records())
                seconds = fold(records, bytes.fromhex(author) if author else self.identity.author)
                return {"fold_seconds": seconds, "records_folded": len(records)}

    async def take_part(self, peers: list[str], task_status: trio.TaskStatus[str]) -> None:  # type: ignore[name-defined]
        settings = Settings(["/ip4/127.0.0.1/tcp/0"], peers)
        async with open_network(self.identity, self.ledger, settings, complain) as network:
            self.network = network
            task_status.started(network.addresses()[0])
            await self.fetch_sources(network)

    async def fetch_sources(self, network: Network) -> None:
        """As a running node does: sources that records refer to, those of claims first."""

        def most_needed() -> list[bytes]:
            bodies = [record.body for record in self.ledger.all_records()]
            return [body.child for body in bodies if isinstance(body, Experiment) and body.decision == "improved"]

        await MissingSources(self.ledger, network, most_needed, complain).run()

    async def keep_telling(self) -> None:
        process, folded = psutil.Process(), 0
        while True:
            records = self.ledger.all_records()
            if len(records) < folded:  # some were dropped
                folded = 0
            self.authors |= {record.author for record in records[folded:]} & self.watched
            folded = len(records)
            here = {each for each in self.watched if each in self.authors or self.ledger.has_blob(each)}
            times = process.cpu_times()
            tell(
                {
                    "author": self.identity.author.hex(),
                    "records": len(records),
                    "peers": len(self.network.peers()) if self.network is not None else 0,
                    "here": sorted(each.hex() for each in here),
                    "mib": process.memory_info().rss / (1 << 20),
                    "cpu_seconds": times.user + times.system,
                }
            )
            await trio.sleep(TELL_SECONDS)


def fold(records: list[Record], me: bytes) -> float:
    """CPU seconds until it is known what is to be run next, and who stands where: what a node works out at arrivals."""
    begun = time.process_time()
    weights = [] if weights_of is None else [weights_of(records, me)]
    schedule = Schedule(records, me, "cpu", SearchPosition(BASELINE), *weights)
    schedule.tasks, schedule.local_trials  # noqa: B018  # they are worked out here
    author_bests(records, BASELINE, *weights)
    return time.process_time() - begun


def claim(source: bytes) -> Experiment:
    """A claimed improvement whose source can be fetched here."""
    run = Run(3.0, 9.5, 524288, ((20, 5.0),), None)
    return Experiment(
        "an honest claim", "optimizer", "", "catalogue", BASELINE, source, source, "cpu", "bwrap", "", "improved",
        Effect(-0.02, 0.002, 2), None, 1.0, None, (Pair(1, run, run),),
    )  # fmt: skip


def records_in(path: Path) -> list[Record]:
    """Records as they travel, one behind the other, each with its length before it."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        begin = at + LENGTH_BYTES
        at = begin + int.from_bytes(data[at:begin], "big")
        found.append(open_record(data[begin:at]))
    return found


def now() -> int:
    return time.time_ns() // 10**6


def tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def complain(event: str, level: str = "info", **details: object) -> None:
    if level != "info":
        print(f"{event} {details}", file=sys.stderr, flush=True)


async def run(folder: Path, objective: bytes, blob_bytes: int) -> None:
    node = HonestNode(folder, objective, blob_bytes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.keep_telling)
        await node.obey(nursery)
        nursery.cancel_scope.cancel()


def main(arguments: list[str], start: Callable[..., None] = trio.run) -> None:
    folder, objective, *blob_mib = arguments
    start(run, Path(folder), bytes.fromhex(objective), int(blob_mib[0] if blob_mib else "512") << 20)


if __name__ == "__main__":
    main(sys.argv[1:])
