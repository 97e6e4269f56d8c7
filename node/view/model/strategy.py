"""The strategy as plain data: expected gain and cost of each kind of idea, and what is likely to be tried next.

Computed from the ledger alone, by the strategy's own functions, so these are the figures that a running node uses.
"""

from __future__ import annotations

import math
import random

from node.ledger.projections.lineage import measured_gain_by_category
from node.ledger.projections.steps import standing_steps
from node.ledger.store import Ledger, LedgerError
from node.platform.log import Json
from node.proposers.beliefs import EXPLORED, Arm, Belief, beliefs, chances
from node.proposers.proposer import tried_result
from node.proposers.strategy_snapshot import StrategySnapshot, open_snapshot
from protocol.records import Experiment

HOUR = 3600.0


def strategy(ledger: Ledger) -> Json:
    """Every arm (a category by a proposer) with its expected gain and how likely it is to be next, the likeliest first.

    Raises LedgerError while no node has chosen anything in this home.
    """
    packed = ledger.settings.strategy_snapshot
    if packed is None:
        raise LedgerError("no hypothesis was chosen in this home yet; run `autoresearch-node join` with this --home")
    snapshot = open_snapshot(packed)
    records, author = ledger.all_records(), ledger.settings.author
    results = [tried_result(record.body, {}) for record in records if isinstance(record.body, Experiment)]
    steps = standing_steps(records, ledger.feed(author))
    source = steps[-1].source if steps else ledger.settings.baseline
    gained = measured_gain_by_category(records, steps)
    believed = beliefs(snapshot.arms, snapshot.priors, results, source, gained, snapshot.machine)
    likely = chances([b for b in believed if b.arm not in snapshot.empty], random.Random(0))
    ordered = sorted(believed, key=lambda belief: (-likely.get(belief.arm, -1.0), -belief.score))
    return {
        "compute_class": snapshot.machine.compute_class,
        "seconds_per_run": snapshot.machine.seconds_per_run,
        "noise_percent": 100 * snapshot.machine.noise,
        "source": source.hex(),
        "experiments": len(results),
        "explored_share": EXPLORED,
        "arms": [_arm(belief, snapshot, gained, likely) for belief in ordered],
        "why": _why(ordered, likely),
    }


def _arm(belief: Belief, snapshot: StrategySnapshot, gained: dict[str, float], likely: dict[Arm, float]) -> Json:
    return {
        "category": belief.arm.category,
        "proposer": belief.arm.proposer,
        "chance": belief.chance,
        "chance_deviation": belief.deviation,
        "gain_percent": _percent(belief.gain),
        "already_percent": _percent(gained.get(belief.arm.category, 0.0)),
        "runs": belief.runs,
        "thinking_seconds": snapshot.machine.thinking.get(belief.arm.proposer, 0.0),
        "seconds": belief.seconds,
        "gain_percent_per_hour": HOUR * 100 * belief.score,
        "tried": belief.tried,
        "kept": belief.kept,
        "has_ideas": belief.arm not in snapshot.empty,
        "next": likely.get(belief.arm, 0.0),
    }


def _percent(gain: float) -> float:
    """A gain in natural-log units (positive is better) in per cent of the metric: 0.05 is 4.9 %."""
    return -100 * math.expm1(-gain)


def _why(ordered: list[Belief], likely: dict[Arm, float]) -> str:
    """One sentence for the likeliest arm."""
    if not likely:
        return "No arm has an idea left for this source; a peer's discovery would open new ones."
    first = ordered[0]
    sentence = (
        f"{first.arm.category} by {first.arm.proposer} is likeliest next ({100 * likely[first.arm]:.0f} %): "
        f"a success is expected {100 * first.chance:.0f} times in 100 and to gain {_percent(first.gain):.1f} %, "
        f"for {first.seconds:.0f} s of this machine"
    )
    second = next((belief for belief in ordered[1:] if belief.arm in likely), None)
    if second is None:
        return sentence + "."
    ratio, other = first.score / second.score, f"{second.arm.category} by {second.arm.proposer}"
    return f"{sentence}; per second that is {ratio:.1f} times the expected gain of {other}."
