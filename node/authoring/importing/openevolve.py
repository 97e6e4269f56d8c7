"""OpenEvolve: a program with an EVOLVE-BLOCK, and evaluator.py, whose `evaluate(path)` returns values by name.

Higher is better there, always. Where there is no combined_score OpenEvolve takes the mean of all values; one number has
to be chosen here, since only one can be researched.
"""

from __future__ import annotations

import re

from node.authoring.importing.environment import description_of, find_environment, imports_of, with_imports
from node.authoring.importing.folder import Folder
from node.authoring.importing.recognised import (
    PROGRAMS,
    BudgetFound,
    Choice,
    ImportRefusedError,
    MetricFound,
    Recognised,
)
from node.authoring.importing.seeds import find_seeds
from protocol.metric import Direction, Scale

FAMILY = "OpenEvolve"
EVALUATOR, CONFIG, METRIC = "evaluator.py", "config.yaml", "combined_score"
MARK = "EVOLVE-BLOCK-START"
LONGEST_SETTING = 300  # characters of a line of the settings that is read
MOST_SECONDS = 86_400.0  # as `objective check` has it
TIMEOUT_SECONDS = 300.0  # its default
# In units of the score, which is between 0 and 1 in most repositories.
SPREAD, MINIMUM_EFFECT = 0.01, 0.002

_EVALUATE = re.compile(r"^(async )?def evaluate\(", re.MULTILINE)
_RETURNED = re.compile(r"""["']([a-z]\w*)["']\s*:\s""")
_NO_SCORES = frozenset(("error", "timeout", "combined_score", "stage1_passed"))


def recognise(folder: Folder, choice: Choice) -> Recognised | None:
    """The folder as OpenEvolve's; None where it is none. Raises ImportRefusedError where no score can be told."""
    evaluator = folder.text(EVALUATOR)
    evaluate = _EVALUATE.search(evaluator)
    if evaluate is None:
        return None
    program = choice.editable[0] if choice.editable else program_in(folder)
    if program is None and not folder.has(CONFIG):
        return None
    if program is None:
        raise ImportRefusedError(f"{EVALUATOR} has evaluate(), but which file it scores is not plain: --editable FILE")
    if evaluate[1]:
        raise ImportRefusedError(
            f"evaluate() in {EVALUATOR} is async, which is not supported here; wrap it in one that is not"
        )
    metric = choice.metric or METRIC
    if choice.metric is None and METRIC not in evaluator:
        _refuse_without_score(evaluator)
    settings = settings_in(folder.text(CONFIG))
    timeout = settings.get("evaluator.timeout")
    _, description = description_of(folder)
    environment, unknown = with_imports(find_environment(folder), folder, (EVALUATOR, program))
    notes = ["the package openevolve is stood in for where it is not installed"] if _wraps(evaluator) else []
    notes += [f"{', '.join(unknown)} must be installed too"] if unknown else []
    return Recognised(
        family=FAMILY,
        certain=MARK in folder.text(program),
        why=f"{EVALUATOR} with evaluate(), {program}"
        + (" with an EVOLVE-BLOCK" if MARK in folder.text(program) else ""),
        name=folder.root.name,
        summary=description or f"A program that {EVALUATOR} scores.",
        editable=(program,),
        metric=MetricFound(
            metric,
            "",
            Direction.HIGHER,
            Scale.LINEAR,
            f"{metric} of what evaluate() returns",
        ),
        command={"evaluator": EVALUATOR},
        seeds=find_seeds(folder, (program,), (EVALUATOR,)),
        environment=environment,
        budget=BudgetFound(wall_seconds=min(float(timeout), MOST_SECONDS) if timeout else TIMEOUT_SECONDS),
        device="gpu" if re.search(r"""["']cuda|\bmlx\b""", evaluator + folder.text(program)) else "cpu",
        categories=PROGRAMS,
        spread=SPREAD,
        minimum_effect=MINIMUM_EFFECT,
        needed=(EVALUATOR,),
        notes=tuple(notes),
    )


def _refuse_without_score(evaluator: str) -> None:
    """Raise ImportRefusedError with the names that a person could choose from."""
    names = [name for name in dict.fromkeys(_RETURNED.findall(evaluator)) if name not in _NO_SCORES]
    raise ImportRefusedError(
        f"{EVALUATOR} returns no {METRIC}, and only one value can be researched; choose it with --metric NAME"
        + (f" (it seems to have: {', '.join(names[:12])})" if names else "")
    )


def program_in(folder: Folder) -> str | None:
    """The program that is evolved: what is named as one, or the only file with an EVOLVE-BLOCK."""
    beside = [path for path in folder.files if "/" not in path and path != EVALUATOR]
    named = [path for path in beside if path.split(".")[0] in ("initial_program", "initial", "program")]
    marked = [path for path in beside if MARK in folder.text(path) and not path.endswith((".md", ".yaml", ".yml"))]
    for found in ([path for path in named if path in marked], marked, named):
        if len(found) == 1:
            return found[0]
    return None


def _wraps(evaluator: str) -> bool:
    return "openevolve" in imports_of(evaluator)


def settings_in(text: str) -> dict[str, str]:
    """Plain settings of a YAML file, by "table.name", for tables of one level. Nothing else of YAML is understood."""
    found: dict[str, str] = {}
    table = ""
    for line in text.splitlines():
        if len(line) > LONGEST_SETTING:
            continue
        if match := re.match(r"(\s*)(\w+):(.*)", line):
            indent, name, value = match[1], match[2], match[3].partition("#")[0].strip()
            if not indent:
                table = "" if value else f"{name}."
            if re.fullmatch(r"\d+(?:\.\d+)?", value):
                found.setdefault(f"{table if indent else ''}{name}", value)
    return found
