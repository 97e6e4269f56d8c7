"""Identities: Ed25519 keys (RFC 8032), libp2p peer ids, signatures bound to a domain, and proofs of a random function.

It knows keys as values; the node keeps them. A secret never shows in a repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import base58
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import vrf
from protocol.codec import MalformedError

# A libp2p peer id of an Ed25519 key is the identity multihash (0x00, length 36) of its protobuf public key
# (type 1 = Ed25519, 32 bytes): https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
PEER_ID_PREFIX = bytes.fromhex("0024080112 20".replace(" ", ""))
KEY_BYTES = 32
SHORT_CHARACTERS = 8


@dataclass(frozen=True)
class Identity:
    """A signing key. `seed` is its 32 secret bytes; everything else about it is public."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != KEY_BYTES:
            raise ValueError("an Ed25519 seed has 32 bytes")

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """The identity with this seed. For a new one the caller brings 32 random bytes."""
        return cls(seed)

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def author(self) -> bytes:
        """The 32-byte public key: how records name their author."""
        return self._key.public_key().public_bytes_raw()

    @property
    def peer_id(self) -> str:
        """The public key as libp2p writes it ("12D3Koo...")."""
        return peer_id_of(self.author)

    def sign(self, domain: bytes, data: bytes) -> bytes:
        """A 64-byte signature that is valid for this domain only, since the domain is signed in front of the data."""
        return self._key.sign(domain + data)

    def prove(self, data: bytes) -> bytes:
        """This key's value of the verifiable random function at `data`, with its proof (`vrf`)."""
        return vrf.prove(self.seed, data)


def verify(author: bytes, domain: bytes, data: bytes, signature: bytes) -> bool:
    """Whether `author` signed `data` in `domain`. Never raises, whatever the bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(author).verify(signature, domain + data)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def peer_id_of(author: bytes) -> str:
    """The libp2p peer id of a 32-byte Ed25519 public key."""
    return base58.b58encode(PEER_ID_PREFIX + author).decode()


def author_of(peer_id: str) -> bytes:
    """The public key in an Ed25519 peer id. Raises MalformedError."""
    try:
        raw = base58.b58decode(peer_id)
    except ValueError:
        raise MalformedError("a peer id is not base58") from None
    if len(raw) != len(PEER_ID_PREFIX) + KEY_BYTES or not raw.startswith(PEER_ID_PREFIX):
        raise MalformedError("a peer id is not that of an Ed25519 key")
    return raw[len(PEER_ID_PREFIX) :]


def short(author: bytes) -> str:
    """The end of the author's peer id, as people are shown it everywhere."""
    return short_peer(peer_id_of(author))


def short_peer(peer_id: str) -> str:
    """The end of a peer id: enough for a person to tell peers apart."""
    return "…" + peer_id[-SHORT_CHARACTERS:]
