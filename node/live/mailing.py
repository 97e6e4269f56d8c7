"""A mailing's CSV: who is sent which variant (`assign`), and what came of it (`read_results`).

The split has to be ours, or half and half by chance of the mail program: two variants that went to different lists
compare the lists. Recipients become keyed hashes as they are read; no address is stored.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.live.approval import arms_of_round
from node.live.assignment import recipient_name
from node.live.folder import LiveError, Settings
from node.live.store import Arm, Store

MAX_BYTES = 200 << 20
MAX_ROWS = 1_000_000
YES = frozenset({"1", "true", "yes", "y", "x"})
NO = frozenset({"", "0", "false", "no", "n"})


@dataclass(frozen=True)
class Columns:
    """What the columns are called. sent: rows without it were not sent; None where all were."""

    recipient: str = "recipient"
    variant: str = "variant"
    sent: str | None = None


@dataclass(frozen=True)
class Imported:
    """What came of a file. dropped: rows by reason."""

    rows: int
    recipients: int
    dropped: dict[str, int]


def assign(path: Path, columns: Columns, store: Store) -> Iterator[tuple[str, Arm]]:
    """Each recipient of a list with the running arm that they get. Raises LiveError."""
    arms = _running(store)
    for row in _rows(path, [columns.recipient]):
        recipient = row[columns.recipient].strip()
        if recipient:
            number = store.signer.arm(_visitor(store, recipient), [arm.id for arm in arms])
            yield recipient, next(arm for arm in arms if arm.id == number)


def read_results(path: Path, columns: Columns, settings: Settings, store: Store) -> Imported:
    """Add what a mail program tells of a mailing, all rows or none. Raises LiveError.

    The file has a column for each name of an answer that is to be counted: 1 or a number above 0, yes, or a time.
    """
    names = {name.casefold(): arm for arm in _running(store) for name in (arm.variant, _first_line(store, arm))}
    needed = [columns.recipient, columns.variant, settings.answer.name, *([columns.sent] if columns.sent else [])]
    dropped: Counter[str] = Counter()
    kept: dict[bytes, tuple[int, set[str]]] = {}
    rows = 0
    for row in _rows(path, needed):
        rows += 1
        arm, recipient = names.get(row[columns.variant].strip().casefold()), row[columns.recipient].strip()
        if columns.sent and not _is_yes(row[columns.sent]):
            dropped["not sent"] += 1
        elif arm is None or not recipient:
            dropped["no variant that a person approved" if recipient else "no recipient"] += 1
        else:
            visitor = _visitor(store, recipient)
            before = store.shown(visitor)
            if (before[0] if before else kept[visitor][0] if visitor in kept else arm.id) != arm.id:
                dropped["was shown another variant before"] += 1
                continue
            dropped["repeat"] += visitor in kept
            answers = {name for name in settings.answers if _is_yes(row.get(name) or "")}
            kept[visitor] = (arm.id, kept.get(visitor, (0, set[str]()))[1] | answers)
    new = store.add_mailing([(visitor, arm, sorted(answers)) for visitor, (arm, answers) in kept.items()])
    dropped += Counter({"known already": len(kept) - new})
    store.drop({f"in a CSV: {reason}": number for reason, number in (+dropped).items()})
    return Imported(rows, new, dict(+dropped))


def _running(store: Store) -> list[Arm]:
    arms = [arm for arm in arms_of_round(store.arms()) if arm.running]
    if len(arms) < 2 or not any(arm.is_control for arm in arms):
        raise LiveError(
            "nothing is approved to be sent: `autoresearch-node live approve` the control and a variant first"
        )
    return arms


def _visitor(store: Store, recipient: str) -> bytes:
    return store.signer.visitor(recipient_name(recipient))


def _first_line(store: Store, arm: Arm) -> str:
    """A subject line, by which mail programs name what they sent."""
    return next(iter(store.content(arm.id).decode("utf-8").strip().splitlines()), "").strip()


def _is_yes(value: str) -> bool:
    folded = value.strip().casefold()
    if folded in YES | NO:
        return folded in YES
    try:
        return float(folded) > 0
    except ValueError:
        return True  # a time at which it happened


def _rows(path: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LiveError(f"{path.name} has more than {MAX_BYTES >> 20} MB; cut it into several files")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            missing = [name for name in needed if name not in (reader.fieldnames or [])]
            if missing:
                raise LiveError(
                    f"{path.name} has no column {missing[0]!r}; it has {', '.join(reader.fieldnames or [])}"
                )
            for number, row in enumerate(reader):
                if number >= MAX_ROWS:
                    raise LiveError(f"{path.name} has more than {MAX_ROWS} rows; cut it into several files")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LiveError(f"cannot read {path.name} as CSV in UTF-8 ({error})") from None
