"""Who gets which variant, and how an answer proves whose it is: keyed hashes, nothing else.

A visitor is a random number in a signed cookie, or an `id` that a mailing gives. Only a keyed hash of it is stored, so
nothing here leads back to a person. The variant follows from that hash and the key, so it is the same after a restart
and without a table: each running arm has a number drawn for this visitor, and the highest wins (highest random weight,
Thaler and Ravishankar 1998). When an arm ends, its visitors alone move, and the others keep the one they had.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass

KEY_BYTES = 32
VISITOR_BYTES = 16  # of the hash: two of a million visitors meet with probability 1e-27
MAC_BYTES = 16
MAX_ID = 200  # characters of an id that a mailing gives
_TOKEN = struct.Struct(f">{VISITOR_BYTES}sI")


@dataclass(frozen=True)
class Answerer:
    """Who an answer is from, as a signed link says: a visitor's hash, and the arm that was shown."""

    visitor: bytes
    arm: int


class Signer:
    """The key of one live folder, and all that follows from it."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def visitor(self, identifier: str) -> bytes:
        """The hash by which a visitor is known here."""
        return self._mac("visitor", identifier.encode("utf-8", "surrogatepass"))[:VISITOR_BYTES]

    def new_cookie(self) -> str:
        """A cookie for somebody who is here for the first time."""
        number = secrets.token_urlsafe(16)
        return f"{number}.{self._sign('cookie', number.encode())}"

    def in_cookie(self, value: str) -> str | None:
        """The visitor's number in a cookie; None where this key did not sign it."""
        number, _, mac = value.partition(".")
        good = hmac.compare_digest(mac.encode(), self._sign("cookie", number.encode()).encode())
        return number if good else None

    def takes_part(self, visitor: bytes, share: float) -> bool:
        """Whether a visitor is among the share of the traffic that the test has."""
        return self._drawn("traffic", visitor, 0) < share

    def arm(self, visitor: bytes, arms: Sequence[int]) -> int:
        """The arm that a visitor gets of those running."""
        return max(arms, key=lambda arm: self._drawn("arm", visitor, arm))

    def token(self, answerer: Answerer) -> str:
        """What a link carries: nobody without the key can make one for another visitor or arm."""
        content = _TOKEN.pack(answerer.visitor, answerer.arm)
        return _text(content + self._mac("token", content)[:MAC_BYTES])

    def in_token(self, text: str) -> Answerer | None:
        """Who a token says that it is from; None where this key did not sign it."""
        try:
            content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError):
            return None
        body, mac = content[: _TOKEN.size], content[_TOKEN.size :]
        if len(body) < _TOKEN.size or not hmac.compare_digest(mac, self._mac("token", body)[:MAC_BYTES]):
            return None
        return Answerer(*_TOKEN.unpack(body))

    def _drawn(self, what: str, visitor: bytes, number: int) -> float:
        """Uniform in [0, 1), by a visitor and a number."""
        drawn = self._mac(what, visitor + number.to_bytes(8, "big"))
        return (int.from_bytes(drawn[:8], "big") >> 11) / (1 << 53)

    def _sign(self, what: str, content: bytes) -> str:
        return _text(self._mac(what, content)[:MAC_BYTES])

    def _mac(self, what: str, content: bytes) -> bytes:
        return hmac.digest(self._key, what.encode() + b"\0" + content, hashlib.sha256)


def recipient_name(given: str) -> str:
    """How somebody is called whom a mailing knows by an id or an address, however it was typed."""
    return f"id:{given.strip().casefold()}"


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
