"""The command line of a container engine: a container that holds only what is shown, for one program.

The counterpart of `bubblewrap`: what the program reads is mounted where it is, read-only; there is no network, no
capability, no way to more rights, and nothing is written but in the one folder that is given. It knows the options of
docker and podman, which are the same, and what is different in the two: whose container it is. What is restricted
inside is up to `stage`.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.execution.sandbox import engine as engines
from node.execution.sandbox.bubblewrap import parents
from node.execution.sandbox.engine import Engine
from node.execution.sandbox.handover import DOOR
from node.execution.sandbox.hidden import names
from node.execution.sandbox.orders import Mounts

_SAID_BYTES = 4096  # kept of what an engine's command prints
_MOST_OPEN_FILES = 65536  # what a container may have; the stage then takes nearly all of it away
_ESCAPED = re.compile(r"\\([0-7]{3})")  # in /proc/self/mountinfo: spaces and the like


@dataclass(frozen=True)
class Container:
    """One container to be started, and the folder that it needs on our side, which nobody else can enter."""

    engine: Engine
    name: str
    folder: Path

    @classmethod
    def make(cls, engine: Engine) -> Container:
        """Raises OSError."""
        name = engines.new_name()
        folder = Path(tempfile.gettempdir()) / name
        folder.mkdir(mode=0o700)
        (folder / "empty").mkdir(mode=0o555)
        return cls(engine, name, folder)

    @property
    def door(self) -> str:
        """Where the node listens."""
        return str(self.folder / "door")

    @property
    def empty(self) -> str:
        """A folder with nothing in it, to cover others with."""
        return str(self.folder / "empty")

    def open_said(self) -> int:
        """A new file for what the engine's own command prints: warnings, and why no container came."""
        return os.open(self.folder / "said", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def said(self) -> bytes:
        """The end of what is in that file."""
        try:
            with (self.folder / "said").open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _SAID_BYTES))
                return file.read(_SAID_BYTES)
        except OSError:
            return b""

    def remove_folder(self) -> None:
        remove_folder(self.folder)

    def remove(self) -> None:
        """Have the engine end and remove the container, if there is one. Does not wait for it."""
        subprocess.Popen(
            [self.engine.path, "rm", "--force", self.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=self.engine.environment, cwd="/", start_new_session=True,
        )  # fmt: skip


def remove_folder(folder: Path) -> None:
    for name, end in (("door", os.unlink), ("said", os.unlink), ("empty", os.rmdir), ("", os.rmdir)):
        with contextlib.suppress(OSError):
            end(folder / name)


def remove_left_over(engine: Engine) -> int:
    """Remove the containers of processes that have ended, and their folders. How many; raises EngineError."""
    found = engines.left_over(engine)
    engines.remove(engine, found)
    for folder in Path(tempfile.gettempdir()).glob(f"{engines.LABEL}-*-*-*-*-*"):
        if engines.is_left_over(folder.name):
            remove_folder(folder)
    return len(found)


def command(
    container: Container,
    *,
    user: tuple[int, int],
    memory_bytes: int,
    tasks: int,
    user_tasks: int,
    system: Sequence[str],
    read_only: Sequence[str],
    writable: str | None,
    mounts: Mounts | None = None,
    devices: Sequence[str] = (),
    groups: Sequence[int] = (),
    hidden: Sequence[str] = (),
) -> list[str]:
    """The part of the command line before the program's own.

    user: (uid, gid) that our files have outside. user_tasks: how many tasks that user may have in all. groups: that it
    needs to open the devices. The paths are as those of
    `bubblewrap.command`.
    """
    engine = container.engine
    words = [engine.path, "run", "--rm", "--pull", "never", "--name", container.name, "--label", engines.LABEL]
    words += ["--network", "none", "--ipc", "none", "--hostname", "box", "--log-driver", "none", "--read-only"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt", "label=disable"]
    words += _user(engine, user)
    words += ["--memory", str(memory_bytes), "--pids-limit", str(tasks)]
    # By default engines ask for more than we may have where we lack CAP_SYS_RESOURCE, and then start no container.
    for kind, most in (("nofile", _MOST_OPEN_FILES), ("nproc", user_tasks), ("core", 0)):
        hard = resource.getrlimit(getattr(resource, f"RLIMIT_{kind.upper()}"))[1]
        limit = most if hard == resource.RLIM_INFINITY else min(hard, most)
        words += ["--ulimit", f"{kind}={limit}:{limit}"]
    if engine.name == "podman":
        words += ["--read-only-tmpfs=false", "--http-proxy=false", "--no-hosts"]
    for place, (source, read_only_there) in sorted(
        _shown(container, system, read_only, writable, mounts, hidden).items()
    ):
        words += ["--mount", _mount(source, place, read_only_there)]
    for path in devices:
        words += ["--device", f"{path}:{path}:rw"]
    for group in groups:
        words += ["--group-add", str(group)]
    return [*words, "--workdir", "/", engines.IMAGE]


def _user(engine: Engine, user: tuple[int, int]) -> list[str]:
    """Options by which the program's user owns outside what this user owns."""
    uid, gid = user
    if not engine.rootless:
        return ["--user", f"{uid}:{gid}"]
    if engine.name == "podman":
        return ["--userns", "keep-id", "--user", f"{uid}:{gid}"]
    return ["--user", "0:0"]  # docker without root maps our user to root, and no other to us


def _shown(
    container: Container,
    system: Sequence[str],
    read_only: Sequence[str],
    writable: str | None,
    mounts: Mounts | None,
    hidden: Sequence[str],
) -> dict[str, tuple[str, bool]]:
    """What is mounted where: (source, whether it is read-only) by its place."""
    given = {*system, *read_only}
    # A link in a folder that is shown is there with it.
    given -= {path for path in given if os.path.islink(path) and not given.isdisjoint(parents(path))}
    made = {path: (os.path.realpath(path), True) for path in given}
    # What is mounted beneath comes with it, but read-only only where it is mounted by itself.
    made |= {place: (source, True) for place, source in _mounted_beneath(given)}
    if writable is not None:
        made[writable] = (writable, False)
    if mounts is not None:
        made |= {place: (folder, False) for folder, place in mounts.stand_ins}
        made |= {folder: (folder, False) for folder in mounts.folders}
        made |= {path: (path, True) for path in mounts.locked}
    for path in names(given, hidden):
        made[path] = (container.empty if os.path.isdir(path) else os.devnull, True)
    made[DOOR] = (container.door, True)  # connecting needs no right to write there
    return made


def _mounted_beneath(shown: Iterable[str]) -> list[tuple[str, str]]:
    """(place, mount point) of each mount point of this machine that is reached through what is shown."""
    with open("/proc/self/mountinfo") as file:
        points = {_ESCAPED.sub(lambda code: chr(int(code[1], 8)), line.split()[4]) for line in file}
    found = []
    for path in shown:
        real = os.path.realpath(path)
        found += [(path + point[len(real) :], point) for point in points if point.startswith(real + "/")]
    return found


def _mount(source: str, place: str, read_only: bool) -> str:
    """A value for --mount, which is a line of comma-separated values (RFC 4180)."""
    fields = ["type=bind", f"src={source}", f"dst={place}", *(["readonly"] if read_only else [])]
    return ",".join(_quoted(field) for field in fields)


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if any(mark in field for mark in ',"\n') else field
