"""What a ledger remembers beside records, sources and runs: a few named values, each with its type.

Every key of the ledger's `meta` table but its schema version is written here, once. What belongs to an objective has
the objective's id in its key, so that a home can research several, one after the other. The first version had one
objective a home and keys without an id; they are read as those of the objective it researched, until the next start
gives them its id. Some keys ("outlook") are older than the names of their properties.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from protocol.metric import LOSS, Metric

NO_SOURCE = bytes(32)  # where no baseline was noted yet
DESCRIPTION, SNAPSHOT, SPEEDS, CANDIDATES = "description", "outlook", "speeds", "candidates"  # of an objective
OF_THE_FIRST_VERSION = ("baseline", "objective name", "metric", "measure", "trust", "editable", SNAPSHOT, SPEEDS)
ANCHORS = "anchors"
SUGGESTION_NOTES = "suggestion notes"
JUDGED = "judged"
ONE_FILE = ("train.py",)  # what could be edited in the first version


class MetaStore(Protocol):
    """Keeps bytes by name."""

    def meta(self, key: str) -> bytes | None: ...

    def set_meta(self, key: str, value: bytes) -> None: ...

    def on_disk(self) -> AbstractContextManager[None]: ...

    def drop_meta(self, key: str) -> None: ...

    def meta_keys(self) -> list[str]: ...


class Description(msgspec.Struct, frozen=True):
    """What a home knows of an objective without its files. measure: how values of the metric compare. trust: who
    measures them, "judged" or "self-measured".

    folder: where a person keeps the files; "" where they came with the program or by invite. embedded: they came with
    the program when this was noted. joined: when a node last began to research it here, in seconds since 1970; 0 if
    none did.
    """

    name: str = ""
    metric: str = ""
    unit: str = ""
    measure: Metric = LOSS
    trust: str = JUDGED
    baseline: bytes = NO_SOURCE
    editable: tuple[str, ...] = ONE_FILE
    folder: str = ""
    embedded: bool = False
    joined: float = 0.0

    @property
    def measured_suffix(self) -> str:
        """What stands behind a value or a gain: ", self-measured", or nothing where a judge measures."""
        return "" if self.trust == JUDGED else f", {self.trust}"


class LedgerSettings:
    """The named values of one ledger, those of one objective among them.

    Every property reads from the ledger, and every assignment is stored at once.
    """

    def __init__(self, store: MetaStore, objective: bytes) -> None:
        self._store = store
        self._objective = objective

    # ---- of the home -----------------------------------------------------------------------------------------------

    @property
    def objective(self) -> bytes | None:
        """The id of the objective that this home researches: the last one joined or chosen."""
        return self._store.meta("objective")

    @property
    def descriptions(self) -> dict[bytes, Description]:
        """Every objective that was described in this home, by id."""
        prefix = f"{DESCRIPTION} "
        found = {bytes.fromhex(key[len(prefix) :]) for key in self._store.meta_keys() if key.startswith(prefix)}
        current = self.objective
        if current is not None:
            found.add(current)
        return {objective: LedgerSettings(self._store, objective).description for objective in sorted(found)}

    @property
    def author(self) -> bytes:
        """This node's own author key; empty in a ledger in which no node has worked yet."""
        return self._store.meta("author") or b""

    @author.setter
    def author(self, key: bytes) -> None:
        self._store.set_meta("author", key)

    @property
    def spending(self) -> bytes | None:
        """What models have cost, as JSON of `proposers.spending`; no power cut takes it back, so that caps hold."""
        return self._store.meta("spending")

    @spending.setter
    def spending(self, note: bytes) -> None:
        with self._store.on_disk():
            self._store.set_meta("spending", note)

    # ---- of the objective ------------------------------------------------------------------------------------------

    def choose(self, description: Description) -> None:
        """Research this ledger's objective from now on, and note what it is, for commands that read without its files.

        A folder or a time that was known stays where the description has none.
        """
        self._give_ids()
        known = self.description
        kept = msgspec.structs.replace(
            description, folder=description.folder or known.folder, joined=description.joined or known.joined
        )
        self._set(DESCRIPTION, msgspec.msgpack.encode(kept))
        self._store.set_meta("objective", self._objective)

    @property
    def description(self) -> Description:
        packed = self._store.meta(self._key(DESCRIPTION))
        if packed is not None:
            return msgspec.msgpack.decode(packed, type=Description)
        return self._of_the_first_version() if self.objective == self._objective else Description()

    @property
    def objective_name(self) -> str:
        return self.description.name

    @property
    def metric(self) -> str:
        """The metric's name."""
        return self.description.metric

    @property
    def measure(self) -> Metric:
        """How values of the metric compare."""
        return self.description.measure

    @property
    def trust(self) -> str:
        """Who measures the values: "judged" or "self-measured"."""
        return self.description.trust

    @property
    def baseline(self) -> bytes:
        """The source that every lineage starts from."""
        return self.description.baseline

    @property
    def editable(self) -> tuple[str, ...]:
        """The paths of the objective's editable files."""
        return self.description.editable

    @property
    def strategy_snapshot(self) -> bytes | None:
        """What the strategy's last choice was based on, packed by `proposers.strategy_snapshot`."""
        return self._get(SNAPSHOT)

    @strategy_snapshot.setter
    def strategy_snapshot(self, packed: bytes) -> None:
        self._set(SNAPSHOT, packed)

    @property
    def machine_speeds(self) -> bytes | None:
        """JSON of `trials.compute_class`: {"count": measurements ever made, "speeds": tokens/s of the last of them}."""
        return self._get(SPEEDS)

    @machine_speeds.setter
    def machine_speeds(self, note: bytes) -> None:
        self._set(SPEEDS, note)

    @property
    def candidates(self) -> bytes | None:
        """The ideas that are being tried, packed by `research.candidates`, for the next start to go on with."""
        return self._store.meta(self._key(CANDIDATES))

    @candidates.setter
    def candidates(self, packed: bytes) -> None:
        self._set(CANDIDATES, packed)

    @property
    def suggestion_notes(self) -> bytes | None:
        """Why suggestions are not tried at the moment, as JSON of `proposers.suggested`."""
        return self._store.meta(self._key(SUGGESTION_NOTES))

    @suggestion_notes.setter
    def suggestion_notes(self, note: bytes | None) -> None:
        self._set(SUGGESTION_NOTES, note or b"{}")

    @property
    def anchors(self) -> tuple[str, ...]:
        """The multiaddrs of the peers that this node had dialled and was connected to longest when it last ran."""
        packed = self._store.meta(self._key(ANCHORS))
        return () if packed is None else msgspec.msgpack.decode(packed, type=tuple[str, ...])

    @anchors.setter
    def anchors(self, addresses: tuple[str, ...]) -> None:
        self._set(ANCHORS, msgspec.msgpack.encode(addresses))

    # ---- keys ------------------------------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        return f"{name} {self._objective.hex()}"

    def _set(self, name: str, value: bytes) -> None:
        self._store.set_meta(self._key(name), value)

    def _get(self, name: str) -> bytes | None:
        found = self._store.meta(self._key(name))
        return self._store.meta(name) if found is None and self.objective == self._objective else found

    def _of_the_first_version(self) -> Description:
        """The description in keys without an id, which are those of the objective that the home researches."""
        packed, editable = self._store.meta("measure"), self._store.meta("editable")
        return Description(
            name=self._text("objective name"),
            metric=self._text("metric"),
            measure=LOSS if packed is None else msgspec.msgpack.decode(packed, type=Metric),
            trust=self._text("trust") or JUDGED,
            baseline=self._store.meta("baseline") or NO_SOURCE,
            editable=ONE_FILE if editable is None else msgspec.msgpack.decode(editable, type=tuple[str, ...]),
            embedded=True,  # unless its name says otherwise: no folder was remembered then
        )

    def _give_ids(self) -> None:
        """Give keys without an id that of the objective they are about, before another one is researched."""
        current = self.objective
        if current is not None and any(self._store.meta(key) is not None for key in OF_THE_FIRST_VERSION):
            about = LedgerSettings(self._store, current)
            about._set(DESCRIPTION, msgspec.msgpack.encode(about.description))
            for name in (SNAPSHOT, SPEEDS):
                value = about._get(name)
                if value is not None:
                    about._set(name, value)
        for key in OF_THE_FIRST_VERSION:
            self._store.drop_meta(key)

    def _text(self, key: str) -> str:
        return (self._store.meta(key) or b"").decode("utf-8", "replace")
