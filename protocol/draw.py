"""What is drawn by hash, so that nobody chooses it and everybody can check it: seeds, and whose turn it is.

Pure functions of ids; it knows nothing of records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def pair_seed(parent: bytes, child: bytes, number: int, salt: bytes = b"") -> int:
    """A seed from 1 to 2³¹ − 1 for pair `number` of a comparison; `salt` (a key) makes it that author's own."""
    digest = hashlib.sha256(b"pair\0" + parent + child + salt + number.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1


def drawn(what: bytes, authors: Iterable[bytes]) -> list[bytes]:
    """The authors in the order in which it is their turn to do `what`."""
    return sorted(set(authors), key=lambda author: _lot(what, author))


def drawn_number(what: bytes, count: int) -> int:
    """A number from 0 to count − 1."""
    return int.from_bytes(_lot(what, b"")[:8], "big") % count


def _lot(what: bytes, author: bytes) -> bytes:
    return hashlib.sha256(b"draw\0" + what + author).digest()
