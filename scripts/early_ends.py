"""Which runs can be ended early by their loss, and what is lost by it? tinylm's known ideas, recorded and replayed.

    .venv/bin/python scripts/early_ends.py FOLDER [--tokens 65536]

Every idea of tinylm's catalogue that applies is run to the end on the baseline and on a parent that has some of them,
with the seed of its parent's run, in this process. Values and loss curves are kept in FOLDER, a line a run, so that a
second start goes on; on one core it takes about ten minutes. Then rules are replayed on them in random orders: how many
runs each ends, how many gains it loses, of the metric and with the cost counted, and what of the CPU time it saves.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from in_process import trained, value

from node.execution.run_progress import Progress, RunProgress, part_at
from node.ledger.outcome import CurvePoint
from node.ledger.screenings import Screening
from node.objective.edits import EditError, apply, fingerprint
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.proposers.catalogue import Idea, read_ideas
from node.trials.early_end import CONTROL_EVERY, CostCredit, EarlyEnd, behind_at

TINYLM = Path(__file__).resolve().parent.parent / "objectives" / "tinylm"
PARENTS = {  # what each has of the catalogue, and the seed of its runs
    "the baseline": ((), 1),
    "a better one": (("LeCun initialisation, embeddings 0.02", "Rotary positions, base 100", "Squared ReLU"), 2),
}
NO_CREDIT = CostCredit(0.0, 0.0)
LEAST_GAIN = 0.2  # per cent; less is none, and to lose it no loss
SHARES, BEHIND, ORDERS = (0.25, 0.375, 0.5, 0.75), (0.01, 0.02, 0.05), 40
ITSELF = ""  # the title of a parent's own run


@dataclass(frozen=True)
class Recorded:
    """A run that went to its end. title: of the idea, ITSELF for the parent itself. value: None where it failed."""

    parent: str
    category: str
    title: str
    value: float | None
    cpu_seconds: float
    curve: tuple[CurvePoint, ...]


def run_of(objective: Objective, source: str, seed: int) -> tuple[float | None, float, tuple[CurvePoint, ...]]:
    """The value of a run in this process, None where it fails; its CPU seconds, and its curve."""
    progress, part, begun = RunProgress(b""), [0, 0.0, 0], time.process_time()

    def told(share: float, reported: Any) -> None:
        loss = float(reported)
        if not math.isfinite(loss):
            raise ArithmeticError(f"the loss is {loss}")
        if part_at(share) != part[0]:
            part[:] = part_at(share), 0.0, 0
        part[1:] = part[1] + loss, part[2] + 1
        progress.note(Progress(share, part[1] / part[2], 0.0, "train"))

    try:
        found: float | None = value(objective, trained(objective, source, seed, report=told), seed)
    except Exception as error:  # whatever a source does
        print(f"  {type(error).__name__}: {error}", flush=True)
        found = None
    return found, time.process_time() - begun, tuple(progress.curve)


def children(parent: str, ideas: Sequence[Idea]) -> Iterator[tuple[Idea, str]]:
    """The ideas that change this source, and what they make of it."""
    known = {fingerprint(parent)}
    for idea in ideas:
        try:
            child = apply(parent, idea.edits)
        except EditError:
            continue
        if fingerprint(child) not in known:
            known.add(fingerprint(child))
            yield idea, child


def record(objective: Objective, path: Path) -> None:
    """Make all runs that the file does not have, those of each parent after its own, and add each to it."""
    ideas = read_ideas(TINYLM / "ideas")
    by_title = {idea.title: idea for idea in ideas}
    known = {(run.parent, run.title) for run in recorded(path)}
    for parent, (titles, seed) in PARENTS.items():
        source = objective.source
        for title in titles:
            source = apply(source, by_title[title].edits)
        runs = [("", ITSELF, source), *((idea.category, idea.title, it) for idea, it in children(source, ideas))]
        for category, title, text in runs:
            if (parent, title) in known:
                continue
            run = Recorded(parent, category, title, *run_of(objective, text, seed))
            with path.open("a") as file:
                file.write(json.dumps(asdict(run)) + "\n")
            print(f"{parent}: {title or 'itself'}: {run.value} in {run.cpu_seconds:.1f} CPU s", flush=True)


def recorded(path: Path) -> list[Recorded]:
    """The runs of a file; none where there is no such file."""
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    # In this process cost is not measured on the way: training takes as much of each part of a budget.
    for run in found:
        run["curve"] = tuple(CurvePoint(share, loss, share * run["cpu_seconds"]) for share, loss, *_ in run["curve"])
    return [Recorded(**run) for run in found]


# ---- replaying -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """When a run is ended: where it is so far behind at this share of the budget, or by the node's own rule."""

    name: str
    share: float = 0.0
    behind: float = 0.0  # ln(loss / parent's loss)
    credit: CostCredit = NO_CREDIT

    def ends_at(self, parent: Recorded, run: Recorded, finished: Sequence[Screening], control: bool) -> float | None:
        """The share at which it ends a run; None where it lets it go on."""
        if not self.share:
            watch = EarlyEnd(parent.curve, finished, self.credit, control)
            ends = (point.share for number, point in enumerate(run.curve) if watch.is_due(run.curve[: number + 1]))
            return next(ends, None)
        at = behind_at(self.share, parent.curve, run.curve, NO_CREDIT)
        return self.share if at is not None and at > self.behind else None


@dataclass
class Replayed:
    """What came of a rule. lost: the gains of runs that were ended, in per cent; with_cost: with the cost counted."""

    ended: int = 0
    controls: int = 0
    lost: list[float] = field(default_factory=list)
    with_cost: list[float] = field(default_factory=list)
    saved: float = 0.0  # CPU seconds


def gain(parent: Recorded, run: Recorded, credit: CostCredit = NO_CREDIT) -> float:
    """By how many per cent a run is better than its parent."""
    assert parent.value is not None
    assert run.value is not None
    effect = math.log(run.value / parent.value) - credit.of(parent.cpu_seconds, run.cpu_seconds)
    return -100 * math.expm1(effect)


def replay(
    rule: Rule, parents: Mapping[str, Recorded], ideas: Sequence[Recorded], credit: CostCredit, order: random.Random
) -> Replayed:
    """The runs in a random order, as a node meets them: what was seen to its end teaches the rule."""
    found, finished = Replayed(), defaultdict[str, list[Screening]](list)
    for run in order.sample(list(ideas), len(ideas)):
        parent = parents[run.parent]
        gained, with_cost = gain(parent, run), gain(parent, run, credit)
        control = order.random() < 1 / CONTROL_EVERY
        end = rule.ends_at(parent, run, finished[run.category], control)
        if end is not None:
            found.ended += 1
            found.saved += run.cpu_seconds * (1 - end)
            if gained > LEAST_GAIN:
                found.lost.append(gained)
            if with_cost > LEAST_GAIN:
                found.with_cost.append(with_cost)
            continue
        watch = EarlyEnd(parent.curve, finished[run.category], rule.credit, control)
        watch.is_due(run.curve)
        found.controls += watch.losing
        finished[run.category].append(Screening(watch.behind, gain(parent, run, rule.credit) > LEAST_GAIN))
    return found


def parents_of(runs: Sequence[Recorded]) -> dict[str, Recorded]:
    """Each parent's own run, at the median cost of its ideas: the very first run of a process loads more than it."""
    found = {}
    for own in (run for run in runs if run.title == ITSELF):
        cost = median(run.cpu_seconds for run in runs if run.parent == own.parent)
        curve = tuple(point._replace(cost=point.share * cost) for point in own.curve)
        found[own.parent] = replace(own, cpu_seconds=cost, curve=curve)
    return found


def report(runs: Sequence[Recorded], credit: CostCredit) -> None:
    """What each rule would have ended, lost and saved: means of ORDERS orders of the runs."""
    ideas = [run for run in runs if run.title != ITSELF and run.value is not None]
    parents = parents_of(runs)
    gains = [sum(gain(parents[run.parent], run, cost) > LEAST_GAIN for run in ideas) for cost in (NO_CREDIT, credit)]
    total = math.fsum(run.cpu_seconds for run in ideas)
    print(f"{len(ideas)} runs to the end, {total:.0f} CPU seconds; gains of more than {LEAST_GAIN} %: {gains[0]},")
    print(f"with the cost counted {gains[1]}\n")
    print("| rule | runs ended | gains lost (largest) | with cost (largest) | controls | CPU saved |")
    print("|---|---|---|---|---|---|")
    rules = [
        Rule(f"{100 * behind:g} % behind at {share:g} of the budget", share, math.log1p(behind))
        for share in SHARES
        for behind in BEHIND
    ]
    for rule in [*rules, Rule("learnt by category, cost left out"), Rule("this node", credit=credit)]:
        found = [replay(rule, parents, ideas, credit, random.Random(number)) for number in range(ORDERS)]
        ended, controls = fmean(one.ended for one in found), fmean(one.controls for one in found)
        saved = 100 * fmean(one.saved for one in found) / total
        shown = f"{controls:.1f}" if rule.share == 0 else ""
        lost = [_lost([one.lost for one in found]), _lost([one.with_cost for one in found])]
        print(f"| {rule.name} | {ended:.1f} | {lost[0]} | {lost[1]} | {shown} | {saved:.1f} % |")


def _lost(gains: Sequence[Sequence[float]]) -> str:
    """How many gains were lost in the mean, and the largest."""
    largest = max((each for one in gains for each in one), default=0.0)
    return f"{fmean(map(len, gains)):.1f} ({largest:.1f} %)" if largest else "0"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=65_536, help="per run")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = load_objective(TINYLM, options.folder / "data")
    objective = replace(found, budget=replace(found.budget, tokens=options.tokens))
    path = options.folder / f"runs-{options.tokens}.jsonl"
    record(objective, path)
    statistics = objective.statistics
    report(recorded(path), CostCredit(statistics.slope, statistics.cost_deadband))
    return 0


if __name__ == "__main__":
    sys.exit(main())
