"""Sessions: conversations with a peer on one stream each, limited in time and in number, whichever side opened it.

It knows how a session may end, and that nothing a peer does on a stream ends more than the session. What is said in it
is for anti_entropy.py (records) and content (blobs) to know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from node.network.frames import StreamEndedError, close
from node.network.groups import group_of
from node.network.host import Host
from node.network.parameters import (
    SESSION_SECONDS,
)
from node.network.peer_score import PeerScore
from node.network.seats import Seat, Seats
from node.platform.log import Log
from protocol.codec import MalformedError
from protocol.identity import short_peer
from protocol.sync import OtherObjectiveError

T = TypeVar("T")
Session = Callable[[Any], Awaitable[T]]


class Sessions:
    """Opens and answers streams with the peers of `host`."""

    def __init__(self, host: Host, peer_score: PeerScore, log: Log) -> None:
        self._host = host
        self._peer_score = peer_score
        self._log = log

    async def open(self, peer: str, protocol: str, session: Session[T]) -> T | None:
        """Hold a session on a new stream; None when there is no stream or the session does not end well."""
        try:
            stream = await self._host.open_stream(peer, protocol)
        except StreamEndedError:
            return None  # peers come and go
        return await self._run(peer, stream, session)

    def answer(self, protocol: str, what: str, per_peer: int, in_all: int, session: Callable[[Any, str], Any]) -> None:
        """Hold `session` (stream, peer) on every stream that a peer opens, as long as there is a seat for one more."""
        seats = Seats(per_peer, in_all, lambda peer: group_of(self._host.address_of(peer)) or peer)

        async def serve(stream: Any) -> None:
            peer = str(stream.muxed_conn.peer_id)
            offence = seats.is_over_its_own(peer)
            with seats.take(peer) as seat:
                if seat is not None:
                    _count_bytes(stream, seat)
                    await self._run(peer, stream, lambda stream: session(stream, peer))
                    return
            self._peer_score.note_refusal(peer, "stream", f"too many {what} sessions at once", offence=offence)
            await close(stream, clean=False)

        self._host.answer(protocol, serve)

    async def _run(self, peer: str, stream: Any, session: Session[T]) -> T | None:
        """Hold a session within its time and close its stream; None when it does not end well, for whatever reason."""
        clean = False
        try:
            with trio.move_on_after(SESSION_SECONDS):
                result = await session(stream)
                clean = True
        except* MalformedError as group:
            error = _first(group)
            offence = not isinstance(error, OtherObjectiveError)
            self._peer_score.note_refusal(peer, "stream", str(error), offence=offence)
        except* trio.TooSlowError:
            self._peer_score.note_refusal(peer, "stream", "nothing came in time", offence=False)
        except* StreamEndedError:
            pass  # peers come and go
        except* Exception as group:
            self._log("session failed", level="error", peer=short_peer(peer), error=repr(_first(group)))
        finally:
            await close(stream, clean)
        return result if clean else None


def _count_bytes(stream: Any, seat: Seat) -> None:
    """Count in the seat what goes over a stream, either way."""
    read, write = stream.read, stream.write

    async def counted_read(n: int | None = None) -> bytes:
        data: bytes = await read(n)
        seat.bytes_moved += len(data)
        return data

    async def counted_write(data: bytes) -> None:
        await write(data)
        seat.bytes_moved += len(data)

    stream.read, stream.write = counted_read, counted_write


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
