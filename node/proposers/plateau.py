"""A plateau: a node's own ideas bring hardly anything any more, though it still has some. Pure functions of records."""

from __future__ import annotations

import math
from collections.abc import Sequence

from node.objective.schema import Prior
from node.proposers.proposer import TriedResult, tried_results
from node.trials.gain_posterior import gain_prior, posterior
from protocol.records import Record

PLATEAU_IDEAS = 40  # own ideas looked back at; where one in twenty helps, 40 in a row fail one time in eight
PLATEAU_GAIN = 0.01  # ln(metric) that they must have gained together for the search to go on well
PRIOR = gain_prior(Prior(0.1, 0.01))  # of an idea that late in a search
LEAST_ERROR = 1e-4


def is_plateau(feed: Sequence[Record]) -> bool:
    """Whether an author's last ideas gained less than a per cent together, by what is left of it beside its errors.

    Twenty lucky bets of .3 % ± 1 % are no progress, one gain of 2 % ± .3 % is.
    """
    recent = tried_results(feed)[-PLATEAU_IDEAS:]
    return len(recent) == PLATEAU_IDEAS and math.fsum(_gain(result) for result in recent) < PLATEAU_GAIN


def _gain(result: TriedResult) -> float:
    if not result.gained or result.effect is None:
        return 0.0
    return max(0.0, posterior(PRIOR, -result.effect, max(LEAST_ERROR, result.error or 0.0)).mean)


def what_would_help(has_model: bool, has_peers: bool) -> str:
    """What brings gains where a node's own ideas no longer do."""
    ways = ["`autoresearch-node suggest` an idea of your own"]
    if not has_model:
        ways.append("set up a language model or a coding agent (docs/proposers.md)")
    if not has_peers:
        ways.append("join peers, whose gains are merged with this node's")
    ways.append("or take an objective with a larger budget or model, where other ideas pay (docs/objective.md)")
    return "; ".join(ways)
