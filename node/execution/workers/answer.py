"""The examination worker: loads a source with its weights and answers the judge, and nobody else, with logits.

Runs inside a sandbox in which it can write nowhere; imports nothing of ours.

    python answer.py JOBS_FD REQUESTS_FD REPLIES_FD

The node sends a byte on JOBS_FD when it is time to import torch. Later comes the job, as parts of <u64 length> and
bytes: JSON {seed, context, vocabulary, editable, weights} and perhaps {chance} (see train.py), the source, then
`weights` sets of weights. The judge asks on REQUESTS_FD: <u32 set> <u32 batch> <u32 time> <u32 places>, uint16 tokens
(batch, time), and uint16 places (batch), if `places` is 1 and not 0. The answer on REPLIES_FD is
<u32 batch> <u32 time> <u32 vocabulary> and float32 logits of that shape; where places were given, those at one place of
each window, and `time` is 1. All numbers are little-endian. Nothing that this process sends is trusted: the source runs
in it and could send anything.
"""

import importlib.util
import json
import os
import struct
import sys
import types
from typing import Any

if len(sys.argv) > 1 and not os.read(int(sys.argv[1]), 1):
    sys.exit(0)  # the pipe has ended: the node needs this worker no more

import numpy as np
import torch

MODULE = "candidate_source"


class Task:
    """What `build` may ask for: the shape and seed of the run, no data and no budget."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.seed: int = job["seed"]
        self.context: int = job["context"]
        self.vocabulary: int = job["vocabulary"]
        self.device = torch.device("cpu")


def main() -> None:
    jobs, requests, replies = (int(number) for number in sys.argv[1:])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    job = json.loads(receive(jobs))
    source = receive(jobs)
    sets = [receive(jobs) for _ in range(job["weights"])]
    os.close(jobs)
    if "chance" in job:
        beside("chance.py").mix_in(bytes.fromhex(job["chance"]))
    model = build(source, job["editable"], Task(job))
    loaded = None
    with torch.inference_mode():
        while True:
            chosen, batch, time, placed = struct.unpack("<IIII", receive_exactly(requests, 16))
            tokens = np.frombuffer(receive_exactly(requests, 2 * batch * time), dtype="<u2").reshape(batch, time)
            places = np.frombuffer(receive_exactly(requests, 2 * batch * placed), dtype="<u2")
            if chosen != loaded:
                fill(model, sets[chosen])
                loaded = chosen
            logits = model(torch.from_numpy(tokens.astype(np.int64))).to(torch.float32).contiguous()
            if logits.dim() != 3:
                raise ValueError(f"logits have {logits.dim()} dimensions, not (batch, time, vocabulary)")
            if placed:
                logits = logits[torch.arange(batch), torch.from_numpy(places.astype(np.int64))][:, None].contiguous()
            send(replies, struct.pack("<III", *logits.shape))
            send(replies, memoryview(logits.numpy()).cast("B"))


def build(source: bytes, name: str, task: Task) -> torch.nn.Module:
    """The module that the source's `build` makes, its weights not loaded yet. Raises whatever the source raises."""
    module = types.ModuleType(MODULE)
    module.__file__ = name
    sys.modules[MODULE] = module
    torch.manual_seed(task.seed)
    exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
    torch.manual_seed(task.seed)
    model = module.build(task)
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"build(task) must return a torch.nn.Module, not {type(model).__name__}")
    return model.eval()


def fill(model: torch.nn.Module, weights: bytes) -> None:
    """Copy raw bytes into the state's tensors, in order. Raises ValueError when the sizes do not match."""
    tensors = list(model.state_dict().values())
    expected = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if expected != len(weights):
        raise ValueError(f"train(task) handed out {len(weights)} bytes of weights, build(task) takes {expected}")
    offset, content = 0, bytearray(weights)
    for tensor in tensors:
        if tensor.numel():
            flat = torch.frombuffer(content, dtype=tensor.dtype, count=tensor.numel(), offset=offset)
            tensor.copy_(flat.view(tensor.shape))
        offset += tensor.numel() * tensor.element_size()


def beside(name: str) -> types.ModuleType:
    """The module in the file of this name in this program's folder, from which Python imports nothing by itself."""
    spec = importlib.util.spec_from_file_location(
        name.removesuffix(".py"), os.path.join(os.path.dirname(__file__), name)
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def send(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> bytes:
    """One part with its <u64 length> in front. Ends the process when the pipe has ended."""
    (length,) = struct.unpack("<Q", receive_exactly(descriptor, 8))
    return receive_exactly(descriptor, length)


def receive_exactly(descriptor: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = os.read(descriptor, min(length - len(data), 1 << 20))
        if not more:
            sys.exit(0)
        data += more
    return bytes(data)


if __name__ == "__main__":
    main()
