"""A real client of MCP steers a real node: it proposes three edits, one after the other, and asks what came of them.

    .venv/bin/python scripts/mcp_session.py [--minutes 15]

The node researches a new objective from the template "program", whose runs take less than a second, in a home of its
own below a temporary folder, without the dashboard and on loopback alone. Prints each call with its answer, shortened.
Exits with 1 where one of the three was not tried within the time.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
from mcp import ClientSession, StdioServerParameters, stdio_client

REPOSITORY = Path(__file__).resolve().parent.parent
NODE = [sys.executable, "-m", "node"]
SHOWN = 400  # characters of an answer
OLD = "return recent.mean(axis=0)"
IDEAS = (
    ("Weigh the latest value", "it says most about the next", "return 0.5 * recent[-1] + 0.5 * recent.mean(axis=0)"),
    ("The last value alone", "the level wanders, so old values mislead", "return recent[-1]"),
    (
        "Weights that fall by a half each step", "a level that wanders is best followed by falling weights",
        "return np.average(recent, axis=0, weights=0.5 ** np.arange(len(recent))[::-1])",
    ),
)  # fmt: skip


@contextmanager
def running_node(folder: Path) -> Iterator[Path]:
    """A node that researches, until the end; its home."""
    objective, home = folder / "forecasts", folder / "home"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    made = [*NODE, "objective", "new", str(objective), "--template", "program"]
    subprocess.run(made, check=True, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
    (folder / "swarm.toml").write_text("[network]\nlan = false\nupnp = false\npublic = false\n")
    join = [*NODE, "join", "--home", str(home), "--objective", str(objective), "--no-dashboard",
            "--config", str(folder / "swarm.toml"), "--listen", "/ip4/127.0.0.1/tcp/0"]  # fmt: skip
    with (folder / "log").open("wb") as log:
        node = subprocess.Popen(join, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        try:
            while not (home / "ledger.sqlite").exists():
                if node.poll() is not None:
                    raise SystemExit((folder / "log").read_text())
                time.sleep(0.2)
            yield home
        finally:
            node.send_signal(signal.SIGINT)
            node.wait(60)


async def call(session: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    """The answer of a tool, printed."""
    answer = await session.call_tool(tool, arguments)
    text = "\n".join(part.text for part in answer.content if part.type == "text")
    print(f"> {tool} {json.dumps(arguments)[:SHOWN]}\n< {' '.join(text.split())[:SHOWN]}\n", flush=True)
    if answer.is_error:
        return {}
    found: dict[str, Any] = json.loads(text)
    return found


def proposal(files: dict[str, Any], new: str) -> dict[str, Any]:
    """The arguments of an edit of the best source: search and replace, or the file where that was replaced already."""
    ((name, part),) = files.items()
    text: str = part["text"]
    if text.count(OLD) == 1:
        return {"edits": [{"search": OLD, "replace": new}]}
    head, _, _ = text.partition("def forecast(")
    return {"file": name, "source": f"{head}def forecast(task, recent):\n    {new}\n"}


async def steer(home: Path, seconds: float) -> int:
    """Three experiments by a client. Returns how many were tried."""
    server = StdioServerParameters(
        command=NODE[0],
        args=[*NODE[1:], "mcp", "--home", str(home)],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY)},
    )
    done = 0
    async with stdio_client(server) as (reads, writes), ClientSession(reads, writes) as session:
        await session.initialize()
        print("tools:", ", ".join(tool.name for tool in (await session.list_tools()).tools), "\n")
        while not (await call(session, "status")).get("records"):
            await trio.sleep(5)
        await call(session, "tried", most=3)
        for title, reason, new in IDEAS:
            best = await call(session, "best_source")
            made = await call(session, "propose", title=title, reason=reason, **proposal(best["files"], new))
            if not made:
                continue
            found = await call(session, "result", id=made["id"], wait_seconds=seconds / len(IDEAS))
            for one in found.get("tries", []):
                await call(session, "diff", id=one["record"])
            done += bool(found.get("tries"))
        await call(session, "leaderboard")
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="most time for the three experiments")
    minutes = parser.parse_args().minutes
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, running_node(Path(folder)) as home:
        done = trio.run(steer, home, 60 * minutes)
    print(f"{done} of {len(IDEAS)} proposals were tried, in {time.monotonic() - began:.0f} s")
    return 0 if done == len(IDEAS) else 1


if __name__ == "__main__":
    sys.exit(main())
