"""How much pairs at one seed differ, by real runs: an objective's own source against some of its own ideas.

Where runs repeat, chance is all in the seed, which a pair shares: both are asked the same, say. How much of it cancels
out depends on the edit, so runs of one source at several seeds cannot tell; these pairs can.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

from node.execution.parsing.parser import SourceParser
from node.execution.run_progress import Progress
from node.execution.runs import Runs
from node.objective.edits import EditError
from node.objective.schema import Objective
from node.proposers.catalogue import Idea, ideas_in

MOST_IDEAS = 3


async def typical_pairs(
    objective: Objective,
    runner: Runs,
    baseline: Sequence[tuple[int, float]],
    seconds: float,
    show: Callable[[str, Progress], None],
) -> list[float] | None:
    """The differences, as effects, of the idea whose scatter is the middle one; None where none was run.

    baseline: seeds and the values of the objective's own source there. seconds: of the clock that all runs may take.
    Ideas that do not apply by themselves, or fail, are passed over.
    """
    parser = SourceParser(editable=objective.editable)
    ideas = [idea for path in sorted((objective.root / "ideas").glob("*.toml")) for idea in ideas_in(path)]
    found: list[list[float]] = []
    for idea in ideas:
        if len(found) == MOST_IDEAS or seconds <= 0 or not isinstance(idea, Idea):
            break
        try:
            source = await parser.apply(objective.source, idea.edits)
        except EditError:
            continue
        differences: list[float] = []
        for seed, value in baseline:
            outcome = await runner.run(source, seed, partial(show, f"{idea.title}, seed {seed}"))
            seconds -= outcome.wall_seconds
            if outcome.value is None or seconds <= 0:
                break
            differences.append(objective.measure.difference(value, outcome.value))
        if len(differences) == len(baseline):
            found.append(differences)
    return sorted(found, key=statistics.stdev)[len(found) // 2] if found else None  # large effects scatter more
