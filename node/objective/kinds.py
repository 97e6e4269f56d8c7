"""Reading what only some kinds of objectives have: [command], [environment], [program], budgets by time, metrics.

Which settings a kind needs and may have stands in `fields_of`; `load` reads the rest and puts an objective together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from node.objective.schema import (
    SETTINGS,
    Budget,
    Command,
    Environment,
    Kind,
    ObjectiveError,
    Program,
    SeedRewrite,
    Statistics,
)
from node.objective.table import MAX_ROWS, MAX_TEXT, Table
from protocol.fields import is_plain
from protocol.metric import MOST_EFFECT, SMALLEST_EFFECT, Direction, Metric, Scale
from protocol.objective import FileEntry, safe_path
from protocol.records import MAX_PAIRS

Fields = Mapping[str, Mapping[str, str]]  # by table: the settings and the method of Table that reads each
SEED_VARIABLE = "AUTORESEARCH_SEED"
CHECKS_SECONDS = 300.0
_PACKAGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_SYSTEM_FOLDER = re.compile(r"/usr(?:/[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,79}){1,8}")
MOST_FAILED_BY = 16  # texts: each is looked for in all of the output, by the node itself
CACHES = "~/.cache/"
DEFAULT_WEIGHTS_MB = 64  # of one model
DEFAULTS = Statistics()
# Where runs are timed, and where a command measures itself, time is in the value already or of no account.
DEFAULT_SLOPE = 0.0

_TOP = {"name": "text", "summary": "text", "editable": "paths", "categories": "texts"}
_OPTIONAL_TOP = {"kind": "text", "device": "text", "files": "texts", "history": "path", "direction": "path"}
_METRIC = {"name": "text", "unit": "text", "direction": "text"}
_BUDGET = {"wall_seconds": "number", "threads": "whole", "memory_mb": "whole"}
_BUDGETED = {"tokens": "whole", "seconds": "positive", "warmup_seconds": "positive"}
_GPU = {"gpu_memory_mb": "whole"}
_TASK = {"context": "whole", "vocabulary": "whole", "checkpoints": "wholes"}
_COST = {"cost_s0": "number", "slope": "number", "cost_deadband": "number"}
_STATISTICS = {"s0": "number", "minimum_effect": "number", "max_pairs": "whole"}

NEEDED: Mapping[Kind, Fields] = {
    Kind.MODEL: {
        "": _TOP | {"judge": "path"},
        "metric": _METRIC,
        "budget": _BUDGET,
        "task": _TASK,
        "statistics": _STATISTICS | _COST,
    },
    Kind.PROGRAM: {
        "": _TOP | {"judge": "path"},
        "metric": _METRIC,
        "budget": _BUDGET,
        "statistics": _STATISTICS,
    },
    Kind.COMMAND: {"": _TOP, "metric": _METRIC, "budget": _BUDGET, "command": {}, "statistics": _STATISTICS},
}
OPTIONAL: Mapping[Kind, Fields] = {
    Kind.MODEL: {
        "": _OPTIONAL_TOP | {"prepare": "path", "draw": "path", "hidden": "texts"},
        "metric": {"scale": "text"},
        "budget": _BUDGETED | _GPU | {"weights_mb": "weights"},
        "task": {"secret_seed": "flag", "token_bytes": "path"},
        "statistics": {},
    },
    Kind.PROGRAM: {
        "": _OPTIONAL_TOP | {"prepare": "path", "draw": "path", "hidden": "texts"},
        "metric": {"scale": "text"},
        "budget": _GPU | {"seconds": "positive"},
        "program": {"causal": "flag", "timed": "flag", "modules": "paths"},
        "statistics": _COST,
    },
    Kind.COMMAND: {
        "": _OPTIONAL_TOP,
        "metric": {"scale": "text"},
        "budget": _GPU | {"seconds": "positive", "warmup_seconds": "positive"},
        "command": {
            "run": "text",
            "evaluator": "path",
            "values": "text",
            "files": "paths",
            "require": "table",
            "failed_by": "texts",
            "checks": "text",
            "checks_seconds": "positive",
            "seed": "table",
        },
        "environment": {"paths": "texts", "lock": "path", "lock_sha256": "text", "prepare": "text"},
        "statistics": _COST,
    },
}


def kind_of(settings: Table) -> Kind:
    """What `kind` says; a model's where there is none, as in the first version."""
    return Kind(settings.choice("kind", *Kind)) if "kind" in settings else Kind.MODEL


def fields_of(kind: Kind) -> Fields:
    """Every setting outside of lists that an objective of this kind may have, by table."""
    needed, optional = NEEDED[kind], OPTIONAL[kind]
    return {table: {**needed.get(table, {}), **optional.get(table, {})} for table in {**needed, **optional}}


def read_metric(table: Table, statistics: Table, spread: float) -> Metric:
    """How values compare. `minimum_effect` and `s0` of a linear metric are in its own units.

    spread: the largest s0 of those budgets with which runs do not repeat; 0 where all do.
    """
    direction = Direction(table.choice("direction", *Direction))
    scale = Scale(table.choice("scale", *Scale)) if "scale" in table else Scale.LOG
    unit = statistics.positive("minimum_effect") / SMALLEST_EFFECT if scale == Scale.LINEAR else 1.0
    spread /= unit
    if not 1e-15 <= unit <= 1e15 or not spread <= 100:
        raise ObjectiveError(f"{SETTINGS}: statistics.minimum_effect and s0 are too far from each other, or from 1")
    return Metric(direction, scale, unit, spread)


def read_statistics(table: Table, metric: Metric, kind: Kind) -> Statistics:
    """The noise and cost, as effects: what is given in units of a linear metric is divided by its `unit`."""

    def cost(name: str, default: float) -> float:
        return table.number(name) if name in table or kind == Kind.MODEL else default

    found = Statistics(
        metric=metric,
        s0=table.number("s0") / metric.unit,
        cost_s0=cost("cost_s0", DEFAULTS.cost_s0),
        slope=cost("slope", DEFAULT_SLOPE) / metric.unit,
        cost_deadband=cost("cost_deadband", DEFAULTS.cost_deadband),
        minimum_effect=table.number("minimum_effect") / metric.unit,
        max_pairs=table.whole("max_pairs"),
    )
    # No record could hold what a trial with larger ones finds.
    numbers = {"s0": found.s0, "cost_s0": found.cost_s0, "slope": found.slope, "cost_deadband": found.cost_deadband}
    for name, value in numbers.items():
        if abs(value) > MOST_EFFECT:
            raise ObjectiveError(f"{SETTINGS}: statistics.{name} is too large: as an effect at most {MOST_EFFECT:g}")
    if found.max_pairs > MAX_PAIRS:
        raise ObjectiveError(f"{SETTINGS}: statistics.max_pairs must be at most {MAX_PAIRS}, not {found.max_pairs}")
    return found


def read_budget(table: Table, kind: Kind) -> Budget:
    """The budget. A model has tokens or seconds; others have seconds, `wall_seconds` where none are given."""
    wall_seconds = table.number("wall_seconds")
    if kind == Kind.MODEL and ("tokens" in table) == ("seconds" in table):
        raise ObjectiveError(f"{SETTINGS}: budget needs tokens or seconds, one of the two")
    seconds = table.positive("seconds") if "seconds" in table else None
    if seconds is not None and seconds > wall_seconds:
        raise ObjectiveError(
            f"{SETTINGS}: budget.wall_seconds must be above budget.seconds ({seconds:g}): a run is ended after it"
        )
    return Budget(
        tokens=table.whole("tokens") if "tokens" in table else 0,
        seconds=seconds,
        warmup_seconds=table.positive("warmup_seconds") if "warmup_seconds" in table else 0.0,
        wall_seconds=wall_seconds,
        threads=table.whole("threads"),
        memory_bytes=table.whole("memory_mb") << 20,
        weights_bytes=(table.weights("weights_mb") if "weights_mb" in table else DEFAULT_WEIGHTS_MB) << 20,
        gpu_memory_bytes=table.whole("gpu_memory_mb") << 20 if "gpu_memory_mb" in table else 0,
    )


def read_command(table: Table) -> Command:
    """[command]. Raises ObjectiveError."""
    if ("run" in table) == ("evaluator" in table):
        raise ObjectiveError(
            f"{SETTINGS}: command needs run (a line for bash) or evaluator (a Python file), one of both"
        )
    values = table.choice("values", "lines", "block", "json") if "values" in table else "lines"
    files = table.paths("files") if "files" in table else ()
    if "run" in table and (values == "json") != bool(files):
        raise ObjectiveError(f'{SETTINGS}: command.files names result files where command.values is "json", only there')
    seed = table.table("seed") if "seed" in table else Table({}, "command.seed")
    return Command(
        run=table.text("run") if "run" in table else None,
        evaluator=table.path("evaluator") if "evaluator" in table else None,
        values=values,
        files=files,
        require=_required(table.table("require")) if "require" in table else {},
        failed_by=_failed_by(table) if "failed_by" in table else (),
        checks=table.text("checks") if "checks" in table else None,
        checks_seconds=table.positive("checks_seconds") if "checks_seconds" in table else CHECKS_SECONDS,
        seed_variable=_variable(seed) if "variable" in seed else SEED_VARIABLE,
        seed_rewrites=tuple(_rewrite(row) for row in seed.rows("rewrite")),
    )


def _failed_by(table: Table) -> tuple[str, ...]:
    texts = table.texts("failed_by")
    if len(texts) > MOST_FAILED_BY or not all(0 < len(text) <= MAX_TEXT for text in texts):
        raise ObjectiveError(
            f"{SETTINGS}: command.failed_by must be at most {MOST_FAILED_BY} texts of 1 to {MAX_TEXT} characters"
        )
    return texts


def _required(table: Table) -> dict[str, str]:
    if len(table.values) > MAX_ROWS:
        raise ObjectiveError(f"{SETTINGS}: [command.require] has at most {MAX_ROWS} settings")
    if not all(map(is_plain, table.values)):  # they are shown to a person
        raise ObjectiveError(f"{SETTINGS}: [command.require] has a name that is no plain text")
    return {name: table.text(name) for name in table.values}


def _variable(table: Table) -> str:
    name = table.text("variable")
    if not name.isidentifier() or not name.isascii() or name in ("PATH", "HOME", "PYTHONHASHSEED"):
        raise ObjectiveError(f"{SETTINGS}: command.seed.variable must be a name such as SEED, not {name!r:.80}")
    return name


def _rewrite(table: Table) -> SeedRewrite:
    rewrite = SeedRewrite(table.path("file"), table.passage("find"), table.passage("replace"))
    if "{seed}" not in rewrite.replace or not rewrite.find:
        raise ObjectiveError(f"{SETTINGS}: command.seed.rewrite needs find, and a replace with {{seed}} in it")
    return rewrite


def read_environment(table: Table) -> Environment:
    """[environment]: folders below the objective's or in the person's caches. Raises ObjectiveError.

    An objective may be a stranger's, so that nothing else of a person's can be asked for.
    """
    paths = table.texts("paths") if "paths" in table else ()
    for path in paths:
        if not safe_path(path.removeprefix("~/")) or (path.startswith("~") and not path.startswith(CACHES)):
            raise ObjectiveError(
                f'{SETTINGS}: environment.paths are folders such as ".venv" or "~/.cache/name", not {path!r:.80}'
            )
    lock = None
    if "lock" in table:
        digest = table.text("lock_sha256") if "lock_sha256" in table else ""
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ObjectiveError(f"{SETTINGS}: environment.lock_sha256 must be 64 hexadecimal digits")
        lock = FileEntry(table.path("lock"), bytes.fromhex(digest), 0)
    return Environment(paths, lock, table.text("prepare") if "prepare" in table else None)


def read_program(table: Table) -> Program:
    return Program(
        causal=table.flag("causal") if "causal" in table else False,
        timed=table.flag("timed") if "timed" in table else False,
        modules=table.paths("modules") if "modules" in table else (),
    )


def read_hidden(settings: Table) -> tuple[str, ...]:
    """`hidden`: names of folders or modules among the installed packages, and folders of the system with texts.

    Raises ObjectiveError.
    """
    names = settings.texts("hidden") if "hidden" in settings else ()
    for name in names:
        if not (_PACKAGE.fullmatch(name) or _SYSTEM_FOLDER.fullmatch(name)) or names.count(name) > 1:
            raise ObjectiveError(
                f'{SETTINGS}: hidden must be different names of packages such as "sqlalchemy", or folders of the '
                f'system such as "/usr/share/doc", not {name!r:.80}'
            )
    return names
