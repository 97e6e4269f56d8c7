"""What an author's search concluded from an experiment, in the words of the log, and what became of a bet since.

The decision in a record says what its trial showed. Of a bet that is "unclear", and stays so: the search went on from
it all the same, and whether it is claimed is said by a later record, of the chain. So people are shown conclusions.
Pure functions of records.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from msgspec import UnsetType

from node.ledger.projections.effects import gain_text
from node.platform.log import short_id
from protocol.audits import has_report_form
from protocol.records import Audit, Decision, Experiment, Hypothesis, Record, Replication, Transfer, metric_of


class Conclusion(StrEnum):
    """What the author's search made of an experiment."""

    CLAIMED = "claimed"  # a discovery
    KEPT = "kept"  # a bet: the search went on from it, and nothing is claimed
    DROPPED = "dropped"
    NOT_PROVEN = "not proven yet"  # a chain whose bets stay bets
    CUT = "cut"  # a chain whose bets are taken back
    FAILED = "failed"


def conclusion(body: Experiment) -> Conclusion:
    """By the record alone."""
    match body.decision:
        case Decision.IMPROVED:
            return Conclusion.CLAIMED
        case Decision.UNCLEAR if body.chain:
            return Conclusion.NOT_PROVEN
        case _ if body.chain:
            return Conclusion.CUT
        case Decision.FAILED:
            return Conclusion.FAILED
    return Conclusion.KEPT if body.is_bet else Conclusion.DROPPED


def ended_early_text(body: Experiment, behind: float | None = None) -> str | None:
    """Why an idea has no gain whose run was ended: "ended early at 76 % of the budget, 2.5 % behind its parent".

    behind: ln of its loss over the parent's, which is known where the run was made. None where none was ended.
    """
    if isinstance(body.ended_at, UnsetType):
        return None
    how_far = "" if behind is None else f", {100 * math.expm1(behind):.1f} % behind its parent"
    return f"ended early at {100 * body.ended_at:.0f} % of the budget{how_far}"


def found_text(body: Experiment) -> str | None:
    """Its gain as everything writes it, or why it has none; None where nothing is to say."""
    if body.effect is None:
        return ended_early_text(body)
    return gain_text(body.effect, metric_of(body))


def conclusion_text(record: Record, held: Iterable[Record], behind: float | None = None) -> str:
    """The same in words, with what became of a bet since: "kept as a bet; no claim yet".

    held: all records. behind: as in `ended_early_text`.
    """
    body = record.body
    assert isinstance(body, Experiment)
    found = conclusion(body)
    if found != Conclusion.KEPT:
        ended = ended_early_text(body, behind)
        return str(found) if ended is None else f"{found}, {ended}"
    since = None
    for later in held:
        if later.author == record.author and isinstance(later.body, Experiment):
            told = conclusion(later.body)
            named = any(step.record == record.id for step in later.body.chain)
            if named and told in (Conclusion.CLAIMED, Conclusion.CUT):
                since = told, short_id(later.id)
    if since is None:
        return "kept as a bet; no claim yet"
    return f"kept as a bet; {since[0]} since, with record {since[1]}"


@dataclass(frozen=True)
class Tally:
    """How many records of each kind there are. An experiment is a trial of one idea; a chain of bets is none."""

    experiments: int
    kept: int  # experiments from which the search went on, as bets or as claims of a single idea
    failed: int
    claims: int  # discoveries, those of chains included
    replications: int  # others' claims run again, and reported
    adoptions: int  # of others' claims, by such a report or by a trial of its own
    audits: int
    transfers: int
    suggestions: int


def tally(records: Iterable[Record]) -> Tally:
    """The one count of what records are, of one author or of all, for every view."""
    held = list(records)
    bodies = [record.body for record in held]
    tried = [body for body in bodies if isinstance(body, Experiment) and not body.chain]
    concluded = Counter(map(conclusion, tried))
    return Tally(
        experiments=len(tried),
        kept=concluded[Conclusion.KEPT] + concluded[Conclusion.CLAIMED],
        failed=concluded[Conclusion.FAILED],
        claims=sum(isinstance(body, Experiment) and body.decision == Decision.IMPROVED for body in bodies),
        replications=sum(map(has_report_form, held)),
        adoptions=sum(isinstance(body, Replication) and body.adopted is not None for body in bodies),
        audits=sum(isinstance(body, Audit) for body in bodies),
        transfers=sum(isinstance(body, Transfer) for body in bodies),
        suggestions=sum(isinstance(body, Hypothesis) for body in bodies),
    )
