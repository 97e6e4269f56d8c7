"""A coding agent edits a copy of the source: in the sandbox, or as the person where they said so. Real programs."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import trio

from node.execution.parsing.parser import SourceParser
from node.execution.pause_gate import PauseGate
from node.execution.sandbox.layers import Layers, probe
from node.objective.edits import fingerprint
from node.platform.config import load_config
from node.proposers.agent import Agent, AgentOrder, program_of
from node.proposers.configured import configured
from node.proposers.prompt import ResearchBrief
from node.proposers.proposer import Context, Lesson, TriedResult
from node.proposers.repeats import Repeats
from node.trials.cached_runner import CachedRunner
from protocol.metric import LOSS

pytestmark = pytest.mark.sandbox

SOURCE = "LR = 1\nDEPTH = 2\n"
BRIEF = ResearchBrief(
    "tinylm", "A small model.", "val_bpb", LOSS, ("train.py",), "Try the optimizer.", ("optimizer",), "cpu", "a CPU"
)
EDIT = "open('train.py', 'w').write('LR = 2\\nDEPTH = 2\\n')\n"


@cache
def layers() -> Layers:
    return probe()


def tried(title: str, proposer: str = "catalogue") -> TriedResult:
    return TriedResult(b"s" * 32, b"c" * 32, "optimizer", title, proposer, -0.1, "no_gain", {})


def context() -> Context:
    known = frozenset({fingerprint(SOURCE)})
    return Context(SOURCE, b"s" * 32, known, (tried("Words of a peer"),), random.Random(1), SourceParser())


class Logged:
    """What was logged, as one text."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, event: str, level: str = "info", **details: Any) -> None:
        self.text += f"{event} {details}"


class Asked:
    """An agent that is a line of Python, and what was logged of it."""

    def __init__(
        self, code: str, seconds: float = 60, sources: Mapping[bytes, bytes] = MappingProxyType({}), **environment: str
    ) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.pause_gate = PauseGate()
        network = bool(environment)
        order = AgentOrder((sys.executable, "-c", code), network, environment, seconds)
        repeats = Repeats(sources.get)
        own = [tried("My own words"), tried("Recombined words", "recombine")]
        self.agent = Agent(
            order, layers(), BRIEF, lambda: own, lambda: ["An idea in words"], repeats, None, self.pause_gate, self.log
        )

    def log(self, event: str, **details: Any) -> None:
        self.events.append((event, details))

    def logged(self) -> str:
        return repr(self.events)


async def test_the_edited_file_and_its_words_are_a_proposal() -> None:
    words = "{'title': 'Twice the rate', 'category': 'optimizer', 'reason': 'r'}"
    asked = Asked(EDIT + f"import json; json.dump({words}, open('hypothesis.json', 'w'))")
    proposal = await asked.agent.propose(context())
    assert proposal is not None
    assert (proposal.title, proposal.category, proposal.reason) == ("Twice the rate", "optimizer", "r")
    assert (proposal.proposer, proposal.source) == ("agent", "LR = 2\nDEPTH = 2\n")


async def test_an_agent_without_words_still_proposes() -> None:
    proposal = await Asked(EDIT).agent.propose(context())
    assert proposal is not None
    assert proposal.title == "An agent's edit"


async def test_the_brief_says_what_there_is_to_know_and_what_crashed() -> None:
    asked = Asked("print(open('brief.md').read()[-1800:])")
    assert await asked.agent.propose(context()) is None
    for words in ("Try the optimizer.", "Words of a peer", "An idea in words"):
        assert words in asked.logged()
    proposal = await Asked(EDIT).agent.propose(context())
    assert proposal is not None
    asked.agent.learn(proposal, Lesson("failed", None, "exception", "NameError: x"))
    assert await asked.agent.propose(context()) is None
    assert "NameError: x" in asked.logged()


async def test_an_idea_that_was_tried_is_dropped_and_the_next_brief_says_so() -> None:
    sources = {b"s" * 32: SOURCE.encode(), b"c" * 32: SOURCE.replace("LR = 1", "LR = 2").encode()}
    known = replace(context(), settled=frozenset({(b"s" * 32, b"c" * 32)}), tried=frozenset())
    asked = Asked(EDIT + "print(open('brief.md').read()[-600:])", sources=sources)
    assert await asked.agent.propose(known) is None
    assert "'decision': 'dropped'" in asked.logged()
    brief = asked.agent._brief(known)
    assert "This idea was tried already" in brief
    assert "Words of a peer" in brief


UNUSABLE = [
    ("pass", "tried on this source already"),
    ("open('train.py', 'w').write('def (')", "does not parse"),
    ("open('train.py', 'wb').write(b'\\xff')", "not UTF-8"),
    ("open('train.py', 'w').write('#' * 10**6)", "larger than"),
    ("import os; os.remove('train.py'); os.symlink('/etc/hostname', 'train.py')", "cannot be read"),
    ("import os; os.remove('train.py'); os.mkfifo('train.py')", "cannot be read"),
    ("import os; os.remove('train.py'); os.mkdir('train.py')", "cannot be read"),
    ("import sys; sys.exit('I give up')", "I give up"),
]


@pytest.mark.parametrize(("code", "why"), UNUSABLE)
async def test_what_an_agent_leaves_behind_is_checked(code: str, why: str) -> None:
    asked = Asked(code)
    assert await asked.agent.propose(context()) is None
    assert why in asked.logged()


async def test_an_edit_of_nothing_but_a_seed_is_refused() -> None:
    lucky = "import random\nLR = 1\nrandom.seed(LR)\n"
    asked = Asked(f"open('train.py', 'w').write({lucky.replace('1', '2')!r})")
    assert await asked.agent.propose(replace(context(), source=lucky)) is None
    assert "nothing but chance" in asked.logged()


async def test_an_agent_that_never_ends_is_ended() -> None:
    asked = Asked("while True: pass", seconds=2)
    assert await asked.agent.propose(context()) is None
    assert "ended by time" in asked.logged() or "ended by cpu" in asked.logged()


@pytest.mark.parametrize("environment", [pytest.param({}, marks=pytest.mark.long), {"KEY": "a key"}])
async def test_an_agent_is_frozen_while_the_node_pauses(environment: dict[str, str]) -> None:
    asked = Asked(EDIT + "import time; time.sleep(1)", **environment)
    ended = trio.Event()

    async def propose() -> None:
        assert await asked.agent.propose(context()) is not None
        ended.set()

    async with trio.open_nursery() as nursery:
        asked.pause_gate.pause()
        nursery.start_soon(propose)
        await trio.sleep(0.2)
        assert not asked.pause_gate._processes  # it is not even started
        asked.pause_gate.resume()
        with trio.fail_after(10):
            while not asked.pause_gate._processes:
                await trio.sleep(0.01)
        asked.pause_gate.pause()
        await trio.sleep(3)
        assert not ended.is_set()
        asked.pause_gate.resume()
        with trio.fail_after(20):
            await ended.wait()


async def test_in_the_sandbox_an_agent_reaches_neither_files_nor_network_nor_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the-secret")
    monkeypatch.setenv("AN_AGENTS_KEY", "the-key")
    asked = Asked(
        f"import os, socket\nprint(dict(os.environ))\ntry: print(open({str(secret)!r}).read())\n"
        "except OSError as e: print('no file')\ntry: socket.create_connection(('127.0.0.1', 1)); print('net')\n"
        "except ConnectionRefusedError: print('a network')\nexcept OSError: print('no network')"
    )
    assert await asked.agent.propose(context()) is None
    assert "no file" in asked.logged()
    assert "no network" in asked.logged()
    assert "the-secret" not in asked.logged()
    assert "the-key" not in asked.logged()


async def test_in_the_sandbox_a_nodes_agent_cannot_read_the_packages_that_the_objective_hides(
    tmp_path: Path, cached_runner: CachedRunner
) -> None:
    settings = tmp_path / "swarm.toml"
    code = """if True:
        import os, sysconfig
        root = sysconfig.get_path("purelib")
        for name in ("mako", "pygments"):
            for top in (root, os.path.realpath(root)):
                try:
                    print(name, "has", len(open(f"{top}/{name}/__init__.py").read()), "characters")
                except OSError:
                    print(name, "is not here")
    """
    settings.write_text(f"[agent]\ncommand = {json.dumps([sys.executable, '-c', code])}\n")
    config = load_config(settings, {"home": str(tmp_path)})
    for hidden, told in ((), "mako has"), (("mako",), "mako is not here"):
        cached_runner.objective = replace(cached_runner.objective, hidden=hidden)
        log = Logged()
        every = configured(config, cached_runner, layers(), bytes(32), log)
        (agent,) = [proposer for proposer in every if proposer.name == "agent"]
        assert await agent.propose(context()) is None  # it edits nothing
        assert (log.text.count(told), log.text.count("mako")) == (2, 2), log.text
        assert log.text.count("pygments has") == 2


async def test_an_agents_tools_may_lock_files() -> None:
    locks = """if True:
        import fcntl, sqlite3
        fcntl.flock(open("lock", "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
        with sqlite3.connect("cache.db") as cache:
            cache.execute("CREATE TABLE seen (file TEXT)")
    """
    assert await Asked(f"exec({locks!r})\n" + EDIT).agent.propose(context()) is not None


async def test_with_network_it_gets_the_named_variables_and_no_word_of_a_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANOTHER_KEY", "the-other-key")
    key = 'it\'s a "key" with $signs\nand lines'
    code = EDIT + "import os; print(open('brief.md').read()[-1500:], os.environ, os.listdir('..'))"
    asked = Asked(code + "; os.environ['KEY'] == " + repr(key) + " or os._exit(3); os.remove('train.py')", KEY=key)
    assert await asked.agent.propose(context()) is None
    assert "code 0" in asked.logged()
    assert "My own words" in asked.logged()
    for words in ("Words of a peer", "Recombined words", "An idea in words", "the-other-key"):
        assert words not in asked.logged()
    assert "'environment'" not in asked.logged()  # the file with the key is gone before the agent starts


def test_a_program_is_found_on_the_path() -> None:
    assert program_of(["sh", "-c", "true"]) is not None
    assert program_of(["no-such-program-anywhere"]) is None
