"""What a run's workers are told of its seed: numbers from which neither the seed nor each other can be worked out.

An objective with a secret seed draws what it scores by the run's seed. A source that knew the seed could draw the same,
so it is told one-way functions of it, each with a label of its own: from one nobody can work out another. The
objective's own programs are told such numbers too. For what they draw is shown to the source, and the common generators
hide neither their state nor what they were seeded with from somebody who sees enough of what they give.

A seed has 53 bits, which a program that tries 10¹⁰ hashes a second would search in ten days, and one run in three
thousand would find it in five minutes. So a seed is stretched first: a try then takes milliseconds and memory.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

TASK_BITS = 31  # of `task.seed`, which numpy and torch take in every form
SEED_BITS = 63  # of the others
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
    return _number("batches", seed)


def text_seed(seed: int) -> int:
    """The seed that an objective's `draw` gets."""
    return _number("text", seed)


def judge_seed(seed: int) -> int:
    """The seed that a judge gets for places and noise, which an examination worker sees."""
    return _number("judge", seed)


def chance(seed: int) -> bytes:
    """What is mixed into everything that a source seeds, 32 bytes."""
    return _digest("chance", seed)


def _number(label: str, seed: int) -> int:
    return int.from_bytes(_digest(label, seed)[:8], "big") >> (64 - SEED_BITS)


def _digest(label: str, seed: int) -> bytes:
    return hashlib.sha256(label.encode() + b"\0" + _stretched(seed)).digest()


@lru_cache(KEPT_SEEDS)
def _stretched(seed: int) -> bytes:
    return hashlib.scrypt(
        str(seed).encode(), salt=SALT, n=SCRYPT_COST, r=SCRYPT_BLOCK, p=SCRYPT_PARALLEL, dklen=32
    )  # fmt: skip
