"""Fetching a file from its mirrors, in turn, until it is here and is what it must be; or saying why it is not.

Where the sum is known, bytes of different mirrors are put together, since it will tell whether they fit. A file that is
whole and wrong is dropped; then mirrors must give it whole, and one that gives the wrong file is not asked again. Where
the sum is not known yet, only bytes of one version from one address are put together, and what came is taken as right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trio

from node.network.downloads.store import DownloadStore, Part
from node.network.downloads.transfer import Pace, TransferError, Wanted, transfer
from node.objective.schema import Download
from node.platform.log import Log
from protocol.objective import FileEntry

ROUNDS = 5  # of all mirrors without a byte that is new, before a download is given up
FIRST_DELAY_SECONDS = 2.0  # after a round in which nothing came; doubled after each
LONGEST_DELAY_SECONDS = 60.0
LOG_SECONDS = 5.0  # between two events about one file that is on its way


class DownloadError(Exception):
    """A file cannot be had; the text says why and what to do."""


@dataclass(frozen=True)
class Source:
    """A file to be fetched. entry: None where size and sum are not known yet. most: bytes that it may have then."""

    name: str
    urls: tuple[str, ...]
    entry: FileEntry | None
    most: int


@dataclass
class _Attempts:
    """What came of the mirrors so far.

    bad: those that will not do better. whole: bytes of different mirrors did not fit. most: that were ever here.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    whole: bool = False
    most: int = 0


def why_no_room(store: DownloadStore, downloads: Sequence[Download]) -> str:
    """Why all of these cannot be fetched; "" when they can."""
    missing = [each for each in downloads if not store.has(each)]
    size = sum(each.entry.size - store.part(each.urls, each.entry.sha256).size for each in missing)
    free = store.free()
    if size <= free:
        return ""
    return (
        f"{size / 1e6:.0f} MB are still to be fetched and only {free / 1e6:.0f} MB of disk are free for them; make "
        "room, or choose a home on another disk with --home"
    )


async def fetch(source: Source, store: DownloadStore, log: Log, pace: Pace | None = None) -> FileEntry:
    """Have the file in the store, verified; returns its name, sum and size.

    Raises DownloadError; what has come is kept for the next try. Raises OSError when it cannot be written.
    """
    entry, pace = source.entry, pace or Pace()
    part = store.part(source.urls, entry.sha256 if entry else None)
    wanted = Wanted(entry.size if entry else None, source.most, fixed=entry is not None)
    attempts, progress = _Attempts(most=part.size), _Progress(source.name, entry.size if entry else None, log)
    delay, idle = FIRST_DELAY_SECONDS, 0
    while idle < ROUNDS and set(source.urls) - attempts.bad:
        longest = 0.0
        for url in source.urls:
            if url in attempts.bad:
                continue
            try:
                from_elsewhere = await _attempt(url, part, wanted, attempts, progress, pace)
                found = await _verified(part, source, attempts, from_elsewhere)
                store.take(part, found.sha256)
                log("downloaded", title=source.name, megabytes=round(found.size / 1e6, 1), host=_host(url))
                return found
            except TransferError as error:
                longest = max(longest, error.delay)
                _note(url, error, source.name, attempts, log)
        more = part.size - attempts.most
        attempts.most = max(attempts.most, part.size)
        if more >= pace.window_bytes:  # less in a round is no progress: a server may send a byte for each request
            delay, idle = FIRST_DELAY_SECONDS, 0
            continue
        idle += 1
        if idle < ROUNDS and set(source.urls) - attempts.bad:
            await trio.sleep(max(delay, longest))
            delay = min(LONGEST_DELAY_SECONDS, 2 * delay)
    reasons = "; ".join(f"{_host(url)}: {why}" for url, why in attempts.reasons.items())
    kept = f" What has come of it ({part.size / 1e6:.1f} MB) is kept; ask again to go on." if part.size else ""
    raise DownloadError(f"{source.name} could not be fetched ({reasons}).{kept}")


async def _attempt(url: str, part: Part, wanted: Wanted, attempts: _Attempts, progress: _Progress, pace: Pace) -> bool:
    """Bring the rest of the file from one mirror. Returns whether some of it may be of another, or of long ago."""
    if attempts.whole and (part.origin is None or part.origin.url != url):
        part.drop()
    if wanted.size is not None and part.size == wanted.size:
        return True  # whole already: the program was killed before it had verified it
    resumed = part.size > 0 and not attempts.whole
    try:
        await transfer(url, part, wanted, progress.note, pace)
    except TransferError as error:
        if not error.restart:
            raise
        part.drop()
        await transfer(url, part, wanted, progress.note, pace)
        return False
    return resumed


async def _verified(part: Part, source: Source, attempts: _Attempts, from_elsewhere: bool) -> FileEntry:
    """What came, if it is what it must be. Raises TransferError where not; then mirrors have to give it whole."""
    sha256, size = await trio.to_thread.run_sync(part.sha256), part.size
    if source.entry is None:
        if size == 0:
            raise TransferError("its file is empty", again=False)
        return FileEntry(source.name, sha256, size)
    if sha256 == source.entry.sha256:
        return source.entry
    part.drop()
    attempts.whole = True
    raise TransferError("what came is not the declared file: its sha256 is another", again=from_elsewhere)


def _note(url: str, error: TransferError, name: str, attempts: _Attempts, log: Log) -> None:
    why = str(error)
    if not error.again:
        attempts.bad.add(url)
    if attempts.reasons.get(url) != why:
        log("download failed", level="warning", title=name, host=_host(url), why=why, again=error.again)
    attempts.reasons[url] = why


def _host(url: str) -> str:
    return urlsplit(url).netloc


class _Progress:
    """Logs at intervals how much of a file has arrived."""

    def __init__(self, name: str, size: int | None, log: Log) -> None:
        self._name, self._size, self._log = name, size, log
        self._logged_at, self._logged = trio.current_time(), 0

    def note(self, here: int) -> None:
        now = trio.current_time()
        if now - self._logged_at < LOG_SECONDS:
            return
        rate = max(0, here - self._logged) / 1e6 / (now - self._logged_at)
        share = {} if self._size is None else {"percent": 100 * here // self._size}
        megabytes = round((self._size or here) / 1e6, 1)
        self._log("downloading", title=self._name, **share, megabytes=megabytes, mb_per_second=round(rate, 1))
        self._logged_at, self._logged = now, here
