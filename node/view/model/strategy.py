"""The strategy as plain data: expected gain and cost of each kind of idea, and what is likely to be tried next.

Computed from the ledger alone, by the strategy's own functions, so these are the figures that a running node uses.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from node.ledger.error import LedgerError
from node.ledger.projections.effects import bare_gain_text
from node.ledger.projections.lineage import measured_gain_by_category
from node.ledger.projections.steps import steps_of
from node.ledger.projections.transfers import ALL, carry_over, comparisons, expected_ratios
from node.ledger.store import Ledger
from node.platform.log import Json
from node.proposers.beliefs import ANY_CATEGORY, EXPLORED, Arm, Belief, at_larger_scale, beliefs, chances
from node.proposers.proposer import tried_results
from node.proposers.reopening import distances, edits_of
from node.proposers.strategy_snapshot import StrategySnapshot, open_snapshot
from node.review.proven import proven_in
from node.view.model.leaderboard import gain_unit, measured_json
from node.view.model.transfers import names_of, transfers
from protocol.metric import Metric

HOUR = 3600.0


def strategy(ledger: Ledger) -> Json:
    """Every arm (a category by a proposer) with its expected gain and how likely it is to be next, the likeliest first.

    Raises LedgerError while no node has chosen anything in this home.
    """
    packed = ledger.settings.strategy_snapshot
    if packed is None:
        raise LedgerError("no hypothesis was chosen in this home yet; run `autoresearch-node join` first")
    snapshot = open_snapshot(packed)
    records, author = ledger.all_records(), ledger.settings.author
    is_proven = proven_in(ledger, author)
    results = tried_results(records, is_proven=is_proven)
    steps = steps_of(ledger.feed(author))
    source = steps[-1].source if steps else ledger.settings.baseline
    gained = measured_gain_by_category(records, steps)
    carried = transfers(records, is_proven, names_of(ledger))
    far = distances(edits_of(steps, records), ledger.settings.baseline)
    believed = beliefs(snapshot.arms, snapshot.priors, results, source, gained, snapshot.machine, far)
    ratios: Mapping[str, float] = {}
    if snapshot.scale:
        ratios = expected_ratios(carry_over(comparisons(records, is_proven), snapshot.scale))
        believed = at_larger_scale(believed, ratios, ratios.get(ALL, 1.0))
    likely = chances([b for b in believed if b.arm not in snapshot.empty], random.Random(0))
    measure = ledger.settings.measure
    noise = _slope(measure) * snapshot.machine.noise
    ordered = sorted(believed, key=lambda belief: (-likely.get(belief.arm, -1.0), -belief.score))
    return {
        "compute_class": snapshot.machine.compute_class,
        "seconds_per_run": snapshot.machine.seconds_per_run,
        **measured_json(ledger),
        "noise": noise,
        **({"noise_percent": noise} if gain_unit(measure) else {}),
        "source": source.hex(),
        "experiments": len(results),
        "explored_share": EXPLORED,
        "at_scale": snapshot.scale,
        "transfers": carried["categories"],
        "from_objectives": carried["objectives"],
        "arms": [_arm(belief, snapshot, gained, likely, measure) for belief in ordered],
        "why": _why(ordered, likely, measure) + _for_scale(snapshot.scale, ratios),
    }


def _arm(
    belief: Belief, snapshot: StrategySnapshot, gained: dict[str, float], likely: dict[Arm, float], metric: Metric
) -> Json:
    expected, already = metric.gain(-belief.gain), metric.gain(-gained.get(belief.arm.category, 0.0))
    rate = HOUR * _slope(metric) * belief.score
    per_cent = {"gain_percent": expected, "already_percent": already, "gain_percent_per_hour": rate}
    return {
        "category": belief.arm.category,
        "proposer": belief.arm.proposer,
        "chance": belief.chance,
        "chance_deviation": belief.deviation,
        "gain": expected,
        "already": already,
        "gain_text": bare_gain_text(-belief.gain, metric),
        "runs": belief.runs,
        "thinking_seconds": snapshot.machine.thinking.get(belief.arm.proposer, 0.0),
        "seconds": belief.seconds,
        "gain_per_hour": rate,
        "rate_text": f"{rate:+.1f} %" if gain_unit(metric) else f"{rate:+.3g}",
        "tried": belief.tried,
        "kept": belief.kept,
        "has_ideas": belief.arm not in snapshot.empty,
        "next": likely.get(belief.arm, 0.0),
    } | (per_cent if gain_unit(metric) else {})


def _for_scale(scale: str, ratios: Mapping[str, float]) -> str:
    """That gains are those expected at a larger scale, and what that is known by."""
    if not scale:
        return ""
    known = f"{ratios[ALL]:.2f} times those here" if ALL in ratios else "as large as here, as nothing was promoted yet"
    return f" Gains are those expected at the scale {scale}: over all categories {known}."


def _slope(metric: Metric) -> float:
    """What a small effect of 1 stands for, as a gain: 100 per cent, or the unit of a linear metric."""
    return 100.0 if gain_unit(metric) else metric.unit


def _why(ordered: list[Belief], likely: dict[Arm, float], metric: Metric) -> str:
    """One sentence for the likeliest arm."""
    if not likely:
        return "No arm has an idea left for this source; a peer's discovery would open new ones."
    first = ordered[0]
    sentence = (
        f"{_named(first.arm)} is likeliest next ({100 * likely[first.arm]:.0f} %): "
        f"a success is expected in {100 * first.chance:.0f} of 100 tries, and to gain "
        f"{bare_gain_text(-first.gain, metric)}, for {first.seconds:.0f} s of this machine"
    )
    second = next((belief for belief in ordered[1:] if belief.arm in likely), None)
    if second is None:
        return sentence + "."
    ratio, other = first.score / second.score, _named(second.arm)
    return f"{sentence}; per second that is {ratio:.1f} times the expected gain of {other}."


def _named(arm: Arm) -> str:
    return f"{'any idea' if arm.category == ANY_CATEGORY else arm.category} by {arm.proposer}"
