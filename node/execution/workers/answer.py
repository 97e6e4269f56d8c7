"""The examination worker: loads a source with its weights and answers the judge, and nobody else, with logits.

A fork inside a sandbox, which can write nowhere and read nothing but Python's own files; imports nothing of ours.

    answer.py JOBS_FD REQUESTS_FD REPLIES_FD WEIGHTS_FD

On JOBS_FD comes the job, as parts of <u64 length> and bytes: JSON {seed, context, vocabulary, editable, weights} and
perhaps {scale, chance} (see train.py), and the source's files. `weights` says where in WEIGHTS_FD each set of weights
is, as [offset, length]. The judge asks on REQUESTS_FD: <u32 set> <u32 batch> <u32 time> <u32 places>, uint16 tokens
(batch, time), and uint16 places (batch), if `places` is 1 and not 0. The answer on REPLIES_FD is <u32 batch> <u32 time>
<u32 vocabulary> and float32 logits of that shape; where places were given, those at one place of each window, and
`time` is 1. All numbers are little-endian. Nothing that this process sends is trusted: the source runs in it and could
send anything.
"""

import json
import os
import struct
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from node.execution.workers import chance
from node.execution.workers.exchange import read_at, receive, receive_exactly, send
from node.execution.workers.source import repeats
from node.execution.workers.source_modules import SourceModules


class Task:
    """What `build` may ask for: the shape and seed of the run, no data and no budget."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.seed: int = job["seed"]
        self.scale: str = job.get("scale", "")  # the name of the objective's scale; "" is its own budget
        self.context: int = job["context"]
        self.vocabulary: int = job["vocabulary"]
        self.device = torch.device(job.get("gpu", "cpu"))


def main() -> None:
    jobs, requests, replies, weights = (int(number) for number in sys.argv[1:])
    torch.set_num_threads(1)
    job = json.loads(receive(jobs))
    torch.use_deterministic_algorithms(repeats(job))
    files = {path: receive(jobs) for path in job["editable"]}
    os.close(jobs)
    if "chance" in job:
        chance.mix_in(bytes.fromhex(job["chance"]))
    task = Task(job)
    model = build(files, task).to(task.device)
    loaded = None
    with torch.inference_mode():
        while True:
            chosen, batch, time, placed = struct.unpack("<IIII", receive_exactly(requests, 16))
            tokens = np.frombuffer(receive_exactly(requests, 2 * batch * time), dtype="<u2").reshape(batch, time)
            places = np.frombuffer(receive_exactly(requests, 2 * batch * placed), dtype="<u2")
            if chosen != loaded:
                fill(model, weights, *job["weights"][chosen])
                loaded = chosen
            logits = model(torch.from_numpy(tokens.astype(np.int64)).to(task.device)).to(torch.float32)
            if logits.dim() != 3:
                raise ValueError(f"logits have {logits.dim()} dimensions, not (batch, time, vocabulary)")
            if placed:
                where = torch.from_numpy(places.astype(np.int64)).to(logits.device)
                logits = logits[torch.arange(batch, device=logits.device), where][:, None]
            logits = logits.cpu().contiguous()
            send(replies, struct.pack("<III", *logits.shape), memoryview(logits.numpy()).cast("B"))


def build(files: Mapping[str, bytes | bytearray], task: Task) -> torch.nn.Module:
    """The module that the source's `build` makes, its weights not loaded yet. Raises whatever the source raises."""
    modules = SourceModules(files)
    chance.begin(task.seed)
    module = modules.load()
    chance.begin(task.seed)
    model = module.build(task)
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"build(task) must return a torch.nn.Module, not {type(model).__name__}")
    return model.eval()


def fill(model: torch.nn.Module, file: int, offset: int, length: int) -> None:
    """Copy raw bytes of a file into the state's tensors, in order. Raises ValueError when the sizes do not match."""
    tensors = list(model.state_dict().values())
    expected = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if expected != length:
        raise ValueError(f"train(task) handed out {length} bytes of weights, build(task) takes {expected}")
    for tensor in tensors:
        if tensor.numel():
            size = tensor.numel() * tensor.element_size()
            content = read_at(file, offset, size)
            tensor.copy_(torch.frombuffer(content, dtype=tensor.dtype).view(tensor.shape))
            offset += size


if __name__ == "__main__":
    main()
