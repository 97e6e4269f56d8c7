"""An objective's data: in place before anything runs, and offered to peers.

Files in place stay. Missing ones are made by prepare.py, in the sandbox. What that cannot make is fetched from peers by
its sha256, which the objective's manifest names; so an invite is enough to join an objective with data.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from node.execution.prepare import prepare_data
from node.execution.sandbox.layers import Layers
from node.ledger.files import BlobFiles
from node.network import Network
from node.objective.data import confirm_data, missing_data, take_data
from node.objective.limits import HostLimits
from node.objective.schema import Data, Objective, ObjectiveError
from node.platform.log import Log

LOG_SECONDS = 5.0  # between two events about one file that is on its way

OpenNetwork = Callable[[], AbstractAsyncContextManager[Network]]


async def provide_data(
    objective: Objective, layers: Layers, limits: HostLimits, files: BlobFiles, network: OpenNetwork | None, log: Log
) -> None:
    """Have the data in place, verified, and offered to peers. Raises ObjectiveError with what to do when that fails.

    network: opened only when data have to be fetched; None when there is nobody to ask.
    """
    files.refer_to({data.entry.sha256: data.entry.size for data in objective.data})
    try:
        await prepare_data(objective, layers, limits, log)
    except ObjectiveError as error:
        if network is None:
            raise
        log("data not prepared", why=str(error).splitlines()[0])
        await _fetch(objective, files, network, log)
    for data in objective.data:
        files.offer(data.entry.sha256, objective.data_dir / data.entry.path)


async def _fetch(objective: Objective, files: BlobFiles, network: OpenNetwork, log: Log) -> None:
    missing = missing_data(objective)
    no_room = files.why_no_room({data.entry.sha256 for data in missing})
    if no_room:
        raise ObjectiveError(no_room)
    async with network() as opened:
        for data in missing:
            trouble = await opened.fetch_file(data.entry.sha256, _DownloadLog(data, log).note)
            if trouble:
                raise ObjectiveError(
                    f"{data.entry.path} could not be fetched: {trouble}. Is a node that has it running? What has come "
                    "is kept; join again to go on"
                )
            take_data(objective, data, files.path(data.entry.sha256))
            files.offer(data.entry.sha256, objective.data_dir / data.entry.path)
    confirm_data(objective)


class _DownloadLog:
    """Logs at intervals how much of a file has arrived."""

    def __init__(self, data: Data, log: Log) -> None:
        self._data = data
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
            title=self._data.entry.path,
            percent=100 * here // total,
            megabytes=round(total / 1e6, 1),
            **({"mb_per_second": round((here - self._first_bytes) / 1e6 / seconds, 1)} if seconds > 0.1 else {}),
        )
