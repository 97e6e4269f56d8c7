"""Seeds that nobody can predict, that everybody can repeat, and that their author could not choose.

A seed follows from a value of its node's verifiable random function (`vrf`) over all that it is for. So before a
record shows it, it is known to no one but that node, and it is no other comparison's seed. The seeds of a report come
with the proof that they are its author's. A node proves nothing of the seeds of its own experiments: others do not
believe those, they run them again. The seeds of a transfer, a claim run at another scale, are proven like a report's.

Records of the first versions hold seeds that anybody can work out (`draw.pair_seed`); see `audits.is_report`.
"""

from __future__ import annotations

import hashlib

from protocol.fields import MAX_INTEGER
from protocol.identity import Identity
from protocol.vrf import value_of, verify

# Seeds are 1 to 2⁵³ − 1: what every reader of records takes as an integer, and what a page's JavaScript holds exactly.
SEEDS = MAX_INTEGER - 1
REPORT_DOMAIN = b"autoresearch/seeds of a report/1\0"
TRANSFER_DOMAIN = b"autoresearch/seeds of a transfer/1\0"
OWN_DOMAIN = b"autoresearch/seeds of one's own/1\0"
LOTS_DOMAIN = b"autoresearch/lots of one's own/1\0"


def report_proof(identity: Identity, objective: bytes, claim: bytes, parent: bytes, child: bytes) -> bytes:
    """The proof that belongs into this node's report on a claim (a record id)."""
    return identity.prove(_report_input(objective, claim, parent, child))


def proven_value(
    author: bytes, proof: bytes, objective: bytes, claim: bytes, parent: bytes, child: bytes
) -> bytes | None:
    """What the proof in an author's report on a claim proves; None where it does not hold. Never raises."""
    return verify(author, _report_input(objective, claim, parent, child), proof)


def transfer_proof(
    identity: Identity, objective: bytes, claim: bytes, parent: bytes, child: bytes, scale: str
) -> bytes:
    """The proof that belongs into this node's transfer of a claim (a record id) to a scale."""
    return identity.prove(_transfer_input(objective, claim, parent, child, scale))


def proven_transfer_value(
    author: bytes, proof: bytes, objective: bytes, claim: bytes, parent: bytes, child: bytes, scale: str
) -> bytes | None:
    """What the proof in an author's transfer proves; None where it does not hold. Never raises."""
    return verify(author, _transfer_input(objective, claim, parent, child, scale), proof)


def seeds_of(value: bytes, count: int) -> list[int]:
    """The first `count` seeds of pairs that follow from a value of the function."""
    return [_seed(value, number) for number in range(1, count + 1)]


def seeds_in(proof: bytes, count: int) -> list[int]:
    """The seeds that follow from a proof that this node has made."""
    return seeds_of(value_of(proof), count)


def own_seed(identity: Identity, objective: bytes, use: str, parent: bytes, child: bytes, number: int) -> int:
    """A seed of this node's own, for one run or pair.

    use: what it is for, in a few letters. The same arguments always give the same seed, so a node that was stopped
    finds the runs it made.
    """
    context = use.encode() + b"\0" + objective + parent + child + number.to_bytes(8, "big")
    return _seed(value_of(identity.prove(OWN_DOMAIN + context)), 0)


def own_secret(identity: Identity, objective: bytes) -> bytes:
    """What this node draws its lots with in one objective (`draw.lot`): nobody else can work it out."""
    return value_of(identity.prove(LOTS_DOMAIN + objective))


def _report_input(objective: bytes, claim: bytes, parent: bytes, child: bytes) -> bytes:
    return REPORT_DOMAIN + objective + claim + parent + child


def _transfer_input(objective: bytes, claim: bytes, parent: bytes, child: bytes, scale: str) -> bytes:
    return TRANSFER_DOMAIN + objective + claim + parent + child + scale.encode()


def _seed(value: bytes, number: int) -> int:
    """The first 128 bits of a sha256 modulo SEEDS, plus 1: no seed is likelier than another by more than 2⁻⁷⁵."""
    digest = hashlib.sha256(b"seed\0" + value + number.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:16], "big") % SEEDS + 1
