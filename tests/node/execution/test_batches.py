"""A run with a secret seed reads its text once, window by window in random order, and begins again only at its end.

In a process of its own, because the worker imports torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.torch_processes import python

REPOSITORY = Path(__file__).parents[3]
READ = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from node.execution.workers.train import Task

job = json.loads(sys.argv[2])
text = torch.randint(256, (64 * 100 + 64,), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
task = Task({"seed": 1, "context": 64, "vocabulary": 256, "checkpoints": [], **job}, text, -1, -1)
seen = []
for size in (16, 7):  # a source may change its batch on the way
    for inputs, targets in task.batches(size):
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        seen += [row[:4].tolist() for row in inputs]
        if size == 16 and len(seen) >= 48:
            break
print(json.dumps(seen))
"""


def windows_read(**job: Any) -> list[tuple[int, ...]]:
    """The first bytes of every window that a run reads, in order."""
    done = python(READ, str(REPOSITORY), json.dumps(job))
    assert done.returncode == 0, done.stderr
    return [tuple(row) for row in json.loads(done.stdout)]


def test_every_window_is_read_once_whatever_the_size_of_batches() -> None:
    read = windows_read(tokens=64 * 70, batch_seed=2**62)
    assert len(read) >= 70
    assert len(set(read)) == len(read)
    assert read != sorted(read)


def test_a_longer_budget_reads_the_text_again_in_other_windows() -> None:
    read = windows_read(tokens=64 * 190, batch_seed=2**62)
    first, second = set(read[:99]), set(read[101:])
    assert len(first) > 95
    assert not first & second


def test_the_same_seed_reads_in_the_same_order_and_another_in_another() -> None:
    one, again, other = (windows_read(tokens=64 * 60, batch_seed=seed) for seed in (5, 5, 6))
    assert one == again
    assert one != other
