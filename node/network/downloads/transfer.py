"""One attempt to fetch a file, or the rest of it, from one address.

The server is untrusted: its headers are read once, here, within limits; an answer that is longer than it must be, slow
or of another version than what is here already is not taken. Nothing of this machine goes with a request: no
credentials, no proxy and no cookie of the environment. Redirects are followed a few times, and never to this machine
itself.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx2
import trio

from node.network.downloads.store import Origin, Part
from node.objective.downloads import is_loopback, why_not_fetched

MOST_REDIRECTS = 5
ANSWER_SECONDS = 30.0  # to connect, and for the head of an answer
# Of a file's content at least so much must come in so many seconds, or another mirror is tried: 2 kB/s.
WINDOW_SECONDS = 30.0
WINDOW_BYTES = 60_000
LONGEST_RETRY_AFTER = 60.0
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_NO_REST = "it cannot go on where the download was interrupted"
_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429, 500, 502, 503, 504)  # what may go better in a while

Arrived = Callable[[int], None]  # is told how many bytes of the file are here


class TransferError(Exception):
    """The address did not give the file; the text says why.

    again: whether the same address may do better later, after `delay` seconds where it named a time. restart: it may do
    better at once, if asked for the whole file.
    """

    def __init__(self, why: str, again: bool = True, delay: float = 0.0, restart: bool = False) -> None:
        super().__init__(why)
        self.again, self.delay, self.restart = again, delay, restart


@dataclass(frozen=True)
class Wanted:
    """What an answer must be. size: of the whole file; None where it is not known, and then at most `most` bytes.

    fixed: whether the file's sum is known, so that bytes of different mirrors can be put together.
    """

    size: int | None
    most: int
    fixed: bool


@dataclass(frozen=True)
class Pace:
    """How long an answer may take, in seconds; `window_bytes` must come in each `window`."""

    answer: float = ANSWER_SECONDS
    window: float = WINDOW_SECONDS
    window_bytes: int = WINDOW_BYTES


async def transfer(url: str, part: Part, wanted: Wanted, arrived: Arrived, pace: Pace) -> None:
    """Bring what is missing of a file into `part`. Raises TransferError; what has come by then is kept.

    Where the server gives the rest, it is appended; where it gives the whole file, or another version of it, what was
    here is dropped. Raises OSError when it cannot be written.
    """
    begin = _offset(url, part, wanted)
    try:
        async with _opened(url, begin, part.origin, pace) as (response, came_from):
            start = _start(response, begin, wanted)
            version = _version(response)
            if start == 0:
                part.begin(Origin(came_from, version))
            await _append(response, part, start, wanted, arrived, pace)
    except httpx2.HTTPError as error:
        raise TransferError(_in_words(error)) from None
    if wanted.size is not None and part.size < wanted.size:
        raise TransferError("the connection was cut")


def _offset(url: str, part: Part, wanted: Wanted) -> int:
    """From which byte to go on. What came from elsewhere goes on only where the sum will tell whether it fits."""
    if part.size == 0 or (wanted.size is not None and part.size >= wanted.size):
        return 0
    origin = part.origin
    if wanted.fixed or (origin is not None and origin.url == url and origin.version):
        return part.size
    return 0


@asynccontextmanager
async def _opened(
    url: str, begin: int, origin: Origin | None, pace: Pace
) -> AsyncIterator[tuple[httpx2.Response, str]]:
    """The answer to a request, its content not read yet, behind redirects; and the address that was asked first."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "autoresearch-node"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
        if origin is not None and origin.url == url and origin.version:
            headers["If-Range"] = origin.version  # another version is then sent whole
    timeout = httpx2.Timeout(pace.answer)
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout) as client:
        target = url
        for _ in range(MOST_REDIRECTS + 1):
            response = None
            with trio.move_on_after(pace.answer):
                response = await client.send(client.build_request("GET", target, headers=headers), stream=True)
            if response is None:
                raise TransferError(f"there was no answer within {pace.answer:g} seconds")
            if response.status_code not in _REDIRECTS:
                break
            await response.aclose()
            client.cookies.clear()
            target = _redirected(url, target, response)
        else:
            raise TransferError(f"it redirects more than {MOST_REDIRECTS} times", again=False)
        try:
            yield response, url
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await response.aclose()


def _redirected(first: str, target: str, response: httpx2.Response) -> str:
    """Where a redirect leads. Raises TransferError where nothing is fetched from there."""
    found = urljoin(target, response.headers.get("location", ""))
    why = why_not_fetched(found)
    if not why and is_loopback(urlsplit(found)) and not is_loopback(urlsplit(first)):
        why = "that is this machine itself"
    if why:
        raise TransferError(f"it redirects to {found!r:.200}, and {why}", again=False)
    return found


def _start(response: httpx2.Response, begin: int, wanted: Wanted) -> int:
    """At which byte of the file the answer's content begins. Raises TransferError for an answer that is no such."""
    status = response.status_code
    if status == 416 and begin:  # what is here is longer than the server's file, or another version's
        raise TransferError(_NO_REST, restart=True)
    if status not in (200, 206):
        delay = _retry_after(response) if status in _LATER else 0.0
        raise TransferError(f"it answers with status {status}", again=status in _LATER, delay=delay)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise TransferError("it sends the file compressed, though that was not asked for", again=False)
    length = response.headers.get("content-length", "")
    size = int(length) if re.fullmatch(r"\d{1,19}", length) else None
    start = 0
    if status == 206:
        match = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or int(match[1]) != begin:
            raise TransferError(_NO_REST, restart=True)
        start, size = begin, None if match[3] == "*" else int(match[3])
    if wanted.size is not None and size is not None and size != wanted.size:
        raise TransferError(f"its file has {size} bytes, and {wanted.size} are declared", again=False)
    if wanted.size is None and size is not None and size > wanted.most:
        raise TransferError(_too_large(wanted), again=False)
    return start


async def _append(
    response: httpx2.Response, part: Part, start: int, wanted: Wanted, arrived: Arrived, pace: Pace
) -> None:
    """Write the content as it comes. A server that says nothing at all ends by the client's own time limit."""
    here = window_start = start
    window_ends = trio.current_time() + pace.window
    with part.path.open("ab") as file:
        async for chunk in response.aiter_raw():
            here += len(chunk)
            if here > (wanted.most if wanted.size is None else wanted.size):
                raise TransferError(_too_large(wanted), again=False)
            file.write(chunk)
            file.flush()
            arrived(here)
            now = trio.current_time()
            if now >= window_ends:
                if here - window_start < pace.window_bytes and here != wanted.size:
                    raise TransferError(f"it is too slow: {(here - window_start) / pace.window:.0f} bytes per second")
                window_ends, window_start = now + pace.window, here


def _too_large(wanted: Wanted) -> str:
    if wanted.size is not None:
        return f"it sends more than the {wanted.size} bytes that are declared"
    return f"its file is larger than {wanted.most} bytes, which is what there is room for"


def _version(response: httpx2.Response) -> str:
    """The server's name for this version of the file, as If-Range takes it; "" where it gives none that is exact."""
    tag = str(response.headers.get("etag", ""))
    found = tag if tag.startswith('"') else str(response.headers.get("last-modified", ""))
    return found if len(found) <= 200 and found.isascii() and found.isprintable() else ""


def _retry_after(response: httpx2.Response) -> float:
    text = response.headers.get("retry-after", "")
    seconds = float(text) if re.fullmatch(r"\d{1,6}", text) else 0.0
    return min(LONGEST_RETRY_AFTER, seconds) if math.isfinite(seconds) else 0.0


def _in_words(error: httpx2.HTTPError) -> str:
    """What failed, without the library's text, which may quote the server's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "its certificate is not valid, or not for this address"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return "nobody answers there"
    if isinstance(error, httpx2.TimeoutException):
        return "there was no answer in time"
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError):
        return "the connection was cut"
    return f"the request failed ({type(error).__name__})"
