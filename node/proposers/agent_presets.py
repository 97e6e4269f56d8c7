"""Coding agents that are known by name: how each is started without a person, and pointed at the node's own proxy.

An agent gets a stand-in for a key, a home of its own with nothing of the person's, and the base URL at which the node
answers. It knows the tools' options and settings and starts nothing. Looked up in November 2026 in the tools' own help
(claude 2.1.197, codex 0.171.0, gemini 0.61.0, opencode 1.18.33, aider 0.86.2) and their pages:

- claude: code.claude.com/docs/en/cli-reference, /headless, /settings (environment variables)
- codex: developers.openai.com/codex/noninteractive, /config-reference (model_providers)
- gemini: geminicli.com/docs/cli/headless, /reference/configuration
- opencode: opencode.ai/docs/cli, /config, /permissions
- aider: aider.chat/docs/scripting.html, /docs/config/options.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from node.proposers.agent_service import SERVICES, Service, ServiceName, local_url

NO_KEY = "the-node-adds-the-key"  # tools do not start without one
PROMPT = (
    "Read brief.md in this folder and do what it says: edit the source, write hypothesis.json, and stop. "
    "There is no network and nobody to ask."
)
REQUESTS_A_TURN = 3  # tools ask small models on the side: for titles, summaries, checks


@dataclass(frozen=True)
class Task:
    """What an agent is started for. files: that it may edit, in its folder. model: "" is the tool's own choice."""

    model: str
    turns: int
    port: int
    files: Sequence[str]


@dataclass(frozen=True)
class Started:
    """How an agent is started: its arguments, variables beside HOME and PATH, and files in its home."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    home_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """One tool. key_env: the variable that holds the person's key, by the service.

    service: the one it asks; None where that follows from the model's name, "provider/model".
    """

    name: str
    program: str
    service: ServiceName | None
    install: str
    start: Callable[[Task, Service], Started]


KEY_VARIABLES: Mapping[ServiceName, str] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "google": "GEMINI_API_KEY",
}
_PROVIDERS: Mapping[str, ServiceName] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "google": "google",
    "gemini": "google",  # as aider calls it
}


def service_of(preset: Preset, model: str) -> Service | None:
    """The service that a tool asks for a model; None where the model's name does not say."""
    name = preset.service or _PROVIDERS.get(model.partition("/")[0])
    return SERVICES[name] if name is not None else None


def _with(option: str, value: str) -> tuple[str, ...]:
    return (option, value) if value else ()


def _claude(task: Task, service: Service) -> Started:
    """--permission-mode acceptEdits: files may be edited; --allowedTools: nothing else is asked for in vain."""
    arguments = (
        "--print", PROMPT, "--output-format", "json", "--max-turns", str(task.turns), *_with("--model", task.model),
        "--permission-mode", "acceptEdits", "--allowedTools", "Read,Edit,Write,Glob,Grep,Bash",
        "--no-session-persistence",
    )  # fmt: skip
    return Started(
        arguments,
        {
            "ANTHROPIC_BASE_URL": local_url(service, task.port),
            "ANTHROPIC_API_KEY": NO_KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",  # updates, telemetry, error reports
            "DISABLE_AUTOUPDATER": "1",
        },
    )


def _codex(task: Task, service: Service) -> Started:
    """A provider of its own, since only that can be asked by plain HTTP and without a websocket. It has no option for
    turns: the proxy's cap of requests is the one there is."""
    provider = {
        "model_provider": "node",
        "model_providers.node.name": "node",
        "model_providers.node.base_url": local_url(service, task.port),
        "model_providers.node.env_key": "OPENAI_API_KEY",
        "model_providers.node.wire_api": "responses",
    }
    settings = [word for name, value in provider.items() for word in ("-c", f"{name}={json.dumps(value)}")]
    arguments = (
        "exec", "--json", "--skip-git-repo-check", "--ephemeral", *settings, *_with("--model", task.model),
        "--dangerously-bypass-approvals-and-sandbox",  # its own sandbox cannot start in this one
        PROMPT,
    )  # fmt: skip
    return Started(arguments, {"OPENAI_API_KEY": NO_KEY})


def _gemini(task: Task, service: Service) -> Started:
    settings = {
        "model": {"maxSessionTurns": task.turns},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True, "enableAutoUpdate": False},
        "security": {"auth": {"selectedType": "gemini-api-key"}},
    }
    arguments = ("--prompt", PROMPT, "--output-format", "json", "--approval-mode", "yolo", "--skip-trust")
    return Started(
        (*arguments, *_with("--model", task.model)),
        {"GOOGLE_GEMINI_BASE_URL": local_url(service, task.port), "GEMINI_API_KEY": NO_KEY},
        {".gemini/settings.json": json.dumps(settings)},
    )


def _opencode(task: Task, service: Service) -> Started:
    version = "" if service.name == "openai" else {"anthropic": "/v1", "google": "/v1beta"}[service.name]
    settings = {
        "provider": {service.name: {"options": {"baseURL": local_url(service, task.port) + version, "apiKey": NO_KEY}}},
        "agent": {"build": {"steps": task.turns}},
        "enabled_providers": [service.name],
        "share": "disabled",
        "autoupdate": False,
        "permission": {"webfetch": "deny", "websearch": "deny"},
    }
    return Started(
        ("run", "--format", "json", "--pure", "--auto", "--model", task.model, PROMPT),
        {
            "OPENCODE_CONFIG_CONTENT": json.dumps(settings),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        },
    )


def _aider(task: Task, service: Service) -> Started:
    """It makes one edit of the files it is given and ends; it has no turns but its own few corrections."""
    files = [word for name in (*task.files, "hypothesis.json") for word in ("--file", name)]
    arguments = (
        "--message", PROMPT, "--yes-always", "--model", task.model, "--read", "brief.md", *files,
        "--no-git", "--no-auto-commits", "--no-check-update", "--no-show-release-notes", "--no-show-model-warnings",
        "--analytics-disable", "--no-stream", "--no-pretty", "--no-detect-urls", "--no-suggest-shell-commands",
        "--map-tokens", "0",
    )  # fmt: skip
    url = local_url(service, task.port)
    by_service = {
        "anthropic": {"ANTHROPIC_API_BASE": url, "ANTHROPIC_API_KEY": NO_KEY},
        "openai": {"OPENAI_API_BASE": url, "OPENAI_API_KEY": NO_KEY},
        "google": {"GEMINI_API_BASE": f"{url}/v1beta", "GEMINI_API_KEY": NO_KEY},
    }
    return Started(arguments, {**by_service[service.name], "LITELLM_LOCAL_MODEL_COST_MAP": "True"})


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("claude", "claude", "anthropic", "npm install -g @anthropic-ai/claude-code", _claude),
        Preset("codex", "codex", "openai", "npm install -g @openai/codex", _codex),
        Preset("opencode", "opencode", None, "npm install -g opencode-ai", _opencode),
        Preset("gemini", "gemini", "google", "npm install -g @google/gemini-cli", _gemini),
        Preset("aider", "aider", None, "pipx install aider-chat", _aider),
    )
}
