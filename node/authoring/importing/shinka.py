"""ShinkaEvolve: an initial program, and evaluate.py, which is given its path and a folder for its results.

It writes correct.json and metrics.json there. `combined_score` is what counts, higher is better, and a program that is
not correct has none.
"""

from __future__ import annotations

import re

from node.authoring.importing.environment import description_of, find_environment, with_imports
from node.authoring.importing.folder import Folder
from node.authoring.importing.openevolve import MINIMUM_EFFECT, SPREAD, settings_in
from node.authoring.importing.recognised import PROGRAMS, BudgetFound, Choice, MetricFound, Recognised
from node.authoring.importing.seeds import find_seeds
from protocol.metric import Direction, Scale

FAMILY = "ShinkaEvolve"
EVALUATE, METRIC = "evaluate.py", "combined_score"
RESULTS = ("results/metrics.json", "results/correct.json")
WALL_SECONDS = 600.0

_INITIAL = re.compile(r"initial\.\w+")
# Languages whose programs are compiled or run by something that a person has to have.
_TOOLS = {".f90": "gfortran", ".go": "go", ".jl": "julia", ".wl": "wolframscript", ".sv": "iverilog", ".rs": "cargo"}


def recognise(folder: Folder, choice: Choice) -> Recognised | None:
    """The folder as ShinkaEvolve's; None where it is none."""
    evaluate = folder.text(EVALUATE)
    if "--program_path" not in evaluate or "--results_dir" not in evaluate:
        return None
    initial = [path for path in folder.files if _INITIAL.fullmatch(path)]
    if len(initial) != 1:
        return None
    program = initial[0]
    environment, unknown = with_imports(find_environment(folder), folder, (EVALUATE, program))
    settings = [settings_in(folder.text(path)) for path in folder.files if path.endswith(".yaml") and "/" not in path]
    tool = next((tool for suffix, tool in _TOOLS.items() if program.endswith(suffix)), None)
    notes = [f"{', '.join(unknown)} must be installed too"] if unknown else []
    if tool is not None:
        notes.append(f"runs need {tool}, in PATH or in a folder named in environment.paths")
    _, description = description_of(folder)
    return Recognised(
        family=FAMILY,
        certain=True,
        why=f"{EVALUATE} with --program_path and --results_dir, {program}",
        name=folder.root.name,
        summary=description or f"A program that {EVALUATE} scores.",
        editable=(program,),
        metric=MetricFound(METRIC, "", Direction.HIGHER, Scale.LINEAR, f"{METRIC} in {RESULTS[0]}"),
        command={
            "run": f"python3 {EVALUATE} --program_path {program} --results_dir results",
            "values": "json",
            "files": [*RESULTS],
            "require": {"correct": "true"},
        },
        seeds=find_seeds(folder, (program,), (EVALUATE,)),
        environment=environment,
        budget=BudgetFound(
            wall_seconds=next(
                (float(each["evaluator.timeout"]) for each in settings if "evaluator.timeout" in each), 0.0
            )
            or WALL_SECONDS
        ),
        device="cpu",
        categories=PROGRAMS,
        spread=SPREAD,
        minimum_effect=MINIMUM_EFFECT,
        needed=(EVALUATE,),
        notes=tuple(notes),
    )
