"""Try every attack in containers, beside bubblewrap, and time both: what `[sandbox] backend` chooses between.

    .venv/bin/python scripts/container_backend.py [--user NAME] [--write]      (as root)
    .venv/bin/python scripts/container_backend.py --times [--rounds 15] [--runs 5]

The attacks are those of scripts/attack_table.py, as root and as an ordinary user, in the engines that work for that
user: docker, whose daemon must be running, and podman. An ordinary user speaks to a docker daemon only if its socket
lets everybody, and has podman only with ids in /etc/subuid, as --user NAME may have. Exits with 1 when an attempt
succeeded. --write puts the table at the end of docs/attacks.md. Times are of a program that does nothing, of a pair of
fork servers until they are ready, and of one run of a small model; bubblewrap and the engines by turns.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.fork_servers import ForkServers
from node.execution.runner import Runner
from node.execution.sandbox.engine import ENGINES
from node.execution.sandbox.layers import Layers, probe, remedy, tier
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import run_once
from node.objective.schema import Objective
from node.platform.config import SandboxBackend
from scripts.attack_table import CONTAINERS, DOCUMENT, NONE, USER, Results, results_as, results_behind, section, table
from tests.node.execution.sandbox import gpu_stand_in
from tests.node.execution.sandbox.gpu_stand_in import StandIn
from tests.node.execution.small_objective import small_objective

BACKENDS: tuple[SandboxBackend, ...] = ("bwrap", *ENGINES)
NOTHING = Policy(wall_seconds=60, cpu_seconds=60, memory_bytes=1 << 30, tasks=64, output_bytes=1 << 16)
TOKENS = 65_536
WALL_SECONDS = 600  # enough on a busy machine
MEMORY_BYTES = 3 << 30
PARTS = ("a program that does nothing, s", "a pair of fork servers until ready, s", "a run of a small model, s")

Times = dict[str, dict[str, list[float]]]  # part -> backend -> seconds of each round


def results_here(devices: Path) -> Results:
    """Every attack behind every backend that works for the user who runs this."""
    gpu = StandIn(devices / "gpu0", devices / "gpu1")
    return {name: results_behind(layers, gpu) for name, layers in working().items()}


def become(user: pwd.struct_passwd | None) -> list[str]:
    """The command by which a program becomes the ordinary user, with the folder of a login for podman."""
    if user is None:
        return USER
    login = Path(user.pw_dir) / "run"
    login.mkdir(mode=0o700, exist_ok=True)
    os.chown(login, user.pw_uid, user.pw_gid)
    whole = ["setpriv", "--reuid", user.pw_name, "--regid", str(user.pw_gid), "--init-groups"]
    return [*whole, "env", f"HOME={user.pw_dir}", f"XDG_RUNTIME_DIR={login}"]


def working() -> dict[str, Layers]:
    found: dict[str, Layers] = {}
    for backend in BACKENDS:
        layers = probe(backend)
        if tier(layers) == backend:
            found[backend] = layers
        else:
            print("; ".join(remedy(layers)), file=sys.stderr)
    return found


# ---- what they take --------------------------------------------------------------------------------------------------


def times(rounds: int, runs: int) -> Times:
    found: Times = {part: {} for part in PARTS}
    backends = working()
    with tempfile.TemporaryDirectory(prefix="containers-") as folder:
        objective = small_objective(Path(folder), tokens=TOKENS, wall_seconds=WALL_SECONDS)
        for number in range(rounds):
            for name, layers in backends.items():
                found[PARTS[0]].setdefault(name, []).append(nothing(layers))
                if number < runs:
                    found[PARTS[1]].setdefault(name, []).append(trio.run(servers_ready, layers))
                    weights = Path(folder) / f"{name}-{number}"
                    found[PARTS[2]].setdefault(name, []).append(trio.run(one_run, objective, layers, weights, number))
    return found


def nothing(layers: Layers) -> float:
    begun = time.monotonic()
    end = trio.run(run_once, [sys.executable, "-I", "-S", "-c", ""], NOTHING, layers)
    assert end.code == 0, end
    return time.monotonic() - begun


async def servers_ready(layers: Layers) -> float:
    begun = time.monotonic()
    async with trio.open_nursery() as nursery:
        servers = ForkServers.start(layers, MEMORY_BYTES, 0, (), nursery)
        await servers.torch.wait_ready()
        await servers.numpy.wait_ready()
        ready = time.monotonic() - begun
        await servers.destroy()
    return ready


async def one_run(objective: Objective, layers: Layers, weights: Path, seed: int) -> float:
    """Seconds of the second run of a runner, whose servers are ready."""
    async with Runner(objective, layers, weights, lambda *_, **__: None) as runner:
        await runner.run(objective.source, 1000 + seed, lambda *_, **__: None)
        begun = time.monotonic()
        outcome = await runner.run(objective.source, seed, lambda *_, **__: None)
        assert outcome.failure is None, (outcome.failure, outcome.log_tail)
        return time.monotonic() - begun


def times_table(found: Times) -> list[str]:
    names = list(found[PARTS[0]])
    lines = ["| median, least | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for part, by_backend in found.items():
        if not by_backend:
            continue  # no rounds of it were asked for
        beside = by_backend[names[0]]
        cells = []
        for name in names:
            middle, least = statistics.median(by_backend[name]), min(by_backend[name])
            ratios = f": ×{middle / statistics.median(beside):.2f}, ×{least / min(beside):.2f}"
            cells.append(f"{middle:.3f}, {least:.3f}{ratios if name != names[0] else ''}")
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return lines


def versions() -> str:
    said = (subprocess.run([name, "--version"], capture_output=True, text=True).stdout.strip() for name in ENGINES)
    return "; ".join(filter(None, said))


def page_of(everybody: dict[str, Results]) -> tuple[str, int]:
    """What is written, and how many attempts succeeded."""
    lines, open_ones = table(everybody)
    here = "; ".join(f"{who}: {', '.join(results) or NONE}" for who, results in everybody.items())
    head = [
        CONTAINERS,
        "",
        "Made by `scripts/container_backend.py`: the same attacks with `[sandbox] backend` as it is by default, and",
        f"with container engines ({versions()}), by who runs the node ({here}).",
        f"{len(lines) - 2} attacks, {open_ones} open.",
        "",
    ]
    return "\n".join(["", *head, *lines, ""]), open_ones


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--user", type=pwd.getpwnam, help="the ordinary user (default: one who has nothing)")
    parser.add_argument("--times", action="store_true", help="measure what both take instead")
    parser.add_argument("--rounds", type=int, default=15, help="of programs that do nothing")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the end of docs/attacks.md")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(results_here(options.here)))
        return 0
    if options.times:
        print("\n".join(times_table(times(options.rounds, options.runs))))
        return 0
    if os.geteuid() != 0:
        parser.error("only root can become the other user")
    with tempfile.TemporaryDirectory(prefix="devices-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        gpu_stand_in.make(Path(folder))
        users = {"root": [], "user": become(options.user)}
        everybody = {who: results_as(command, Path(folder), __file__) for who, command in users.items()}
    text, open_ones = page_of(everybody)
    if options.write:
        page = DOCUMENT.read_text()
        DOCUMENT.write_text(page.removesuffix(section(CONTAINERS)) + text)
    print(text)
    return 1 if open_ones else 0


if __name__ == "__main__":
    sys.exit(main())
