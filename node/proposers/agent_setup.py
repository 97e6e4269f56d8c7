"""Whether the agent that the settings name can be used here: the tool, its service and its key, or why not, in words.

The node asks before it starts, and `doctor` asks the same. Only here and in `configured` is a key read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from node.objective.downloads import is_loopback
from node.platform.config import Config
from node.platform.environment import variable
from node.proposers.agent_presets import KEY_VARIABLES, PRESETS, Preset, service_of
from node.proposers.agent_program import Installed, installed
from node.proposers.agent_service import Service

MAX_KEY_CHARACTERS = 1000


@dataclass(frozen=True)
class Setup:
    """What an agent is run with."""

    preset: Preset
    tool: Installed
    service: Service
    key: str = field(repr=False)


def agent_setup(config: Config) -> Setup | str:
    """What the agent that `use` of [agent] names is run with, or why it cannot be used and what to do."""
    preset = PRESETS[config.agent_use]
    if config.agent_command:
        return "[agent] has both `use` and `command`; leave one of them out"
    if config.agent_network:
        return "[agent] has both `use` and `network`; one that is known by name asks its service through the node"
    tool = installed(preset.program)
    if tool is None:
        return f"there is no program {preset.program!r} on the PATH; install it, for example with: {preset.install}"
    service = service_of(preset, config.agent_model)
    if service is None:
        return f'{preset.name} needs `model` in [agent], with its provider, such as "anthropic/claude-sonnet-4-5"'
    name = config.agent_key_env or KEY_VARIABLES[service.name]
    key = key_in(name)
    if key is None:
        return f"what {name} holds is no key"
    local = is_loopback(urlsplit(config.agent_base_url)) if config.agent_base_url else False
    if not key and not local:
        return f"there is no key in {name}, which the node adds to what {preset.name} asks; set it and start again"
    return Setup(preset, tool, service, key)


def key_in(name: str) -> str | None:
    """The key that a variable of the environment holds, "" where it is not set; None for what can be no key."""
    key = variable(name).strip()
    return key if len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable() else None
