"""The form of what is said of this machine and this home: checks, settings, suggestions, keys, the ledger, the log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from node.view.model.forms.figures import Conclusion, Effect, Hex, Peer


class Finding(msgspec.Struct, frozen=True):
    """One check: with "warn" a node works less well, with "missing" it does not work. remedy: "" where none is due."""

    name: str
    ok: Literal["ok", "warn", "missing"]
    found: str
    remedy: str


class Invite(msgspec.Struct, frozen=True):
    """`invite --json`. It lets whoever has it into the swarm; of a private one it holds the key."""

    invite: str
    objective: Hex
    addresses: list[str]
    private: bool


class Published(msgspec.Struct, frozen=True):
    """`publish DIR --json`. left: what is somebody else's, and was left as it is."""

    folder: str
    written: list[str]
    unchanged: int
    removed: list[str]
    left: list[str]


class LogEvent(msgspec.Struct, frozen=True):
    """A line of `log --json`; what else it has is in log-events.md, by the event. time: UTC, as ISO 8601 has it."""

    time: str
    level: str
    event: str


class ReachedPeer(msgspec.Struct, frozen=True):
    """What was found at an address. fault, why: what is wrong, "" if nothing is. pings: seconds each."""

    address: str
    peer: str
    fault: str
    why: str
    connect_seconds: float | None
    pings: list[float]
    agent: str
    protocols: list[str]
    objective: str


class PeerChecked(msgspec.Struct, frozen=True):
    """`peer check ADDRESS --json`. ok: one of the addresses is enough to join by."""

    ok: bool
    reach_of_this_node: str
    addresses: list[ReachedPeer]


class ServiceStatus(msgspec.Struct, frozen=True):
    """`service status --json`. said: systemd's own word. node_running: however it was started."""

    unit: str
    installed: bool
    running: bool
    said: str
    node_running: bool


# ---- settings and suggestions ----------------------------------------------------------------------------------------


class Setting(msgspec.Struct, frozen=True, rename={"origin": "from"}):
    """A setting. from: where its value comes from, "changed" by `settings` or on the page.

    running: what a running node goes by, null where none says it.
    """

    name: str
    table: str
    value: Any
    default: Any
    file_value: Any
    origin: Literal["option", "changed", "swarm.toml", "default"]
    expected: str
    kind: str
    least: float | None
    most: float | None
    about: str
    takes_effect: str
    running: Any
    pending: bool
    changeable: bool
    why_not: str | None


class LastChange(msgspec.Struct, frozen=True):
    """What `--undo` would take back."""

    name: str
    to: Any
    text: str


class Settings(msgspec.Struct, frozen=True):
    """`settings --json`. file: swarm.toml as far as there is one."""

    settings: list[Setting]
    file: str | None
    undo: LastChange | None


class Try(msgspec.Struct, frozen=True):
    """One node's experiment on a suggestion. decision: its conclusion."""

    id: Hex
    by: Peer
    decision: Conclusion
    gain_text: str | None
    time: int


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A suggestion and what became of it. id: null while no node has taken it up. place: in the queue, from 1."""

    id: Hex | None
    file: str | None
    title: str
    text: str
    has_edit: bool
    edit: Hex | None
    by: Peer | None
    own: bool
    time: int
    state: Literal[
        "left", "refused", "waiting", "trying", "tried", "dropped", "needs_model", "with_model", "vetoed", "taken_back"
    ]
    place: int | None
    why: str | None
    record: Hex | None
    gain_text: str | None
    tried: list[Try]
    can: list[Literal["up", "down", "veto", "allow", "take-back"]]


class ModelHere(msgspec.Struct, frozen=True):
    configured: bool
    text: str


class Suggestions(msgspec.Struct, frozen=True):
    """`suggestions --json`. of: how many records this was worked out of."""

    suggestions: list[Suggestion]
    more: int
    model: ModelHere
    of: int


# ---- key and ledger --------------------------------------------------------------------------------------------------


class KeyShown(msgspec.Struct, frozen=True):
    """`key show --json`. signed: records by objective. known: whether it is noted how far the key has signed."""

    peer_id: Peer
    file: str
    known: bool
    signed: dict[str, int]


class KeyMade(msgspec.Struct, frozen=True):
    """`key new --json`"""

    peer_id: Peer
    former_key: str | None


class FeedsOfObjective(msgspec.Struct, frozen=True):
    objective: Hex
    name: str
    feeds: int
    records: int


class LedgerChecked(msgspec.Struct, frozen=True):
    """`ledger check --json`. missing_own: records that this node's key has signed and that are not there."""

    path: str
    whole: bool
    problems: list[str]
    objectives: list[FeedsOfObjective]
    missing_own: int


class LedgerRepaired(msgspec.Struct, frozen=True):
    """`ledger repair --json`; of a whole one nothing else is said. taken_over: rows by table."""

    whole: bool
    kept_as: str | UnsetType = UNSET
    taken_over: dict[str, int] | UnsetType = UNSET
    lost_records: int | UnsetType = UNSET


class LedgerExported(msgspec.Struct, frozen=True):
    """`ledger export FILE --json`"""

    file: str
    records: int


# ---- work on a record ------------------------------------------------------------------------------------------------


class RunAgain(msgspec.Struct, frozen=True):
    """One run of `reproduce ID --json`: its value in the record and here; null where it failed. of: which pair."""

    of: str
    side: Literal["parent", "child"]
    seed: int
    said: float | None
    found: float | None
    failure: str | None
    checkpoints_equal: bool
    same: bool
    spread: Annotated[float, Meta(description="of an effect, by the objective; 0 where runs repeat")]


class Promoted(msgspec.Struct, frozen=True):
    """`promote ID --json`. waiting: the running node has taken the request, and nothing but the scale is known yet."""

    waiting: bool
    discovery: Hex
    scale: str
    id: Hex | UnsetType = UNSET
    peer: Peer | UnsetType = UNSET
    title: str | UnsetType | None = UNSET
    category: str | UnsetType | None = UNSET
    compute_class: str | UnsetType = UNSET
    decision: str | UnsetType = UNSET
    effect: Effect | UnsetType | None = UNSET
    claimed: Effect | UnsetType | None = UNSET
    cost_ratio: float | UnsetType | None = UNSET
    pairs: int | UnsetType = UNSET


class Finalized(msgspec.Struct, frozen=True):
    """A row of `finalize --json`: a branch that was made, the discovery behind it, and the file with its patch."""

    branch: str
    title: str
    record: Hex
    patch: str
