"""Agents that are known by name ask their service through the node, which adds the key; and reach nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.execution.sandbox.layers import tier
from node.platform.config import AGENTS
from node.proposers.agent_presets import PRESETS
from node.proposers.agent_setup import agent_setup
from node.proposers.configured import configured
from node.proposers.spending import Amount, Caps
from node.trials.cached_runner import CachedRunner
from tests.node.proposers.agent_api import ANSWER_TOKENS, QUESTION_TOKENS, agent_api
from tests.node.proposers.known_agents import HERE, KEY, Logged, known_agent, put_on_path, settings, tried
from tests.node.proposers.test_agent import BRIEF, context, layers

pytestmark = [pytest.mark.sandbox, pytest.mark.sockets]

needs_bwrap = pytest.mark.skipif("tier(layers()) != 'bwrap'", reason="bubblewrap with namespaces is not here")
KEY_HEADER = {
    "claude": ("x-api-key", KEY),
    "codex": ("authorization", f"Bearer {KEY}"),
    "opencode": ("x-api-key", KEY),
    "gemini": ("x-goog-api-key", KEY),
    "aider": ("authorization", f"Bearer {KEY}"),
}
MODELS = {"opencode": "anthropic/a-model", "aider": "openai/a-model"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on the PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/local/bin:/usr/bin:/bin")
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    return tmp_path


def test_every_name_that_the_settings_know_is_a_preset() -> None:
    assert tuple(PRESETS) == AGENTS


@needs_bwrap
@pytest.mark.parametrize("name", AGENTS)
async def test_an_agent_asks_its_model_through_the_node_with_the_key_added(name: str, folder: Path) -> None:
    put_on_path(folder, name, HERE / "agent_stand_in.py")
    log = Logged()
    with agent_api() as api:
        config = settings(folder, use=name, model=MODELS.get(name, ""), turns=7)
        url = api.url + ("/v1" if name in ("codex", "aider") else "")
        proposal = await known_agent(config, url, layers(), BRIEF, log).propose(context())
    assert proposal is not None, log
    assert (proposal.title, proposal.source) == (f"By {name}", "LR = 2\nDEPTH = 2\n")
    ((method, path, keys),) = api.asked
    header, value = KEY_HEADER[name]
    assert (method, keys) == ("POST", {header: value})
    assert "key=" not in path
    assert log.of("agent requests")[0]["tokens"] == QUESTION_TOKENS + ANSWER_TOKENS
    assert KEY not in repr(log)


@needs_bwrap
async def test_nothing_else_can_be_reached_and_the_key_is_not_to_be_found(folder: Path) -> None:
    found, api = await tried(folder, layers(), BRIEF, context())
    assert len(found) >= 12
    assert [name for name, came in found.items() if came.startswith("OPEN")] == []
    assert [path for _, path, _ in api.asked] == ["/v1/messages"]  # the one whose answer is a redirect


@needs_bwrap
async def test_what_may_not_be_spent_is_not_asked(folder: Path) -> None:
    put_on_path(folder, "claude", HERE / "agent_stand_in.py")
    log = Logged()
    with agent_api() as api:
        few = Caps(Amount(100, 1.0), Amount(10**6, 1.0))
        agent = known_agent(settings(folder, use="claude", turns=7), api.url, layers(), BRIEF, log, few)
        assert await agent.propose(context()) is None
    assert api.asked == []
    assert "raise tokens_per_hour" in log.of("agent refused")[0]["why"]


def test_what_is_missing_is_said_with_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "npm install -g @openai/codex" in str(agent_setup(settings(folder, use="codex")))
    put_on_path(folder, "codex", HERE / "agent_stand_in.py")
    put_on_path(folder, "aider", HERE / "agent_stand_in.py")
    assert "needs `model`" in str(agent_setup(settings(folder, use="aider")))
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "no key in OPENAI_API_KEY" in str(agent_setup(settings(folder, use="codex")))
    assert not isinstance(agent_setup(settings(folder, use="codex", base_url="http://127.0.0.1:11434/v1")), str)
    assert "both `use` and `command`" in str(agent_setup(settings(folder, use="codex", command=["codex"])))
    assert KEY not in repr(agent_setup(settings(folder, use="codex", base_url="http://127.0.0.1:11434/v1")))


def test_without_a_network_of_its_own_an_agent_is_not_run(folder: Path, cached_runner: CachedRunner) -> None:
    put_on_path(folder, "claude", HERE / "agent_stand_in.py")
    config, log = settings(folder, use="claude"), Logged()
    every = configured(config, cached_runner, replace(layers(), bwrap=False), bytes(32), log)
    assert "agent" not in {proposer.name for proposer in every}
    assert "needs the sandbox bwrap" in log.of("agent not used")[0]["why"]


__all__ = ["tier"]  # named in the condition of a mark
