"""The compute class, measured: how fast this machine trains the objective's baseline, at first and every few hours.

The class is that of the median of the last few measurements, so one slow hour does not change it and a lasting change
does. It knows the cached runner and where measurements are remembered, and not what a class is used for.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field

from node.ledger.outcome import Outcome
from node.objective.schema import Kind, Objective
from node.platform.hardware import ComputeClass, Hardware, compute_class
from node.platform.log import Log
from node.trials.cached_runner import CachedRunner
from node.trials.own_seeds import Use

RECHECK_SECONDS = 6 * 3600.0  # one run in six hours costs next to nothing, and a new graphics card is seen in a day
MEASUREMENTS_KEPT = 3  # whose median counts: one may be off


@dataclass
class ComputeClassEstimator:
    """Measures this machine's speed and keeps the cached runner's compute class in line with it.

    measured_at: seconds of the caller's clock; None before the first call of `due` or `measure`.
    """

    machine: Hardware
    cached_runner: CachedRunner
    log: Log
    measured_at: float | None = None
    _speeds: list[float] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        note = self.cached_runner.ledger.settings.machine_speeds
        if note is not None:
            known = json.loads(note)
            self._count = int(known["count"])  # of all there were, since each takes a seed of its own
            # Speeds on another device, or with another budget, say nothing of this one.
            if known.get("conditions", "cpu") == self.cached_runner.conditions:
                self._speeds = [float(speed) for speed in known["speeds"]]
                self._join_class()

    @property
    def known(self) -> bool:
        """Whether this home has measured its machine before."""
        return bool(self._speeds)

    def move_to(self, machine: Hardware) -> None:
        """Judge by another machine from now on: runs are made there, and not here."""
        self.machine = machine
        if self.known:
            self._join_class()
        else:
            self.cached_runner.compute_class = first_class(machine, self.cached_runner.objective.device).name

    def due(self, now: float) -> bool:
        """Whether it is time to measure again; the first call starts the clock."""
        if self.measured_at is None:
            self.measured_at = now
        return now - self.measured_at >= RECHECK_SECONDS

    async def measure(self, now: float) -> None:
        """Train the baseline once more, at a new seed, since a cached run would show nothing of the machine now.

        A run that failed measures nothing and is passed over.
        """
        self.measured_at = now
        baseline = self.cached_runner.objective.source_id
        seed = self.cached_runner.seeds.seed(Use.SPEED, baseline, baseline, self._count + 1)
        with self.cached_runner.working_on("measuring this machine"):
            outcome = await self.cached_runner.run(baseline, seed)
        self.take(outcome)

    def take(self, outcome: Outcome) -> None:
        """Count a run of the baseline as a measurement."""
        speed = self.speed(outcome)
        if outcome.value is None or speed <= 0:
            return
        self._speeds = [*self._speeds, speed][-MEASUREMENTS_KEPT:]
        self._count += 1
        note = {"count": self._count, "speeds": self._speeds, "conditions": self.cached_runner.conditions}
        self.cached_runner.ledger.settings.machine_speeds = json.dumps(note).encode()
        before = self.cached_runner.compute_class
        self._join_class()
        if len(self._speeds) == 1 or self.cached_runner.compute_class != before:
            self.log(
                "compute class",
                compute_class=self.cached_runner.compute_class,
                **speed_of(self.cached_runner.objective, statistics.median(self._speeds)),
            )

    def speed(self, outcome: Outcome) -> float:
        """Training tokens per second of the device: of CPU time on a processor, of the GPU's time where runs have one.

        Of runs that count no tokens, runs per second.
        """
        return max(1, outcome.tokens) / max(outcome.cpu_seconds, 1e-9)

    def _join_class(self) -> None:
        objective, speed = self.cached_runner.objective, statistics.median(self._speeds)
        self.cached_runner.join_class(compute_class(self.machine, objective.classes, speed, objective.device))


def speed_of(objective: Objective, speed: float) -> dict[str, float]:
    """A speed as the log shows it: tokens a second, or runs where an objective counts none."""
    if objective.kind == Kind.MODEL:
        return {"tokens_per_second": round(speed)}
    return {"runs_per_second": float(f"{speed:.3g}")}


def first_class(machine: Hardware, device: str) -> ComputeClass:
    """The class of a machine that has not been measured: named after what its runs train on."""
    return compute_class(machine, (), 0.0, device)
