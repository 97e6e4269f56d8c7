"""What a program in the sandbox cannot do, and the little that it can: tried for real, once per tier."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.execution.sandbox.layers import Layers
from node.execution.sandbox.orders import READ_ANY_FILE
from node.execution.sandbox.process import run_once
from tests.node.execution.sandbox.conftest import PolicyMaker, python
from tests.node.execution.sandbox.raid import HOSTILE, SUCCEEDED, Raid, raid

AUTOGROUP = Path("/proc/self/autogroup")
HOSTILE_TEXT = HOSTILE.read_text()


def names(table: str) -> list[str]:
    """The attempts' names, without importing (hostile.py reads its target on import)."""
    text = HOSTILE_TEXT.split(f"\n{table}: dict")[1].split("\n}")[0]
    return [line.strip().split('":')[0][1:] for line in text.splitlines()[1:] if line.startswith('    "')]


@pytest.fixture(scope="module")
def raided(layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> Raid:
    return raid(layers, tmp_path_factory.mktemp("raid"))


@pytest.mark.parametrize("attempt", names("ATTEMPTS"))
def test_nothing_hostile_succeeds(raided: Raid, attempt: str) -> None:
    assert raided.results[attempt] != SUCCEEDED


@pytest.mark.parametrize("right", names("RIGHTS"))
def test_what_is_granted_works(raided: Raid, right: str) -> None:
    assert raided.results[right] == SUCCEEDED


def test_the_world_outside_is_as_it_was(raided: Raid) -> None:
    assert raided.secret.read_text() == "the hidden split"
    assert raided.secret.stat().st_mode & 0o777 == 0o666
    assert not Path("/tmp/sandbox-was-here").exists()
    assert not Path("/dev/shm/sandbox-was-here").exists()
    assert raided.bystander_stopped


async def test_roots_capabilities_are_given_up(layers: Layers, policy: PolicyMaker) -> None:
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


async def test_other_programs_have_priority(layers: Layers, policy: PolicyMaker) -> None:
    code = """if True:
        import os
        try:
            group = open("/proc/self/autogroup").read().split()[-1]
        except OSError:  # this kernel has no groups of sessions
            group = None
        print(os.getpriority(os.PRIO_PROCESS, 0), group)
    """
    before = AUTOGROUP.read_text() if AUTOGROUP.exists() else None
    outcome = await run_once(python(code), policy(), layers)
    assert outcome.log_tail.split() == ["19", "None" if before is None else "19"]
    assert before is None or AUTOGROUP.read_text() == before


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


async def test_without_a_writable_folder_nothing_can_be_written(layers: Layers, policy: PolicyMaker) -> None:
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


async def test_a_missing_path_is_the_callers_mistake(layers: Layers, policy: PolicyMaker, tmp_path: Path) -> None:
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
    outcome = await run_once(python(code), policy(memory_bytes=2 << 30, wall_seconds=120), machine)
    assert (outcome.code, outcome.log_tail) == (0, "trained")
