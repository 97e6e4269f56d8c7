"""How soon does a lone node find the initialisation discovery, and what does a replicating node find for it?

    .venv/bin/python scripts/first_discovery.py [--seeds 1 2 3] [--experiments 25] [--least 15]

For each seed one node starts from the naive baseline in an empty home and works until it has kept an initialisation
edit that gains at least `--least` per cent (cost-adjusted, on validation and on holdout), or has made all its
experiments. Then a second node that does no research of its own joins by invite and re-runs what was found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from swarm_here import NodeProcess, ended_afterwards

PATIENCE_SECONDS = 1200.0


def found_initialisation(board: dict[str, Any], least: float) -> dict[str, Any] | None:
    """The discovery asked for, if it is on the board."""
    for row in board["discoveries"]:
        claimed, holdout = row["claimed"], row["holdout"]
        if row["category"] != "initialisation" or claimed is None or holdout is None:
            continue
        if claimed["gain_percent"] >= least and holdout["gain_percent"] >= least:
            return dict(row)
    return None


def results(events: list[dict[str, Any]]) -> int:
    """How many experiments a log tells the end of."""
    return sum(event.get("event") in ("result", "run failed") for event in events)


def experiments_until(node: NodeProcess, record_id: str) -> int:
    """How many experiments the node had made when it made this one, itself included."""
    made = 0
    for record in node.records():
        made += record["kind"] == "experiment"
        if record["id"] == record_id:
            break
    return made


def one_seed(folder: Path, seed: int, experiments: int, least: float) -> bool:
    finder, checker = NodeProcess(folder / "finder"), NodeProcess(folder / "checker")
    with ended_afterwards(finder, checker):
        begun = time.monotonic()
        finder.start("--seed", str(seed))
        invite = finder.invite()
        found = None
        for made in range(1, experiments + 1):
            finder.wait_for("result", lambda events, made=made: results(events) >= made, PATIENCE_SECONDS)  # type: ignore[misc]
            found = found_initialisation(finder.ask("leaderboard"), least)
            if found is not None:
                break
        if found is None:
            print(f"seed {seed}: not within {experiments} experiments")
            return False
        minutes = (time.monotonic() - begun) / 60
        number = experiments_until(finder, found["id"])
        print(
            f"seed {seed}: experiment {number} ({minutes:.1f} min): {found['title']}: "
            f"claimed {found['claimed']['text']}, holdout {found['holdout']['text']}, seeds {found['seeds']}"
        )
        checker.start(invite, "--no-research")
        checker.wait_for(
            "re-run of it",
            lambda events: any(
                e.get("event") == "replication result" and e.get("title") == found["title"] for e in events
            ),
            PATIENCE_SECONDS,
        )
        report = next(
            r["body"] for r in checker.records() if r["kind"] == "replication" and r["body"]["discovery"] == found["id"]
        )
        shown = next(row for row in checker.ask("leaderboard")["discoveries"] if row["id"] == found["id"])
        effect, route = shown["replicated"]["text"], report["route"] or "-"
        print(f"         replicated: {effect}, {report['decision']}, adopted by {route}")
        return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--experiments", type=int, default=25)
    parser.add_argument("--least", type=float, default=15.0)
    options = parser.parse_args()
    good = 0
    for seed in options.seeds:
        with tempfile.TemporaryDirectory(prefix="first-discovery-") as folder:
            good += one_seed(Path(folder), seed, options.experiments, options.least)
        sys.stdout.flush()
    print(f"{good} of {len(options.seeds)} seeds")
    return 0 if good == len(options.seeds) else 1


if __name__ == "__main__":
    sys.exit(main())
