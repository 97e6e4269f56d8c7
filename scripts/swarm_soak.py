"""Let a swarm live through hours of faults: what `scripts/soak.py --swarm NODES` runs.

Every node is a process in a network namespace of its own, half of them on one switch and half on another, with its home
on a small file system of its own. One fault after the other befalls them, some at the same time: killed with -9, frozen
(a slow peer), its cable pulled, the two switches parted, its clock set a year or an hour ahead or back, its disk full.
Meanwhile all of them write. Some may run an earlier version. At the end everything is mended, and the summary says
what was lost, who ended by himself, who forked, whether all hold the same, and what memory and descriptors came to.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))

from namespaces import OPEN_PORT, World, ip, world
from plain_swarm import NODE, PlainNode, equal, lost, wait_for

START_SECONDS = 180.0
SETTLE_SECONDS = 600.0
DISK_MIB = 64
OLD_EVERY = 6
"""With an earlier version given, every sixth node runs it."""
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
CLOCKS = ("+365d", "-365d", "+3600", "-3600", "+0")
MEMORY_GROWTH = 1.25
"""Of a node's memory over the second half, in which the records only double."""
MORE_DESCRIPTORS = 24
REPORT_SECONDS = 300.0


@dataclass
class Member:
    """A node of the soak, and what is wrong with it now."""

    node: PlainNode
    space: str
    switch: str
    end: str  # the switch's end of its cable
    old: bool
    clock: Path
    ailing: bool = False
    descriptors: list[int] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)

    @property
    def ballast(self) -> Path:
        return self.node.folder / "ballast"


@dataclass(frozen=True)
class Fault:
    """Something that was begun, and how and when it ends."""

    until: float
    mend: Callable[[], None]


class Soak:
    """The swarm, its faults, and the one schedule they follow."""

    def __init__(self, members: list[Member], trunk: tuple[str, str], dice: random.Random) -> None:
        self.members, self.trunk, self.dice = members, trunk, dice
        self.counts: Counter[str] = Counter()
        self._faults: list[Fault] = []
        self._parted = False

    def _begin(self, kind: str, seconds: float, mend: Callable[[], None]) -> None:
        self.counts[kind] += 1
        self._faults.append(Fault(time.monotonic() + seconds, mend))

    def _well(self) -> Member | None:
        well = [member for member in self.members if not member.ailing and member.node.running()]
        return self.dice.choice(well) if well else None

    def strike(self) -> None:
        """Begin one fault."""
        kind = self.dice.choice(("kill", "kill", "freeze", "cable", "part", "clock", "disk"))
        if kind == "part":
            return self._part()
        member = self._well()
        if member is None or (kind in ("disk", "clock") and member.old):
            return None
        if kind == "clock":
            return self._set_clock(member)
        member.ailing = True
        begin = {"kill": self._kill, "freeze": self._freeze, "cable": self._pull, "disk": self._fill}[kind]
        begin(member)
        return None

    def _part(self) -> None:
        if self._parted:
            return
        self._parted = True
        ip("-n", self.trunk[0], "link", "set", "trunk", "down")

        def mend() -> None:
            ip("-n", self.trunk[0], "link", "set", "trunk", "up")
            self._parted = False

        self._begin("part", self.dice.uniform(20, 120), mend)

    def _kill(self, member: Member) -> None:
        member.node.kill()

        def mend() -> None:
            member.node.start()
            member.ailing = False

        self._begin("kill", self.dice.uniform(1, 15), mend)

    def _freeze(self, member: Member) -> None:
        process = member.node.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)

        def mend() -> None:
            process.send_signal(signal.SIGCONT)
            member.ailing = False

        self._begin("freeze", self.dice.uniform(5, 60), mend)

    def _pull(self, member: Member) -> None:
        ip("-n", member.switch, "link", "set", member.end, "down")

        def mend() -> None:
            ip("-n", member.switch, "link", "set", member.end, "up")
            member.ailing = False

        self._begin("cable", self.dice.uniform(10, 60), mend)

    def _fill(self, member: Member) -> None:
        try:
            with member.ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
        except OSError:
            pass  # full, as it should be

        def mend() -> None:
            member.ballast.unlink()
            member.ailing = False

        self._begin("disk", self.dice.uniform(10, 60), mend)

    def _set_clock(self, member: Member) -> None:
        """It stays so until the next time; a clock that is wrong is nothing that ends by itself."""
        member.clock.write_text(self.dice.choice(CLOCKS) + "\n")
        self.counts["clock"] += 1

    def mend(self, all_of_it: bool = False) -> None:
        """End the faults whose time is over, or all."""
        now = time.monotonic()
        for fault in [fault for fault in self._faults if all_of_it or fault.until <= now]:
            self._faults.remove(fault)
            fault.mend()

    def sample(self) -> None:
        """Note what every running node holds."""
        for member in self.members:
            process = member.node.process
            if process is None or member.ailing or not member.node.running():
                continue
            try:
                seen = psutil.Process(process.pid)
                member.descriptors.append(seen.num_fds())
                member.mebibytes.append(seen.memory_info().rss / (1 << 20))
            except psutil.Error:
                continue

    def live(self, seconds: float, every: float, write_every: float) -> None:
        """Strike, mend and write until the time is up."""
        begun = time.monotonic()
        next_strike, next_write, next_sample, next_word = begun + every, begun, begun, begun + REPORT_SECONDS
        while (now := time.monotonic()) < begun + seconds:
            self.mend()
            if now >= next_strike:
                self.strike()
                next_strike = now + self.dice.expovariate(1 / every)
            if now >= next_write and (member := self._well()) is not None:
                member.node.write(1)
                next_write = now + write_every
            if now >= next_sample:
                self.sample()
                next_sample = now + 20
            if now >= next_word:
                here = [m for m in self.members if m.node.running()]
                records = sorted({m.node.of("records") or 0 for m in here})
                print(f"{(now - begun) / 60:5.0f} min  {dict(self.counts)}  records {records[:1]} to {records[-1:]}")
                sys.stdout.flush()
                next_word = now + REPORT_SECONDS
            time.sleep(0.1)


def disk(stack: ExitStack, folder: Path) -> Path:
    """A small file system at this path, gone at the end."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "soak", str(folder)], check=True)
    stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=False)
    return folder


def members(net: World, stack: ExitStack, folder: Path, count: int, old: Path | None) -> tuple[list[Member], str, str]:
    """Start the swarm; the members and the two switches."""
    sides = [net.bridge("east"), net.bridge("west")]
    ip("-n", sides[0], "link", "add", "trunk", "type", "veth", "peer", "name", "trunk", "netns", sides[1])
    for side in sides:
        ip("-n", side, "link", "set", "trunk", "master", "switch")
        ip("-n", side, "link", "set", "trunk", "up")
    made: list[Member] = []
    for number in range(count):
        space, address, switch = net.space(f"s{number}"), f"10.0.0.{number + 1}", sides[number % 2]
        end = net.cable(switch, space, "eth", f"{address}/24")
        clock = folder / f"clock{number}"
        clock.write_text("+0\n")
        is_old = old is not None and number % OLD_EVERY == OLD_EVERY - 1
        prefix = ["ip", "netns", "exec", space]
        if FAKETIME.exists() and not is_old:
            prefix += ["env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={clock}", "FAKETIME_NO_CACHE=1"]
            prefix += ["FAKETIME_DONT_FAKE_MONOTONIC=1"]
        program = [str(old / ".venv/bin/python"), str(old / "scripts/plain_node.py")] if is_old and old else NODE
        arguments = ["--listen", f"/ip4/{address}/tcp/{OPEN_PORT}"]
        arguments += [word for other in made[-3:] for word in ("--join", str(other.node.of("address")))]
        node = PlainNode(disk(stack, folder / f"n{number}"), arguments, prefix, program=program)
        stack.callback(node.stop)
        node.start()
        assert wait_for(partial(node.of, "address"), START_SECONDS), node.complaints
        made.append(Member(node, space, switch, end, is_old, clock))
    return made, sides[0], sides[1]


def growth(values: list[float]) -> float:
    """The median of the last tenth over that of the tenth in the middle."""
    tenth = max(1, len(values) // 10)
    half = len(values) // 2
    return statistics.median(values[-tenth:]) / statistics.median(values[half : half + tenth])


def summary(soak: Soak, settled: float | None, minutes: float) -> dict[str, object]:
    nodes = [member.node for member in soak.members]
    grown = [growth(member.mebibytes) for member in soak.members if len(member.mebibytes) >= 10]
    more = [max(m.descriptors[-5:]) - min(m.descriptors[:5]) for m in soak.members if len(m.descriptors) >= 10]
    found: dict[str, object] = {
        "minutes": round(minutes, 1),
        "nodes": len(nodes),
        "of_an_earlier_version": sum(member.old for member in soak.members),
        "faults": dict(sorted(soak.counts.items())),
        "records": sorted({node.of("records") or 0 for node in nodes}),
        "equal_after_seconds": settled and round(settled, 1),
        "lost": lost(nodes),
        "forks": max((node.of("forks") or 0 for node in nodes), default=0),
        "ended_by_themselves": sum(node.ends for node in nodes) + sum(not node.running() for node in nodes),
        "mebibytes_most": round(max((m.mebibytes[-1] for m in soak.members if m.mebibytes), default=0.0), 1),
        "memory_growth_second_half": round(max(grown, default=1.0), 3),
        "descriptors_more": max(more, default=0),
    }
    found["held"] = (
        settled is not None
        and not (found["lost"] or found["forks"] or found["ended_by_themselves"])
        and max(grown, default=1.0) < MEMORY_GROWTH
        and max(more, default=0) <= MORE_DESCRIPTORS
    )
    return found


def run(options: argparse.Namespace) -> int:
    """One soak; 0 where everything held."""
    if os.geteuid() != 0:
        print("namespaces and small file systems need root: run this with sudo", file=sys.stderr)
        return 2
    if not FAKETIME.exists():
        print("libfaketime is not here (Debian: faketime): clocks stay right")
    folder = Path(tempfile.mkdtemp(prefix="swarm-soak-"))
    try:
        with world() as net, ExitStack() as stack:
            made, east, west = members(net, stack, folder, options.swarm, options.old)
            soak = Soak(made, (east, west), random.Random(options.seed))
            nodes = [member.node for member in made]
            for node in nodes:
                node.write(2)
            assert wait_for(lambda: equal(nodes, 2 * len(nodes)), SETTLE_SECONDS), "the swarm did not begin equal"
            print(f"{len(nodes)} nodes hold the same {2 * len(nodes)} records; the faults begin", flush=True)
            soak.live(60 * options.for_minutes, options.every, options.write_every)
            soak.mend(all_of_it=True)
            settled = wait_for(lambda: all(node.running() for node in nodes) and equal(nodes), SETTLE_SECONDS)
            found = summary(soak, settled, options.for_minutes)
            for member in made:
                if not member.node.running():
                    print(member.node.folder.name, *member.node.complaints[-20:], sep="\n  ")
            if settled is None:
                for node in nodes:
                    print(node.folder.name, node.state)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found, indent=1))
    return 0 if found["held"] else 1
