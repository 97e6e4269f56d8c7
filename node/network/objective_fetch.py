"""Objective fetch: a node that has nothing yet gets an objective's manifest and files from the peers an invite names.

It has no ledger; everything it takes is checked against an id that comes from the invite.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio

from node.network.content.serve import allowance, pull
from node.network.frames import FramedStream, StreamEndedError, close
from node.network.host import Address, Host, parse_address
from node.network.parameters import (
    JOIN_PAUSE_SECONDS,
    JOIN_ROUNDS,
    NEXT_PEER_SECONDS,
)
from node.network.peer_check import NotReachedError, most_telling, reach
from node.network.peer_score import PeerScore
from protocol.codec import MANIFEST_LIMITS, MalformedError
from protocol.identity import Identity
from protocol.messages import BLOB_PROTOCOL
from protocol.objective import Invite, decode_manifest

Troubles = (MalformedError, StreamEndedError, trio.TooSlowError)


async def fetch_objective(
    identity: Identity,
    invite: Invite,
    progress: Callable[[int, int], None],
    not_reached: Callable[[Address, NotReachedError], None],
) -> tuple[bytes, dict[str, bytes], str] | None:
    """An objective's manifest, its files by path, and the id of the peer that gave them, for a node without a ledger.

    `progress` is called with files done and files in all; `not_reached` where no address leads anywhere, with the one
    that best tells why, as soon as that is known. None when no peer at the invite's addresses delivers.
    """
    host = Host(identity, PeerScore(lambda *_, **__: None, lambda _: None), invite.key)
    files: dict[bytes, bytes] = {}  # what one peer began the next may complete
    async with host.run([]):
        for attempt in range(JOIN_ROUNDS):
            await trio.sleep(JOIN_PAUSE_SECONDS * attempt)
            for peer in await _reach(host, invite, not_reached):
                try:
                    stream = await host.open_stream(peer, BLOB_PROTOCOL)
                    try:
                        manifest = await _pull_objective(stream, invite.objective, files, progress)
                    finally:
                        await close(stream, clean=True)
                except Troubles:
                    continue
                if manifest is not None:
                    named = {entry.path: files[entry.sha256] for entry in decode_manifest(manifest).files}
                    return manifest, named, peer
    return None


async def _reach(host: Host, invite: Invite, not_reached: Callable[[Address, NotReachedError], None]) -> list[str]:
    """Dial all of the addresses at once; the peers that answered, the quickest first.

    After the first answer the others have a moment left, not the whole time that a dead address takes to fail.
    """
    reached: dict[str, None] = {}
    faults: dict[Address, NotReachedError] = {}
    async with trio.open_nursery() as nursery:

        async def try_address(text: str) -> None:
            with suppress(MalformedError):
                address = parse_address(text)
                try:
                    await reach(host, address, private=invite.key is not None)
                except NotReachedError as error:
                    faults[address] = error
                    return
                reached[address.peer] = None
                nursery.cancel_scope.deadline = min(
                    nursery.cancel_scope.deadline, trio.current_time() + NEXT_PEER_SECONDS
                )

        for text in invite.addresses:
            nursery.start_soon(try_address, text)
    if faults and not reached:
        address = most_telling(faults)
        not_reached(address, faults[address])
    return list(reached)


async def _pull_objective(
    stream: Any, objective: bytes, files: dict[bytes, bytes], progress: Callable[[int, int], None]
) -> bytes | None:
    """The manifest, with all its files put into `files`; None when this peer lacks some."""
    most = MANIFEST_LIMITS.max_bytes
    manifest_bytes = await pull(FramedStream(stream, allowance(most)), objective, most)
    if manifest_bytes is None:
        return None
    entries = decode_manifest(manifest_bytes).files
    for done, entry in enumerate(entries, 1):
        if entry.sha256 not in files:
            content = await pull(FramedStream(stream, allowance(entry.size)), entry.sha256, entry.size)
            if content is None:
                return None
            files[entry.sha256] = content
        progress(done, len(entries))
    return manifest_bytes
