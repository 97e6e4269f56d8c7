"""Programs in containers of an engine: what an engine is asked for, and that the node holds what it started.

The engine is a stand-in that makes containers of bubblewrap. `scripts/container_backend.py` does it with real ones.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import trio

from node.app.doctor import checkup
from node.execution.sandbox import container, engine
from node.execution.sandbox.container import Container
from node.execution.sandbox.engine import Engine, EngineError
from node.execution.sandbox.forks import ForkServer
from node.execution.sandbox.layers import Layers, probe, remedy, tier
from node.execution.sandbox.orders import FIRST_GIVEN, Mounts
from node.execution.sandbox.process import SandboxedProcess, run_once
from node.platform.config import load_config
from tests.node.execution.sandbox.conftest import PolicyMaker, python
from tests.node.execution.sandbox.tiers import lack

STAND_IN = Path(__file__).with_name("stand_in_engine.py")
REPOSITORY = Path(__file__).resolve().parents[4]
SECONDS = 60  # a container takes a second; a busy machine many times that


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for podman and docker on the PATH; what it keeps."""
    tools, kept = tmp_path / "tools", tmp_path / "kept"
    for folder in (tools, kept, kept / "containers"):
        folder.mkdir()
    for name in engine.ENGINES:
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {STAND_IN} "$@"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_DATA_HOME", str(kept))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return kept


@pytest.fixture
def contained(kept: Path) -> Layers:
    if (reason := lack("bwrap")) is not None:
        pytest.skip(reason)
    layers = probe("podman")
    assert tier(layers) == "podman", layers.refusals
    return layers


# ---- what an engine is asked for -------------------------------------------------------------------------------------


def words_of(tmp_path: Path, rootless: bool = False, **shown: object) -> list[str]:
    one = Container(Engine("podman", "/usr/bin/podman", rootless, {}), "box", tmp_path / "box")
    given: dict[str, object] = {"system": (), "read_only": (), "writable": None} | shown
    return container.command(one, user=(7, 8), memory_bytes=9, tasks=10, user_tasks=11, **given)  # type: ignore[arg-type]


def after(words: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(words) if name == option]


def test_a_container_has_no_network_no_capability_no_new_privileges_and_nothing_to_write(tmp_path: Path) -> None:
    words = words_of(tmp_path)
    assert words[:3] == ["/usr/bin/podman", "run", "--rm"]
    assert words[-1] == engine.IMAGE
    assert (after(words, "--network"), after(words, "--ipc"), after(words, "--cap-drop")) == (
        ["none"],
        ["none"],
        ["ALL"],
    )
    assert "no-new-privileges" in after(words, "--security-opt")
    assert "--read-only" in words
    assert "--read-only-tmpfs=false" in words
    assert (after(words, "--memory"), after(words, "--pids-limit"), after(words, "--user")) == (["9"], ["10"], ["7:8"])
    assert not {"-v", "--volume", "--env", "-e", "--privileged", "--cap-add", "--tmpfs"} & set(words)


def test_without_root_the_program_is_our_user(tmp_path: Path) -> None:
    words = words_of(tmp_path, rootless=True)
    assert (after(words, "--userns"), after(words, "--user")) == (["keep-id"], ["7:8"])


def test_everything_is_mounted_where_it_is_and_read_only_but_the_folder_to_write_in(tmp_path: Path) -> None:
    data, scratch, odd = tmp_path / "data", tmp_path / "scratch", tmp_path / 'a,"b"'
    for folder in (data, scratch, odd):
        folder.mkdir()
    (scratch / "locked").touch()
    (tmp_path / "link").symlink_to(data)
    mounts = Mounts(folders=[], locked=[f"{scratch}/locked"], stand_ins=[(f"{scratch}/t", "/tmp")])
    words = words_of(
        tmp_path, system=(f"{tmp_path}/link",), read_only=(str(data), str(odd)), writable=str(scratch), mounts=mounts
    )
    quoted = str(odd).replace('"', '""')
    assert set(after(words, "--mount")) == {
        f"type=bind,src={data},dst={data},readonly",
        f"type=bind,src={data},dst={tmp_path}/link,readonly",
        f'type=bind,"src={quoted}","dst={quoted}",readonly',
        f"type=bind,src={scratch},dst={scratch}",
        f"type=bind,src={scratch}/t,dst=/tmp",
        f"type=bind,src={scratch}/locked,dst={scratch}/locked,readonly",
        f"type=bind,src={tmp_path}/box/door,dst=/door,readonly",
    }


def test_what_is_hidden_is_covered_under_every_name(tmp_path: Path) -> None:
    (tmp_path / "shown" / "hidden").mkdir(parents=True)
    (tmp_path / "shown" / "file").touch()
    (tmp_path / "link").symlink_to("shown")
    shown, link = f"{tmp_path}/shown", f"{tmp_path}/link"
    words = words_of(tmp_path, read_only=(shown, link), hidden=(f"{shown}/hidden", f"{shown}/file"))
    covers = [f"type=bind,src={tmp_path}/box/empty,dst={one}/hidden,readonly" for one in (shown, link)]
    covers += [f"type=bind,src=/dev/null,dst={one}/file,readonly" for one in (shown, link)]
    assert set(covers) <= set(after(words, "--mount"))


def test_what_is_mounted_beneath_is_mounted_read_only_by_itself(tmp_path: Path) -> None:
    # Every machine that has /proc has something mounted there, or beneath it the list that says so.
    words = words_of(tmp_path, read_only=("/dev",))
    with open("/proc/self/mountinfo") as file:
        beneath = {line.split()[4] for line in file if line.split()[4].startswith("/dev/")}
    assert {f"type=bind,src={one},dst={one},readonly" for one in beneath if "\\" not in one} <= set(
        after(words, "--mount")
    )


# ---- whether there is one that works ---------------------------------------------------------------------------------


def test_an_engine_that_is_missing_leaves_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    layers = probe("docker")
    assert tier(layers) is None
    assert "docker (not installed)" in remedy(layers)[0]


def test_a_daemon_that_is_down_is_told_with_what_to_do(kept: Path) -> None:
    (kept / "down").touch()
    layers = probe("docker")
    assert tier(layers) is None
    assert "systemctl start docker" in remedy(layers)[0]


@pytest.mark.parametrize(
    ("said", "remedy_has"),
    [
        ("permission denied while trying to connect to the Docker daemon socket at unix:///x", "group docker"),
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "systemctl start docker"),
        ('cannot find UID/GID for user me: no subuid ranges found for user "me" in /etc/subuid', "usermod"),
        ("Error: keep-id requires additional UIDs or GIDs defined in /etc/subuid and /etc/subgid", "usermod"),
        ("crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2", "control groups"),
        ("something new", "see what `podman run` says"),
    ],
)
def test_what_an_engine_says_comes_with_what_to_do(said: str, remedy_has: str) -> None:
    layers = Layers(
        False, False, False, landlock=7, seccomp=True, root=False, refusals=(("podman", said),), backend="podman"
    )
    (advice,) = remedy(layers)
    assert said in advice
    assert remedy_has in advice


def test_a_daemon_on_another_machine_is_refused(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    with pytest.raises(EngineError, match="on another machine"):
        engine.find("docker")
    assert not (kept / "said").exists()


def test_the_empty_image_is_made_once_and_the_engine_gets_none_of_our_environment(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    found = engine.find("docker")
    assert set(found.environment) <= {"PATH", *engine.VARIABLES}
    assert (kept / "image").read_bytes() == bytes(1024)
    engine.find("docker")
    assert (kept / "said").read_text().count("import -") == 1


# ---- what is left over -----------------------------------------------------------------------------------------------


def test_a_container_is_left_over_once_the_process_that_started_it_has_ended(kept: Path) -> None:
    found, ours = engine.find("podman"), engine.new_name()
    boot, namespace, pid, started, chance = ours.removeprefix("autoresearch-node-").split("-")

    def named(*words: str) -> str:
        return "autoresearch-node-" + "-".join(words)

    ended, before_the_boot = named(boot, namespace, pid, "1", chance), named("0" * 12, namespace, pid, started, chance)
    elsewhere = named(boot, "1", pid, "1", chance)
    for name in (ours, ended, before_the_boot, elsewhere, "autoresearch-node-x", "somebody"):
        (kept / "containers" / name).touch()
    assert set(engine.left_over(found)) == {ended, before_the_boot}
    assert container.remove_left_over(found) == 2
    assert {path.name for path in (kept / "containers").iterdir()} == {
        ours,
        elsewhere,
        "autoresearch-node-x",
        "somebody",
    }


# ---- programs in it --------------------------------------------------------------------------------------------------


@pytest.mark.sandbox
@pytest.mark.sockets
def test_the_checkup_counts_what_is_left_over_and_leaves_it(contained: Layers, kept: Path, tmp_path: Path) -> None:
    assert contained.engine is not None
    ended = "-".join([*engine.new_name().split("-")[:-2], "1", "x"])
    (kept / "containers" / ended).touch()
    listen = ["/ip4/127.0.0.1/tcp/0"]
    config = load_config(None, {"home": str(tmp_path / "home"), "listen": listen, "sandbox": "podman"})
    (finding,) = (finding for finding in checkup(config) if finding.name == "sandbox")
    assert (finding.ok, finding.found.split(",")[0]) == ("warn", "podman")
    assert finding.remedy == "containers of nodes that were killed: 1; the next `join` removes them"
    assert (kept / "containers" / ended).exists()


@pytest.mark.sandbox
@pytest.mark.sockets
async def test_a_program_has_its_descriptors_its_folder_and_an_end_that_is_its_own(
    contained: Layers, policy: PolicyMaker, scratch: Path, kept: Path
) -> None:
    ours, theirs = os.pipe()
    code = f"""if True:
        import os, sys
        os.write({theirs}, os.read(0, 9))
        open("made", "w").write("here")
        print(os.getcwd(), os.path.exists("/etc/passwd"), os.getpid() > 1)
        sys.exit(7)
    """
    reads, writes = os.pipe()
    os.write(writes, b"given")
    os.close(writes)
    limits = policy(writable=scratch, writable_bytes=1 << 20)
    process = SandboxedProcess.start(python(code), limits, contained, keep=(theirs,), stdin=reads)
    os.close(theirs)
    os.close(reads)
    process.start_clock()
    with trio.fail_after(SECONDS):
        await process.supervise()
    end = process.outcome
    assert end is not None
    assert (end.reason, end.code, end.tier, end.log_tail) == ("exit", 7, "podman", f"{scratch} False True")
    assert os.read(ours, 9) == b"given"
    assert (scratch / "made").read_text() == "here"
    assert end.cpu_seconds > 0
    os.close(ours)
    assert list((kept / "containers").iterdir()) == []


@pytest.mark.sandbox
@pytest.mark.sockets
async def test_a_limit_ends_it_with_all_that_it_started(contained: Layers, policy: PolicyMaker) -> None:
    ours, theirs = os.pipe()
    code = f"import os, time; os.fork(); os.write({theirs}, b'r'); time.sleep(600)"
    with trio.fail_after(SECONDS):
        process = SandboxedProcess.start(python(code), policy(wall_seconds=1), contained, keep=(theirs,))
        os.close(theirs)
        process.start_clock()
        await process.supervise()
    assert process.outcome is not None
    assert process.outcome.reason == "time"
    assert os.read(ours, 3).strip(b"r") == b""  # all that held the other end are gone
    os.close(ours)


@pytest.mark.sandbox
@pytest.mark.sockets
async def test_what_is_ended_before_it_came_never_runs_its_program(
    contained: Layers, policy: PolicyMaker, kept: Path
) -> None:
    process = SandboxedProcess.start(python("print('ran')"), policy(), contained)
    process.kill()
    with trio.fail_after(SECONDS):
        await process.supervise()
    assert process.outcome is not None
    assert (process.outcome.reason, process.outcome.log_tail) == ("killed", "")


@pytest.mark.sandbox
@pytest.mark.sockets
async def test_an_engine_that_cannot_start_it_says_why(contained: Layers, policy: PolicyMaker, kept: Path) -> None:
    (kept / "down").touch()
    with trio.fail_after(SECONDS):
        end = await run_once(python(""), policy(), contained)
    assert (end.reason, end.code) == ("exit", 1)
    assert end.log_tail.startswith("Cannot connect to the Docker daemon")


@pytest.mark.sandbox
@pytest.mark.sockets
async def test_a_fork_server_in_it_serves(contained: Layers, policy: PolicyMaker, tmp_path: Path) -> None:
    preload, program = tmp_path / "preload.py", tmp_path / "program.py"
    preload.write_text("import json\n")
    program.write_text(f"import os\nos.write({FIRST_GIVEN}, b'forked')\n")
    ours, theirs = os.pipe()
    server = ForkServer.start(preload, [program], policy(), contained)
    assert not server.may_fork_again
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.supervise)
        with trio.fail_after(SECONDS):
            fork = await server.fork("program", [], [theirs], policy(processes="threads"))
            os.close(theirs)
            fork.start_clock()
            await fork.supervise()
        nursery.cancel_scope.cancel()
    assert fork.outcome is not None
    assert (fork.outcome.code, os.read(ours, 9)) == (0, b"forked")
    os.close(ours)


NODE = """
import os, sys, trio
from node.execution.sandbox.layers import probe
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import SandboxedProcess

async def main():
    policy = Policy(wall_seconds=60, cpu_seconds=60, memory_bytes=1 << 30, tasks=64, output_bytes=1 << 20)
    pipe, frozen = int(sys.argv[1]), sys.argv[2] == "frozen"
    code = f"import os, time; os.fork(); os.write({pipe}, b'r'); time.sleep(60)"
    process = SandboxedProcess.start([sys.executable, "-I", "-c", code], policy, probe("podman"), keep=(pipe,))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.supervise)
        while not process.pid:
            await trio.sleep(0.01)
        await trio.sleep(0.3)
        if frozen:
            process.freeze()
        print(process.pid, flush=True)
        await trio.sleep(60)

trio.run(main)
"""


@pytest.mark.sandbox
@pytest.mark.sockets
@pytest.mark.parametrize("state", ["running", "frozen"])
def test_nothing_outlives_a_node_that_is_killed(contained: Layers, kept: Path, state: str) -> None:
    ours, theirs = os.pipe()
    command = [sys.executable, "-c", textwrap.dedent(NODE), str(theirs), state]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(theirs,), cwd=REPOSITORY)
    os.close(theirs)
    assert node.stdout is not None
    init = int(node.stdout.readline())
    node.kill()
    node.wait()
    node.stdout.close()
    deadline = time.monotonic() + SECONDS
    while Path(f"/proc/{init}").exists() or list((kept / "containers").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    while os.read(ours, 3):  # all that held the other end are gone
        pass
    os.close(ours)


@pytest.mark.sandbox
@pytest.mark.sockets
async def test_what_is_frozen_before_it_came_waits_at_the_door(contained: Layers, policy: PolicyMaker) -> None:
    process = SandboxedProcess.start(python("print('ran')"), policy(), contained)
    process.freeze()
    process.start_clock()
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.supervise)
            await trio.sleep(1)
            assert (process.pid, process.log_tail(), process.outcome) == (0, "", None)
            process.thaw()
    assert process.outcome is not None
    assert (process.outcome.code, process.outcome.log_tail) == (0, "ran")
