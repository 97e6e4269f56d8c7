"""Runs by workers behind ssh beside runs made here: every value has to be the same to the last digit.

    .venv/bin/python scripts/ssh_trial.py [--tokens 60000] [--seeds 3]

It needs OpenSSH's server and client (it installs nothing, and says what is missing). An sshd of its own, with keys and
a configuration in a temporary folder, listens on a free port of 127.0.0.1. Two workers behind ssh make runs of tinylm's
baseline and of its first idea, the holdout scores of their weights, and a pair in turns; the same is made on this
machine without them. Then the line of a run under way is cut, and the run has to come out the same all the same.
"""

from __future__ import annotations

import argparse
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import trio
from swarm_here import small_objective

from node.execution.remote.remote_runs import RemoteRuns, command_environment
from node.execution.remote.worker_link import Command
from node.execution.run_progress import Progress
from node.execution.runs import Runs, runner_for
from node.execution.sandbox.layers import probe
from node.ledger.outcome import Outcome
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.platform.concurrency import gather

NEEDED = ("sshd", "ssh", "ssh-keygen")
WHERE = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
PRIVILEGE_SEPARATION = Path("/run/sshd")  # an empty folder that an sshd of root needs; Debian makes it at boot
BEGUN = time.monotonic()

CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
# The keys lie below a temporary folder, whose permissions are not those of a home.
StrictModes no
UsePAM no
PasswordAuthentication no
"""


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGUN:6.1f} s  {text}", flush=True)


def log(event: str, level: str = "info", **details: Any) -> None:
    shown = " ".join(f"{name}={value}" for name, value in details.items())
    if event in ("worker ready", "worker lost", "run lost", "worker refused", "files sent"):
        say(f"log: {event}  {shown}")


@contextmanager
def sshd_in(folder: Path) -> Iterator[list[str]]:
    """An sshd on loopback, for as long as the block; the command that logs in there."""
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(CONFIGURATION.format(port=port, folder=folder))
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
    program = shutil.which("sshd", path=WHERE)
    assert program is not None
    with (folder / "sshd.log").open("wb") as output:
        server = subprocess.Popen(
            [program, "-D", "-e", "-f", folder / "sshd_config"], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    options = ["BatchMode=yes", f"UserKnownHostsFile={folder / 'known_hosts'}", "StrictHostKeyChecking=accept-new"]
    words = ["ssh", "-F", "none", "-p", str(port), "-i", str(folder / "key")]
    try:
        login = [*words, *(word for option in options for word in ("-o", option)), f"{getpass.getuser()}@127.0.0.1"]
        for _ in range(50):
            if subprocess.run([*login, "true"], capture_output=True).returncode == 0:
                break
            time.sleep(0.2)
        else:
            raise RuntimeError((folder / "sshd.log").read_text())
        yield login
    finally:
        server.terminate()
        server.wait()


def unread(progress: Progress) -> None:
    """Progress that nobody is shown."""


async def made_by(runs: Runs, sources: dict[str, str], seeds: list[int]) -> dict[str, Outcome]:
    """All runs of the trial, by name."""
    found: dict[str, Outcome] = {}

    async def make(name: str, source: str, seed: int) -> None:
        found[f"{name}, seed {seed}"] = await runs.run(source, seed, unread)
        found[f"{name}, seed {seed}, holdout"] = await runs.examine(source, seed, "holdout")

    await gather([partial(make, name, source, seed) for name, source in sources.items() for seed in seeds])
    parent, child = sources.values()
    pair = await runs.run_pair(parent, child, seeds[-1] + 1, unread, unread)
    found |= {f"{name}, in turns": outcome for name, outcome in zip(sources, pair, strict=True)}
    return found


async def run_while_the_line_is_cut(runs: RemoteRuns, source: str, seed: int) -> Outcome:
    """The outcome of a run whose ssh is killed when it is under way."""
    under_way = trio.Event()
    outcome: list[Outcome] = []

    def heed(progress: Progress) -> None:
        if progress.share > 0.2:
            under_way.set()

    async def run() -> None:
        outcome.append(await runs.run(source, seed, heed))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await under_way.wait()
        busy = next(worker["number"] for worker in runs.workers() if worker["state"] == "running")
        for client in psutil.Process().children():
            if client.name() == "ssh" and client.cmdline()[-1].endswith(f"# {busy}"):
                say(f"the ssh of worker {busy} is killed during a run")
                client.send_signal(signal.SIGKILL)
    return outcome[0]


async def compare(objective: Objective, login: list[str], folder: Path, seeds: list[int]) -> bool:
    baseline = objective.source
    sources = {"baseline": baseline, "wider": baseline.replace("WIDTH = ", "WIDTH = 32 + ", 1)}
    assert sources["wider"] != baseline
    # The number at the end is a comment for the shell there, and tells the ssh of one worker from the other's here.
    far = f"exec {sys.executable} -m node worker --cache {folder / 'cache'} # {{number}}"
    command = Command([*login, far], command_environment(()))
    async with RemoteRuns(objective, command, 2, log) as runs:
        there = await made_by(runs, sources, seeds)
        again = await run_while_the_line_is_cut(runs, baseline, seeds[0])
    say("workers are gone")
    async with runner_for(objective, probe(), folder / "weights", log, 2) as here_runs:
        here = await made_by(here_runs, sources, seeds)
    there["baseline, line cut"], here["baseline, line cut"] = again, here[f"baseline, seed {seeds[0]}"]
    equal = True
    print(f"{'run':32} {'behind ssh':>22} {'here':>22}")
    for name, outcome in here.items():
        found = there[name]
        same = (found.value, found.checkpoints, found.tokens) == (outcome.value, outcome.checkpoints, outcome.tokens)
        equal = equal and same and outcome.value is not None
        print(f"{name:32} {found.value!r:>22} {outcome.value!r:>22}  {'equal' if same else 'DIFFERENT'}")
    return equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    missing = [name for name in NEEDED if shutil.which(name, path=WHERE) is None]
    if missing:
        sys.exit(f"not installed here: {', '.join(missing)}; on Debian and Ubuntu: apt install openssh-server")
    with tempfile.TemporaryDirectory(prefix="ssh-") as made:
        folder = Path(made)
        root = small_objective(folder, options.tokens)
        objective = load_objective(root, root)
        with sshd_in(folder) as login, suppress(KeyboardInterrupt):
            equal = trio.run(compare, objective, login, folder, list(range(1, options.seeds + 1)))
            say("all equal to the last digit" if equal else "values differ")
            sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
