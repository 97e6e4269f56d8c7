"""What does a newcomer see? A clone in an empty folder, three commands, and a swarm to watch.

    sudo .venv/bin/python scripts/first_look.py [--minutes 15] [--seeds 1 2 3] [--browser]

Clones this repository into an empty folder, has it set itself up, and types, as a newcomer would, `./scripts/join` for
three nodes with homes of their own. They run in a network namespace with one network interface and no way out, which
takes root, and find each other there by multicast DNS. It waits for the first discovery that a peer has re-run, or
until the minutes are over, and writes what was printed and when, with a frame of `watch`, to docs/first-look.md.
--browser takes the dashboard's pictures from that swarm as well (see scripts/screenshots.py).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from namespaces import World, ip
from screenshots import DOCS, browse
from swarm_here import REPOSITORY, NodeProcess, ended_afterwards, heard

NAMES = ("one", "two", "three")
SET_UP_SECONDS = 900.0
LINES_SHOWN = 16
ADDRESS, MULTICAST = "192.168.77.1/24", "224.0.0.0/4"
WAITED_FOR = {
    "claimed": "the first discovery is made",
    "discovery received": "another node has received it",
    "replication result": "another node has run it again",
}
TOKEN = re.compile(r"(?<=token=)[\w-]+")


@dataclass
class FirstLook:
    """The folder that was empty, the nodes, and when things were seen, in seconds after the first command."""

    folder: Path
    begun: float = field(default_factory=time.monotonic)
    seen: dict[str, float] = field(default_factory=dict)

    def note(self, what: str) -> None:
        self.seen[what] = time.monotonic() - self.begun
        print(f"{self.seen[what]:7.1f} s  {what}", flush=True)


def typed(name: str, seed: int) -> list[str]:
    return ["./scripts/join", "--home", name, "--seed", str(seed)]


def machine(world: World) -> str:
    """A network namespace that is one machine on a LAN of its own."""
    space = world.space("machine")
    world.cable(world.bridge("lan"), space, "lan", ADDRESS)
    ip("-n", space, "route", "add", MULTICAST, "dev", "lan")
    return space


def start(look: FirstLook, space: str, name: str, seed: int, environment: dict[str, str]) -> NodeProcess:
    """Type the command in the clone; the node's own words go to a file beside its home."""
    node = NodeProcess(look.folder / name)
    with (look.folder / f"{name}.out").open("wb") as output:
        node.process = subprocess.Popen(
            ["ip", "netns", "exec", space, *typed(name, seed)],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=look.folder,
            env=environment,
        )
    return node


def watch(look: FirstLook, nodes: list[NodeProcess], minutes: float) -> str:
    """Note when the swarm comes together and what it does; returns a frame of `watch` from the first node."""
    for name, node in zip(NAMES, nodes, strict=True):
        node.wait_for("first line", heard("listening"), SET_UP_SECONDS)
        look.note(f"{name} listens")
    deadline = time.monotonic() + 60 * minutes
    while _peers(nodes[0]) < len(nodes) - 1 and time.monotonic() < deadline:
        time.sleep(0.5)
    look.note("all three know each other")
    for event, meaning in WAITED_FOR.items():
        while not any(heard(event)(node.events()) for node in nodes) and time.monotonic() < deadline:
            time.sleep(1.0)
        look.note(meaning if any(heard(event)(node.events()) for node in nodes) else f"not yet: {meaning}")
    program = str(look.folder / ".venv" / "bin" / "autoresearch-node")
    shown = subprocess.run([program, "watch", "--home", "one"], cwd=look.folder, capture_output=True, text=True)
    return shown.stdout


def _peers(node: NodeProcess) -> int:
    now = node.ask("status")["now"]
    return len(now["peers"]) if now else 0


def printed(look: FirstLook, name: str) -> str:
    """What a node printed, at most so many lines, with the folder and the page's token left out."""
    text = (look.folder / f"{name}.out").read_text(errors="replace").replace(str(look.folder), "~/autoresearch-node")
    lines = TOKEN.sub("...", text).splitlines()
    cut = [*lines[:LINES_SHOWN], "..."] if len(lines) > LINES_SHOWN else lines
    return "\n".join(line.rstrip() for line in cut)


def page(look: FirstLook, seeds: list[int], frame: str) -> str:
    times = "\n".join(f"| {seconds:.0f} s | {what} |" for what, seconds in look.seen.items())
    parts = [
        "# A first look",
        "Three nodes on one machine, from a clone in an empty folder, each command in a terminal of its own. Made by "
        f"`scripts/first_look.py` on a machine with {os.cpu_count()} cores, which the three share. The first command "
        "also makes `.venv`; here that was done before, for the three have a network of their own, without a way out.",
        f"| after | what |\n|---|---|\n{times}",
    ]
    for name, seed in zip(NAMES, seeds, strict=True):
        parts.append(f"```\n$ {' '.join(typed(name, seed))}\n{printed(look, name)}\n```")
    parts.append("And in a fourth terminal, or at the address that each `join` prints:")
    parts.append(f"```\n$ .venv/bin/autoresearch-node watch --home one\n{frame.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="to wait for discoveries")
    parser.add_argument("--seeds", type=int, nargs=3, default=[1, 2, 3])
    parser.add_argument("--browser", action="store_true", help="take pictures of the dashboard as well")
    options = parser.parse_args()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTHON"))}
    with tempfile.TemporaryDirectory(prefix="first-look-") as name, ExitStack() as stack:
        look = FirstLook(Path(name) / "autoresearch-node")
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(look.folder)], check=True)
        look.note("cloned")
        subprocess.run(["./scripts/join", "--help"], cwd=look.folder, env=environment, check=True, capture_output=True)
        look.note("set up")
        world = World()
        stack.callback(world.take_down)
        space = machine(world)
        nodes: list[NodeProcess] = []
        for home, seed in zip(NAMES, options.seeds, strict=True):
            nodes.append(start(look, space, home, seed, {**environment, "NO_COLOR": "1", "COLUMNS": "100"}))
            stack.enter_context(ended_afterwards(nodes[-1]))
        frame = watch(look, nodes, options.minutes)
        if options.browser:
            browse(nodes[0].home)
        for node in nodes:
            node.end(patience=60)
        (DOCS / "first-look.md").write_text(page(look, options.seeds, frame))
    return 0


if __name__ == "__main__":
    sys.exit(main())
