"""Simulate a swarm of thousands of nodes in this process, and print how fast discoveries travel and what that costs.

    .venv/bin/python scripts/simulate.py --nodes 1000 --minutes 30 [--churn 0.2] [--partition 5] [--loss 0.02]

The protocol is the real one (records, feeds, sync, evidence); the network, the clock and the dice are made up, and the
same seed gives the same figures. docs/scaling.md says what is modelled, and what came out.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.simulation.measures import beliefs, peak_memory, reach, traffic, until_equal
from scripts.simulation.swarm import Settings, Swarm


def options() -> Settings:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=30.0, help="of simulated time (%(default)s)")
    parser.add_argument("--records-per-node-hour", type=float, default=1.0, help="experiments (%(default)s)")
    parser.add_argument("--loss", type=float, default=0.01, help="share of gossip that does not arrive (%(default)s)")
    parser.add_argument("--churn", type=float, default=0.0, help="share of nodes that leave in an hour (%(default)s)")
    parser.add_argument("--partition", type=float, default=0.0, metavar="MINUTES", help="part the swarm in two halves")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.nodes < 4 or given.minutes <= 0 or given.records_per_node_hour <= 0:
        parser.error("a simulation needs at least 4 nodes, some time and some records")
    if not 0 <= given.loss < 1 or given.churn < 0 or not 0 <= given.partition <= given.minutes / 2:
        parser.error("loss is below 1, churn is not negative, and a partition lasts at most half the time")
    return Settings(
        given.nodes,
        given.minutes,
        given.records_per_node_hour,
        given.loss,
        given.churn,
        given.partition,
        given.seed,
    )


def show(name: str, *values: object) -> None:
    print(f"{name:<44}", *values, flush=True)


def main() -> None:
    settings = options()
    begun = time.process_time()
    swarm = Swarm(settings)
    swarm.run()
    show("nodes, simulated minutes, records", settings.nodes, settings.minutes, sum(map(len, swarm.archive.feeds)))

    travelled, bytes_sent, sync = reach(swarm), traffic(swarm), swarm.talk.tally
    show("discoveries followed", travelled.discoveries)
    show("  seconds to 50, 99, 100 % of nodes (median)", *(f"{value:.2f}" for value in travelled.median))
    show("  the slowest of them", *(f"{value:.2f}" for value in travelled.worst))
    show("kB sent per node and hour", f"{bytes_sent.total / 1000:.0f}")
    for part in ("gossip", "sync", "overhead", "presence"):
        show(f"  {part}", f"{getattr(bytes_sent, part) / 1000:.0f}")
    show("copies of a message per node", f"{swarm.gossip.copies / max(1, swarm.gossip.messages) / settings.nodes:.2f}")
    hours = settings.nodes * settings.minutes / 60
    show("sync sessions per node and hour", f"{sync.sessions / hours:.0f}")
    show("  of which brought nothing", f"{sync.idle_sessions / max(1, sync.sessions):.0%}")
    show("  bytes of vectors per session", f"{sync.vector_bytes / max(1, sync.sessions):.0f}")
    show("  records brought, and brought again", sync.records_new, sync.records_known)
    if settings.churn:
        show("times that a node left", swarm.left.sum())
    if settings.partition_minutes:
        show("seconds from the end of the partition to equal", swarm.healed)
    show("seconds from the last record to equal", f"{until_equal(swarm):.0f}")
    seen, others = beliefs(swarm)
    counts = {verdict: sum(s.verdict == verdict for s in seen) for verdict in ("open", "confirmed", "refuted")}
    show("standings", *(f"{verdict} {count}" for verdict, count in counts.items()), f"differing nodes {others}")
    show("memory, CPU time", f"{peak_memory() / 1e6:.0f} MB", f"{time.process_time() - begun:.0f} s")


if __name__ == "__main__":
    main()
