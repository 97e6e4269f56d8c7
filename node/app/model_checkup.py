"""What `doctor` says of language models and coding agents: those that are set up, and those that are here to be.

What is set up is asked once; the key goes to the service that the settings name and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.execution.sandbox.process import NO_NETWORK_OF_ITS_OWN
from node.platform.config import FILE_NAME, OPENAI_URL, Config
from node.proposers.agent import program_of
from node.proposers.agent_presets import PRESETS
from node.proposers.agent_program import installed
from node.proposers.agent_setup import agent_setup, key_in
from node.proposers.model_services import LocalServer, local_servers, models_of, usual_servers
from node.view.model.findings import Finding

MODELS_SHOWN = 6


def model_findings(config: Config) -> list[Finding]:
    """The model that is asked; where none is, the servers of this machine that could be."""
    if not config.llm_model:
        return [_offer(server) for server in local_servers()] or [
            Finding("model", "ok", f"none is asked; {_looked()}", "")
        ]
    key = key_in(config.llm_key_env)
    name = "model"
    at = f"{config.llm_model} at {config.llm_base_url}"
    if key is None:
        return [Finding(name, "missing", f"{at}: what {config.llm_key_env} holds is no key", "set it to the key alone")]
    if not key and config.llm_base_url == OPENAI_URL:
        return [Finding(name, "missing", f"{at}: no key", f"set {config.llm_key_env}, and start the node with it")]
    listed = models_of(config.llm_base_url, key, config.llm_proxy)
    if isinstance(listed, str):
        problem, _, remedy = listed.partition("; ")
        return [Finding(name, "missing", f"{at}: {problem}", remedy or f"see [llm] in {FILE_NAME}")]
    if listed and not _has(listed, config.llm_model):
        remedy = f"correct `model` in [llm]; it has {_some(listed)}"
        return [Finding(name, "missing", f"{at}: the service has no such model", remedy)]
    return [Finding(name, "ok", at if listed else f"{at}, which answers and lists no models", "")]


def agent_findings(config: Config, tier: str | None) -> list[Finding]:
    """The agent that is run; where none is, those on the PATH that could be. tier: of the sandbox."""
    name = "agent"
    if config.agent_use:
        found = agent_setup(config)
        if isinstance(found, str):
            problem, _, remedy = found.partition("; ")
            return [Finding(name, "missing", problem, remedy or f"see [agent] in {FILE_NAME}")]
        if tier != "bwrap":
            problem, _, remedy = NO_NETWORK_OF_ITS_OWN.partition("; ")
            return [Finding(name, "missing", f"{config.agent_use}: {problem}", remedy)]
        where = config.agent_base_url or found.service.base_url
        return [Finding(name, "ok", f"{config.agent_use} at {found.tool.words[-1]}, which asks {where}", "")]
    if config.agent_command:
        if program_of(config.agent_command) is None:
            remedy = f"install it, or correct `command` in [agent] of {FILE_NAME}"
            return [Finding(name, "missing", f"there is no program {config.agent_command[0]!r}", remedy)]
        return [Finding(name, "ok", config.agent_command[0], "")]
    there = [preset.name for preset in PRESETS.values() if installed(preset.program) is not None]
    if not there:
        return [Finding(name, "ok", f"none is run; none found on the PATH: looked for {', '.join(PRESETS)}", "")]
    return [
        Finding(name, "ok", f"none is run; on the PATH: {', '.join(there)}", f'to run one: [agent] use = "{there[0]}"')
    ]


def _looked() -> str:
    return f"none found on this machine: looked for {', '.join(usual_servers())} at their usual ports"


def _offer(server: LocalServer) -> Finding:
    found = f"none is asked; {server.name} answers at {server.base_url}"
    if not server.models:
        return Finding("model", "ok", f"{found}, without a model", "load a model there to have it propose ideas")
    lines = f'[llm]\nmodel = "{server.models[0]}"\nbase_url = "{server.base_url}"'
    return Finding("model", "ok", f"{found} with {_some(server.models)}", f"to ask it, in {FILE_NAME}:\n{lines}")


def _has(listed: Sequence[str], model: str) -> bool:
    """Ollama lists a model's name with its tag, and takes it without one."""
    return model in listed or f"{model}:latest" in listed or any(name.rpartition("/")[2] == model for name in listed)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MODELS_SHOWN} more" if len(names) > MODELS_SHOWN else ""
    return ", ".join(names[:MODELS_SHOWN]) + more
