"""What `objective import` says it took for what: as data, and as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from node.authoring.importing.writing import Imported
from node.objective.history import Status
from node.objective.schema import SETTINGS
from node.platform.program import typed

MOST_NAMED = 8  # locked files in the lines for a person; the data have all


def as_data(imported: Imported) -> dict[str, Any]:
    """Everything that was recognised."""
    found, objective, history = imported.recognised, imported.objective, imported.history
    environment = objective.environment
    return {
        "folder": str(objective.root),
        "id": objective.id.hex(),
        "name": objective.name,
        "family": found.family,
        "certain": found.certain,
        "why": found.why,
        "others": list(imported.others),
        "editable": list(objective.editable),
        "locked": list(imported.locked),
        "left_out": list(imported.left_out),
        "metric": {
            "name": objective.metric,
            "unit": objective.unit,
            "direction": objective.measure.direction,
            "scale": objective.measure.scale,
            "reading": found.metric.reading,
        },
        "command": dict(found.command),
        "environment": None
        if environment is None
        else {
            "paths": list(environment.paths),
            "lock": environment.lock.path if environment.lock else None,
            "lock_sha256": environment.lock.sha256.hex() if environment.lock else None,
        },
        "prepare": environment.prepare if environment else None,
        "seed": {
            "variable": found.seeds.variable,
            "rewrites": [{"file": row.file, "find": row.find} for row in found.seeds.rewrites],
            "says": found.seeds.says,
        },
        "device": objective.device,
        "budget": {
            "seconds": objective.budget.seconds,
            "wall_seconds": objective.budget.wall_seconds,
            "threads": objective.budget.threads,
            "memory_mb": objective.budget.memory_bytes >> 20,
        },
        "history": None
        if objective.history is None
        else {
            "file": objective.history,
            "results": len(history.results),
            "skipped": history.skipped,
            **{status.value: history.count(status) for status in Status},
        },
        "notes": list(found.notes),
    }


def as_lines(imported: Imported) -> str:
    """The same for a person."""
    data = as_data(imported)
    lines = [f"{data['family']}, by {data['why']}"]
    lines += [f"  {name:<12} {text}" for name, text in _rows(data)]
    lines += [f"note: {note}" for note in data["notes"]]
    if data["left_out"]:
        lines.append(f"note: left out as secret or too large: {_some(data['left_out'])}")
    if data["others"]:
        lines.append(f"it could also be: {', '.join(f'{name} (--as {name})' for name in data['others'])}")
    folder = data["folder"]
    lines.append(f"wrote {folder}/{SETTINGS}, and changed nothing else. Next:")
    if data["prepare"]:
        lines.append(f"  (cd {folder} && {data['prepare']})")
    lines.append(f"  {typed(f'objective check --fix {folder}')}")
    return "\n".join(lines)


def _rows(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    metric, budget, history, environment = data["metric"], data["budget"], data["history"], data["environment"]
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    yield "editable", _some(data["editable"])
    yield "locked", _some(data["locked"]) or "nothing else"
    yield "metric", f"{metric['name']}{unit}, {metric['direction']} is better: {metric['reading']}"
    yield "runs", str(data["command"].get("run") or f"evaluate() in {data['command']['evaluator']}")
    if data["command"].get("checks"):
        yield "checks", str(data["command"]["checks"])
    yield "environment", "nothing but this Python's standard library" if environment is None else _environment(data)
    yield "prepare", f"{data['prepare']}   (once, with the network)" if data["prepare"] else "nothing"
    yield "seed", data["seed"]["says"]
    seconds = f"{budget['seconds']:g} s, " if budget["seconds"] else ""
    memory, threads = f"{budget['memory_mb']} MB", budget["threads"]
    yield "budget", f"{seconds}ended after {budget['wall_seconds']:g} s; threads: {threads}; memory: {memory}"
    yield "device", data["device"]
    yield "history", "none" if history is None else _history(history)


def _environment(data: dict[str, Any]) -> str:
    environment = data["environment"]
    lock = environment["lock"]
    locked = f"; {lock} with sha256 {environment['lock_sha256'][:12]}…" if lock else "; no lock file"
    return (", ".join(environment["paths"]) or "no folders") + locked


def _history(history: dict[str, Any]) -> str:
    counts = ", ".join(f"{history[status.value]} {status.value}" for status in Status if history[status.value])
    skipped = f"; {history['skipped']} lines could not be read" if history["skipped"] else ""
    told = f"{history['results']} results in {history['file']}"
    return f"{told} ({counts}){skipped}" if counts else f"{told}{skipped}"


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
