"""Known agents for tests: a stand-in on the PATH, run as the node runs the real one, against an API on loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from node.execution.pause_gate import PauseGate
from node.execution.sandbox.layers import Layers
from node.platform.config import load_config
from node.proposers.agent import Access, Agent, AgentOrder
from node.proposers.agent_proxy import Account
from node.proposers.agent_service import Reach
from node.proposers.agent_setup import Setup, agent_setup
from node.proposers.prompt import ResearchBrief
from node.proposers.proposer import Context
from node.proposers.repeats import Repeats
from node.proposers.spending import Amount, Caps, Prices, Spending
from tests.node.proposers.agent_api import AgentApi, agent_api

HERE = Path(__file__).parent
KEY = "sk-the-real-key"
PLENTY = Caps(Amount(10**7, 100.0), Amount(10**7, 100.0))


class Kept:
    spending: bytes | None = None


class Logged(list[tuple[str, dict[str, Any]]]):
    """What was logged."""

    def __call__(self, event: str, level: str = "info", **details: Any) -> None:
        self.append((event, details))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [details for name, details in self if name == event]


def put_on_path(folder: Path, name: str, program: Path) -> None:
    """Install a program under a tool's name, behind a link, as installers do."""
    kept = folder / "kept" / name
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(program.read_text())
    kept.chmod(0o755)
    (folder / name).symlink_to(kept)


def settings(folder: Path, **values: Any) -> Any:
    """The settings with these below [agent]."""
    file = folder / "swarm.toml"
    file.write_text("[agent]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return load_config(file, {"home": str(folder / "home")})


def known_agent(
    config: Any, base_url: str, layers: Layers, task: ResearchBrief, log: Logged, caps: Caps = PLENTY, key: str = KEY
) -> Agent:
    """The agent that the settings name, which asks the API at this address."""
    found = agent_setup(config)
    assert isinstance(found, Setup), found
    spending = Spending(Kept(), caps, time.time)
    access = Access(
        found.preset, found.tool, Reach(found.service, base_url, key), config.agent_model, config.agent_turns, "",
        Account(spending, Prices(1.0, 10.0)),
    )  # fmt: skip
    order = AgentOrder((), False, {}, 60.0, (), access)
    return Agent(order, layers, task, list, list, Repeats(lambda _: None), None, PauseGate(), log)


@contextmanager
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server that nobody is to reach, such as a dashboard: its host and port, and what reached it."""
    reached: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reached.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", reached
    finally:
        server.shutdown()
        server.server_close()


async def tried(folder: Path, layers: Layers, task: ResearchBrief, context: Context) -> tuple[dict[str, str], AgentApi]:
    """What came of every try of agent_tries.py, and what reached the API. folder: an empty one, on the PATH first."""
    put_on_path(folder, "claude", HERE / "agent_tries.py")
    home = folder / "home"
    home.mkdir()
    path, abstract = str(folder / "s"), f"of-a-test-{folder.name}"
    with (
        agent_api() as api, elsewhere() as (place, reached),
        socket.socket(socket.AF_UNIX) as local, socket.socket(socket.AF_UNIX) as hidden,
    ):  # fmt: skip
        local.bind(path)
        local.listen()
        hidden.bind(f"\0{abstract}")
        hidden.listen()
        api.elsewhere = f"http://{place}/"
        there = {
            "elsewhere": place, "port": int(place.rpartition(":")[2]), "socket": path, "abstract": abstract,
            "key": KEY[::-1], "home": str(home), "node": str(HERE),
        }  # fmt: skip
        told = replace(task, program=f"{task.program}\nTHERE {json.dumps(there)}\n")
        agent = known_agent(settings(folder, use="claude"), api.url, layers, told, Logged())
        proposal = await agent.propose(context)
        assert proposal is not None
        assert not reached
        found: dict[str, str] = json.loads(proposal.source.rpartition("# ")[2])
        return found, api


def shown(found: dict[str, str]) -> Sequence[str]:
    """The rows of a table."""
    return [f"| {name} | {came} |" for name, came in found.items()]
