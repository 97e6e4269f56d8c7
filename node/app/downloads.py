"""Fetching what an objective is made from, once a person has seen from where and has agreed.

An objective may be a stranger's, and its addresses are the author's choice. So nothing is fetched by joining: a person
asks for it with `objective prepare`, is shown every file, its size and its hosts, and says yes. A maker's own folder
may leave sizes and sums open: then what comes is trusted, this once, and written into objective.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import trio

from node.authoring.fixing import fix_download
from node.network.downloads.fetch import DownloadError, Source, fetch, why_no_room
from node.network.downloads.store import DownloadStore
from node.objective.downloads import read_open_downloads
from node.objective.limits import HostLimits
from node.objective.load import settings_text
from node.objective.schema import SETTINGS, Download, Objective, ObjectiveError
from node.objective.table import Table
from node.platform.config import FILE_NAME
from node.platform.file_trouble import HomeError
from node.platform.log import Log


class CannotDownloadError(HomeError):
    """Something cannot be fetched; the text says why and what to do."""


def sources_of(objective: Objective) -> list[Source]:
    """What an objective's data are made from."""
    return [Source(each.name, each.urls, each.entry, each.entry.size) for each in objective.downloads]


def sources_in(root: Path, limits: HostLimits) -> list[Source]:
    """The same of a maker's folder, in which sizes and sums may be open. Raises ObjectiveError."""
    try:
        settings = Table(tomllib.loads(settings_text(root)), "")
    except (OSError, ValueError, RecursionError) as error:
        raise ObjectiveError(f"{root / SETTINGS}: {error}") from None
    found = read_open_downloads(settings)
    return [Source(name, urls, entry, entry.size if entry else limits.data_bytes) for name, urls, entry in found]


def missing(sources: Sequence[Source], store: DownloadStore) -> list[Source]:
    """Those that are not here."""
    return [each for each in sources if each.entry is None or not store.has(_download(each))]


def question(sources: Sequence[Source], store: DownloadStore) -> str:
    """What a person is shown before anything is fetched."""
    count = "1 file" if len(sources) == 1 else f"{len(sources)} files"
    lines = [f"{count} would be fetched into {store.folder}, from addresses that the objective's author chose:"]
    for each in sources:
        size = "of a size that is not known yet" if each.entry is None else f"{each.entry.size / 1e6:.1f} MB"
        lines.append(f"    {each.name}, {size}, from {', '.join(urlsplit(url).netloc for url in each.urls)}")
    known = sum(each.entry.size for each in sources if each.entry is not None)
    unknown = any(each.entry is None for each in sources)
    if known:
        lines.append(f"together {known / 1e6:.1f} MB{', and what is not known yet' if unknown else ''}")
    if unknown:
        lines.append(
            f"Where {SETTINGS} has no sum, what comes now is taken as right, and its sum is written there for everybody"
        )
    return "\n".join(lines)


def fetch_all(sources: Sequence[Source], root: Path, store: DownloadStore, limits: HostLimits, log: Log) -> None:
    """Fetch what is missing, one file after the other; sums that were open are written into the folder's settings.

    Raises CannotDownloadError; what has come by then is kept.
    """
    known = [_download(each) for each in sources if each.entry is not None]
    total = sum(each.entry.size for each in known)
    if total > limits.data_bytes:
        raise CannotDownloadError(
            f"the files are {total / 1e6:.0f} MB, the most here is {limits.data_bytes / 1e6:.0f} MB (raise [limits] "
            f"data_quota_mb in {FILE_NAME})"
        )
    no_room = why_no_room(store, known)
    if no_room:
        raise CannotDownloadError(no_room)
    try:
        trio.run(_fetch_all, sources, root, store, limits, log)
    except* DownloadError as errors:
        raise CannotDownloadError(str(errors.exceptions[0])) from None
    except* OSError as errors:
        raise CannotDownloadError(f"{store.folder} cannot be written to: {errors.exceptions[0]}") from None


async def _fetch_all(sources: Sequence[Source], root: Path, store: DownloadStore, limits: HostLimits, log: Log) -> None:
    left = limits.data_bytes - sum(each.entry.size for each in sources if each.entry is not None)
    for source in missing(sources, store):
        most = source.most if source.entry is not None else min(left, store.free())
        entry = await fetch(Source(source.name, source.urls, source.entry, most), store, log)
        if source.entry is None:
            left -= entry.size
            fix_download(root, entry)
            log("download trusted", title=entry.path, sha256=entry.sha256.hex(), why=f"{SETTINGS} had no sum of it")


def _download(source: Source) -> Download:
    assert source.entry is not None
    return Download(source.name, source.urls, source.entry)
