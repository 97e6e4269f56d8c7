"""What the workers that run a source are told of a run's seed: numbers from which the seed cannot be worked out.

An objective with a secret seed draws what it scores by the run's seed. A source that knew the seed could draw the same,
so it is told one-way functions of it, each with a label of its own: from one nobody can work out another.

A seed has 53 bits, which a program that tries 10¹⁰ hashes a second would search in ten days, and one run in three
thousand would find it in five minutes. So a seed is stretched first: a try then takes milliseconds and memory.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

TASK_BITS = 31  # of `task.seed`, which numpy and torch take in every form
BATCH_BITS = 63
# scrypt (RFC 7914): 4 MiB and some ten milliseconds a try. A run in which a thousand tries a second are made for an
# hour finds its seed with a chance of one in two thousand million.
SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_PARALLEL = 1 << 12, 8, 1
SALT = b"autoresearch-node run seeds"
KEPT_SEEDS = 64  # both runs of a pair and their examinations ask for one seed


def task_seed(seed: int) -> int:
    """The seed that a source sees, as `task.seed`."""
    return int.from_bytes(_digest("task", seed)[:8], "big") >> (64 - TASK_BITS)


def batch_seed(seed: int) -> int:
    """The seed of the generator that draws a run's batches."""
    return int.from_bytes(_digest("batches", seed)[:8], "big") >> (64 - BATCH_BITS)


def chance(seed: int) -> bytes:
    """What is mixed into everything that a source seeds, 32 bytes."""
    return _digest("chance", seed)


def _digest(label: str, seed: int) -> bytes:
    return hashlib.sha256(label.encode() + b"\0" + _stretched(seed)).digest()


@lru_cache(KEPT_SEEDS)
def _stretched(seed: int) -> bytes:
    return hashlib.scrypt(
        str(seed).encode(), salt=SALT, n=SCRYPT_COST, r=SCRYPT_BLOCK, p=SCRYPT_PARALLEL, dklen=32
    )  # fmt: skip
