"""A node that does no research: the real network with a real ledger, and scripted records on request.

    .venv/bin/python scripts/plain_node.py FOLDER [--listen MULTIADDR] [--join MULTIADDR ...] [--lan] [--upnp]
        [--swarm NAME] [--public] [--held]

For the demonstrations of the network. The key and the ledger lie in FOLDER, so that a node that was killed goes on
where it was. It prints one line of JSON every half second: address, peers, records, how many of them are its own, a
digest of all feeds, how many are forked, how many sources that records refer to are not here, and its memory. A line
"write N [BYTES]" on its standard input makes N records, and "source BYTES" one that refers to a source of so many
bytes, which the others fetch; when they are durable it prints such a line at once. --swarm names another swarm than the
usual one, --public has strangers find it by the DHT, and with --held it opens its network at the first line on its
standard input.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import sys
import time
from pathlib import Path

import psutil
import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.ledger.store import Ledger, Quota
from node.network import Network, Settings, open_network
from node.network.content.missing import MissingSources
from node.platform.home import Home
from protocol.identity import Identity
from protocol.messages import Presence
from protocol.records import Hypothesis

OBJECTIVE = hashlib.sha256(b"an objective of no consequence").digest()
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
TELL_SECONDS = 0.5
QUOTA = Quota(blob_bytes=1 << 30, records_per_author=100_000, authors=10_000)


def digest(ledger: Ledger) -> str:
    """The same for two ledgers exactly when they hold the same feeds."""
    heads = sorted((head.author, head.length, head.head) for head in ledger.vector())
    return hashlib.sha256(repr(heads).encode()).hexdigest()[:16]


def write(ledger: Ledger, identity: Identity, count: int, size: int) -> None:
    for _ in range(count):
        reason = hashlib.sha256(os.urandom(8)).hexdigest() * 8
        body = Hypothesis(f"idea {time.time_ns()}", "optimizer", reason[: min(size, 500)], None, None)
        try:
            ledger.append_own(identity, body, now())
        except (OSError, sqlite3.OperationalError) as error:  # a full disk: nothing was made, and nothing is said of it
            print(f"not written: {error}", file=sys.stderr, flush=True)


def write_source(ledger: Ledger, identity: Identity, size: int) -> None:
    """A record that refers to a source, which is kept here."""
    source = ledger.put_blob(os.urandom(size))
    ledger.append_own(identity, Hypothesis("an idea with its source", "optimizer", "", source, None), now())


def now() -> int:
    return time.time_ns() // 10**6


def tell(network: Network, ledger: Ledger, identity: Identity) -> None:
    state = {
        "address": network.addresses()[0],
        "outside": network.advertised()[0],
        "id": identity.peer_id,
        "peers": len(network.peers()),
        "peer_ids": [peer.peer_id for peer in network.peers()],
        "records": ledger.count(),
        "own": len(ledger.feed(identity.author)),
        "digest": digest(ledger),
        "forks": len(ledger.forks()),
        "reach": network.reach(),
        "missing": len(ledger.wanted_blobs()),
        "mib": round(psutil.Process().memory_info().rss / (1 << 20), 1),
    }
    print(json.dumps(state), flush=True)


async def keep_notifying(network: Network, ledger: Ledger, identity: Identity) -> None:
    while True:
        network.announce(Presence("cpu", len(ledger.vector()), ledger.count(), ()))
        tell(network, ledger, identity)
        await trio.sleep(TELL_SECONDS)


async def obey(network: Network, ledger: Ledger, identity: Identity) -> None:
    pause_gate = b""
    async for chunk in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
        *lines, pause_gate = (pause_gate + chunk).split(b"\n")
        for line in lines:
            word, *numbers = line.decode().split()
            if word == "write":
                write(ledger, identity, int(numbers[0]), int(numbers[1]) if numbers[1:] else 500)
                tell(network, ledger, identity)
            elif word == "source":
                write_source(ledger, identity, int(numbers[0]))
                tell(network, ledger, identity)


def log(event: str, level: str = "info", **details: object) -> None:
    if level != "info":
        print(f"{event} {details}", file=sys.stderr, flush=True)


async def run(options: argparse.Namespace) -> None:
    home = Home(options.folder)
    home.make()
    identity = home.identity()
    objective = hashlib.sha256(options.swarm.encode()).digest() if options.swarm else OBJECTIVE
    ledger = Ledger.open(home.ledger, objective, QUOTA)
    listen = options.listen
    port = home.remembered_port()
    if port is not None:
        listen = listen.replace("/tcp/0", f"/tcp/{port}")
    settings = Settings([listen], options.join, lan=options.lan, upnp=options.upnp, public=options.public)
    if options.held:
        print(json.dumps({"held": True, "own": 0}), flush=True)
        await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 80)
    async with open_network(identity, ledger, settings, log) as network, trio.open_nursery() as nursery:
        home.remember_port(int(network.addresses()[0].split("/tcp/")[1].split("/")[0]))
        nursery.start_soon(keep_notifying, network, ledger, identity)
        nursery.start_soon(MissingSources(ledger, network, list, log).run)
        await obey(network, ledger, identity)
        nursery.cancel_scope.cancel()
    ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--listen", default=LOOPBACK)
    parser.add_argument("--join", action="append", default=[])
    parser.add_argument("--lan", action="store_true")
    parser.add_argument("--upnp", action="store_true")
    parser.add_argument("--swarm", default="")
    parser.add_argument("--public", action="store_true")
    parser.add_argument("--held", action="store_true")
    trio.run(run, parser.parse_args())


if __name__ == "__main__":
    main()
