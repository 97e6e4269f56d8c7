"""Kill a working node with SIGKILL again and again and check that nothing it had is lost.

    .venv/bin/python scripts/kill_loop.py [--kills 10] [--seed 1] [--trained]

Two nodes on loopback, whose runs are those of a command of no consequence, which takes a moment, so that much is
written; with --trained they are small trainings of tinylm. A is killed at random moments and at chosen ones (while a
run goes on, right after a record was made, right after a peer connected), B is its peer. After every restart: each
record A had listed is still there, A's feed has no gap and no fork, and its workspace is a clean git repository on
branch `best`.
"""

from __future__ import annotations

import argparse
import itertools
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from swarm_here import NodeProcess, command_objective, ended_afterwards, heard, small_objective

PATIENCE_SECONDS = 300.0  # a restarted node may first re-run a claim before it has something of its own
TOKENS = 16_384
MOMENTS = ("random", "run", "commit", "sync")


def feed_problems(records: list[dict[str, Any]]) -> list[str]:
    """Gaps and broken links in any feed among the records."""
    feeds: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        feeds.setdefault(record["author"], []).append(record)
    problems = []
    for author, feed in feeds.items():
        feed.sort(key=lambda record: int(record["seq"]))
        if [record["seq"] for record in feed] != list(range(len(feed))):
            problems.append(f"gap in the feed of {author}")
        for before, after in itertools.pairwise(feed):
            if after["prev"] != before["id"]:
                problems.append(f"broken link in the feed of {author} at {after['seq']}")
    return problems


def workspace_problems(home: Path) -> list[str]:
    git = ["git", "-C", str(home / "workspace")]
    problems = []
    status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    if status.returncode or status.stdout.strip():
        problems.append(f"workspace not clean: {status.stdout or status.stderr}".strip())
    branch = subprocess.run([*git, "rev-parse", "--abbrev-ref", "HEAD"], capture_output=True, text=True).stdout.strip()
    if branch != "best":
        problems.append(f"workspace is on {branch!r}")
    if subprocess.run([*git, "fsck", "--no-dangling"], capture_output=True).returncode:
        problems.append("git fsck finds damage")
    return problems


def wait_for_moment(node: NodeProcess, moment: str, since: int, rng: random.Random) -> None:
    """Come back when it is time to kill."""
    if moment == "commit":
        made = heard("result", "run failed", "kept", "replication result")
        node.wait_for(moment, made, PATIENCE_SECONDS, since)
    elif moment == "sync":
        node.wait_for(moment, heard("peer connected"), 60, since)
        time.sleep(rng.uniform(0, 0.5))
    elif moment == "run":
        # A node whose small objective has no idea left has nothing of its own to run.
        node.wait_for(moment, heard("hypothesis", "replication", "out of ideas"), PATIENCE_SECONDS, since)
        time.sleep(rng.uniform(0.2, 3.0))
    else:
        time.sleep(rng.uniform(1.0, 20.0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trained", action="store_true", help="with runs of tinylm")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill-loop-") as folder:
        objective = small_objective(Path(folder), TOKENS) if options.trained else command_objective(Path(folder))
        killed, peer = NodeProcess(Path(folder) / "a"), NodeProcess(Path(folder) / "b")
        with ended_afterwards(killed, peer):
            peer.start("--objective", str(objective), "--seed", "2")
            invite = peer.invite()
            problems: list[str] = []
            for number in range(options.kills):
                moment = MOMENTS[number % len(MOMENTS)]
                since = len(killed.events())
                killed.start(invite)
                wait_for_moment(killed, moment, since, rng)
                began = (killed.home / "ledger.sqlite").exists()
                listed = {record["id"] for record in killed.records()} if began else set()
                killed.end(signal.SIGKILL)
                found = check_restart(killed, invite, listed)
                problems += found
                verdict = "; ".join(found) or "nothing lost"
                print(f"kill {number + 1:2} at {moment:6} with {len(listed):3} records: {verdict}")
                sys.stdout.flush()
    print(f"{options.kills} kills, {len(problems)} problems")
    return 1 if problems else 0


def check_restart(node: NodeProcess, invite: str, listed: set[str]) -> list[str]:
    """Restart the node for a moment and look at what it holds."""
    since = len(node.events())
    node.start(invite)
    node.wait_for("restart", heard("listening"), 120, since)
    records = node.records()
    problems = feed_problems(records)
    lost = listed - {record["id"] for record in records}
    if lost:
        problems.append(f"{len(lost)} records lost")
    if node.ask("status")["forks"]:
        problems.append("a feed is forked")
    problems += workspace_problems(node.home)
    node.end(signal.SIGINT)
    return problems


if __name__ == "__main__":
    sys.exit(main())
