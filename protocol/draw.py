"""Sortition by hash: the order of authors for a task, which nobody can choose and everybody can check.

Every node that knows the ids computes the same draw. Pure functions of ids; it knows nothing of records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def pair_seed(parent: bytes, child: bytes, number: int, salt: bytes = b"") -> int:
    """A seed from 1 to 2³¹ − 1 for pair `number` of a comparison, as the first versions drew them: public.

    salt: bytes that make the seeds an author's own, such as its key. The result is the first 32 bits of a sha256 modulo
    2³¹ − 1, plus 1; that some seeds are likelier by one part in 2³¹ does not matter here.
    """
    digest = hashlib.sha256(b"pair\0" + parent + child + salt + number.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1


def drawn(what: bytes, authors: Iterable[bytes]) -> list[bytes]:
    """The authors in the order in which it falls to them to do `what`: ascending by sha256 over `what` and the author.

    For example, the first three authors drawn for a claim's id re-run it, and the fourth stands in for one of them.
    Leaving out an author does not change the order of the others.
    """
    return sorted(set(authors), key=lambda author: _lot(what, author))


def drawn_number(what: bytes, count: int) -> int:
    """A number from 0 to count − 1 that follows from `what`."""
    return int.from_bytes(_lot(what, b"")[:8], "big") % count


def _lot(what: bytes, author: bytes) -> bytes:
    return hashlib.sha256(b"draw\0" + what + author).digest()
