"""A container engine of this machine, docker or podman: whether it can be used, and what is left of our containers.

It knows the engine's commands and what they answer, and starts no container itself: how one is started is in
`container`. Containers are made of an image with nothing in it, which is made here where it is missing. The engine gets
a clean environment: where its daemon, its settings and its storage are, and nothing else of ours.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from node.platform.environment import variable, variables

EngineName = Literal["docker", "podman"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)

IMAGE = "localhost/autoresearch-node-empty:1"
LABEL = "autoresearch-node"
_NAME_BEGINS = "autoresearch-node-"  # of containers; then who started it, and something random
_EMPTY_ARCHIVE = bytes(1024)  # tar(5): two blocks of zeros are its end
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # engines call runc, newuidmap and others
# Where the daemon is and who may speak to it; where settings, storage and a user's control groups are.
VARIABLES = (
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF",
    "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS",
)  # fmt: skip
_PATIENCE_SECONDS = 30.0  # an engine answers in a tenth of a second; on a busy machine, or at its first start, later
_QUESTIONS = {"docker": "{{json .SecurityOptions}}", "podman": "rootless={{.Host.Security.Rootless}}"}
_IS_ROOTLESS = ("name=rootless", "rootless=true")  # what the answers then have in them


class EngineError(Exception):
    """An engine cannot be used; the text is what it said, in a line."""


@dataclass(frozen=True)
class Engine:
    """An engine that has answered."""

    name: EngineName
    path: str
    rootless: bool  # the user 0 of its containers is our user
    environment: Mapping[str, str]


def find(name: EngineName) -> Engine:
    """The engine, with the empty image in its store. Raises EngineError. It may take seconds."""
    environment = {**variables(VARIABLES), "PATH": _PATH}
    path = shutil.which(name, path=os.pathsep.join((variable("PATH"), _PATH)))
    if path is None:
        raise EngineError("not installed")
    host = environment.get("DOCKER_HOST", "unix://")
    if name == "docker" and not host.startswith("unix://"):
        raise EngineError(f"DOCKER_HOST is {host}: on another machine the files that runs read are not there")
    engine = Engine(name, os.path.abspath(path), False, environment)
    ask(engine, "version")  # says why a daemon does not answer; `info` with a form then says something of the form
    answer = ask(engine, "info", "--format", _QUESTIONS[name])
    if any(word in answer for word in _IS_ROOTLESS):
        engine = Engine(name, engine.path, True, environment)
    try:
        ask(engine, "image", "inspect", IMAGE)
    except EngineError:
        ask(engine, "import", "-", IMAGE, given=_EMPTY_ARCHIVE)
    return engine


def ask(engine: Engine, *words: str, given: bytes | None = None) -> str:
    """What a command of the engine prints. given: its standard input. Raises EngineError."""
    try:
        done = subprocess.run(
            [engine.path, *words], input=given, stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True, timeout=_PATIENCE_SECONDS, env=engine.environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise EngineError(f"`{engine.name} {words[0]}` did not answer within {_PATIENCE_SECONDS:g} s") from None
    except OSError as error:
        raise EngineError(f"{engine.path} cannot be started: {error.strerror}") from None
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise EngineError(lines[-1] if lines else f"`{engine.name} {words[0]}` ended with status {done.returncode}")
    return done.stdout.decode("utf-8", "replace")


# ---- whose a container is ----------------------------------------------------------------------------------------


def new_name() -> str:
    """The name of a container that this process starts, which says who that is."""
    return f"{_NAME_BEGINS}{_boot()}-{_namespace()}-{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(4)}"


def left_over(engine: Engine) -> list[str]:
    """The containers that were started by processes that have ended. Raises EngineError."""
    listed = ask(engine, "ps", "--all", "--filter", f"label={LABEL}", "--format", "{{.Names}}")
    return [name for name in listed.split() if is_left_over(name)]


def remove(engine: Engine, names: Sequence[str]) -> None:
    """End and remove containers. Raises EngineError."""
    if names:
        ask(engine, "rm", "--force", *names)


def is_left_over(name: str) -> bool:
    """Whether the process that gave a container, or its folder, this name has ended, as far as can be told from here.

    In another namespace process numbers mean others, so it may still run.
    """
    words = name.removeprefix(_NAME_BEGINS).split("-")
    if not name.startswith(_NAME_BEGINS) or len(words) != 5 or not words[2].isdigit():
        return False
    boot, namespace, pid, started, _ = words
    if boot != _boot():
        return True
    return namespace == _namespace() and _started(int(pid)) != started


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:12]


@functools.cache
def _namespace() -> str:
    return str(os.stat("/proc/self/ns/pid").st_ino)


def _started(pid: int) -> str:
    """When a process was started, in the kernel's ticks since the boot; "" when there is none."""
    try:
        # The fields after the process's name (proc_pid_stat(5)), which is in brackets and may hold any bytes.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""
