"""Snapshots of a training: one that was interrupted goes on to the bit, and what cannot be kept or read is said.

In processes of their own, because the workers import torch, and chance is mixed into a process for good.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.torch_processes import python

REPOSITORY = Path(__file__).parents[4]
HALF = 1 << 20
TRAIN = """
import json, os, random, struct, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import torch
from node.execution.workers import chance, snapshot, train

job = json.loads(sys.argv[2])
file = os.open(sys.argv[3], os.O_RDWR)
reads, results = os.pipe()
os.set_blocking(reads, False)
text = torch.randint(256, (8 * 500,), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
told = {"file": file, "half": job.pop("half"), "every": job.pop("every"), "share": 1e9, "from": job.pop("from")}
stop = job.pop("stop")
names = job.pop("names")
job = {"seed": 1, "context": 8, "vocabulary": 256, "checkpoints": [], "snapshots": told, **job}
task = train.Task(job, text, results, -1)
if "chance" in job:
    chance.mix_in(bytes.fromhex(job["chance"]))
chance.begin(1)
torch.manual_seed(5)
model = torch.nn.Sequential(torch.nn.Embedding(256, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 256))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
dice = torch.Generator().manual_seed(9)
mine = {"model": model, "steps": [optimizer, decay], "dice": dice, "odd": job.pop("odd", None)}
task.resumable(**{name: mine[name] for name in names})
drawn = []
for inputs, targets in task.batches(4):
    noise = torch.rand((), generator=dice) + np.random.rand() + random.random()
    loss = torch.nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()) * (1 + noise)
    task.report(model, loss)  # before the step is taken
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    decay.step()
    drawn.append([float(loss), int(inputs.sum()), task.tokens_spent])
    if len(drawn) == stop:
        break
frames = b""
try:
    frames = os.read(reads, 1 << 16)
except BlockingIOError:
    pass
where = []
while frames:
    tag, length = struct.unpack("<cxxxI", frames[:8])
    if tag == b"S":
        where.append(struct.unpack("<QQd", frames[8 : 8 + length])[:2])
    frames = frames[8 + length :]
weights = [parameter.flatten().tolist() for parameter in model.parameters()]
print(json.dumps({"drawn": drawn, "where": where, "weights": weights, "progress": task.progress}))
"""
SECRET = {"batch_seed": 2**62, "chance": "ab" * 32}
ALL = ("model", "steps", "dice")


def trained(
    file: Path, names: tuple[str, ...] = ALL, half: int = HALF, every: float = 0.0, **job: Any
) -> subprocess.CompletedProcess[str]:
    file.touch()
    given = {"tokens": 4 * 8 * 60, "half": half, "every": every, "from": None, "stop": None, "names": names, **job}
    return python(TRAIN, str(REPOSITORY), json.dumps(given), str(file))


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def goes_on_to_the_bit(folder: Path, **job: Any) -> None:
    whole = told(trained(folder / "none", every=1e9, **job))
    assert len(whole["drawn"]) == 60
    assert whole["where"] == []
    begun = told(trained(folder / "file", stop=23, **job))
    assert len(begun["where"]) == 22
    assert {offset for offset, _ in begun["where"]} == {0, HALF}
    rest = told(trained(folder / "file", **{"from": begun["where"][-1]}, **job))
    assert rest["drawn"] == whole["drawn"][22:]
    assert rest["weights"] == whole["weights"]
    assert rest["where"][0][0] != begun["where"][-1][0]  # the one it went on from is not written over at first


def test_a_training_with_a_secret_seed_goes_on_to_the_bit(tmp_path: Path) -> None:
    goes_on_to_the_bit(tmp_path, **SECRET)


def test_a_training_with_a_plain_seed_goes_on_to_the_bit(tmp_path: Path) -> None:
    goes_on_to_the_bit(tmp_path)


def test_of_a_budget_in_seconds_what_was_spent_is_spent(tmp_path: Path) -> None:
    job = {**SECRET, "tokens": 0, "seconds": 9.0, "warmup_seconds": 60.0, "threads": 1}
    begun = told(trained(tmp_path / "file", stop=50, **job))
    rest = told(trained(tmp_path / "file", stop=1, **{"from": begun["where"][-1]}, **job))
    assert rest["drawn"] == [begun["drawn"][-1]]
    assert rest["progress"] >= begun["progress"] > 0


def test_a_training_that_names_nothing_keeps_nothing(tmp_path: Path) -> None:
    assert told(trained(tmp_path / "file", names=(), stop=5))["where"] == []


def test_a_damaged_snapshot_is_not_gone_on_from(tmp_path: Path) -> None:
    file = tmp_path / "file"
    offset, length = told(trained(file, stop=9))["where"][-1]
    with open(file, "r+b") as opened:
        opened.seek(offset + length // 2)
        opened.write(b"\xff\x00" * 8)
    done = trained(file, **{"from": [offset, length]})
    assert done.returncode != 0
    assert "NoSnapshotError: the snapshot is damaged" in done.stderr


def test_a_snapshot_of_other_objects_is_not_gone_on_from(tmp_path: Path) -> None:
    where = told(trained(tmp_path / "file", names=("model",), stop=9))["where"][-1]
    done = trained(tmp_path / "file", **{"from": where})
    assert done.returncode != 0
    assert "of other objects" in done.stderr


def test_a_snapshot_that_does_not_fit_leaves_the_training_alone(tmp_path: Path) -> None:
    done = trained(tmp_path / "file", half=5000)
    assert len(told(done)["drawn"]) == 60
    assert told(done)["where"] == []
    assert done.stderr.count("no snapshots of this run: one would have more than") == 1
    assert os.path.getsize(tmp_path / "file") <= 5000


def test_what_has_no_state_cannot_be_named(tmp_path: Path) -> None:
    done = trained(tmp_path / "file", names=("odd",), odd="a text")
    assert done.returncode != 0
    assert "task.resumable(odd=...): a str has neither state_dict" in done.stderr
