"""How long a latecomer takes to hold what a swarm knows, and what that costs on the wire.

    .venv/bin/python scripts/catch_up.py [--records 10000] [--authors 50] [--rounds 3]

A node with an empty ledger joins one that holds all; then one that lacks the last 1 %. Two processes on loopback; bytes
are those of the latecomer's TCP connections, as the kernel counted them, against the bytes of the records it lacked.
Its memory is what is resident when it holds all.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from plain_node import OBJECTIVE
from plain_swarm import PlainNode, equal, wait_for

from node.ledger.pool import Bringer
from node.ledger.store import Ledger
from protocol.identity import Identity
from protocol.records import Hypothesis, Record, sign_record

PATIENCE_SECONDS = 600.0
BROUGHT = Bringer("test", chosen=True)  # as a peer that a person named: what strangers bring has less room
MISSING_SHARE = 0.01


def make(authors: int, records: int) -> list[Record]:
    made = []
    for number in range(authors):
        identity = Identity.from_seed(hashlib.sha256(f"author {number}".encode()).digest())
        before = bytes(32)
        for seq in range(records // authors):
            reason = hashlib.sha256(f"{number} {seq}".encode()).hexdigest() * 7
            body = Hypothesis(f"idea {seq}", "optimizer", reason, None, None)
            record = sign_record(identity, OBJECTIVE, seq, before, 1_700_000_000_000, body)
            before = record.id
            made.append(record)
    return made


def fill(folder: Path, records: list[Record]) -> None:
    folder.mkdir(parents=True)
    ledger = Ledger.open(folder / "ledger.sqlite", OBJECTIVE)
    for record in records:
        ledger.add(record, BROUGHT)
    ledger.close()
    give_key(folder)


def give_key(folder: Path) -> None:
    (folder / "identity.key").write_text(hashlib.sha256(str(folder).encode()).hexdigest() + "\n")


def size(records: list[Record]) -> int:
    return sum(len(record.wire()) for record in records)


def received(pid: int) -> int:
    """Bytes that came in over the process's TCP connections that are open now."""
    listed = subprocess.run(["ss", "-tinpHO"], capture_output=True, text=True, check=True).stdout
    mine = [line for line in listed.splitlines() if f"pid={pid}," in line]
    return sum(int(found[1]) for line in mine if (found := re.search(r"bytes_received:(\d+)", line)))


def catch_up(folder: Path, full: PlainNode, records: int, needed: int) -> tuple[float, float, float]:
    """Seconds from the join until both are equal, bytes moved over bytes needed, and MiB of the latecomer's memory."""
    late = PlainNode(folder, ["--join", full.of("address")])
    late.start()
    assert wait_for(lambda: late.of("address"), PATIENCE_SECONDS), late.complaints
    begun = time.monotonic()
    assert wait_for(lambda: equal([full, late], records), PATIENCE_SECONDS), "the latecomer never caught up"
    took = time.monotonic() - begun
    assert late.process is not None
    moved, memory = received(late.process.pid), late.of("mib")
    late.stop()
    return took, moved / needed, memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--authors", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="catch-up-") as name:
        root = Path(name)
        records = make(options.authors, options.records)
        fill(root / "full", records)
        per_author = options.records // options.authors
        lacking = round(per_author * MISSING_SHARE)
        most = [record for record in records if record.seq < per_author - lacking]
        fill(root / "most", most)
        full = PlainNode(root / "full")
        full.start()
        try:
            assert wait_for(lambda: full.of("records") == len(records), PATIENCE_SECONDS), full.complaints
            for what, begins_with in (("all", []), (f"the last {lacking} of {per_author} of each author", most)):
                needed = size(records) - size(begins_with)
                rounds = []
                for number in range(options.rounds):
                    folder = root / f"late-{len(begins_with)}-{number}"
                    if begins_with:
                        shutil.copytree(root / "most", folder)
                        give_key(folder)
                    rounds.append(catch_up(folder, full, len(records), needed))
                seconds, ratios, memory = zip(*rounds, strict=True)
                took = f"{statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"
                moved = f"{statistics.median(ratios):.2f}"
                about = f"bytes moved over needed {moved}, memory {statistics.median(memory):.0f} MiB"
                print(f"lacking {what}, {needed / 1e6:.2f} MB: {took}, {about}", flush=True)
        finally:
            full.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
