"""The gate: nobody sees a variant before a person approved exactly these bytes.

What is served comes from the approval itself, so an edit of the file shows nobody anything. It ends the arm, since what
the folder has is no longer what visitors see.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from functools import lru_cache

from node.live.constraints import Fault, faults
from node.live.folder import CONTROL, SETTINGS, Constraints, Folder, LiveError, Variant, frozen_part
from node.live.store import Arm, Store


@dataclass(frozen=True)
class Ended:
    """An arm that left traffic just now."""

    arm: Arm
    reason: str
    detail: str


def faults_of(folder: Folder, variant: Variant) -> list[Fault]:
    """Why a variant is refused."""
    return list(_faults(variant, folder.settings.constraints, frozenset(folder.settings.answers)))


@lru_cache(maxsize=64)  # the service asks every second, and a long page takes a third of one
def _faults(variant: Variant, constraints: Constraints, answers: frozenset[str]) -> tuple[Fault, ...]:
    return tuple(faults(variant, constraints, answers))


def account() -> str:
    """The account that this process runs as."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def approve(folder: Folder, store: Store, name: str, sha256: str) -> int:
    """Let people see a variant. sha256: of the content that the person saw, or its first 12 digits at least.

    Returns the arm's number. Raises LiveError where anything stands against it.
    """
    variant, by = _variant(folder, name), account()
    if folder.settings.approvers and by not in folder.settings.approvers:
        raise LiveError(f"{by} may not approve here: {SETTINGS} has approvers = {list(folder.settings.approvers)}")
    if len(sha256) < 12 or not variant.sha256.startswith(sha256.lower()):
        raise LiveError(f"{name} is not what was seen any more: its sha256 is {variant.sha256[:12]}; look at it again")
    wrong = faults_of(folder, variant)
    if wrong:
        raise LiveError(f"{name} breaks a constraint, {wrong[0]}")
    check_frozen(folder, store)
    arms = store.arms()
    if any(arm.running and arm.variant == name and arm.sha256 == variant.sha256 for arm in arms):
        raise LiveError(f"{name} is approved already")
    most = folder.settings.rules.most_variants
    this_round = [arm for arm in arms_of_round(arms) if not arm.is_control]
    if name != CONTROL and len(this_round) >= most:
        raise LiveError(
            f"{most} contents were approved, which is all that rules.most_variants allows; begin a new folder, with "
            "what this one taught as its control"
        )
    content_type = variant.content_type
    if name == CONTROL and any(arm.is_control for arm in arms):
        for arm in arms:
            if arm.running and not arm.is_control:
                store.end(arm.id, "new control", "the control was approved anew, and comparisons begin anew")
    frozen = frozen_part(folder.settings)
    return store.approve(name, variant.content, variant.sha256, content_type, variant.themes, by, frozen)


def withdraw(folder: Folder, store: Store, name: str) -> None:
    """Let nobody see a variant any more. Raises LiveError where nobody does."""
    running = [arm for arm in store.arms() if arm.running and arm.variant == name]
    if not running:
        raise LiveError(f"{name} is not approved, so there is nothing to withdraw")
    for arm in running:
        store.end(arm.id, "withdrawn", f"by {account()}")


def arms_of_round(arms: list[Arm]) -> list[Arm]:
    """The arms since the latest control was approved, with it; all of them where there was no control before it."""
    controls = [arm.id for arm in arms if arm.is_control]
    return [arm for arm in arms if arm.id >= controls[-1]] if len(controls) > 1 else arms


def end_what_changed(folder: Folder, store: Store) -> list[Ended]:
    """End every running arm whose file is not what was approved any more, or breaks a constraint of today."""
    ended = []
    for arm in store.arms():
        variant = folder.variants.get(arm.variant)
        if not arm.running:
            continue
        if variant is None or variant.sha256 != arm.sha256:
            ended.append(Ended(arm, "edited", "its file is not what was approved; look at it and approve it again"))
        elif wrong := faults_of(folder, variant):
            ended.append(Ended(arm, "constraint", str(wrong[0])))
    return [each for each in ended if store.end(each.arm.id, each.reason, each.detail)]


def check_frozen(folder: Folder, store: Store) -> None:
    """Raise LiveError where the rules are not those of the first approval: rules that follow figures prove nothing."""
    frozen, now = store.frozen(), frozen_part(folder.settings)
    if frozen is not None and frozen != now:
        changed = ", ".join(sorted(name for name in now if frozen.get(name) != now[name]))
        raise LiveError(f"{SETTINGS} changed ({changed}) after the first approval; put it back, or begin a new folder")


def _variant(folder: Folder, name: str) -> Variant:
    if name not in folder.variants:
        raise LiveError(f"there is no variant {name!r:.60}; there are {', '.join(sorted(folder.variants))}")
    return folder.variants[name]
