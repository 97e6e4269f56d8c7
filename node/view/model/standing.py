"""On whose word the standing of a discovery rests at this node, in words. It knows no records."""

from __future__ import annotations

from protocol.evidence import WEIGHT_NEEDED, Standing, Verdict


def rests_on(standing: Standing) -> str:
    """On whose word a standing rests, in a sentence without a full stop.

    "confirmed by 3 keys, 2 of which this node has checked; open without the other"
    """
    counted = f"{standing.reports} {'key' if standing.reports == 1 else 'keys'}"
    all_known = standing.known == standing.reports
    checked = f"{'all' if all_known else standing.known} of which this node has checked"
    if standing.verdict != Verdict.OPEN:
        if all_known:
            return f"{standing.verdict} by {counted}, {checked}"
        others = standing.without_unchecked
        alone = "still so" if others == standing.verdict else str(others)
        return f"{standing.verdict} by {counted}, {checked}; {alone} without the others"
    if standing.says != Verdict.OPEN:
        word = "holds" if standing.says == Verdict.CONFIRMED else "does not hold"
        return f"{counted} say it {word}, {checked}; open until runs of this node agree"
    if not standing.reports:
        unknown = f": {standing.keys} reported, and this node has checked none of them" if standing.keys else ""
        return f"too early to say{unknown}"
    if standing.missing or standing.weight < WEIGHT_NEEDED:
        missing = f", and {standing.missing} more {'is' if standing.missing == 1 else 'are'} needed"
        enough = standing.weight >= WEIGHT_NEEDED
        weigh = "" if enough else f", with a weight of {standing.weight:.1f}, where {WEIGHT_NEEDED} is needed"
        count = "counts" if standing.reports == 1 else "count"
        return f"too early to say: {counted} {count} here, {checked}{weigh}{missing if standing.missing else ''}"
    return f"open by {counted}, {checked}"
