"""Settings: swarm.toml and command-line options, decoded once into one typed Config.

It knows every setting's name, default and range. What it does not know it refuses, naming the file and line and what to
do. It does not know what the settings are for; swarm.toml in the project's root explains that to people.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from node.platform.changed_settings import ChangedSettings
from node.platform.file_trouble import broken_link
from node.platform.gpu_types import MAX_GPUS
from node.platform.settings_file import ConfigError as ConfigError  # by which those who load settings know it
from node.platform.settings_file import Setting, shown, values_in

DEFAULT_HOME = "~/.autoresearch-node"
FILE_NAME = "swarm.toml"
OPENAI_URL = "https://api.openai.com/v1"  # where no key is no choice, as it may be elsewhere
MAX_SEED = 2**63 - 1  # what a signed 64-bit integer holds
LOG_LEVELS = ("debug", "info", "warning", "error")

LISTEN_ADDRESS = re.compile(r"/(ip4|ip6)/([^/]+)/tcp/(\d{1,5})")
HOURS = re.compile(r"(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)")
PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{40,60}")  # base58; an Ed25519 key's has 52 characters
PEER_ADDRESS = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/(\d{1,5})/p2p/[1-9A-HJ-NP-Za-km-z]{40,60}")
SCALE_NAME = re.compile(r"[a-z0-9_-]{0,40}")
MODEL_NAME = re.compile(r"[!-~]{0,200}")
OF_THE_ENVIRONMENT = "environment"
ALL_ADDRESSES = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"]
PROXY_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+/?")  # no user or password in it
SERVICE_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~\-/]*)?")  # no user, password or query in it
HOOK_URL = re.compile(r"|https?://[A-Za-z0-9.\-\[\]:]+(/[!-~]*)?")  # no user or password before the host
VARIABLE_NAME_OR_NONE = re.compile(r"|[A-Za-z_][A-Za-z0-9_]{0,99}")
IP_AND_PORT = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})")
ARGUMENT = re.compile(r"[^\0]{1,4000}", re.DOTALL)
AUTO = "auto"  # in the place of an objective: that which suits this machine
ASK = "ask"  # in the place of a decision: the person at the terminal is asked once
PLACEHOLDER = re.compile(r"\{(title|gain|effect)\}")
SCRIPT_FOLLOWS = re.compile(r"-[A-Za-z]*c")  # sh -c, bash -lc, python -c
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
AGENTS = ("claude", "codex", "opencode", "gemini", "aider")  # coding agents that are known by name


# "bwrap" stands for the strongest sandbox of our own that works here.
SandboxBackend = Literal["bwrap", "docker", "podman"]


@dataclass(frozen=True)
class Origin:
    """Where settings come from. asked, overrides: what they were loaded with. file: the settings file, if there is one.

    in_file: what stands in it. below: the values under what was changed. options: names of those given as options.
    changed: of those changed on the dashboard or by command.
    """

    asked: Path | None
    overrides: Mapping[str, object]
    file: Path | None
    in_file: Mapping[str, Any]
    below: Mapping[str, Any]
    options: frozenset[str]
    changed: frozenset[str]


@dataclass(frozen=True)
class Config:
    """The settings of this node. Every field is valid; paths are absolute."""

    origin: Origin = field(compare=False, repr=False)
    home: Path
    objective: str  # an embedded objective's name or a folder; AUTO where the machine decides
    bootstrap: tuple[str, ...]  # multiaddrs that end in /p2p/PEER
    listen: tuple[str, ...]  # multiaddrs; port 0 lets the system choose
    lan: bool
    upnp: bool
    public: bool | None  # whether strangers may find this node; None: as a person answers at the first start
    dht_bootstrap: tuple[str, ...]  # multiaddrs of servers of the public DHT
    allow: tuple[str, ...]  # peer ids
    block: tuple[str, ...]
    replicate_share: float  # share of the working time for checking claims that cannot help this node, 0..1
    promote: str  # "auto": confirmed discoveries are run at larger scales; "off": only those a person names
    promote_share: float  # share of the working time for that, 0..1
    scale: str  # for which a person researches; "": the objective's own
    workers: int  # runs made side by side; 0: as many as this machine can do without its user noticing
    gpu: bool | tuple[int, ...]  # whether runs may use GPUs, or which of them, by the driver's count
    seed: int  # 0: order ideas by this node's own key
    sandbox: SandboxBackend  # what untrusted programs are run in
    blob_quota_mb: int
    data_quota_mb: int
    objective_memory_mb: int  # 0: a share of what this machine has
    objective_wall_minutes: int
    objective_threads: int  # 0: as many as there are cores
    records_per_author: int
    authors: int
    unproven_mb: int
    llm_model: str  # "": no model is asked
    llm_base_url: str
    llm_proxy: str  # "": none; OF_THE_ENVIRONMENT: what the environment says
    llm_key_env: str  # the environment variable that holds the key; the key itself is never a setting
    llm_price_question: float  # money per million tokens
    llm_price_answer: float
    llm_tokens_per_hour: int
    llm_tokens_total: int
    llm_money_per_hour: float
    llm_money_total: float
    llm_answer_tokens: int
    llm_seconds: float
    agent_use: str  # the name of a known agent, of AGENTS; "": none
    agent_model: str  # "": the agent's own choice
    agent_base_url: str  # of the service it asks; "": that of the agent's maker
    agent_key_env: str  # the environment variable that holds the key; "": the one that the agent itself reads
    agent_turns: int
    agent_command: tuple[str, ...]  # of an agent that is not known by name; (): none is run
    agent_network: bool
    agent_environment: tuple[str, ...]  # names of variables
    agent_seconds: float
    on_battery: bool
    user_idle_minutes: int  # 0: work while the user does
    others_cpu_percent: int  # of all cores; 100: whatever others do
    hours: tuple[tuple[int, int], ...]  # from, to, in minutes of the day; empty: always
    max_celsius: int  # 0: whatever the temperature
    gpu_others: bool  # whether to run on a GPU on which others compute
    gpu_free_mb: int  # no run begins on a GPU with less memory free
    gpu_max_celsius: int  # 0: whatever the temperature
    worker_command: tuple[str, ...]  # (): runs are made on this machine
    worker_count: int
    worker_environment: tuple[str, ...]  # names of variables
    log_level: str  # one of LOG_LEVELS
    notify_command: tuple[str, ...]  # (): nothing is run when a discovery is confirmed
    notify_url: str  # "": nothing is posted then
    notify_secret_env: str  # the environment variable that holds what messages are signed with; "": they are not
    metrics_listen: tuple[str, int] | None  # an IP address and a port; None: no metrics are served

    @property
    def has_model(self) -> bool:
        """Whether a language model or a coding agent is asked for ideas."""
        return bool(self.llm_model or self.agent_use or self.agent_command)

    @property
    def blob_quota_bytes(self) -> int:
        return self.blob_quota_mb * 1024 * 1024

    @property
    def unproven_bytes(self) -> int:
        return self.unproven_mb * 1024 * 1024

    @property
    def data_quota_bytes(self) -> int:
        return self.data_quota_mb * 1024 * 1024


def load_config(path: Path | None, overrides: Mapping[str, object]) -> Config:
    """Defaults, then the settings file, then what was changed on the dashboard or by command, then options.

    path: the file given by the user; None reads swarm.toml in the home if there is one.
    overrides: values by Config field name, as the command line gave them.
    Raises ConfigError for a file that cannot be read and for any unknown or wrong setting.
    """
    values = {setting.field: setting.read(setting.default) for setting in SETTINGS}
    given = {name: _from_option(name, value) for name, value in overrides.items()}
    file = path if path is not None else _file_in(given.get("home", values["home"]))
    in_file = values_in(file, SETTINGS) if file is not None else {}
    below = values | in_file
    changed = _changed(below, given.get("home", below["home"]))
    origin = Origin(path, dict(overrides), file, in_file, below, frozenset(given), frozenset(changed))
    return Config(**(below | changed | given), origin=origin)


def _file_in(home: Path) -> Path | None:
    """The settings file in a home, if there is one. Raises ConfigError for one that is no ordinary file."""
    path = home / FILE_NAME
    if not path.is_symlink() and not path.exists():
        return None
    if not path.is_file() and not path.is_dir():  # a pipe would be waited for
        raise ConfigError(
            f"cannot read the settings: {broken_link(path) or f'{path} is no ordinary file: move it away'}"
        )
    return path


def _changed(below: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """What a person has changed on the dashboard or by command, but for what swarm.toml says otherwise by now."""
    found = {}
    for name, change in ChangedSettings(home).read().items():
        with suppress(ValueError, KeyError):  # not a value that this version takes
            value, instead_of = (CHANGEABLE[name].read(each) for each in (change.value, change.instead_of))
            if instead_of == below[name]:
                found[name] = value
    return found


def _from_option(name: str, value: object) -> Any:
    setting = next(s for s in SETTINGS if s.field == name)
    try:
        return setting.read(value)
    except ValueError:
        raise ConfigError(
            f"option --{name.replace('_', '-')}: expected {setting.expected}, not {shown(value)}"
        ) from None


# ---- what a value may be: each returns it as Config holds it, or raises ValueError ----------------------------------


def _path(value: object) -> Path:
    try:
        return Path(_word(value)).expanduser().absolute()
    except RuntimeError:  # no home folder is known for this user
        raise ValueError from None


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError
    return value


def _one_of(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return read


def _proxy(value: object) -> str:
    if not isinstance(value, str) or (value not in ("", OF_THE_ENVIRONMENT) and not PROXY_URL.fullmatch(value)):
        raise ValueError
    return value


def _level(value: object) -> str:
    if value not in LOG_LEVELS:
        raise ValueError
    return str(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _flag_or_ask(value: object) -> bool | None:
    return None if value == ASK else _flag(value)


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return read


def _number(low: float, high: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError
        return float(value)

    return read


def _matching(form: re.Pattern[str]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError
        return value

    return read


def _or_none(form: re.Pattern[str]) -> Callable[[object], str]:
    return _matching(re.compile(f"({form.pattern})?"))


def _words(form: re.Pattern[str], most: int) -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) > most:
            raise ValueError
        if not all(isinstance(word, str) and form.fullmatch(word) for word in value):
            raise ValueError
        return tuple(value)

    return read


def _notification(value: object) -> tuple[str, ...]:
    """A command in whose arguments a peer's words are put for placeholders.

    They may stand neither in the program's name nor in a script after -c, where a shell would execute them: a discovery
    titled "; rm -rf ~" is data.
    """
    command = _words(ARGUMENT, 20)(value)
    for number, argument in enumerate(command):
        filled = PLACEHOLDER.search(argument) is not None
        if filled and (number == 0 or SCRIPT_FOLLOWS.fullmatch(command[number - 1])):
            raise ValueError
    return command


def _addresses(form: re.Pattern[str], least: int) -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise ValueError
        for address in value:
            found = form.fullmatch(address) if isinstance(address, str) else None
            if found is None or int(found[3]) > 65535:
                raise ValueError
            if found[1] == "ip4":
                ipaddress.IPv4Address(found[2])
            elif found[1] == "ip6":
                ipaddress.IPv6Address(found[2])
        return tuple(value)

    return read


def _ip_and_port(value: object) -> tuple[str, int] | None:
    if value == "":
        return None
    found = IP_AND_PORT.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[3]) > 65535:
        raise ValueError
    return str(ipaddress.ip_address(found[1] or found[2])), int(found[3])


def _peers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(p, str) and PEER_ID.fullmatch(p) for p in value):
        raise ValueError
    return tuple(value)


def _gpus(value: object) -> bool | tuple[int, ...]:
    if isinstance(value, bool):
        return value
    if not isinstance(value, list | tuple) or len(value) > MAX_GPUS:
        raise ValueError
    return tuple(_whole(0, MAX_GPUS - 1)(index) for index in value)


def _hours(value: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    found = []
    for text in value:
        match = HOURS.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError
        begin_hour, begin_minute, end_hour, end_minute = (int(number) for number in match.groups())
        if begin_hour > 23 or end_hour > 24 or begin_minute > 59 or end_minute > 59:
            raise ValueError
        found.append((60 * begin_hour + begin_minute, 60 * end_hour + end_minute))
    return tuple(found)


_HOURS = 'a list of spans like "22:00-07:00", in local time'
_PEERS = 'a list of peer ids like "12D3KooW..."'
_LISTEN = 'a list of at least one address like "/ip4/0.0.0.0/tcp/4001" (port 0: any free one)'
_MEBIBYTES = "a whole number from 0 to 100000000"
_MINUTES = "a whole number from 1 to 100000"
_MONEY = "a number from 0 to 1000000"
_TOKENS = "a whole number from 0 to 1000000000000"
_NOTIFICATION = (
    'a list of texts like ["notify-send", "{title}", "{gain}"], with {title} and {gain} neither in the program\'s '
    "name nor in a script after -c"
)
_PROXY = f'an address like "http://proxy.example:3128", "{OF_THE_ENVIRONMENT}", or ""'
_HOOK = 'an address like "https://hooks.example/abc", without a user name in it, or ""'
_SECRET = 'an environment variable\'s name, or ""'
_METRICS = 'an IP address and a port like "127.0.0.1:9469", or ""'
_AGENTS = '"claude", "codex", "opencode", "gemini", "aider", or ""'
_SANDBOXES = '"bwrap", "docker" or "podman"'
_URL = 'an address like "https://api.openai.com/v1", without a user name or key in it'
_WORKERS = 'a list of texts like ["srun", "--gres=gpu:1", "autoresearch-node", "worker"]'
_BOOTSTRAP = 'a list of addresses like "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW..."'

SETTINGS: tuple[Setting, ...] = (
    Setting("", "home", "home", DEFAULT_HOME, "a folder", _path),
    Setting("swarm", "objective", "objective", AUTO, '"auto", an objective\'s name or the path of its folder', _word),
    Setting("swarm", "bootstrap", "bootstrap", [], _BOOTSTRAP, _addresses(PEER_ADDRESS, 0)),
    Setting("network", "listen", "listen", ALL_ADDRESSES, _LISTEN, _addresses(LISTEN_ADDRESS, 1)),
    Setting("network", "lan", "lan", True, "true or false", _flag),
    Setting("network", "upnp", "upnp", True, "true or false", _flag),
    Setting("network", "public", "public", ASK, f'true, false or "{ASK}"', _flag_or_ask),
    Setting("network", "dht_bootstrap", "dht_bootstrap", [], _BOOTSTRAP, _addresses(PEER_ADDRESS, 0)),
    Setting("network", "allow", "allow", [], _PEERS, _peers),
    Setting("network", "block", "block", [], _PEERS, _peers),
    Setting("research", "replicate_share", "replicate_share", 0.2, "a number from 0 to 1", _number(0, 1)),
    Setting("research", "promote", "promote", "auto", '"auto" or "off"', _one_of("auto", "off")),
    Setting("research", "promote_share", "promote_share", 0.1, "a number from 0 to 1", _number(0, 1)),
    Setting("research", "scale", "scale", "", 'the name of a scale, or ""', _matching(SCALE_NAME)),
    Setting("research", "workers", "workers", 0, "a whole number from 0 to 64", _whole(0, 64)),
    Setting("research", "gpu", "gpu", True, "true, false or a list of GPUs' numbers like [0, 2]", _gpus),
    Setting("research", "seed", "seed", 0, "a whole number, 0 or more", _whole(0, MAX_SEED)),
    Setting("sandbox", "backend", "sandbox", "bwrap", _SANDBOXES, _one_of(*get_args(SandboxBackend))),
    Setting("llm", "model", "llm_model", "", "a model's name", _matching(MODEL_NAME)),
    Setting("llm", "base_url", "llm_base_url", OPENAI_URL, _URL, _matching(SERVICE_URL)),
    Setting("llm", "proxy", "llm_proxy", "", _PROXY, _proxy),
    Setting(
        "llm", "key_env", "llm_key_env", "OPENAI_API_KEY", "an environment variable's name", _matching(VARIABLE_NAME)
    ),
    Setting("llm", "price_question", "llm_price_question", 0.0, _MONEY, _number(0, 10**6)),
    Setting("llm", "price_answer", "llm_price_answer", 0.0, _MONEY, _number(0, 10**6)),
    Setting("llm", "tokens_per_hour", "llm_tokens_per_hour", 300_000, _TOKENS, _whole(0, 10**12)),
    Setting("llm", "tokens_total", "llm_tokens_total", 3_000_000, _TOKENS, _whole(0, 10**12)),
    Setting("llm", "money_per_hour", "llm_money_per_hour", 1.0, _MONEY, _number(0, 10**6)),
    Setting("llm", "money_total", "llm_money_total", 10.0, _MONEY, _number(0, 10**6)),
    Setting("llm", "answer_tokens", "llm_answer_tokens", 8000, "a whole number from 100 to 100000", _whole(100, 10**5)),
    Setting("llm", "seconds", "llm_seconds", 120.0, "a number from 1 to 3600", _number(1, 3600)),
    Setting("agent", "use", "agent_use", "", _AGENTS, _one_of("", *AGENTS)),
    Setting("agent", "model", "agent_model", "", "a model's name", _matching(MODEL_NAME)),
    Setting("agent", "base_url", "agent_base_url", "", f'{_URL}, or ""', _or_none(SERVICE_URL)),
    Setting("agent", "key_env", "agent_key_env", "", "an environment variable's name", _or_none(VARIABLE_NAME)),
    Setting("agent", "turns", "agent_turns", 40, "a whole number from 1 to 1000", _whole(1, 1000)),
    Setting(
        "agent", "command", "agent_command", [], 'a list of texts like ["my-agent", "--quiet"]', _words(ARGUMENT, 100)
    ),
    Setting("agent", "network", "agent_network", False, "true or false", _flag),
    Setting("agent", "environment", "agent_environment", [], "a list of variables' names", _words(VARIABLE_NAME, 100)),
    Setting("agent", "time", "agent_seconds", 600.0, "a number from 1 to 86400", _number(1, 86400)),
    Setting("limits", "blob_quota_mb", "blob_quota_mb", 512, "a whole number from 1 to 1000000", _whole(1, 10**6)),
    Setting("limits", "data_quota_mb", "data_quota_mb", 4096, "a whole number from 1 to 1000000", _whole(1, 10**6)),
    Setting("limits", "objective_memory_mb", "objective_memory_mb", 0, _MEBIBYTES, _whole(0, 10**8)),
    Setting("limits", "objective_wall_minutes", "objective_wall_minutes", 60, _MINUTES, _whole(1, 100_000)),
    Setting("limits", "objective_threads", "objective_threads", 0, "a whole number from 0 to 1024", _whole(0, 1024)),
    Setting(
        "limits",
        "records_per_author",
        "records_per_author",
        100_000,
        "a whole number from 1 to 1000000000",
        _whole(1, 10**9),
    ),
    Setting("limits", "authors", "authors", 10_000, "a whole number from 1 to 1000000", _whole(1, 10**6)),
    Setting("limits", "unproven_mb", "unproven_mb", 16, "a whole number from 1 to 1000000", _whole(1, 10**6)),
    Setting("manners", "on_battery", "on_battery", False, "true or false", _flag),
    Setting("manners", "user_idle_minutes", "user_idle_minutes", 0, "a whole number from 0 to 1440", _whole(0, 1440)),
    Setting("manners", "others_cpu_percent", "others_cpu_percent", 100, "a whole number from 1 to 100", _whole(1, 100)),
    Setting("manners", "hours", "hours", [], _HOURS, _hours),
    Setting("manners", "max_celsius", "max_celsius", 0, "a whole number from 0 to 150", _whole(0, 150)),
    Setting("manners", "gpu_others", "gpu_others", False, "true or false", _flag),
    Setting("manners", "gpu_free_mb", "gpu_free_mb", 512, "a whole number from 0 to 1000000", _whole(0, 10**6)),
    Setting("manners", "gpu_max_celsius", "gpu_max_celsius", 0, "a whole number from 0 to 150", _whole(0, 150)),
    Setting("workers", "command", "worker_command", [], _WORKERS, _words(ARGUMENT, 100)),
    Setting("workers", "count", "worker_count", 1, "a whole number from 1 to 256", _whole(1, 256)),
    Setting(
        "workers", "environment", "worker_environment", [], "a list of variables' names", _words(VARIABLE_NAME, 100)
    ),
    Setting("log", "level", "log_level", "info", f"one of {', '.join(LOG_LEVELS)}", _level),
    Setting("notify", "command", "notify_command", [], _NOTIFICATION, _notification),
    Setting("notify", "url", "notify_url", "", _HOOK, _matching(HOOK_URL)),
    Setting("notify", "secret_env", "notify_secret_env", "", _SECRET, _matching(VARIABLE_NAME_OR_NONE)),
    Setting("metrics", "listen", "metrics_listen", "", _METRICS, _ip_and_port),
)
CHANGEABLE: Mapping[str, Setting] = {
    setting.field: setting
    for setting in SETTINGS
    if setting.table == "manners" or setting.field in ("workers", "gpu", "replicate_share")
}
