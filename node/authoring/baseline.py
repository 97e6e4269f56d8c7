"""What a run of an objective's baseline is like on this machine, measured by real runs in the sandbox; nothing is kept.

Where runs repeat, two with one seed must agree to the last bit, or no peer could audit a report. Three runs at three
seeds, and up to eight where they are short, tell the noise within bounds. Where there is a holdout it is scored too, so
that a judge that fails on it is found now, and not when the first discovery is made.
"""

from __future__ import annotations

import math
import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from node.authoring.fault import Fault
from node.authoring.noise import LEAST_VALUES, MOST_VALUES, SURE, bounded, pair_noise, rounded_up
from node.authoring.paired import typical_pairs
from node.execution.drawn_texts import DRAW_MEMORY, DrawnTexts
from node.execution.fork_servers import numpy_server
from node.execution.parsing.parser import SourceParser
from node.execution.prepare import prepare_data
from node.execution.run_progress import Progress
from node.execution.runs import runner_for
from node.execution.sandbox.forks import ServerLostError
from node.execution.sandbox.layers import Layers
from node.execution.verdict import JUDGE_FAILED
from node.execution.worker import RunFailed
from node.ledger.outcome import Outcome
from node.network.downloads.store import DownloadStore
from node.objective.edits import EditError
from node.objective.limits import HostLimits, gpus_for
from node.objective.schema import SETTINGS, Kind, Objective
from node.trials.statistics import MAX_NOISE
from protocol.metric import Scale
from protocol.records import Failure

SEED, OTHER_SEED = 1, 2  # of the texts that are drawn to be compared
LARGEST_SEED = 2**31 - 1
MORE_SECONDS = 60.0  # within which all runs end, where there are more than it takes
SPLITS = ("train", "val", "holdout")
LEAST_S0 = 0.001  # the least that is suggested, since runs may be equal by chance
FAR_OFF = 3.0  # a declared s0 is lowered where it is more than this many times what the noise is hardly above,
ENOUGH_TO_LOWER = 6  # and so many runs say so: fewer that are near each other by chance would make noise a discovery
LONG_SHARE = 0.5  # of wall_seconds; where a run takes more, a machine half as fast would not finish

Show = Callable[[str, Progress], None]


@dataclass(frozen=True)
class Baseline:
    """What was measured. CPU seconds and bytes are those of the slowest and of the largest run."""

    value: float
    holdout: float | None  # None where nothing is held out
    wall_seconds: float  # of the quickest run, scoring included
    cpu_seconds: float  # of training and examination
    tokens_per_second: float  # of that CPU time
    memory_bytes: int
    noise: float  # standard deviation of a pair's difference, as an effect
    least_noise: float  # what it hardly is below,
    most_noise: float  # and above
    suggested_s0: float  # the upper bound as objective.toml has it: of a linear metric in its units
    runs: int  # from which the noise was worked out
    seeds: tuple[int, ...]  # theirs
    paired: bool  # whether the noise is that of pairs at one seed with the objective's own ideas
    sandbox: str


async def measure(
    objective: Objective, layers: Layers, limits: HostLimits, show: Show, store: DownloadStore, seeds: Sequence[int]
) -> tuple[Baseline | None, list[Fault]]:
    """Prepare the data in a temporary folder, make runs of the baseline, and return it with what is wrong.

    store: where the files lie from which data are made. seeds: MOST_VALUES of them, of which the first are taken, so
    that other seeds tell something new; see fresh_seeds. Changes nothing in the objective's folder. The baseline is
    None when a run fails. Raises ObjectiveError when the data cannot be prepared.
    """
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        copy = replace(objective, data_dir=Path(folder) / "data")
        await prepare_data(copy, layers, limits, lambda *_, **__: None, store.paths(objective.downloads))
        wrong = [] if objective.draw is None else await _draw_faults(objective, objective.draw, layers, limits)
        if wrong:
            return None, wrong
        gpus, _ = gpus_for(objective, limits)
        async with runner_for(
            copy,
            layers,
            Path(folder) / "weights",
            lambda *_, **__: None,
            data_bytes=limits.data_bytes,
            gpus=gpus,
        ) as runner:
            outcomes: list[Outcome] = []
            planned = [*seeds[:1], *seeds] if repeats(objective) else list(seeds)
            for seed in planned:
                if len(seeds) - len(planned) + len(outcomes) >= LEAST_VALUES and _long(outcomes):
                    break
                title = f"baseline, seed {seed}"
                outcomes.append(await runner.run(objective.source, seed, partial(show, title)))
                if outcomes[-1].value is None:
                    return None, [_failed(objective, outcomes[-1])]
            pairs = None
            values = [outcome.value or 0.0 for outcome in outcomes[1:]]
            if repeats(objective) and len(set(values)) > 1:
                left = MORE_SECONDS - math.fsum(outcome.wall_seconds for outcome in outcomes)
                here = list(zip(seeds, values, strict=False))
                pairs = await typical_pairs(objective, runner, here, left, show)
            holdout = None
            if objective.judge is not None:
                holdout = await runner.examine(objective.source, seeds[0], "holdout")
    if objective.judge is not None and (holdout is None or holdout.value is None):
        return None, [_failed(objective, holdout or outcomes[-1], "scoring its holdout")]
    return _baseline(objective, outcomes, seeds, pairs, holdout.value if holdout else None), _faults(
        objective, outcomes
    )


def fresh_seeds() -> tuple[int, ...]:
    """Seeds at random, so that whoever checks twice has seen twice as many runs."""
    return tuple(random.SystemRandom().sample(range(1, LARGEST_SEED + 1), MOST_VALUES))


def _long(outcomes: Sequence[Outcome]) -> bool:
    """Whether one more run would take all of them beyond MORE_SECONDS."""
    taken = [outcome.wall_seconds for outcome in outcomes]
    return math.fsum(taken) + max(taken) > MORE_SECONDS


def repeats(objective: Objective) -> bool:
    """Whether runs at one seed end in the same numbers."""
    return objective.measure.spread == 0


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


def _failed(objective: Objective, outcome: Outcome, what: str = "a run of the baseline") -> Fault:
    """Why a run failed, under the file that is to blame."""
    last, budget = outcome.log_tail.strip(), objective.budget
    if outcome.failure == Failure.TIMEOUT and not last:
        seconds = "" if budget.seconds is None else f"seconds = {budget.seconds:g} and "
        limits = f"{seconds}wall_seconds = {budget.wall_seconds:g}"
        return Fault(SETTINGS, f"{what} did not end within its budget ({limits}); raise these, or make it do less")
    by_judge = objective.judge is not None and last.startswith(JUDGE_FAILED)
    if by_judge:
        file = str(objective.judge)
    else:
        file = ", ".join(objective.editable) if objective.command is None else objective.command.run or SETTINGS
    return Fault(file, f"{what} fails ({outcome.failure}); correct what it says:\n{last}")


def _baseline(
    objective: Objective,
    outcomes: list[Outcome],
    seeds: Sequence[int],
    pairs: Sequence[float] | None,
    holdout: float | None,
) -> Baseline:
    metric = objective.measure
    values = [math.nan if outcome.value is None else outcome.value for outcome in outcomes]
    apart = values[1:] if repeats(objective) else values  # at seeds of their own
    noise = pair_noise(metric, apart) if pairs is None else bounded(statistics.stdev(pairs), len(pairs))
    return Baseline(
        value=values[0],
        holdout=holdout,
        wall_seconds=min(outcome.wall_seconds for outcome in outcomes),  # the others started servers, or met load
        cpu_seconds=max(outcome.cpu_seconds for outcome in outcomes),
        tokens_per_second=min(outcome.tokens / max(outcome.cpu_seconds, 1e-9) for outcome in outcomes),
        memory_bytes=max(outcome.peak_memory for outcome in outcomes),
        noise=noise.deviation,
        least_noise=noise.least,
        most_noise=noise.most,
        suggested_s0=min(rounded_up(max(noise.most, LEAST_S0) * metric.unit), MAX_NOISE * metric.unit),
        runs=len(apart),
        seeds=tuple(seeds[: len(apart)]),
        paired=pairs is not None,
        sandbox=outcomes[0].tier,
    )


def _faults(objective: Objective, outcomes: list[Outcome]) -> list[Fault]:
    first, again = outcomes[:2]
    model = objective.kind == Kind.MODEL
    where = "torch after torch.manual_seed" if model else "a generator seeded from task.seed, or from a fixed seed"
    found = []
    if repeats(objective) and (first.value, first.checkpoints) != (again.value, again.checkpoints):
        found.append(
            Fault(
                ", ".join(objective.editable),
                f"two runs with the same seed give {first.value!r} and {again.value!r}, so nobody could audit a "
                f"report: take every random number from {where}, and nothing from the clock",
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
    budget = objective.budget
    # Not wall seconds, which other programs stretch; but what computes on several processors has more CPU seconds.
    slowest = max(min(outcome.cpu_seconds, outcome.wall_seconds) for outcome in outcomes)
    if budget.seconds is None and slowest > LONG_SHARE * budget.wall_seconds:
        limit = budget.wall_seconds
        found.append(
            Fault(SETTINGS, f"a run takes {slowest:.0f} CPU seconds, too near to wall_seconds = {limit:g}; raise that")
        )
    return found


def advice(objective: Objective, baseline: Baseline) -> str | None:
    """What to change, where the runs show that something would be better; None elsewhere."""
    metric = objective.measure
    if baseline.noise > MAX_NOISE:
        most = f"{MAX_NOISE * metric.unit:g}" if metric.scale == Scale.LINEAR else f"{100 * MAX_NOISE:g} %"
        return (
            f"{_of_what(baseline)} differ by more than s0 may be ({most}), so only gains well above it are told from "
            f"chance: measure several times within a run and report the median, or measure something larger"
            + (", or let minimum_effect be larger" if metric.scale == Scale.LINEAR else "")
        )
    measured = advised_s0(objective, baseline)
    if measured is None or _too_small(objective, baseline):  # that is a fault
        return None
    return f"s0 is {_declared(objective):g} in {SETTINGS}; {measured:g} would do, and smaller effects could be told"


def advised_s0(objective: Objective, baseline: Baseline) -> float | None:
    """The s0 to declare, where the runs show that the declared one is wrong; None elsewhere.

    It is raised where the noise is clearly above it, and lowered only by ENOUGH_TO_LOWER runs that say it is FAR_OFF;
    never by pairs with a few ideas, since others may differ by more.
    """
    enough = baseline.runs >= ENOUGH_TO_LOWER and not baseline.paired
    far = enough and _declared(objective) > FAR_OFF * baseline.suggested_s0
    return baseline.suggested_s0 if far or _too_small(objective, baseline) else None


def noise_faults(objective: Objective, baseline: Baseline) -> list[Fault]:
    """That the declared s0 is clearly too small, so that chance would pass for discoveries."""
    if not _too_small(objective, baseline):
        return []
    low, _ = _bounds(objective, baseline)
    says = (
        f"s0 is {_declared(objective):g}, and {_of_what(baseline)} differ by more: their standard deviation is "
        f"above {low}, so chance would pass for discoveries; declare s0 = {baseline.suggested_s0:g}"
    )
    at = f" for the scale {objective.scale}" if objective.scale else ", or let `check --fix` write it"
    return [Fault(SETTINGS, says + at)]


def noise_text(objective: Objective, baseline: Baseline) -> str:
    """How much runs of one source differ, how sure that is, and what it says of the declared s0."""
    low, high = _bounds(objective, baseline)
    declared, unit = _declared(objective), objective.measure.unit
    if _too_small(objective, baseline):
        says = f"is too small, {baseline.suggested_s0:g} is on the safe side"
    elif declared < baseline.least_noise * unit:
        says = "is below that, and the most that it may be"
    else:
        says = "agrees with that" if declared <= baseline.most_noise * unit else "is above that"
    return (
        f"{_of_what(baseline)} differ in {objective.metric} by {_shown(objective, baseline.noise)} (standard "
        f"deviation; between {low} and {high}, {SURE}), from {baseline.runs} {'pairs' if baseline.paired else 'runs'} "
        f"at seeds drawn at random: "
        f"s0 = {declared:g} {says}"
    )


def _of_what(baseline: Baseline) -> str:
    return "pairs of the baseline and an own idea" if baseline.paired else "two runs of one source"


def _too_small(objective: Objective, baseline: Baseline) -> bool:
    """Whether the declared s0 is clearly below the noise, and can be raised. s0 = 0.02: by a lower bound of 0.032."""
    declared = _declared(objective)
    return declared < baseline.least_noise * objective.measure.unit and declared < baseline.suggested_s0


def _declared(objective: Objective) -> float:
    """s0 as objective.toml has it, without what the division by the unit left in its last digits."""
    return float(f"{objective.statistics.s0 * objective.measure.unit:.12g}")


def _bounds(objective: Objective, baseline: Baseline) -> tuple[str, str]:
    return _shown(objective, baseline.least_noise), _shown(objective, baseline.most_noise)


def _shown(objective: Objective, effect: float) -> str:
    linear = objective.measure.scale == Scale.LINEAR
    return f"{effect * objective.measure.unit:.2g}" if linear else f"{100 * effect:.2g} %"


async def seed_warning(objective: Objective, baseline: Baseline | None) -> str | None:
    """What to do where the run's seed changes less than it should; None where nothing says so.

    Seen are runs at different seeds that give one value, and a source that seeds generators without `task.seed`.
    The second needs no runs: the node seeds every run's batches itself, so values differ all the same. It does no harm
    where the run's seed is secret, since the node mixes the run into every seed there.
    """
    editable = ", ".join(objective.editable)
    if baseline is not None and baseline.noise == 0 and objective.kind != Kind.MODEL:
        return _without_chance(objective, baseline)
    if baseline is not None and baseline.noise == 0:
        return (
            f"{baseline.runs} seeds give the same {objective.metric} to the last bit, so more runs say nothing "
            f"about chance: train on task.batches, and seed what is drawn in {editable} from task.seed, or not at all"
        )
    try:
        fixed = (
            objective.kind == Kind.MODEL
            and not objective.secret_seed
            and await SourceParser().fixes_seed(objective.source)
        )
    except EditError:
        return None
    if not fixed:
        return None
    return (
        f"{editable} seeds random numbers and never reads task.seed, so every run draws the same ones, and what only "
        "suits them passes for a discovery: mix the run's seed in, as in torch.manual_seed(1000 + task.seed)"
    )


def _without_chance(objective: Objective, baseline: Baseline) -> str:
    """What to do where a command or a program gives one value at every seed."""
    seeds = f"{baseline.runs} seeds give the same {objective.metric} to the last bit"
    command = objective.command
    if command is None:
        return f"{seeds}: draw what is asked from the run's seed, or every run says the same"
    return (
        f"{seeds}, so one run says as much as many. If that is as it should be, all is well; if the program draws "
        f"random numbers, let it take its seed from {command.seed_variable}, or name its place under command.seed"
    )
