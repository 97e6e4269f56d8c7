"""Sessions: what is held with a peer on one stream, within its time, and so many at once, whoever opened it.

It knows how a session may end, and that nothing a peer does on a stream ends more than the session. What is said in it
is for anti_entropy.py (records) and content (blobs).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import trio

from node.network.frames import StreamEndedError, close
from node.network.host import Host
from node.network.parameters import (
    SESSION_SECONDS,
)
from node.network.peer_score import Log, PeerScore, short_peer
from protocol.codec import MalformedError

T = TypeVar("T")
Session = Callable[[Any], Awaitable[T]]


class Sessions:
    """Opens and answers streams with the peers of `host`."""

    def __init__(self, host: Host, peer_score: PeerScore, log: Log) -> None:
        self._host = host
        self._peer_score = peer_score
        self._log = log
        self._seats: Counter[tuple[str, str]] = Counter()

    async def open(self, peer: str, protocol: str, session: Session[T]) -> T | None:
        """Hold a session on a new stream; None when there is no stream or the session does not end well."""
        try:
            stream = await self._host.open_stream(peer, protocol)
        except StreamEndedError:
            return None  # peers come and go
        return await self._hold(peer, stream, session)

    def answer(self, protocol: str, what: str, per_peer: int, in_all: int, session: Callable[[Any, str], Any]) -> None:
        """Hold `session` (stream, peer) on every stream that a peer opens, as long as there is room for one more."""

        async def serve(stream: Any) -> None:
            peer = str(stream.muxed_conn.peer_id)
            with self._seat(peer, what, per_peer, in_all) as seated:
                if seated:
                    await self._hold(peer, stream, lambda stream: session(stream, peer))
                else:
                    await close(stream, clean=False)

        self._host.answer(protocol, serve)

    @contextmanager
    def _seat(self, peer: str, what: str, per_peer: int, in_all: int) -> Iterator[bool]:
        """Whether there is room for one more session of this kind; it is held for the block."""
        taken = self._seats[what, peer]
        if taken >= per_peer or sum(n for (kind, _), n in self._seats.items() if kind == what) >= in_all:
            self._peer_score.note_refusal(
                peer, "stream", f"too many {what} sessions at once", offence=taken >= per_peer
            )
            yield False
            return
        self._seats[what, peer] += 1
        try:
            yield True
        finally:
            self._seats[what, peer] -= 1
            self._seats += Counter()  # drops the zeros

    async def _hold(self, peer: str, stream: Any, session: Session[T]) -> T | None:
        """Hold a session within its time and close its stream; None when it does not end well, for whatever reason."""
        clean = False
        try:
            with trio.move_on_after(SESSION_SECONDS):
                result = await session(stream)
                clean = True
        except* MalformedError as group:
            self._peer_score.note_refusal(peer, "stream", str(_first(group)))
        except* trio.TooSlowError:
            self._peer_score.note_refusal(peer, "stream", "nothing came in time", offence=False)
        except* StreamEndedError:
            pass  # peers come and go
        except* Exception as group:
            self._log("session failed", level="error", peer=short_peer(peer), error=repr(_first(group)))
        finally:
            await close(stream, clean)
        return result if clean else None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
