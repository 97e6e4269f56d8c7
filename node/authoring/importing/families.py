"""The families of repositories that are recognised, those with the plainest marks first; and which one a folder is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from node.authoring.importing import autokernel, karpathy, openevolve, pi_autoresearch, shinka
from node.authoring.importing.folder import Folder
from node.authoring.importing.given import as_given
from node.authoring.importing.recognised import Choice, ImportRefusedError, Recognised

Recognise = Callable[[Folder, Choice], Recognised | None]


@dataclass(frozen=True)
class Family:
    """One family. name: as --as takes it. marks: the files by which it is known, in words."""

    name: str
    marks: str
    recognise: Recognise


# A session of pi-autoresearch lies in a repository of any kind, and says most about what is searched for.
FAMILIES = (
    Family("pi", ".auto/measure.sh, or autoresearch.sh (pi-autoresearch)", pi_autoresearch.recognise),
    Family("karpathy", "prepare.py with evaluate_bpb, train.py (karpathy/autoresearch)", karpathy.recognise),
    Family("autokernel", "kernel.py with KERNEL_TYPE, bench.py (AutoKernel)", autokernel.recognise),
    Family("shinka", "evaluate.py with --program_path, initial.* (ShinkaEvolve)", shinka.recognise),
    Family(
        "openevolve", "evaluator.py with evaluate(), a program with EVOLVE-BLOCK (OpenEvolve)", openevolve.recognise
    ),
)


def family_of(folder: Folder, choice: Choice) -> tuple[Recognised, tuple[str, ...]]:
    """(what the folder is, what else it could be, as --as takes it). Raises ImportRefusedError."""
    if choice.command is not None:
        return as_given(folder, choice.command, choice), ()
    found: list[tuple[str, Recognised]] = []
    refusals: list[ImportRefusedError] = []
    for family in FAMILIES:
        if choice.family not in (None, family.name):
            continue
        try:
            recognised = family.recognise(folder, choice)
        except ImportRefusedError as refusal:
            refusals.append(refusal)
            continue
        if recognised is not None:
            found.append((family.name, recognised))
    if not found:
        raise refusals[0] if refusals else ImportRefusedError(_nothing(choice))
    found.sort(key=lambda each: not each[1].certain)  # stable: of equally certain ones the first in the list
    return _as_chosen(found[0][1], choice), tuple(name for name, _ in found[1:])


def _nothing(choice: Choice) -> str:
    looked = [family.marks for family in FAMILIES if choice.family in (None, family.name)]
    return (
        "nothing here is recognised; looked for: " + "; ".join(looked) + ". For anything else say what to run:\n"
        "  objective import FOLDER --command 'python3 bench.py' --metric NAME --lower --editable FILE ...\n"
        "where the command prints `METRIC NAME=NUMBER` or `NAME: NUMBER`"
    )


def _as_chosen(found: Recognised, choice: Choice) -> Recognised:
    """What was found, with what the person says instead."""
    metric = found.metric
    if choice.metric is not None and choice.metric != metric.name:
        reading = metric.reading.replace(metric.name, choice.metric)
        metric = replace(metric, name=choice.metric, unit="", reading=reading)
    if choice.direction is not None:
        metric = replace(metric, direction=choice.direction)
    budget = found.budget
    if choice.seconds is not None:
        slack = max(60.0, budget.wall_seconds - 2 * (budget.seconds or budget.wall_seconds))
        budget = replace(budget, seconds=choice.seconds, wall_seconds=2 * choice.seconds + slack)
    return replace(found, metric=metric, budget=budget, editable=choice.editable or found.editable)
