"""An objective's data: in place before anything runs, and offered to peers.

Files in place stay. Missing ones are made by prepare.py, in the sandbox, from what a person had downloaded for it. What
that cannot make is fetched from peers by its sha256, which the objective's manifest names; so an invite is enough to
join an objective with data. Peers are given what was downloaded, too.

Data that an objective declares as not shared, such as a person's own texts, are neither offered nor asked for: whoever
joins has to have them already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import trio

from node.execution.prepare import prepare_data
from node.execution.sandbox.layers import Layers
from node.ledger.files import BlobFiles
from node.network import Network
from node.network.downloads.store import DownloadStore
from node.objective.data import confirm_data, missing_data, take_data
from node.objective.limits import HostLimits
from node.objective.schema import Objective, ObjectiveError
from node.platform.log import Log
from protocol.objective import FileEntry

LOG_SECONDS = 5.0  # between two events about one file that is on its way

OpenNetwork = Callable[[], AbstractAsyncContextManager[Network]]


async def provide_data(
    objective: Objective,
    layers: Layers,
    limits: HostLimits,
    files: BlobFiles,
    store: DownloadStore,
    network: OpenNetwork | None,
    log: Log,
) -> None:
    """Have the data in place, verified, and offered to peers. Raises ObjectiveError with what to do when that fails.

    Nothing is fetched from the addresses that the objective names; what was fetched from them once is in `store`.
    network: opened only when data have to be fetched from peers; None when there is nobody to ask.
    """
    shared = [data for data in objective.data if data.shared]
    entries = [data.entry for data in shared] + [download.entry for download in objective.downloads]
    files.refer_to({entry.sha256: entry.size for entry in entries})
    for download in objective.downloads:
        if store.has(download):
            files.offer(download.entry.sha256, store.path(download.entry.sha256))
    try:
        await prepare_data(objective, layers, limits, log, store.paths(objective.downloads))
    except ObjectiveError as error:
        _refuse_without_unshared(objective)
        if network is None:
            raise
        log("data not prepared", why=str(error).splitlines()[0])
        await _from_peers(objective, layers, limits, files, store, network, log)
    for data in shared:
        files.offer(data.entry.sha256, objective.data_dir / data.entry.path)


def _refuse_without_unshared(objective: Objective) -> None:
    """Raise ObjectiveError where data are missing that no peer gives."""
    missing = [data for data in missing_data(objective) if not data.shared]
    if missing:
        size = sum(data.entry.size for data in missing)
        names = ", ".join(data.entry.path for data in missing)
        raise ObjectiveError(
            f"{names} of {objective.name} ({size / 1e6:.1f} MB) are their owner's, and no node gives them to another. "
            f"Ask whoever invited you for these files, put them into {objective.root} and join again; they are checked "
            "by their sha256"
        )


async def _from_peers(
    objective: Objective,
    layers: Layers,
    limits: HostLimits,
    files: BlobFiles,
    store: DownloadStore,
    network: OpenNetwork,
    log: Log,
) -> None:
    """Have the data from peers; where they cannot give them, make them from what peers can give."""

    def take(entry: FileEntry, path: Path) -> Path:
        take_data(objective, by_path[entry.path], path)
        return objective.data_dir / entry.path

    missing = missing_data(objective)
    by_path = {data.entry.path: data for data in missing}
    try:
        await _fetch(objective, [data.entry for data in missing], files, network, log, take)
        confirm_data(objective)
    except ObjectiveError as error:
        absent = [each.entry for each in objective.downloads if not store.has(each)]
        if not absent:
            raise
        log("data not prepared", why=str(error).splitlines()[0])
        await _fetch(objective, absent, files, network, log, store.take_fetched)
        await prepare_data(objective, layers, limits, log, store.paths(objective.downloads))


async def _fetch(
    objective: Objective,
    entries: Sequence[FileEntry],
    files: BlobFiles,
    network: OpenNetwork,
    log: Log,
    take: Callable[[FileEntry, Path], Path],
) -> None:
    """Fetch files from peers. take: puts one in its place, and returns that."""
    no_room = files.why_no_room({entry.sha256 for entry in entries})
    if no_room:
        raise ObjectiveError(no_room)
    async with network() as opened:
        for entry in entries:
            trouble = await opened.fetch_file(entry.sha256, _FetchLog(entry, log).note)
            if trouble:
                raise ObjectiveError(
                    f"{entry.path} of {objective.name} could not be fetched: {trouble}. Is a node that has it running? "
                    "What has come is kept; join again to go on"
                )
            files.offer(entry.sha256, take(entry, files.path(entry.sha256)))


class _FetchLog:
    """Logs at intervals how much of a file has arrived."""

    def __init__(self, entry: FileEntry, log: Log) -> None:
        self._entry = entry
        self._log = log
        self._begun = trio.current_time()
        self._first_bytes: int | None = None
        self._logged_at = 0.0

    def note(self, here: int, total: int) -> None:
        """here, total: bytes of the file on this machine, and in all. The rate leaves out what an earlier try left."""
        now = trio.current_time()
        if self._first_bytes is None:
            self._first_bytes = here
        elif here < total and now - self._logged_at < LOG_SECONDS:
            return
        self._logged_at = now
        seconds = now - self._begun
        self._log(
            "fetching data" if here < total else "data fetched",
            title=self._entry.path,
            percent=100 * here // total,
            megabytes=round(total / 1e6, 1),
            **({"mb_per_second": round((here - self._first_bytes) / 1e6 / seconds, 1)} if seconds > 0.1 else {}),
        )
