"""A table of real runs of tinylm: which edits a source has, at which seed it ran, and what came of it.

Sources are those that searches come by: walks begin at the baseline and edit it, by ideas of the catalogue and by other
values of constants. Some keep an edit if it is lower, others keep every second one whatever it does, so that the table
holds the combinations of good searches and of bad ones.

A walk follows from its number and from what its runs gave. So a recording that was interrupted begins anew, finds its
runs in the table, and goes on where it was. Runs are made in this machine's own processes, without a sandbox: all edits
are this repository's.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.objective.edits import Edit, EditError, SetConstant, apply
from node.objective.schema import Objective
from node.objective.sources import constants, read
from node.proposers.catalogue import Idea
from search_bench import forked_run
from search_bench.ranges import axis_of, is_far_enough, shown

SEEDS = (1, 2, 3)  # the last one only for what a walk kept
STEPS = 24  # edits that a walk tries
NUMERIC_SHARE = 0.4  # of these, on constants
GREEDY_SHARE = 0.6  # of the walks, which keep what is lower
TABLE = "runs.jsonl"


@dataclass(frozen=True)
class Recorded:
    """One run. edits: titles of ideas, and NAME=value, in their order from the baseline on. value: None if it failed.

    cpu_seconds: of training. curve: the mean training loss in each part of the budget; () if it failed.
    """

    edits: tuple[str, ...]
    seed: int
    value: float | None
    cpu_seconds: float
    curve: tuple[float, ...] = ()

    def line(self) -> str:
        numbers = [self.value, round(self.cpu_seconds, 3), [round(loss, 3) for loss in self.curve]]
        return json.dumps([list(self.edits), self.seed, *numbers], ensure_ascii=False)

    @classmethod
    def of_line(cls, line: str) -> Recorded:
        edits, seed, value, cpu_seconds, curve = json.loads(line)
        return cls(tuple(edits), seed, value, cpu_seconds, tuple(curve))


def read_table(folder: Path) -> list[Recorded]:
    """All runs in the table of a folder; a last line that was cut off is left out."""
    path = folder / TABLE
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [Recorded.of_line(line) for line in lines if line.endswith("\n")]


@dataclass
class Table:
    """The runs of a folder, to which more are added."""

    folder: Path
    runs: dict[tuple[tuple[str, ...], int], Recorded] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> Table:
        folder.mkdir(parents=True, exist_ok=True)
        found = read_table(folder)
        # A line that was cut off would otherwise run on into the next one.
        (folder / TABLE).write_text("".join(f"{run.line()}\n" for run in found), "utf-8")
        return cls(folder, {(run.edits, run.seed): run for run in found})

    def add(self, run: Recorded) -> None:
        self.runs[run.edits, run.seed] = run
        with (self.folder / TABLE).open("a", encoding="utf-8") as file:
            file.write(f"{run.line()}\n")


# ---- sources ---------------------------------------------------------------------------------------------------------


def edits_of(name: str, ideas: Mapping[str, Idea]) -> Sequence[Edit]:
    """The edits that an entry of `Recorded.edits` stands for. Raises KeyError for an idea that is no more."""
    constant, equals, value = name.partition("=")
    return [SetConstant(constant, value)] if equals and constant.isupper() else ideas[name].edits


def source_of(edits: Sequence[str], ideas: Mapping[str, Idea], baseline: str) -> str:
    """The source with these edits. Raises EditError, KeyError."""
    for name in edits:
        baseline = apply(baseline, edits_of(name, ideas))
    return baseline


def drawn_constant(source: str, dice: random.Random) -> str | None:
    """Another value for one constant of a source, as an entry of `Recorded.edits`; None where the draw is no change."""
    searched = [each for each in constants(read(source)) if axis_of(each) is not None]
    if not searched:
        return None
    constant = dice.choice(searched)
    axis = axis_of(constant)
    assert axis is not None
    position = math.exp(dice.uniform(math.log(axis.low), math.log(axis.high)))
    value = axis.flip(round(position) if axis.whole else position)
    return f"{constant.name}={shown(value)}" if is_far_enough(constant, axis, value) else None


# ---- walks -----------------------------------------------------------------------------------------------------------


@dataclass
class Recorder:
    """Makes the runs of walks, and puts those that are new into the table."""

    objective: Objective
    ideas: Mapping[str, Idea]
    table: Table
    made: int = 0

    def run(self, edits: tuple[str, ...], source: str, seed: int) -> Recorded:
        known = self.table.runs.get((edits, seed))
        if known is None:
            found = forked_run.run(self.objective, source, seed)
            known = Recorded(edits, seed, None, 0.0)
            if found is not None:
                known = Recorded(edits, seed, found.values[0], found.cpu_seconds, found.curve)
            self.table.add(known)
            self.made += 1
        return known

    def walk(self, number: int) -> Iterator[Recorded]:
        """The runs of one walk, in their order."""
        dice = random.Random(f"walk {number}")
        greedy = dice.random() < GREEDY_SHARE
        edits: tuple[str, ...] = ()
        source, best = self.objective.source, math.inf
        for step in range(STEPS + 1):
            tried, child = edits, source
            if step:
                name = drawn_constant(source, dice) if dice.random() < NUMERIC_SHARE else dice.choice([*self.ideas])
                try:
                    child = source if name is None else apply(source, edits_of(name, self.ideas))
                except EditError:
                    continue
                if name is None or child == source:
                    continue
                tried = (*edits, name)
            first = self.run(tried, child, SEEDS[0])
            yield first
            coin = dice.random()
            if first.value is None:
                continue
            yield self.run(tried, child, SEEDS[1])
            if first.value < best if greedy else coin < 0.5:
                edits, source, best = tried, child, first.value
                yield self.run(tried, child, SEEDS[2])
