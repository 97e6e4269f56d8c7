"""What is a swarm worth? Real nodes on this machine, as many runs for one node, for lone ones, and for a sharing swarm.

    .venv/bin/python scripts/real_swarm.py [--nodes 8] [--runs 160] [--seeds 1 2 3] [--arms one isolated champions all]
    .venv/bin/python scripts/real_swarm.py --nodes 35 --experiments 333 --seeds 1 --arms all [--keep DIR]

Every node is the program in a process of its own, on tinylm with a smaller token budget. They are paused until all of
them are there and, where they share, have found each other. An arm ends when its nodes together have made --runs runs,
re-runs of peers' discoveries included, or --experiments experiments, or when --minutes are over.

    one        one node makes all the runs
    isolated   the nodes do not know of each other
    champions  they hear each other's discoveries, and nothing else (scripts/measured_node.py)
    all        the program as it is: every record, leases, replications

"best" is the sum of the best node's own figures, when 25, 50, 75 and 100 % of the runs were spent, "median" the
median node's; "real" is the gain of the best node's source over the baseline on fresh seeds, and on holdout data, in
per cent. "bets" are the ideas that a search went on from, "claims" the chains of them that were proven, "re-runs" the
local trials and reports, "adopted" those by which a node took over what another had found. "repeated" is the share of
experiments that another node had made on the same source. For each confirmed discovery: how many nodes heard of it and
how soon, and how many have it in their best source in the end.
"""

from __future__ import annotations

import argparse
import math
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trio
from against_plain_loop import FRESH_SEED
from lone_research import compared, holdout_gain, researcher
from rich.console import Console
from rich.table import Table
from search_bench.tables import percent
from swarm_here import NodeProcess, ended_afterwards, heard, small_objective

from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.effects import chain
from node.ledger.projections.lineage import ancestry, derivations, source_ids
from node.ledger.projections.steps import best_source, steps_of
from node.ledger.store import Ledger
from node.platform.home import Home
from node.proposers.proposer import runs_of
from protocol.identity import short
from protocol.records import Experiment, Record, Replication, open_record
from protocol.weights import weights_of

MEASURED = [sys.executable, str(Path(__file__).resolve().parent / "measured_node.py")]
ARMS = ("one", "isolated", "champions", "all")
SETTINGS = "[network]\nlan = false\n"
POLL_SECONDS = 2.0
START_SECONDS = 600.0
FRESH = 4
SHARES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Limits:
    """The budget of an arm; either runs or experiments are given."""

    runs: int | None
    experiments: int | None
    minutes: float

    def share(self, runs: float, experiments: int) -> float:
        return runs / self.runs if self.runs is not None else experiments / (self.experiments or 1)


def is_idea(record: Record) -> bool:
    """Whether this is the experiment of an idea; the claim of a chain is none."""
    return isinstance(record.body, Experiment) and not record.body.chain


def ended_at(record: Record) -> float:
    """The share of its budget at which the run of an idea was ended; 0 where none was."""
    share = record.body.ended_at if isinstance(record.body, Experiment) else None
    return share if isinstance(share, float) else 0.0


def counted(nodes: Sequence[NodeProcess]) -> tuple[float, int]:
    """Runs and experiments made by all nodes so far; a run that was ended early counts by what was made of it."""
    runs, experiments = 0.0, 0
    for node in nodes:
        path = node.home / "ledger.sqlite"
        if path.exists():
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as ledger:
                complete = ledger.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone()
                if complete:  # else the ledger is only begun
                    runs += ledger.execute("SELECT count(*) FROM runs").fetchone()[0]
                    own = ledger.execute("SELECT wire FROM records WHERE origin = 'own'")
                    experiments += sum(is_idea(open_record(wire)) for (wire,) in own)
    return runs, experiments


def made(arm: str, folder: Path, count: int, objective: Path) -> list[NodeProcess]:
    """The nodes of an arm, not yet started."""
    champions = ["--champions"] if arm == "champions" else []
    program = [*MEASURED, *champions]
    nodes = [NodeProcess(folder / f"n{n}", ["--objective", str(objective)], program=program) for n in range(count)]
    for node in nodes:
        node.home.mkdir(parents=True)
        (node.home / "swarm.toml").write_text(SETTINGS)
        Home(node.home).pause(math.inf)
    return nodes


def start(nodes: Sequence[NodeProcess], alone: bool, seed: int) -> None:
    """Start one after the other, each by the invite of an earlier one if it is not to stay alone; then let all work."""
    for number, node in enumerate(nodes):
        invite = [nodes[number // 2].invite(START_SECONDS)] if number and not alone else []
        node.start(*invite, "--seed", str(1000 * seed + number))
    for node in nodes:
        node.wait_for("listening", heard("listening"), START_SECONDS)
        if not alone:
            node.wait_for("peer", heard("peer connected"), START_SECONDS)
    for node in nodes:
        Home(node.home).resume()


def spend(nodes: Sequence[NodeProcess], limits: Limits) -> list[tuple[float, float]]:
    """Wait until the budget is spent; returns what was seen on the way: (seconds since the epoch, share spent)."""
    progress: list[tuple[float, float]] = []
    deadline = time.time() + 60 * limits.minutes
    while not progress or (progress[-1][1] < 1 and time.time() < deadline):
        time.sleep(POLL_SECONDS)
        progress.append((time.time(), limits.share(*counted(nodes))))
        assert all(node.running() for node in nodes), "a node ended by itself; its home has the log"
    return progress


@dataclass(frozen=True)
class Result:
    """The result of one arm. Gains are −J, positive is better: the best and the median node's at SHARES of the runs."""

    arm: str
    seed: int
    seconds: float
    runs: int
    experiments: int
    spent: int  # runs that went into experiments, claims of chains among them
    bets: int
    claims: int
    rerun: int
    adopted: int
    repeated: float
    best: tuple[float, ...]
    median: tuple[float, ...]
    real: float
    holdout: float


def feeds_of(nodes: Sequence[NodeProcess]) -> tuple[list[Record], list[list[Record]]]:
    """Every record that any node holds, and the own feed of each node."""
    held: dict[bytes, Record] = {}
    own = []
    for node in nodes:
        with closing(Ledger.read(node.home / "ledger.sqlite")) as ledger:
            held.update((record.id, record) for record in ledger.all_records())
            own.append(list(ledger.feed(ledger.settings.author)))
    return list(held.values()), own


def gain(feed: Sequence[Record], until: float = math.inf) -> float:
    """The sum of an author's own figures at a time (seconds since the epoch), by what it had signed by then."""
    signed = [record for record in feed if record.time <= 1000 * until]
    total = chain(step.effect for step in steps_of(signed))
    return -total.mean if total else 0.0


def repeated(records: Sequence[Record]) -> float:
    """The share of experiments that another node made too, on the same source."""
    makers: dict[tuple[bytes, bytes], set[bytes]] = {}
    for record in records:
        if isinstance(record.body, Experiment) and not record.body.chain:
            makers.setdefault((record.body.parent, record.body.fingerprint), set()).add(record.author)
    made = sum(len(authors) for authors in makers.values())
    return sum(len(authors) - 1 for authors in makers.values()) / max(1, made)


async def measured(objective: Path, folder: Path, source: bytes) -> tuple[float, float]:
    """The gain of a source over the baseline on fresh seeds, and on holdout data."""
    async with researcher(folder, objective, 1) as research:
        cached_runner = research.cached_runner
        child, seeds = cached_runner.ledger.put_blob(source), range(FRESH_SEED, FRESH_SEED + FRESH)
        effect = await compared(cached_runner, cached_runner.objective.source_id, child, seeds)
        holdout = await holdout_gain(cached_runner, child, seeds)
        return (-effect.mean if effect else math.nan), holdout


def result_of(
    arm: str,
    seed: int,
    nodes: Sequence[NodeProcess],
    progress: list[tuple[float, float]],
    seconds: float,
    objective: Path,
) -> Result:
    records, feeds = feeds_of(nodes)
    bodies = [record.body for record in records]
    gains = [gain(feed) for feed in feeds]
    leader = max(range(len(nodes)), key=lambda number: gains[number])
    with closing(Ledger.read(nodes[leader].home / "ledger.sqlite")) as ledger:
        baseline = ledger.settings.baseline
        source = ledger.get_blob(best_source(feeds[leader], baseline))
    assert source is not None
    times = [next(when for when, share in progress if share >= wanted * progress[-1][1]) for wanted in SHARES]
    then = [[gain(feed, moment) for feed in feeds] for moment in times]
    real, holdout = trio.run(measured, objective, nodes[0].home.parent / "measured", source)
    return Result(
        arm=arm,
        seed=seed,
        seconds=seconds,
        runs=round(counted(nodes)[0]),
        experiments=sum(isinstance(body, Experiment) and not body.chain for body in bodies),
        spent=sum(runs_of(body) for body in bodies if isinstance(body, Experiment)),
        bets=sum(isinstance(body, Experiment) and body.is_bet for body in bodies),
        claims=sum(isinstance(body, Experiment) and body.decision == "improved" for body in bodies),
        rerun=sum(isinstance(body, Replication) for body in bodies),
        adopted=sum(isinstance(body, Replication) and body.adopted is not None for body in bodies),
        repeated=repeated(records),
        best=tuple(map(max, then)),
        median=tuple(map(statistics.median, then)),
        real=real,
        holdout=holdout,
    )


def print_spread(nodes: Sequence[NodeProcess]) -> None:
    """Print how soon the discoveries reached the nodes, and what became of each confirmed one."""
    records, feeds = feeds_of(nodes)
    views = [discoveries(records, weights_of(records, feed[0].author)) for feed in feeds if feed]
    found = views[0] if views else []
    verdicts = [Counter(discovery.standing.verdict for discovery in view) for view in views]
    confirmed_here, refuted_here = ([count[name] for count in verdicts] or [0] for name in ("confirmed", "refuted"))
    confirmed = [one for n, one in enumerate(found) if any(view[n].standing.verdict == "confirmed" for view in views)]
    print(
        f"{len(found)} discoveries; at the median node {statistics.median(confirmed_here):.0f} confirmed, "
        f"{statistics.median(refuted_here):.0f} refuted; {len(confirmed)} confirmed at any"
    )
    heard = [times_heard(node) for node in nodes]
    waits = [waited for discovery in found if (waited := waits_of(discovery, heard))]
    if waits:
        many = statistics.median(map(len, waits))
        half, last = (statistics.median(map(of, waits)) for of in (statistics.median, max))
        slowest = max(map(max, waits))
        print(f"  medians of all: heard by {many:.0f}, half of them within {half:.1f} s, the last after {last:.1f} s")
        print(f"  no node that heard of one did so later than after {slowest:.1f} s")
    replications = [record for record in records if isinstance(record.body, Replication)]
    routes = Counter(record.body.route for record in replications if record.body.adopted is not None)
    print("  adopted " + (", ".join(f"{n} times by route {route}" for route, n in routes.items()) or "by no node"))
    origins = derivations(records)
    lineages = []
    for feed in feeds:
        best = (feed[0].author, best_source(feed, b"")) if feed else None
        lineages.append(source_ids(ancestry(origins, best)) if best else frozenset())
    for discovery in sorted(confirmed, key=lambda each: each.record.time):
        taken = [
            (record.time - discovery.record.time) / 1000
            for record in replications
            if record.body.discovery == discovery.record.id and record.body.adopted is not None
        ]
        kept = sum(discovery.claim.child in sources for sources in lineages)
        report = f"heard by {spread(waits_of(discovery, heard))}, adopted by {spread(taken)}, in the best of {kept}"
        print(f"  {discovery.claim.title}: {report}")


def waits_of(discovery: Discovery, heard: Sequence[dict[tuple[str, str], float]]) -> list[float]:
    """How long after it was signed each node that heard of it did, in seconds."""
    name = (discovery.claim.title, short(discovery.record.author))
    return [times[name] - discovery.record.time / 1000 for times in heard if name in times]


def times_heard(node: NodeProcess) -> dict[tuple[str, str], float]:
    """When the node heard of a discovery, by title and peer, in seconds since the epoch."""
    return {
        (event["title"], event["peer"]): datetime.fromisoformat(event["time"]).timestamp()
        for event in reversed(node.events())
        if event["event"] == "discovery received"
    }


def spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    return f"{len(seconds)} (median {statistics.median(seconds):.1f} s, last {max(seconds):.1f} s)"


def run_arm(arm: str, seed: int, limits: Limits, options: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory(prefix="real-swarm-") as name:
        folder = (options.keep / f"{arm}-{seed}" if options.keep is not None else Path(name)).absolute()
        objective = small_objective(folder, options.tokens)
        nodes = made(arm, folder, 1 if arm == "one" else options.nodes, objective)
        with ended_afterwards(*nodes):
            start(nodes, arm in ("one", "isolated"), seed)
            begun = time.monotonic()
            progress = spend(nodes, limits)
            seconds = time.monotonic() - begun
            for node in nodes:
                node.end(patience=60)
        if arm == "all":
            print_spread(nodes)
        return result_of(arm, seed, nodes, progress, seconds, objective)


def show(found: Sequence[Result]) -> None:
    headings = ("arm", "seed", "s", "runs", "experiments", "their runs", "bets", "claims")
    headings += ("re-runs", "adopted", "repeated %")
    points = "/".join(f"{100 * share:.0f}" for share in SHARES)
    table = Table(*headings, f"best at {points} %", f"median at {points} %", "real %", "holdout %")
    for each in found:
        counts = (each.runs, each.experiments, each.spent, each.bets, each.claims, each.rerun, each.adopted)
        gains = (each.best, each.median, (each.real,), (each.holdout,))
        shown = ["/".join(f"{percent(gain):.1f}" for gain in some) for some in gains]
        table.add_row(
            each.arm, str(each.seed), f"{each.seconds:.0f}", *map(str, counts), f"{100 * each.repeated:.0f}", *shown
        )
    Console(width=160).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--runs", type=int, help="of all nodes together (default: 160)")
    parser.add_argument("--experiments", type=int, help="of all nodes together, instead of --runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--minutes", type=float, default=math.inf, help="for each arm at most")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the nodes' homes there")
    parser.add_argument("--tokens", type=int, default=65_536, help="per run")
    options = parser.parse_args()
    runs = options.runs if options.runs or options.experiments else 160
    limits = Limits(runs, options.experiments, options.minutes)
    found = []
    for seed in options.seeds:
        for arm in options.arms:
            found.append(run_arm(arm, seed, limits, options))
            print(found[-1], flush=True)
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
