"""Measure gossip: a swarm of node processes on this machine, beside a js-libp2p swarm of the same size and topology.

    .venv/bin/python scripts/gossip_bench.py [--nodes 35] [--rate 5] [--for-seconds 20] [--rounds 1] [--without-js]

Both swarms are made of one process per node on loopback, connected alike: each node dials 3 random earlier ones, so
that it has about 6 peers. After a quiet time, in which their CPU is measured, the nodes publish in turn, --rate
messages a second in all, as large as a long record (2 KB). Our nodes sign, verify and keep every record in a ledger;
the js nodes only pass the bytes on. A record is delivered when another node has stored it; its latency counts from
before it was signed. One swarm runs at a time, and their order alternates from round to round.

The js swarm needs Node.js 20 and `npm ci` in tests/interop. Exits with 1 when something was not delivered, or a node
ended before its time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import trio
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from protocol.identity import Identity
from protocol.messages import GossipRecord, encode_gossip
from protocol.records import sign_record
from scripts.gossip_bench_node import OBJECTIVE, scripted

REPOSITORY = Path(__file__).resolve().parent.parent
INTEROP = REPOSITORY / "tests" / "interop"
SWARMS = {
    "autoresearch": [sys.executable, str(REPOSITORY / "scripts" / "gossip_bench_node.py")],
    "js-libp2p": ["node", str(INTEROP / "swarm_node.mjs")],
}
HEADINGS = (
    "delivered %",
    "by gossip %",
    "p50 ms",
    "p99 ms",
    "max ms",
    "CPU ms/delivery",
    "MB (max)",
    "idle CPU % (max)",
)
DIALS = 3
STARTING_AT_ONCE = 3
START_SECONDS = 60.0
ANSWER_SECONDS = 45.0
SETTLE_SECONDS = 5.0  # for meshes to form and identification to end
QUIET_SECONDS = 40.0  # in which every one of our nodes says once that it is here
DRAIN_SECONDS = 90.0  # a record that gossip lost and no later one betrays comes with a sync of every minute
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Load:
    """What every swarm of a run is put through. `dials[i]` are the nodes that node i dials."""

    dials: tuple[tuple[int, ...], ...]
    rate: float
    messages: int
    message_bytes: int

    @property
    def nodes(self) -> int:
        return len(self.dials)


@dataclass(frozen=True)
class Figures:
    """What a swarm did. Latencies and CPU in milliseconds, idle CPU in per cent of one core, memory in MiB."""

    swarm: str
    delivered: float
    by_gossip: float
    latencies: Sequence[float]
    memory: Sequence[float]
    idle: Sequence[float]
    cpu_per_delivery: float
    logged: Counter[str]

    def percentile(self, percent: int) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else float("nan")


class NodeProcess:
    """A node's process, and the conversation with it: a JSON object per line each way."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._measured = psutil.Process(process.pid)
        self._rest = b""

    async def tell(self, **order: Any) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(order).encode() + b"\n")

    async def answer(self, patience: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next answer. Raises RuntimeError when the process ends, TooSlowError when nothing comes."""
        assert self._process.stdout is not None
        with trio.fail_after(patience):
            while b"\n" not in self._rest:
                chunk = await self._process.stdout.receive_some()
                if not chunk:
                    raise RuntimeError(f"node process {self._process.pid} ended before its time")
                self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        found = json.loads(line)
        assert isinstance(found, dict)
        return found

    def cpu_seconds(self) -> float:
        times = self._measured.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> float:
        return float(self._measured.memory_info().rss / MEBIBYTE)


def topology(nodes: int, dice: random.Random) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(dice.sample(range(node), min(node, DIALS))) for node in range(nodes))


async def measure(swarm: str, load: Load) -> Figures:
    """Start a swarm, put it through the load, and end it, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="gossip-bench-") as folder:
        async with trio.open_nursery() as nursery:
            limit = trio.CapacityLimiter(STARTING_AT_ONCE)
            nodes = await gather(partial(start, SWARMS[swarm], folder, nursery, limit) for _ in load.dials)
            try:
                await connect(nodes, load)
                return await exercise(swarm, nodes, load)
            finally:
                nursery.cancel_scope.cancel()  # which ends every process


async def start(command: list[str], folder: str, nursery: trio.Nursery, limit: trio.CapacityLimiter) -> NodeProcess:
    """A node process in this folder, ready to be told what to do."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    async with limit:
        run = partial(trio.run_process, command, cwd=folder, check=False, **pipes)
        node = NodeProcess(await nursery.start(run))
        await node.answer(START_SECONDS)
    return node


async def connect(nodes: Sequence[NodeProcess], load: Load) -> None:
    degrees = [len(dials) + sum(number in others for others in load.dials) for number, dials in enumerate(load.dials)]
    addresses: list[str] = []
    for node, dials, degree in zip(nodes, load.dials, degrees, strict=True):
        await node.tell(dial=[addresses[other] for other in dials], peers=degree)
        addresses.append((await node.answer())["address"])
    for node in nodes:
        await node.tell()
    met = [(await node.answer())["peers"] for node in nodes]
    if any(has < wanted for has, wanted in zip(met, degrees, strict=True)):  # two may have dialled each other
        raise RuntimeError(f"not all connections were made: {met} instead of {degrees}")
    await trio.sleep(SETTLE_SECONDS)


async def exercise(swarm: str, nodes: Sequence[NodeProcess], load: Load) -> Figures:
    before, begun = [node.cpu_seconds() for node in nodes], time.monotonic()
    await trio.sleep(QUIET_SECONDS)
    quiet, busy = time.monotonic() - begun, [node.cpu_seconds() for node in nodes]

    first = time.monotonic_ns() + 10**9
    moments = [first + int(number * 1e9 / load.rate) for number in range(load.messages)]
    end = moments[-1] + int(DRAIN_SECONDS * 1e9)
    for number, node in enumerate(nodes):
        own = moments[number :: load.nodes]
        expected = load.messages - len(own)
        await node.tell(moments=own, expected=expected, end=end, bytes=load.message_bytes)
    patience = (end - time.monotonic_ns()) / 1e9 + ANSWER_SECONDS
    results = await gather(partial(node.answer, patience) for node in nodes)

    latencies = [age for result in results for age in result["ages"]]
    expected = load.messages * (load.nodes - 1)
    spent = sum(node.cpu_seconds() for node in nodes) - sum(busy)
    return Figures(
        swarm=swarm,
        delivered=len(latencies) / expected,
        by_gossip=(len(latencies) - sum(result["by_sync"] for result in results)) / expected,
        latencies=latencies,
        memory=[node.memory() for node in nodes],
        idle=[100 * (after - first) / quiet for first, after in zip(before, busy, strict=True)],
        cpu_per_delivery=1000 * spent / max(1, len(latencies)),
        logged=sum((Counter(result["logged"]) for result in results), Counter()),
    )


async def gather(acts: Any) -> list[Any]:
    """The results of all, in order; they run at once."""
    acts = list(acts)
    results: list[Any] = [None] * len(acts)

    async def run(index: int) -> None:
        results[index] = await acts[index]()

    async with trio.open_nursery() as nursery:
        for index in range(len(acts)):
            nursery.start_soon(run, index)
    return results


def show(all_figures: Sequence[Figures]) -> None:
    table = Table("swarm", box=None, padding=(0, 2))
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for one in all_figures:
        table.add_row(
            one.swarm,
            f"{100 * one.delivered:.2f}",
            f"{100 * one.by_gossip:.2f}",
            f"{one.percentile(50):.1f}",
            f"{one.percentile(99):.1f}",
            f"{one.percentile(100):.1f}",
            f"{one.cpu_per_delivery:.2f}",
            f"{statistics.median(one.memory):.0f} ({max(one.memory):.0f})",
            f"{statistics.median(one.idle):.2f} ({max(one.idle):.2f})",
        )
    Console(width=140).print(table)
    for one in all_figures:
        if one.logged:  # a busy machine shows here: connections lost, streams refused
            print(f"{one.swarm} logged:", ", ".join(f"{event} {count}" for event, count in one.logged.most_common()))


async def bench(swarms: Sequence[str], load: Load, rounds: int) -> list[Figures]:
    all_figures = []
    for number in range(rounds):
        for swarm in swarms if number % 2 == 0 else reversed(swarms):
            print(f"round {number + 1}: {swarm} ...", file=sys.stderr, flush=True)
            all_figures.append(await measure(swarm, load))
            show(all_figures[-1:])
    return all_figures


def leaves(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [text for inner in error.exceptions for text in leaves(inner)]
    return [str(error) or "a node did not answer in time; is the machine too busy for so many?"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=35)
    parser.add_argument("--rate", type=float, default=5.0, help="messages a second, all nodes together")
    parser.add_argument("--for-seconds", type=float, default=20.0, help="how long they publish")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the topology")
    parser.add_argument("--without-js", action="store_true")
    options = parser.parse_args()

    swarms = list(SWARMS)
    if options.without_js:
        swarms.remove("js-libp2p")
    elif shutil.which("node") is None or not (INTEROP / "node_modules").is_dir():
        parser.error("the js swarm needs Node.js 20 and `npm ci` in tests/interop; or leave it out: --without-js")
    sample = sign_record(Identity.from_seed(os.urandom(32)), OBJECTIVE, 0, bytes(32), 0, scripted(0))
    load = Load(
        dials=topology(options.nodes, random.Random(options.seed)),
        rate=options.rate,
        messages=max(1, round(options.rate * options.for_seconds)),
        message_bytes=len(encode_gossip(GossipRecord(sample.wire()))),
    )
    print(f"{load.nodes} nodes, {load.messages} messages of {load.message_bytes} bytes at {load.rate:g}/s")
    try:
        all_figures = trio.run(bench, swarms, load, options.rounds)
    except ExceptionGroup as group:
        if group.split((RuntimeError, trio.TooSlowError))[1] is not None:
            raise
        print(*leaves(group), sep="\n", file=sys.stderr)
        return 1
    show(all_figures)
    return 0 if all(one.delivered == 1 for one in all_figures) else 1


if __name__ == "__main__":
    sys.exit(main())
