"""What the workers that run a source are told of a run's seed: numbers from which the seed cannot be worked out.

An objective with a secret seed draws what it scores by the run's seed. A source that knew the seed could draw the same,
so it is told one-way functions of it, each with a label of its own: from one nobody can work out another.
"""

from __future__ import annotations

import hashlib

TASK_BITS = 31  # of `task.seed`, which numpy and torch take in every form
BATCH_BITS = 63


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
    return hashlib.sha256(f"autoresearch-node {label} {seed}".encode()).digest()
