"""A plateau: a node's own ideas bring hardly anything any more, though it still has some.

What is told of it to a person, and what a model is asked for then instead of the next idea: after many that gained
nothing, one more of the same kind will not either. Pure functions of records and results.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from enum import Enum

from node.objective.schema import Prior
from node.proposers.proposer import Context, TriedResult, tried_results
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
    how = "`autoresearch-node suggest` an idea of your own"
    ways = [how if has_model else f"{how}, as an edit"]
    if not has_model:
        ways.append("set up a language model or a coding agent (docs/proposers.md)")
    if not has_peers:
        ways.append("join peers, whose gains are merged with this node's")
    ways.append("or take an objective with a larger budget or model, where other ideas pay (docs/objective.md)")
    return "; ".join(ways)


# ---- what is asked for instead ---------------------------------------------------------------------------------------


class Direction(Enum):
    """What a model is asked for on a plateau, one after the other."""

    MECHANISM = (
        "propose another mechanism: something structurally different from everything listed above. Another value of a "
        "constant, or a variant of a listed idea, is no use. Say in the reason what is new about it"
    )
    CATEGORY = "propose an idea of a kind that was hardly tried: {rare}"
    SIMPLER = (
        "propose a simplification: take something away that may do nothing, and add nothing. It is kept if the metric "
        "gets no worse. The source has to become shorter"
    )
    LARGER = (
        "propose a larger step: several changes that need each other and would fail one by one, as one idea, or sizes "
        "and rates moved together by factors of two or more"
    )


RARE = 3  # categories that are named


def direction(context: Context) -> Direction | None:
    """What to ask for now, another thing after each result; None where the search goes on well."""
    if not context.plateau:
        return None
    every = list(Direction)
    return every[len(context.results) % len(every)]


def changed_question(context: Context, categories: Sequence[str]) -> str:
    """What to ask for on a plateau, in words; "" where there is none."""
    chosen = direction(context)
    if chosen is None:
        return ""
    tries = Counter(result.category for result in context.results)
    rare = sorted(categories, key=lambda category: tries[category])[:RARE]  # of equals the objective's first
    named = ", ".join(f'"{category}" ({tries[category]} tries)' for category in rare)
    if chosen is Direction.CATEGORY and not named:
        chosen = Direction.MECHANISM
    return f"The last {PLATEAU_IDEAS} ideas gained hardly anything together. So {chosen.value.format(rare=named)}."


def is_simpler(context: Context, source: str) -> bool:
    """Whether an edit is the simplification that was asked for, and so need not gain to be kept."""
    return direction(context) is Direction.SIMPLER and len(source) < len(context.source)
