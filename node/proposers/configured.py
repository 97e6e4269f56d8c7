"""The proposers a node has, by its settings: those of every node, and the model or agent that a person set up.

It is the one place that knows all proposers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from node.execution.hidden_packages import hidden_paths
from node.execution.sandbox.layers import Layers, tier
from node.execution.sandbox.process import NO_NETWORK_OF_ITS_OWN
from node.objective.history import read_history
from node.platform.config import OPENAI_URL, Config
from node.platform.environment import variables
from node.platform.home import Home
from node.platform.log import Log
from node.proposers.agent_service import Reach
from node.proposers.agent_setup import agent_setup, key_in
from node.proposers.catalogue import Catalogue, read_ideas
from node.proposers.elsewhere import Elsewhere, OtherObjectives
from node.proposers.numeric import Numeric
from node.proposers.prompt import ResearchBrief
from node.proposers.proposer import Proposer
from node.proposers.recombine import Recombine
from node.proposers.repeats import Repeats
from node.proposers.spending import Amount, Caps, Prices, Spending
from node.proposers.suggested import Suggested, SuggestionNotes, in_words
from node.proposers.suggestion_choices import KeptChoices
from node.proposers.thinning import Thinning
from node.trials.cached_runner import CachedRunner

if TYPE_CHECKING:
    from node.proposers.agent import AgentOrder


def configured(config: Config, cached_runner: CachedRunner, layers: Layers, author: bytes, log: Log) -> list[Proposer]:
    """Every proposer this node has. Raises CatalogueError."""
    ledger = cached_runner.ledger
    choices = KeptChoices(Home(config.home).suggestion_choices)
    notes = SuggestionNotes(ledger.settings)
    elsewhere = _elsewhere(cached_runner, author, log)
    proposers: list[Proposer] = [
        Suggested(ledger.all_records, ledger.get_blob, author, choices, notes),
        Catalogue(read_ideas(cached_runner.objective.root / "ideas")),
        Numeric(),
        Recombine(ledger.all_records, ledger.get_blob, author, ledger.is_proven),
        elsewhere,
        Thinning(ledger.all_records, ledger.get_blob, author),
    ]

    def words() -> list[str]:
        return in_words(ledger.all_records(), author, choices())

    caps = Caps(
        Amount(config.llm_tokens_per_hour, config.llm_money_per_hour),
        Amount(config.llm_tokens_total, config.llm_money_total),
    )
    spending = Spending(ledger.settings, caps, time.time)  # one account, of the model and of the agent
    model = _language_model(config, cached_runner, words, elsewhere, spending, log)
    agent = _agent(config, cached_runner, layers, author, words, elsewhere, spending, log)
    return proposers + [proposer for proposer in (model, agent) if proposer is not None]


def _elsewhere(cached_runner: CachedRunner, author: bytes, log: Log) -> Elsewhere:
    """The proposer of what was confirmed in other objectives of this home. Nothing of a private swarm leaves it."""
    ledger, here = cached_runner.ledger, cached_runner.objective.id
    home = Home(ledger.path.parent)

    def may_leave(objective: bytes) -> bool:
        key = home.swarm_key(objective)
        return key is None or key == home.swarm_key(here)

    others = OtherObjectives(ledger.path, here, author, may_leave)
    return Elsewhere(others, ledger.get_blob, Repeats(ledger.get_blob), log)


def _language_model(
    config: Config,
    cached_runner: CachedRunner,
    words: Callable[[], list[str]],
    elsewhere: Elsewhere,
    spending: Spending,
    log: Log,
) -> Proposer | None:
    """words: people's suggestions in words."""
    if not config.llm_model:
        return None
    key = key_in(config.llm_key_env)
    if key is None:
        log("LLM not used", level="warning", why=f"what {config.llm_key_env} holds is no key")
        return None
    from node.proposers.endpoint import Endpoint, ModelAddress  # a heavy import that few nodes need
    from node.proposers.llm import LanguageModel

    if not key and config.llm_base_url == OPENAI_URL:
        log("LLM not used", level="warning", why=f"there is no key in {config.llm_key_env}; set it and start again")
        return None
    prices = Prices(config.llm_price_question, config.llm_price_answer)
    address = ModelAddress(
        config.llm_base_url,
        config.llm_model,
        key or "none",
        config.llm_answer_tokens,
        config.llm_seconds,
        config.llm_proxy,
    )
    budget = spending.remaining()
    log(
        "LLM ready", model=config.llm_model, url=config.llm_base_url, tokens_left=budget.tokens, money_left=budget.money
    )
    endpoint = Endpoint(address, prices, spending, log)
    return LanguageModel(
        endpoint,
        brief_of(cached_runner),
        words,
        Repeats(cached_runner.ledger.get_blob),
        elsewhere,
        cached_runner.runner.pause_gate,
        log,
    )


def _agent(
    config: Config,
    cached_runner: CachedRunner,
    layers: Layers,
    author: bytes,
    words: Callable[[], list[str]],
    elsewhere: Elsewhere,
    spending: Spending,
    log: Log,
) -> Proposer | None:
    if not (config.agent_use or config.agent_command):
        return None
    from node.proposers.agent import BRIEF_FILE, DESCRIPTION_FILE, Agent, results_of  # with an HTTP client

    taken = {BRIEF_FILE, DESCRIPTION_FILE} & set(cached_runner.objective.editable)
    if taken:
        log("agent not used", level="warning", why=f"its own {taken.pop()} would stand in the place of the objective's")
        return None
    hidden = hidden_paths(cached_runner.objective)
    order = _known_agent(config, hidden, layers, spending) if config.agent_use else _own_agent(config, hidden, log)
    if isinstance(order, str):
        log("agent not used", level="warning", why=order)
        return None
    ledger = cached_runner.ledger
    return Agent(
        order,
        layers,
        brief_of(cached_runner),
        lambda: results_of(ledger.feed(author)),
        words,
        Repeats(ledger.get_blob),
        elsewhere,
        cached_runner.runner.pause_gate,
        log,
    )


def _own_agent(config: Config, hidden: tuple[Path, ...], log: Log) -> AgentOrder | str:
    """How the person's own command is run, or why it is not."""
    from node.proposers.agent import AgentOrder, program_of

    command = program_of(config.agent_command)
    if command is None:
        return f"there is no program {config.agent_command[0]!r}; see [agent]"
    environment = variables(config.agent_environment if config.agent_network else ())
    if config.agent_network:
        log("AGENT NOT SANDBOXED", level="warning", why="the agent runs as you, with your network, as you asked for")
    return AgentOrder(command, config.agent_network, environment, config.agent_seconds, hidden)


def _known_agent(config: Config, hidden: tuple[Path, ...], layers: Layers, spending: Spending) -> AgentOrder | str:
    """How an agent that is known by name is run, or why it is not."""
    from node.proposers.agent import Access, AgentOrder
    from node.proposers.agent_proxy import Account

    found = agent_setup(config)
    if isinstance(found, str):
        return found
    if tier(layers) != "bwrap":
        return NO_NETWORK_OF_ITS_OWN
    access = Access(
        found.preset,
        found.tool,
        Reach(found.service, config.agent_base_url or found.service.base_url, found.key),
        config.agent_model,
        config.agent_turns,
        config.llm_proxy,
        Account(spending, Prices(config.llm_price_question, config.llm_price_answer)),
    )
    return AgentOrder((), False, {}, config.agent_seconds, hidden, access)


def brief_of(cached_runner: CachedRunner) -> ResearchBrief:
    """The objective and this machine, as a model or an agent is shown them."""
    objective = cached_runner.objective
    return ResearchBrief(
        objective=objective.name,
        summary=objective.summary,
        metric=objective.metric,
        measure=objective.measure,
        editable=objective.editable,
        program=objective.files.get(objective.direction, b"").decode("utf-8", errors="replace"),
        categories=objective.categories,
        compute_class=cached_runner.compute_class,
        device=cached_runner.device,
        kind=objective.kind,
        priced=objective.statistics.slope > 0,
        before=read_history(objective.files.get(objective.history or "", b""), objective.metric).results,
    )
