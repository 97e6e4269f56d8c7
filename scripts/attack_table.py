"""Try every attack behind every tier, as each user a node may run as, and write its part of docs/attacks.md.

    .venv/bin/python scripts/attack_table.py [--write]          (as root, so that it can become the other users)

The users: root; an ordinary user; and both again as Docker confines them by default (scripts/like_docker.py). The
attacks are those of tests/node/execution/sandbox; "OPEN" means that the attempt succeeded. For comparison an ordinary
user's attacks, but for the bombs, are also made without any sandbox. Exits with 1 when an attempt succeeded behind a
tier.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.sandbox.layers import Layers, probe
from node.execution.sandbox.watch import ProcessEnd
from tests.node.execution.sandbox import gpu_stand_in
from tests.node.execution.sandbox.gpu_stand_in import StandIn
from tests.node.execution.sandbox.raid import BOMBS, SUCCEEDED, bomb, raid, raid_as_fork

REPOSITORY = Path(__file__).resolve().parent.parent
TIERS = ("bwrap", "unshare", "inproc")
NONE = "no sandbox"
USER = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"]
DOCKER = ["/usr/bin/python3", str(REPOSITORY / "scripts" / "like_docker.py")]
WHO = {"root": [], "user": USER, "root in Docker": DOCKER, "user in Docker": [*DOCKER, *USER]}
RIGHTS = (
    "read given data",
    "write in the scratch folder",
    "use threads",
    "talk through a pair of streams",
    "read randomness",
)
UNCOUNTED = ("user in Docker", NONE)
LEFT_BEHIND = (Path("/tmp/sandbox-was-here"), Path("/dev/shm/sandbox-was-here"))  # by attempts that succeed
GPU_RIGHTS = ("ask the GPU's driver", "name its threads", "listen as CUDA does")
# What a GPU's doors let through besides what they are for: docs/security.md says how far.
KNOWN = {f"with a GPU: {name}" for name in ("read the mounts of a thread", "outlive others when memory runs out")}
OUTSIDE = frozenset(("wake everybody",))  # whether it reached a process is seen from outside
CONTAINERS = "## In containers"
DOCUMENT = REPOSITORY / "docs" / "attacks.md"
SECTION = "## On the sandbox"  # the last of the page

Results = dict[str, dict[str, str]]  # tier -> attack -> SUCCEEDED, or what stopped it


def results_here(devices: Path) -> Results:
    """Every attack behind every tier that works for the user who runs this. devices: where a GPU's stand-ins are."""
    machine = probe()
    found: Results = {}
    gpu = StandIn(devices / "gpu0", devices / "gpu1")
    for position, tier in enumerate(TIERS):
        if not getattr(machine, tier):
            continue
        layers = dataclasses.replace(machine, **dict.fromkeys(TIERS[:position], False))
        found[tier] = results_behind(layers, gpu)
    if os.geteuid() != 0:
        with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
            bare = dataclasses.replace(machine, **dict.fromkeys(TIERS, False), unsafe=True)
            found[NONE] = attempts(bare, Path(folder)) | attempts_with_gpu(bare, Path(folder), gpu)
    return found


def results_behind(layers: Layers, gpu: StandIn) -> dict[str, str]:
    """Every attack behind the strongest of these tiers: SUCCEEDED, or what stopped it."""
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        found = attempts(layers, Path(folder))
        found |= attempts_with_gpu(layers, Path(folder), gpu)
        found |= attempts_as_fork(layers, Path(folder), set(found))
        for name in BOMBS:
            scratch = Path(folder) / name.replace(" ", "-")
            scratch.mkdir()
            found[name] = end_of(bomb(name, layers, scratch))
    return found


def attempts(layers: Layers, folder: Path) -> dict[str, str]:
    raided = raid(layers, folder)
    clean_up()
    lacking = [name for name in RIGHTS if raided.results[name] != SUCCEEDED]
    assert not lacking, f"what is granted does not work: {lacking}"
    found = {name: came for name, came in raided.results.items() if name not in RIGHTS}
    return found | dict.fromkeys(OUTSIDE, "reached no process" if raided.bystander_stopped else SUCCEEDED)


def clean_up() -> None:
    for path in LEFT_BEHIND:
        path.unlink(missing_ok=True)


def attempts_with_gpu(layers: Layers, folder: Path, gpu: StandIn) -> dict[str, str]:
    """All attempts again, and those on what is beside the doors, by a program that is given a GPU's device file."""
    place = folder / "with-gpu"
    place.mkdir()
    results = raid(layers, place, gpu=gpu).results
    clean_up()
    lacking = [name for name in GPU_RIGHTS if results[name] != SUCCEEDED]
    assert not lacking, f"what a GPU's doors are for does not work: {lacking}"
    skipped = {*RIGHTS, *GPU_RIGHTS, *OUTSIDE}
    return {f"with a GPU: {name}": came for name, came in results.items() if name not in skipped}


def attempts_as_fork(layers: Layers, folder: Path, known: set[str]) -> dict[str, str]:
    """What a fork tries that a program does not, and what it tries on its parent as a program does on the node."""
    scratch = folder / "fork"
    scratch.mkdir()
    return {
        f"as a fork: {name.replace('the node', 'the parent')}": came
        for name, came in raid_as_fork(layers, scratch).items()
        if (name not in known or "the node" in name) and name not in RIGHTS
    }


def end_of(outcome: ProcessEnd) -> str:
    """The limit it met; or how it ended by itself, which the kernel's own limits make a bomb do."""
    if outcome.reason != "exit":
        return f"limit of {outcome.reason}"
    last = outcome.log_tail.splitlines()[-1:] or [""]
    return last[0] or f"ended by signal {outcome.signal}"


def results_as(command: list[str], devices: Path, script: str = __file__) -> Results:
    """The same in a process that becomes another user first. That user must be able to read this Python's packages.

    script: a program that prints results when it is called with --here and the folder of the devices.
    """
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {**os.environ, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/tmp"}
    python = "/usr/bin/python3" if USER[0] in command else sys.executable
    done = subprocess.run(
        [*command, python, script, "--here", str(devices)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        cwd="/",
    )
    if done.returncode != 0:
        raise SystemExit(f"{command}: {done.stderr[-2000:]}")
    found: Results = json.loads(done.stdout.splitlines()[-1])
    return found


def table(everybody: dict[str, Results]) -> tuple[list[str], int]:
    columns = [(who, tier) for who, results in everybody.items() for tier in results if (who, tier) != UNCOUNTED]
    attacks = list(dict.fromkeys(name for who, tier in columns for name in everybody[who][tier]))
    lines = ["| attack | " + " | ".join(f"{who}: {tier}" for who, tier in columns) + " | what stops it |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    open_ones = 0
    for attack in attacks:
        came = [everybody[who][tier].get(attack, "-") for who, tier in columns]
        behind = [result for result, (_, tier) in zip(came, columns, strict=True) if tier != NONE]
        open_ones += behind.count(SUCCEEDED) if attack not in KNOWN else 0
        reached = "known" if attack in KNOWN else "**OPEN**"
        cells = [{SUCCEEDED: reached, "-": "-"}.get(result, "blocked") for result in came]
        lines.append(f"| {attack} | {' | '.join(cells)} | {'; '.join(dict.fromkeys(behind))[:120]} |")
    return lines, open_ones


def section(heading: str) -> str:
    """What the page has from this heading on: `container_backend.py` writes it, on machines with an engine."""
    text = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    return text[text.index(f"\n{heading}\n") :] if f"\n{heading}\n" in text else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write the last section of docs/attacks.md, {SECTION!r}")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(results_here(options.here)))
        return 0
    with tempfile.TemporaryDirectory(prefix="devices-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        gpu_stand_in.make(Path(folder))
        everybody = {who: results_as(command, Path(folder)) for who, command in WHO.items()}
    lines, open_ones = table(everybody)
    tiers = "; ".join(f"{who}: {', '.join(results) or 'none'}" for who, results in everybody.items())
    head = [
        SECTION,
        "",
        f"Made by `scripts/attack_table.py` on Linux {platform.release()} ({platform.machine()}).",
        f"Tiers that work, by who runs the node: {tiers}.",
        "",
        f"{len(lines) - 2} attacks, {open_ones} open behind a sandbox. The last column: what stops it, in any tier.",
        "",
        '"With a GPU": by a program that was given a device file as one of a GPU (a stand-in: a device of the kernel,',
        'with no GPU behind it), beside another that it was not given. "known": it succeeds, and',
        "[security.md](security.md#gpus) says what it is worth.",
        "",
    ]
    text = "\n".join([*head, *lines, ""])
    if options.write:
        others = DOCUMENT.read_text().partition(SECTION)[0]
        DOCUMENT.write_text(others + text + section(CONTAINERS))
    print(text)
    return 1 if open_ones else 0


if __name__ == "__main__":
    sys.exit(main())
