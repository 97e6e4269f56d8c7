"""A live folder as data: what was approved, what audiences answered, what was stopped and dropped, and the map."""

from __future__ import annotations

import math

from node.live.approval import arms_of_round, faults_of
from node.live.evidence import Interval
from node.live.folder import Folder, LiveError
from node.live.store import Arm, Store
from node.live.themes import ThemeEffect, answer_map
from node.live.verdicts import GuardVerdict, Verdict, verdicts
from node.platform.log import Json

TRUST = "observed, this audience only; never re-run, never adopted unasked"
MAX_TEXT = 20_000  # characters of a variant that are shown


def live_status(folder: Folder, store: Store) -> Json:
    """Everything about a live folder but the visitors themselves."""
    arms, found = store.arms(), store.findings()
    by_arm = {verdict.arm.id: verdict for verdict in verdicts(arms_of_round(arms), folder.settings, store.tally)}
    kinds = {(finding.arm, finding.kind) for finding in found}
    rows = []
    for name in sorted(folder.variants, key=lambda name: (name != "control", name)):
        arm = next((arm for arm in reversed(arms) if arm.variant == name), None)
        rows.append(_variant(folder, name, arm, by_arm.get(arm.id) if arm else None, kinds))
    settings = folder.settings
    return {
        "folder": str(folder.root),
        "name": settings.name,
        "measured": TRUST,
        "answer": settings.answer.name,
        "level": settings.rules.level,
        "most_variants": settings.rules.most_variants,
        "approved_so_far": len([arm for arm in arms_of_round(arms) if not arm.is_control]),
        "variants": rows,
        "stopped": [
            {
                "variant": arm.variant,
                "sha256": arm.sha256,
                "reason": arm.reason,
                "detail": arm.detail,
                "time": arm.ended,
            }
            for arm in arms
            if arm.ended is not None and arm.reason != "replaced"
        ],
        "dropped": store.dropped(),
        "share_themes": settings.share_themes,
    }


def live_variant(folder: Folder, store: Store, name: str) -> Json:
    """One variant with its text, for a person who is to approve it."""
    if name not in folder.variants:
        raise LiveError(f"there is no variant {name!r:.60}; there are {', '.join(sorted(folder.variants))}")
    row: Json = next(row for row in live_status(folder, store)["variants"] if row["name"] == name)
    return row | {"text": folder.variants[name].content.decode("utf-8", "replace")[:MAX_TEXT]}


def live_map(folder: Folder, store: Store) -> Json:
    """What this audience answered to, by theme, and what was never tried."""
    found = answer_map(store.arms(), folder.themes, folder.settings, store.tally)
    return {
        "name": folder.settings.name,
        "measured": TRUST,
        "answer": folder.settings.answer.name,
        "level": folder.settings.rules.level,
        "tried": [_theme(effect) for effect in found.tried],
        "untried": [{"theme": each.name, "category": each.category, "title": each.title} for each in found.untried],
    }


def live_map_for_peers(folder: Folder, store: Store) -> Json:
    """Themes and effects alone: no texts, names of variants, targets or addresses. Raises LiveError unless allowed."""
    if not folder.settings.share_themes:
        raise LiveError("peers are given nothing of this folder; `share_themes = true` in live.toml says that they may")
    whole = live_map(folder, store)
    kept = ("theme", "category", "ratio", "low", "high", "visitors", "control_visitors", "never_without")
    tried = [{key: row[key] for key in kept} for row in whole["tried"]]
    untried = [{"theme": row["theme"], "category": row["category"]} for row in whole["untried"]]
    return {"measured": TRUST, "level": whole["level"], "tried": tried, "untried": untried}


def _variant(folder: Folder, name: str, arm: Arm | None, verdict: Verdict | None, kinds: set[tuple[int, str]]) -> Json:
    variant = folder.variants[name]
    same = arm is not None and arm.sha256 == variant.sha256
    faults = [str(fault) for fault in faults_of(folder, variant)]
    row: Json = {
        "name": name,
        "sha256": variant.sha256,
        "approved": same and arm is not None and arm.running,
        "state": _state(arm, same, faults),
        "why": arm.detail if arm is not None and not arm.running else "",
        "approved_by": arm.approved_by if arm is not None and same else None,
        "faults": faults,
        "themes": list(variant.themes),
        "found": [kind for kind in ("better", "best") if arm is not None and (arm.id, kind) in kinds],
    }
    return row | (_figures(verdict) if verdict is not None else {})


def _state(arm: Arm | None, same: bool, faults: list[str]) -> str:
    if arm is not None and arm.running and same:
        return "in traffic"
    if arm is not None and not arm.running and (same or arm.reason == "edited"):
        return f"stopped: {arm.reason}"
    return "refused" if faults else "waits for approval"


def _figures(verdict: Verdict) -> Json:
    return {
        "visitors": verdict.visitors,
        "answers": verdict.answers,
        "control_visitors": verdict.control_visitors,
        "control_answers": verdict.control_answers,
        **_ratio(verdict.ratio),
        "evidence": math.exp(min(verdict.evidence, 50.0)),
        "evidence_needed": math.exp(verdict.needed),
        "enough": verdict.enough,
        "split_broken": verdict.split_broken,
        "lost": verdict.lost,
        "guards": [_guard(guard) for guard in verdict.guards],
    }


def _guard(guard: GuardVerdict) -> Json:
    counts = {"name": guard.name, "ours": guard.ours, "theirs": guard.theirs, "harmed": guard.harmed}
    return counts | _ratio(guard.ratio)


def _theme(effect: ThemeEffect) -> Json:
    return {
        "theme": effect.theme.name,
        "category": effect.theme.category,
        "title": effect.theme.title,
        "variants": list(effect.variants),
        "visitors": effect.visitors,
        "answers": effect.answers,
        "control_visitors": effect.control_visitors,
        "control_answers": effect.control_answers,
        "never_without": list(effect.never_without),
        **_ratio(effect.ratio),
    }


def _ratio(ratio: Interval) -> Json:
    """A ratio as JSON has it, which knows no infinity: null is "nothing bounds it"."""
    return {"ratio": ratio.ratio, "low": ratio.low, "high": ratio.high if math.isfinite(ratio.high) else None}
