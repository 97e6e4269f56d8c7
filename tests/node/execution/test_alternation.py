"""Two runs that take turns meet the same load, so that the ratio of their CPU times is that of their work."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection
from functools import partial

import pytest
import trio
import trio.testing

from node.execution.alternation import LONGEST_TURN_SECONDS, TURN_SECONDS, Alternation, Side, shares
from node.execution.pause_gate import PauseGate

PROCESSORS = (0, 1)
MOMENT = 0.001  # seconds


class Machine:
    """A machine whose load changes. `slowness`: CPU seconds for a second's work, by the time."""

    def __init__(self, slowness: Callable[[float], float]) -> None:
        self.slowness = slowness
        self.running: set[Process] = set()
        self.turns: list[Process] = []
        self.pinned: list[tuple[Process, int]] = []  # which process was to run where
        self.most = 0

    async def go_on(self) -> None:
        while True:
            await trio.sleep(MOMENT)
            for process in list(self.running):
                process.used += MOMENT * process.processor_share
                process.done += MOMENT * process.processor_share / self.slowness(trio.current_time())
                if process.done >= process.work:
                    self.running.discard(process)
                    process.ended.set()


class Process:
    """Stands in for a sandboxed process: it has `work` to do, in CPU seconds on an idle machine."""

    def __init__(self, machine: Machine, work: float, processor_share: float = 1.0) -> None:
        self.machine, self.work, self.processor_share = machine, work, processor_share
        self.used, self.done = 0.0, 0.0
        self.ended = trio.Event()

    def freeze(self) -> None:
        self.machine.running.discard(self)

    def thaw(self) -> None:
        if not self.ended.is_set() and self not in self.machine.running:
            self.machine.running.add(self)
            self.machine.most = max(self.machine.most, len(self.machine.running))
            self.machine.turns.append(self)

    def pin(self, processors: Collection[int]) -> None:
        (processor,) = processors
        self.machine.pinned.append((self, processor))

    def cpu_seconds(self) -> float:
        return self.used

    async def train(self, side: Side) -> float:
        """Train to the end in turns; returns the CPU seconds it took."""
        try:
            with side.taking_turns(self):
                await self.ended.wait()
        finally:
            side.leave()
        return side.cpu_seconds()


def alternating(gate: PauseGate | None = None) -> Alternation:
    return Alternation(PROCESSORS, 1, gate or PauseGate(), random.Random(1))


async def in_turns(machine: Machine, *work: float, gate: PauseGate | None = None) -> list[float]:
    """The CPU seconds of two processes with so much to do."""
    alternation = alternating(gate)
    taken: dict[int, float] = {}

    async def train(number: int) -> None:
        taken[number] = await Process(machine, work[number]).train(alternation.sides[number])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.go_on)
        async with trio.open_nursery() as both:
            both.start_soon(alternation.keep)
            both.start_soon(train, 0)
            both.start_soon(train, 1)
        nursery.cancel_scope.cancel()
    return [taken[0], taken[1]]


def changing(time: float) -> float:
    """A neighbour that comes and goes every one to three seconds, and makes everything half as dear again."""
    return 1.5 if math.sin(2 * time) + math.sin(3.1 * time) > 0 else 1.0


@pytest.mark.parametrize("ratio", [1.0, 1.2])
async def test_the_load_of_a_machine_has_no_part_in_the_ratio(
    autojump_clock: trio.testing.MockClock, ratio: float
) -> None:
    taken = await in_turns(Machine(changing), 8.0, 8.0 * ratio)
    assert taken[0] > 8.5, "the load was there"
    assert taken[1] / taken[0] == pytest.approx(ratio, abs=0.03)


async def test_one_at_a_time_runs_for_a_turn(autojump_clock: trio.testing.MockClock) -> None:
    machine = Machine(lambda time: 1.0)
    await in_turns(machine, 1.0, 1.0)
    assert machine.most == 1
    assert len(machine.turns) == pytest.approx(2.0 / TURN_SECONDS, abs=4)
    rounds = [machine.turns[at : at + 2] for at in range(2, len(machine.turns) - 4, 2)]
    assert all(len(set(both)) == 2 for both in rounds)
    assert len({both[0] for both in rounds}) == 2, "the order in a round is drawn"
    places = [machine.pinned[at : at + 2] for at in range(0, len(machine.pinned) - 4, 2)]
    assert all(first[1] == second[1] for first, second in places), "both on the same processor"
    assert {first[1] for first, _ in places} == set(PROCESSORS)


async def test_both_wait_until_both_can_begin_and_the_longer_goes_on_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    machine = Machine(lambda time: 1.0)
    alternation = alternating()
    first, second = Process(machine, 1.0), Process(machine, 0.2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.go_on)
        nursery.start_soon(alternation.keep)
        nursery.start_soon(first.train, alternation.sides[0])
        await trio.sleep(5)
        assert first.used < 2 * MOMENT
        await second.train(alternation.sides[1])
        assert first.used == pytest.approx(0.2, abs=2 * TURN_SECONDS)
        await first.ended.wait()
        assert trio.current_time() == pytest.approx(6.2, abs=0.1)
        nursery.cancel_scope.cancel()


async def test_a_run_that_never_begins_does_not_hold_up_the_other(autojump_clock: trio.testing.MockClock) -> None:
    machine = Machine(lambda time: 1.0)
    alternation = alternating()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.go_on)
        nursery.start_soon(alternation.keep)
        alternation.sides[1].leave()
        assert await Process(machine, 0.3).train(alternation.sides[0]) == pytest.approx(0.3, abs=0.01)
        nursery.cancel_scope.cancel()


async def test_a_process_that_sleeps_holds_up_the_other_for_a_while_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    machine = Machine(lambda time: 1.0)
    alternation = alternating()
    busy, asleep = Process(machine, 0.5), Process(machine, 1.0, processor_share=0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.go_on)
        nursery.start_soon(alternation.keep)
        nursery.start_soon(asleep.train, alternation.sides[1])
        await busy.train(alternation.sides[0])
        assert trio.current_time() < (0.5 / TURN_SECONDS + 2) * (LONGEST_TURN_SECONDS + TURN_SECONDS)
        nursery.cancel_scope.cancel()


async def test_nobody_has_a_turn_while_the_node_is_paused(autojump_clock: trio.testing.MockClock) -> None:
    machine, gate = Machine(lambda time: 1.0), PauseGate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(in_turns, machine, 1.0, 1.0, gate=gate))
        await trio.sleep(0.52)
        gate.pause()
        so_far = len(machine.turns)
        await trio.sleep(10)
        assert not machine.running
        assert len(machine.turns) == so_far
        gate.resume()
    assert len(machine.turns) > so_far
    assert trio.current_time() == pytest.approx(12.0, abs=0.3)


async def test_a_run_of_several_processes_takes_turns_with_each(autojump_clock: trio.testing.MockClock) -> None:
    machine = Machine(lambda time: 1.0)
    alternation = alternating()
    side, other = alternation.sides
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.go_on)
        nursery.start_soon(alternation.keep)
        beside = Process(machine, 5.0)
        nursery.start_soon(beside.train, other)
        for work in (0.3, 0.4):
            process = Process(machine, work)
            with side.taking_turns(process):
                await process.ended.wait()
        assert side.cpu_seconds() == pytest.approx(0.7, abs=0.01)
        assert beside.used == pytest.approx(0.7, abs=3 * TURN_SECONDS)
        nursery.cancel_scope.cancel()


def test_pairs_side_by_side_do_not_share_a_processor() -> None:
    found = shares(range(8), 3, 1)
    assert [len(share) for share in found] == [2, 2, 2]
    assert len({number for share in found for number in share}) == 6
    assert sorted(*shares({0, 3}, 1, 1)) == [0, 3]
    assert shares(range(2), 1, 2) == [()], "all of them: the kernel may as well choose"
    assert shares(range(2), 2, 2) == [(), ()]
