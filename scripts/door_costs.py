"""What it costs to take records and messages at the door, in microseconds of CPU time each.

    .venv/bin/python scripts/door_costs.py [--rounds 200]

What is taken are the protocol's vectors, and a vector of 5,000 feeds as a large swarm's sync sends it. Each figure is
the median of seven repeats. Run it in two checkouts in turn to compare them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from protocol.feed import FeedHead
from protocol.messages import Vector, decode_gossip, decode_message, encode_message
from protocol.records import open_record, reopen_record

VECTORS = Path(__file__).resolve().parent.parent / "protocol" / "vectors"
REPEATS, FEEDS = 7, 5000


def microseconds(work: Callable[[], object], rounds: int, each: int) -> float:
    """CPU time of one of the `each` things that `work` does."""
    took = []
    for _ in range(REPEATS):
        begun = time.process_time()
        for _ in range(rounds):
            work()
        took.append((time.process_time() - begun) / rounds / each * 1e6)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    told = json.loads((VECTORS / "records.json").read_text())["records"]
    wires = [(bytes.fromhex(record["wire"]), bytes.fromhex(record["id"])) for record in told]
    messages = json.loads((VECTORS / "messages.json").read_text())
    gossip, streams = ([bytes.fromhex(case["bytes"]) for case in messages[kind]] for kind in ("gossip", "streams"))
    keys = [hashlib.sha256(b"%d" % number).digest() for number in range(FEEDS)]
    large = Vector(bytes(32), tuple(FeedHead(key, 5, key) for key in keys))
    packed = encode_message(large)
    for name, work, each in (
        ("record from a peer", lambda: [open_record(wire) for wire, _ in wires], len(wires)),
        ("record from the ledger", lambda: [reopen_record(wire, record_id) for wire, record_id in wires], len(wires)),
        ("gossip message", lambda: [decode_gossip(data) for data in gossip], len(gossip)),
        ("stream message", lambda: [decode_message(data) for data in streams], len(streams)),
    ):
        print(f"{name:24}{microseconds(work, rounds, each):10.1f} us")
    print(
        f"{'vector of 5,000 feeds':24}{microseconds(lambda: decode_message(packed), max(1, rounds // 40), 1):10.0f} us"
    )
    print(f"{'the same, encoded':24}{microseconds(lambda: encode_message(large), max(1, rounds // 40), 1):10.0f} us")


if __name__ == "__main__":
    main()
