"""Draws: numbers that follow by hash from what is drawn for, so that whoever draws cannot choose.

Lots are private: each node draws for itself, with a secret of its own. Pure functions of ids; it knows nothing of
records.
"""

from __future__ import annotations

import hashlib


def pair_seed(parent: bytes, child: bytes, number: int, salt: bytes = b"") -> int:
    """A seed from 1 to 2³¹ − 1 for pair `number` of a comparison, as the first versions drew them: public.

    salt: bytes that make the seeds an author's own, such as its key. The result is the first 32 bits of a sha256 modulo
    2³¹ − 1, plus 1; that some seeds are likelier by one part in 2³¹ does not matter here.
    """
    digest = hashlib.sha256(b"pair\0" + parent + child + salt + number.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1


def lot(secret: bytes, what: bytes) -> float:
    """A number from 0 to below 1 that follows from `what`, and that nobody can work out without the secret.

    So nobody can make a record of which it is known beforehand who will be asked to run it again, and no key that is
    added changes what falls to the others.
    """
    digest = hashlib.sha256(b"lot\0" + secret + what).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
