"""What a run of an objective's baseline is like on this machine, measured by real runs in the sandbox; nothing is kept.

Two runs with one seed must agree to the last bit, or no peer could audit a report. A third with another seed gives a
first estimate of the noise. The holdout is scored too, so that a judge that fails on it is found now, and not when the
first discovery is made.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from node.authoring.check import Fault
from node.execution.drawn_texts import DRAW_MEMORY, DrawnTexts
from node.execution.fork_servers import numpy_server
from node.execution.parsing.parser import SourceParser
from node.execution.prepare import prepare_data
from node.execution.run_progress import Progress
from node.execution.runs import runner_for
from node.execution.sandbox.forks import ServerLostError
from node.execution.sandbox.layers import Layers
from node.execution.worker import RunFailed
from node.ledger.outcome import Outcome
from node.objective.edits import EditError
from node.objective.limits import HostLimits
from node.objective.schema import SETTINGS, Objective
from protocol.metric import Metric

SEED, OTHER_SEED = 1, 2
SPLITS = ("train", "val", "holdout")
LEAST_S0 = 0.001  # the least that is suggested, since two runs may be equal by chance
FAR_OFF = 3.0  # advice is given where the declared s0 is this many times the suggested one, or the reverse
LONG_SHARE = 0.5  # of wall_seconds; where a run takes more, a machine half as fast would not finish

Show = Callable[[str, Progress], None]


@dataclass(frozen=True)
class Baseline:
    """What was measured. Seconds and bytes are those of the slowest and of the largest run."""

    value: float
    holdout: float
    wall_seconds: float  # scoring included
    cpu_seconds: float  # of training and examination
    tokens_per_second: float  # of that CPU time
    memory_bytes: int
    noise: float  # |Δ ln(metric)| between two seeds
    suggested_s0: float
    sandbox: str


async def measure(
    objective: Objective, layers: Layers, limits: HostLimits, show: Show
) -> tuple[Baseline | None, list[Fault]]:
    """Prepare the data in a temporary folder, run the baseline three times, and return it with what is wrong.

    Changes nothing in the objective's folder. The baseline is None when a run fails. Raises ObjectiveError when the
    data cannot be prepared.
    """
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        copy = replace(objective, data_dir=Path(folder) / "data")
        await prepare_data(copy, layers, limits, lambda *_, **__: None)
        wrong = [] if objective.draw is None else await _draw_faults(objective, objective.draw, layers, limits)
        if wrong:
            return None, wrong
        async with runner_for(
            copy, layers, Path(folder) / "weights", lambda *_, **__: None, data_bytes=limits.data_bytes
        ) as runner:
            outcomes = []
            for seed in (SEED, SEED, OTHER_SEED):
                title = f"baseline, seed {seed}"
                outcomes.append(await runner.run(objective.source, seed, partial(show, title)))
                if outcomes[-1].value is None:
                    return None, [_failed(", ".join(objective.editable), outcomes[-1])]
            holdout = await runner.examine(objective.source, OTHER_SEED, "holdout")
    if holdout.value is None:
        return None, [_failed(objective.judge or SETTINGS, holdout)]
    return _baseline(objective.measure, outcomes, holdout.value), _faults(objective, outcomes)


async def _draw_faults(objective: Objective, file: str, layers: Layers, limits: HostLimits) -> list[Fault]:
    """What is wrong with the texts: that nobody could repeat a run, or that runs or splits share what they must not."""
    drawn: list[dict[str, bytes]] = []
    for seed in (SEED, SEED, OTHER_SEED):
        texts = DrawnTexts(objective, limits.data_bytes)  # a new one each time: it keeps what was drawn
        async with numpy_server(layers, DRAW_MEMORY) as server:  # this too, since forks of one have the same addresses
            try:
                drawn.append({name: await texts.get(seed, name, server) for name in SPLITS})
            except RunFailed as failed:
                return [Fault(file, failed.log_tail)]
            except ServerLostError as lost:
                return [Fault(file, f"no worker could be started to draw it: {lost}")]
    first, again, other = drawn
    found = []
    for name in SPLITS:
        if first[name] != again[name]:
            found.append(
                Fault(
                    file,
                    f"draw({SEED}, {name!r}) gives other bytes when it is called again, so nobody could repeat a run: "
                    "take every random number from a generator seeded with seed and name, and never rely on the order "
                    "of a set",
                )
            )
        elif first[name] == other[name]:
            found.append(Fault(file, f"draw gives the same {name!r} for two seeds: draw it from the seed"))
    if len({first[name] for name in SPLITS}) < len(SPLITS):
        found.append(Fault(file, f"draw gives one text for two of {', '.join(SPLITS)}: seed by the name too"))
    return found


def _failed(file: str, outcome: Outcome) -> Fault:
    last = outcome.log_tail.strip()
    return Fault(file, f"a run of the baseline fails ({outcome.failure}); correct what it says:\n{last}")


def _baseline(metric: Metric, outcomes: list[Outcome], holdout: float) -> Baseline:
    first, _, other = (math.nan if outcome.value is None else outcome.value for outcome in outcomes)
    noise = abs(metric.difference(first, other))
    return Baseline(
        value=first,
        holdout=holdout,
        wall_seconds=max(outcome.wall_seconds for outcome in outcomes),
        cpu_seconds=max(outcome.cpu_seconds for outcome in outcomes),
        tokens_per_second=min(outcome.tokens / max(outcome.cpu_seconds, 1e-9) for outcome in outcomes),
        memory_bytes=max(outcome.peak_memory for outcome in outcomes),
        noise=noise,
        suggested_s0=float(f"{max(noise, LEAST_S0):.1g}"),
        sandbox=outcomes[0].tier,
    )


def _faults(objective: Objective, outcomes: list[Outcome]) -> list[Fault]:
    first, again, _ = outcomes
    found = []
    if (first.value, first.checkpoints) != (again.value, again.checkpoints):
        found.append(
            Fault(
                ", ".join(objective.editable),
                f"two runs with the same seed give {first.value!r} and {again.value!r}, so nobody could audit a "
                "report: take every random number from torch after torch.manual_seed, and nothing from the clock",
            )
        )
    scored = {step for step, _ in first.checkpoints}
    if scored != set(objective.checkpoints):
        missing = sorted(set(objective.checkpoints) - scored)
        found.append(
            Fault(
                objective.judge or SETTINGS,
                f"no score after steps {missing}: the judge must return checkpoint_<step> for each of rooms.steps, and "
                "the budget must be long enough to reach them (or take them out of task.checkpoints)",
            )
        )
    slowest = max(outcome.cpu_seconds for outcome in outcomes)  # not wall seconds, which other programs stretch
    if slowest > LONG_SHARE * objective.budget.wall_seconds:
        limit = objective.budget.wall_seconds
        found.append(
            Fault(SETTINGS, f"a run takes {slowest:.0f} CPU seconds, too near to wall_seconds = {limit:g}; raise that")
        )
    return found


def advice(objective: Objective, baseline: Baseline) -> str | None:
    """What to change s0 to, where the declared one is far from what was measured; None elsewhere.

    For a declared s0 of 0.01 and FAR_OFF = 3, a suggestion from 0.0034 to 0.03 gives no advice.
    """
    declared = objective.statistics.s0
    if 1 / FAR_OFF <= declared / baseline.suggested_s0 <= FAR_OFF:
        return None
    return f"s0 is {declared:g} in {SETTINGS}; from these runs {baseline.suggested_s0:g} would be nearer"


async def seed_warning(objective: Objective, baseline: Baseline | None) -> str | None:
    """What to do where the run's seed changes less than it should; None where nothing says so.

    Seen are two runs at different seeds that give one value, and a source that seeds generators without `task.seed`.
    The second needs no runs: the node seeds every run's batches itself, so values differ all the same. It does no harm
    where the run's seed is secret, since the node mixes the run into every seed there.
    """
    editable = ", ".join(objective.editable)
    if baseline is not None and baseline.noise == 0:
        return (
            f"seeds {SEED} and {OTHER_SEED} give the same {objective.metric} to the last bit, so more runs say nothing "
            f"about chance: train on task.batches, and seed what is drawn in {editable} from task.seed, or not at all"
        )
    try:
        fixed = not objective.secret_seed and await SourceParser().fixes_seed(objective.source)
    except EditError:
        return None
    if not fixed:
        return None
    return (
        f"{editable} seeds random numbers and never reads task.seed, so every run draws the same ones, and what only "
        "suits them passes for a discovery: mix the run's seed in, as in torch.manual_seed(1000 + task.seed)"
    )
