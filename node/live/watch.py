"""Acting on what the answers say: what has to leave traffic leaves it, and what is surely so is kept as a finding."""

from __future__ import annotations

from pathlib import Path

from node.live.approval import arms_of_round, check_frozen, end_what_changed
from node.live.folder import Folder
from node.live.store import Arm, Finding, Store
from node.live.verdicts import Verdict, verdicts
from node.platform.log import Log, open_log

KINDS = {"better": "better than the control", "best": "better than every other in traffic"}


def settle(folder: Folder, store: Store, log: Log) -> None:
    """Do all that follows from the folder and the answers as they are now, and log it.

    Raises LiveError where the rules are not those of the first approval: nothing is claimed by other ones.
    """
    for ended in end_what_changed(folder, store):
        _log_end(ended.arm, ended.reason, ended.detail, log)
    check_frozen(folder, store)
    for verdict in current(folder, store):
        if not verdict.arm.running:
            continue
        if verdict.stop is not None and store.end(verdict.arm.id, *verdict.stop):
            _log_end(verdict.arm, *verdict.stop, log)
        for kind, holds in (("better", verdict.better), ("best", verdict.best)):
            if holds and verdict.stop is None and store.find(verdict.arm.id, kind, _numbers(verdict)):
                log("variant found better", title=verdict.arm.variant, why=KINDS[kind], measured=_numbers(verdict))


def live_log(state: Path, console: bool = True) -> Log:
    """The log of a live folder, in its state: it is none of a node's."""
    log = open_log(state, "info", console)

    def write(event: str, level: str = "info", **details: object) -> None:
        getattr(log, level)(event, **details)

    return write


def current(folder: Folder, store: Store) -> list[Verdict]:
    """The verdicts of the round that is going on."""
    return verdicts(arms_of_round(store.arms()), folder.settings, store.tally)


def findings_of(arm: Arm, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.arm == arm.id]


def _log_end(arm: Arm, reason: str, detail: str, log: Log) -> None:
    log("variant stopped", level="warning", title=arm.variant, why=detail, reason=reason)


def _numbers(verdict: Verdict) -> str:
    return f"{verdict.answers} of {verdict.visitors} against {verdict.control_answers} of {verdict.control_visitors}"
