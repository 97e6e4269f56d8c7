"""What a program in the sandbox cannot do, and the little that it can: tried for real, once per tier."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from node.experiment.sandbox.box import run_once
from node.experiment.sandbox.layers import Layers
from node.experiment.sandbox.orders import READ_ANY_FILE
from node.experiment.sandbox.policy import Policy
from tests.node.experiment.sandbox.conftest import PolicyMaker, python

HOSTILE = Path(__file__).with_name("hostile.py")


def names(table: str) -> list[str]:
    """The attempts' names, without importing (hostile.py reads its target on import)."""
    text = HOSTILE.read_text().split(f"{table}: dict")[1].split("\n}")[0]
    return [line.strip().split('":')[0][1:] for line in text.splitlines()[1:] if line.startswith('    "')]


@dataclass(frozen=True)
class Raid:
    results: dict[str, str]
    secret: Path
    bystander_stopped: bool


@pytest.fixture(scope="module")
def raid(layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raid]:
    """One hostile program let loose beside a secret, a listening node and an open descriptor."""
    place = tmp_path_factory.mktemp("raid")
    secret, data, scratch = place / "secret", place / "data", place / "scratch"
    secret.write_text("the hidden split")
    secret.chmod(0o666)
    data.mkdir()
    (data / "given").write_text("the training split")
    scratch.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix, secret.open() as opened:
        unix.bind(f"{secret}.socket")
        unix.listen()
        os.set_inheritable(opened.fileno(), True)
        target = {
            "secret": str(secret), "data": str(data), "scratch": str(scratch), "node": os.getpid(),
            "port": tcp.getsockname()[1], "descriptor": opened.fileno(), "result": str(scratch / "result.json"),
        }  # fmt: skip
        policy = Policy(
            wall_seconds=30, cpu_seconds=30, memory_bytes=1 << 30, tasks=64, output_bytes=1 << 20,
            read_only=(data, HOSTILE), writable=scratch, writable_bytes=1 << 20,
        )  # fmt: skip
        argv = [sys.executable, "-I", str(HOSTILE), json.dumps(target)]
        bystander = subprocess.Popen(["sleep", "60"])
        os.environ["NODE_SECRET_KEY"] = "do not leak"
        try:
            bystander.send_signal(signal.SIGSTOP)
            outcome = trio.run(run_once, argv, policy, layers)
            status = Path(f"/proc/{bystander.pid}/stat").read_text()
        finally:
            del os.environ["NODE_SECRET_KEY"]
            bystander.kill()
            bystander.wait()
        assert (scratch / "result.json").exists(), outcome
        yield Raid(json.loads((scratch / "result.json").read_text()), secret, bystander_stopped=") T " in status)


@pytest.mark.parametrize("attempt", names("ATTEMPTS"))
def test_nothing_hostile_succeeds(raid: Raid, attempt: str) -> None:
    assert raid.results[attempt] != "done"


@pytest.mark.parametrize("right", names("RIGHTS"))
def test_what_is_granted_works(raid: Raid, right: str) -> None:
    assert raid.results[right] == "done"


def test_the_world_outside_is_as_it_was(raid: Raid) -> None:
    assert raid.secret.read_text() == "the hidden split"
    assert raid.secret.stat().st_mode & 0o777 == 0o666
    assert not Path("/tmp/sandbox-was-here").exists()
    assert not Path("/dev/shm/sandbox-was-here").exists()
    assert raid.bystander_stopped


async def test_roots_power_is_given_up(layers: Layers, policy: PolicyMaker) -> None:
    code = """if True:
        import os
        power = [line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")]
        print(max(int(mask, 16) for mask in power), os.getuid(), os.getgid())
    """
    outcome = await run_once(python(code), policy(), layers)
    power, uid, gid = map(int, outcome.log_tail.split())
    assert power in (0, READ_ANY_FILE)
    if power:
        assert 0 not in (uid, gid)


async def test_a_file_may_be_shown_that_only_its_owner_can_read(
    layers: Layers, policy: PolicyMaker, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    weights = closed / "weights"
    weights.write_text("opaque bytes")
    weights.chmod(0o600)
    code = f"print(open({str(weights)!r}).read())"
    outcome = await run_once(python(code), policy(read_only=(weights,)), layers)
    assert (outcome.code, outcome.log_tail) == (0, "opaque bytes")


async def test_without_a_writable_place_nothing_can_be_written(layers: Layers, policy: PolicyMaker) -> None:
    code = """if True:
        import os
        for folder in ("/", "/tmp", "/dev/shm", "/var/tmp", os.environ["HOME"], "/usr", "/proc/self", "/dev"):
            try:
                open(os.path.join(folder, "file"), "w")
            except OSError:
                continue
            print("wrote in", folder)
    """
    outcome = await run_once(python(code), policy(), layers)
    assert (outcome.code, outcome.log_tail) == (0, "")


async def test_a_missing_place_is_the_callers_mistake(layers: Layers, policy: PolicyMaker, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        await run_once(python(""), policy(read_only=(tmp_path / "nowhere",)), layers)


async def test_numpy_computes_inside(layers: Layers, policy: PolicyMaker) -> None:
    code = "import numpy; print((numpy.ones((64, 64)) @ numpy.ones((64, 64))).sum())"
    outcome = await run_once(python(code), policy(), layers)
    assert (outcome.code, outcome.log_tail) == (0, "262144.0")


async def test_torch_trains_inside(machine: Layers, policy: PolicyMaker) -> None:
    code = """if True:
        import torch
        torch.set_num_threads(1)
        model = torch.nn.Linear(8, 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        for _ in range(3):
            loss = model(torch.ones(4, 8)).square().mean()
            loss.backward()
            optimizer.step()
        print("trained")
    """
    outcome = await run_once(python(code), policy(memory_bytes=2 << 30), machine)
    assert (outcome.code, outcome.log_tail) == (0, "trained")
