"""Do a node of an earlier version and one of this version exchange records and adopt each other's discoveries?

    .venv/bin/python scripts/versions_together.py OLD_CHECKOUT [--objective template] [--seconds 240]

OLD_CHECKOUT is a checkout of an earlier version with its own `.venv` (`scripts/set_up.sh` makes it). An old node begins
its version's objective, a new one joins by its invite, and both work until each has adopted something of the other's
or the time is up. Printed are each node's records, what it holds of the other's, and what was adopted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from swarm_here import NodeProcess, ended_afterwards


def adoptions(node: NodeProcess) -> list[dict[str, Any]]:
    """The events by which this node told of an adoption."""
    return [event for event in node.events() if event.get("event") == "adopted"]


def report(name: str, node: NodeProcess) -> None:
    """Print what a node's ledger and log hold."""
    by_author: dict[str, Counter[str]] = {}
    for record in node.records():
        by_author.setdefault(record["author"][-6:], Counter())[record["kind"]] += 1
    print(f"{name}:")
    for author, kinds in sorted(by_author.items()):
        print(f"  records by …{author}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    for event in adoptions(node):
        print(
            f"  adopted {event.get('title')!r}: "
            + ", ".join(f"{k} {event[k]}" for k in ("gain", "effect") if k in event)
        )
    refused = [event for event in node.events() if event.get("event") == "refused"]
    print(f"  refused: {len(refused)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a checkout of an earlier version, set up")
    parser.add_argument("--objective", default="template")
    parser.add_argument("--seconds", type=float, default=240.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="versions-") as name:
        program = [str(options.old.resolve() / ".venv" / "bin" / "python"), "-m", "node"]
        old = NodeProcess(Path(name) / "old", ["--objective", options.objective, "--seed", "1"], program=program)
        new = NodeProcess(Path(name) / "new", ["--seed", "2"])
        with ended_afterwards(old, new):
            old.start()
            new.start(old.invite())
            end = time.monotonic() + options.seconds
            while time.monotonic() < end and not (adoptions(old) and adoptions(new)):
                time.sleep(2.0)
            report("the old node", old)
            report("the new node", new)
            print("each has adopted of the other" if adoptions(old) and adoptions(new) else "not both have adopted")


if __name__ == "__main__":
    main()
