"""What runs now, as the page's live part and `status --json` show it: made of the running node's status.json alone.

status.json is written by the node in this home, but it may be of an earlier version, cut short or damaged: what is not
there is shown as unknown.
"""

from __future__ import annotations

import math
from typing import Any

from node.platform.home import Home
from node.platform.log import Json

MOST_RUNS = 16
MOST_NEXT = 10
MOST_TEXT = 600  # characters


def live(home: Home, running: Json | None) -> Json:
    """The runs under way, and whether and why nothing runs. running: status.json; None where no node runs here."""
    told = running or {}
    pause = _pause(home, told)
    runs = [_run(run) for run in _rows(told.get("runs"))[:MOST_RUNS]]
    machine = told.get("machine")
    return {
        "state": _state(running, pause, runs),
        "doing": _text(told.get("doing")) or None,
        "why_not": _text(told.get("resting")) or None,
        "pause": pause,
        "at": told.get("at"),
        "compute_class": _text(told.get("compute_class")) or None,
        "device": _text(told.get("device")) or None,
        "workers": {
            "busy": told.get("runs_at_once", 0),
            "most": told.get("workers_most"),
            "elsewhere": _rows(told.get("workers")),
        },
        "machine": machine if isinstance(machine, dict) else None,
        "expected_seconds": told.get("expected_seconds"),
        "runs_made": told.get("runs_made", 0),
        "runs": runs,
        "next": [_idea(idea) for idea in _rows(told.get("next"))[:MOST_NEXT]],
    }


def _state(running: Json | None, pause: Json | None, runs: list[Json]) -> str:
    if running is None:
        return "off"
    if pause is not None:
        return "paused"
    return "running" if runs else "idle"


def _pause(home: Home, told: Json) -> Json | None:
    """The pause that a person asked for, else what the node says it rests for; None where it does neither."""
    until = home.paused_until()
    if until is not None:
        return {"until": None if math.isinf(until) else until, "by": "you", "why": _text(told.get("resting"))}
    resting = told.get("resting")
    return {"until": None, "by": "settings", "why": _text(resting)} if resting else None


def _run(run: Json) -> Json:
    beside = run.get("beside")
    return {
        **_idea(run),
        "source": run.get("source"),
        "role": run.get("role"),
        "phase": run.get("phase"),
        "share": run.get("share"),
        "seconds": run.get("seconds"),
        "seconds_left": run.get("seconds_left"),
        "loss": run.get("loss"),
        "curve": run.get("curve") or [],
        "beside": beside if isinstance(beside, dict) else None,
    }


def _idea(idea: Json) -> Json:
    names = ("title", "category", "reason", "proposer")
    return {name: _text(idea.get(name)) or None for name in names} | {"suggestion": idea.get("suggestion")}


def _rows(value: Any) -> list[Json]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value[:MOST_TEXT] if isinstance(value, str) else ""
