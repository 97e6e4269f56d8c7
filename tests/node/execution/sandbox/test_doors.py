"""A program that gets a GPU reaches that GPU's device files and what its driver needs, and nothing else besides."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from node.execution.sandbox import launch
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import run_once
from tests.node.execution.sandbox import gpu_stand_in
from tests.node.execution.sandbox.conftest import PolicyMaker, python
from tests.node.execution.sandbox.gpu_stand_in import StandIn
from tests.node.execution.sandbox.raid import SUCCEEDED, raid
from tests.node.execution.sandbox.test_builds import KNOWN as KNOWN_OF_BUILDS
from tests.node.execution.sandbox.test_confinement import names
from tests.node.execution.sandbox.tiers import TIERS

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.sockets,
    pytest.mark.skipif(gpu_stand_in.lack() is not None, reason=str(gpu_stand_in.lack())),
]

NAME = f"somebody-{os.getpid()}"  # of an abstract socket

# Each name is what is tried; "yes" means that it was done, else the name of the error.
TRIES = """
import errno, fcntl, json, os, socket, sys, threading
given, other, somebody = sys.argv[1:4]
def tried(do):
    try:
        do()
        return "yes"
    except OSError as problem:
        return errno.errorcode[problem.errno]
def ask(path, request, flags=os.O_RDWR):
    device = os.open(path, flags)
    try:
        fcntl.ioctl(device, request, bytes(64))
    finally:
        os.close(device)
def name_a_thread():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as file:
        file.write("cuda")
def named():
    name_a_thread()
    results = []
    thread = threading.Thread(target=lambda: results.append(tried(name_a_thread)))
    thread.start()
    thread.join()
    assert results == ["yes"]
def listen():
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as ours:
        ours.bind("\\0" + f"autoresearch-{os.getpid()}")
        ours.listen()
print(json.dumps({
    "read": tried(lambda: os.read(os.open(given, os.O_RDWR), 4)),
    "ask as nvidia": tried(lambda: ask(given, 0xC0384646)),
    "ask as uvm": tried(lambda: ask(given, 0x30000001)),
    "ask as uvm by number": tried(lambda: ask(given, 37)),
    "ask as amd": tried(lambda: ask(given, 0xC0184B01)),
    "ask as drm": tried(lambda: ask(given, 0xC0106400)),
    "name threads": tried(named),
    "listen": tried(listen),
    "open the other": tried(lambda: os.open(other, os.O_RDONLY)),
    "ask a device of everybody": tried(lambda: ask("/dev/null", 0xC0384646)),
    "ask randomness": tried(lambda: ask("/dev/urandom", 37, os.O_RDONLY)),
    "type into a terminal": tried(lambda: ask(given, 0x5412)),
    "ask a file for its blocks": tried(lambda: ask(os.__file__, 0xC020660B, os.O_RDONLY)),
    "ask a socket for interfaces": tried(
        lambda: fcntl.ioctl(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), 0x8912, bytes(16))
    ),
    "connect": tried(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect("\\0" + somebody)),
    "stream": tried(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)),
    "datagram": tried(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)),
    "internet": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_SEQPACKET)),
    "netlink": tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
}))
"""
OPENED = {
    "read": "yes", "ask as nvidia": "ENOTTY", "ask as uvm": "ENOTTY", "ask as uvm by number": "ENOTTY",
    "ask as amd": "ENOTTY", "ask as drm": "ENOTTY", "name threads": "yes", "listen": "yes",
}  # fmt: skip


@pytest.fixture
def gpu(tmp_path: Path) -> StandIn:
    return gpu_stand_in.make(tmp_path / "devices")


async def tries(gpu: StandIn, policy: Policy, layers: Layers) -> dict[str, str]:
    words = [*python(TRIES), str(gpu.given), str(gpu.other), NAME]
    outcome = await run_once(words, policy, layers)
    assert outcome.code == 0, outcome
    found: dict[str, str] = json.loads(outcome.log_tail.splitlines()[-1])
    return found


def rooms(policy: PolicyMaker, scratch: Path, devices: tuple[Path, ...]) -> dict[str, Policy]:
    """A candidate's room, which compiles, and that of an examination, which writes nowhere."""
    return {
        "candidate": policy(devices=devices, builds=True, writable=scratch, writable_bytes=1 << 20),
        "examination": policy(devices=devices),
        "without processes": policy(devices=devices, processes="threads"),
    }


@pytest.mark.parametrize("room", ["candidate", "examination", "without processes"])
async def test_the_doors_of_a_gpu_open_what_its_driver_needs_and_nothing_else(
    room: str, gpu: StandIn, layers: Layers, policy: PolicyMaker, scratch: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as somebody:
        somebody.bind(f"\0{NAME}")
        somebody.listen()
        found = await tries(gpu, rooms(policy, scratch, (gpu.given,))[room], layers)
    assert {name: found[name] for name in OPENED} == OPENED
    tier = next(name for name in ("bwrap", "unshare", "inproc") if getattr(layers, name))
    sockets_of_its_own = room == "candidate" and tier == "bwrap"  # see test_builds.py: among its own processes
    for name in set(found) - OPENED.keys():
        closed = {"ENOENT", "EACCES", "EPERM"}
        if sockets_of_its_own and name in ("stream", "datagram"):
            continue
        if sockets_of_its_own and name == "connect":
            closed = {"ECONNREFUSED"}  # nobody listens in its own network
        assert found[name] in closed, name


@pytest.mark.parametrize("room", ["candidate", "examination"])
async def test_without_a_gpu_the_same_doors_are_closed(
    room: str, gpu: StandIn, layers: Layers, policy: PolicyMaker, scratch: Path
) -> None:
    found = await tries(gpu, rooms(policy, scratch, ())[room], layers)
    closed = {name: found[name] for name in OPENED if name not in ("listen",)}
    assert not {"yes", "ENOTTY"} & set(closed.values()), closed


# CUDA gives its threads names through files in a folder whose other files are open then too: see docs/security.md.
KNOWN = {"read the mounts of a thread", "outlive others when memory runs out"}


@pytest.mark.parametrize("builds", [False, True])
def test_nothing_hostile_succeeds_by_a_gpus_doors(builds: bool, gpu: StandIn, layers: Layers, tmp_path: Path) -> None:
    found = raid(layers, tmp_path, builds=builds, gpu=gpu)
    done = {name for name in (*names("ATTEMPTS"), *names("GPU_ATTEMPTS")) if found.results[name] == SUCCEEDED}
    tier = next(name for name in TIERS if getattr(layers, name))
    sockets = {"make a stream socket", "make a datagram socket"} if tier == "bwrap" else set[str]()
    assert done <= KNOWN | (KNOWN_OF_BUILDS[tier] | sockets if builds else set())
    assert {found.results[name] for name in (*names("RIGHTS"), *names("GPU_RIGHTS"))} == {SUCCEEDED}
    assert found.bystander_stopped


async def test_a_device_of_a_group_is_opened_by_a_user_who_gets_that_group(
    tmp_path: Path, layers: Layers, policy: PolicyMaker
) -> None:
    gpu = gpu_stand_in.make(tmp_path / "dev" / "dri", 0o660, group=4711)
    found = await tries(gpu, policy(devices=(gpu.given,)), layers)
    assert (found["read"], found["ask as amd"]) == ("yes", "ENOTTY")
    assert found["open the other"] in ("ENOENT", "EACCES")


async def test_a_file_under_dev_is_given_beside_those_that_are_always_there(
    layers: Layers, policy: PolicyMaker
) -> None:
    with_file = Path("/dev/full")  # as /dev/nvidia0 lies there
    code = "import fcntl\ntry: fcntl.ioctl(open('/dev/full', 'r+b', 0), 37)\nexcept OSError as e: print(e.errno)"
    outcome = await run_once(python(code), policy(devices=(with_file,)), layers)
    assert outcome.log_tail == "25", "ENOTTY"


async def test_a_device_that_is_not_there_is_the_callers_mistake(layers: Layers, policy: PolicyMaker) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        await run_once(python(""), policy(devices=(Path("/dev/nvidia99"),)), layers)


async def test_the_drivers_libraries_are_shown_wherever_they_are(
    tmp_path: Path, layers: Layers, policy: PolicyMaker, gpu: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries, plain = tmp_path / "driver", tmp_path / "plain"
    for folder in (libraries, plain):
        folder.mkdir()
        (folder / "text").write_text("shown")
    (libraries / "libcuda.so.1").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{plain}:{libraries}::relative")
    code = f"import os; print(os.environ['LD_LIBRARY_PATH'], open('{libraries}/text').read())"
    outcome = await run_once(python(code), policy(devices=(gpu.given,)), layers)
    assert outcome.log_tail.split()[0].split(":")[0] == str(libraries)
    assert outcome.log_tail.split()[1] == "shown"
    hidden = await run_once(python(f"open('{plain}/text')"), policy(devices=(gpu.given,)), layers)
    assert hidden.code != 0


def test_without_a_sandbox_there_is_nothing_to_open(gpu: StandIn, policy: PolicyMaker) -> None:
    command = launch.command("unsafe", [sys.executable], policy(devices=(gpu.given,)), keep=(), lifeline=0)
    assert str(gpu.given) not in command
