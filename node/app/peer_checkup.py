"""The check-up behind `peer check`: what this machine finds at an address, or at each address of an invite.

It changes nothing and runs beside a node. It knows homes and invites; what is done with an address is the network's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import trio

from node.app.researched import remembered
from node.network import Host, PeerCheck, check_peer
from node.network.peer_score import PeerScore
from node.platform.config import Config
from node.platform.home import Home
from node.platform.log import Json
from protocol.codec import MalformedError
from protocol.identity import KEY_BYTES, Identity
from protocol.objective import INVITE_PREFIX, Invite, decode_invite

NO_NODE_HERE = "not known: no node runs in this home"
NO_ADDRESS = "the invite names no address: ask for a fresh one from a node that is running"


@dataclass(frozen=True)
class Checkup:
    """What was found at each address. here: who has been able to dial this home's node, in words."""

    peers: tuple[PeerCheck, ...]
    here: str

    @property
    def ok(self) -> bool:
        """Whether a node could join by it: one address of an invite is enough."""
        return any(not found.fault for found in self.peers)

    def as_json(self) -> Json:
        return {"ok": self.ok, "reach_of_this_node": self.here, "addresses": [asdict(found) for found in self.peers]}


def check(text: str, config: Config) -> Checkup:
    """Check an address, or all those of an invite. Raises MalformedError where the text is neither."""
    home = Home(config.home)
    asked = _asked(text, home)
    if not asked.addresses:
        raise MalformedError(NO_ADDRESS)
    status = home.read_status()
    here = str(status.get("reach", NO_NODE_HERE)) if status is not None else NO_NODE_HERE
    found = trio.run(_check_all, asked.addresses, asked.objective or None, asked.key, _identity(home))
    return Checkup(tuple(found), here)


def _asked(text: str, home: Home) -> Invite:
    """An address as an invite into the swarm that this home is in; without an objective where it is in none."""
    if "".join(text.split()).startswith(INVITE_PREFIX):
        return decode_invite(text)
    if not text.startswith("/"):
        raise MalformedError(
            f"{text[:120]!r} is neither an address like /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo… nor an invite, which "
            f'begins with "{INVITE_PREFIX}"'
        )
    with remembered(home) as ledger:
        objective = ledger.settings.objective if ledger is not None else None
    return Invite(objective or b"", (text,), home.swarm_key(objective))


def _identity(home: Home) -> Identity:
    """The home's own, which peers may `allow` or `block`; another while a node is using it: one key, one connection."""
    if home.ledger.exists() and (home.root / "identity.key").exists() and not home.in_use():
        return home.identity()
    return Identity.from_seed(os.urandom(KEY_BYTES))


async def _check_all(
    addresses: Sequence[str], objective: bytes | None, key: bytes | None, identity: Identity
) -> list[PeerCheck]:
    """All at once, each with a host of its own: a peer that is reached at one address is checked at the others too."""
    found: dict[int, PeerCheck] = {}

    async def check_one(position: int, address: str) -> None:
        host = Host(identity, PeerScore(lambda *_, **__: None, lambda _: None), key)
        async with host.run([]):
            found[position] = await check_peer(host, address, objective, key is not None)

    async with trio.open_nursery() as nursery:
        for position, address in enumerate(addresses):
            nursery.start_soon(check_one, position, address)
    return [found[position] for position in range(len(addresses))]
