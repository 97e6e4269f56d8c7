"""Start the node with the computer: a systemd user unit, and the commands that install, remove and query it.

The text of a unit is a pure function of its inputs. No secret is in it: an API key goes into the file `environment` in
the node's home, which only its owner may read; a private swarm's key and an invite stay in the home. All calls of
systemd go through `ServiceManager.run`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.platform.config import DEFAULT_HOME
from node.platform.environment import OF_THE_SESSION, child_environment, variable
from node.platform.file_trouble import HomeError
from node.platform.home import Home

NAME = "autoresearch-node"
ENVIRONMENT = "environment"
SYSTEMCTL_SECONDS = 90.0  # for systemd to start or stop the node
STOP_SECONDS = 60  # for the node to end by itself: it finishes what it writes
NICE = 19
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, WAIT_STEPS = 30, 1800, 6  # before it is started again after a failure
USAGE_STATUS = 2  # exit status of `join` after a mistake in its settings, which starting it again does not correct
INTERRUPTED_STATUS = 130  # after SIGINT
NO_SYSTEMD = (
    "systemd does not answer for your user here (a container, or a login without a session?); let whatever starts "
    f"things there start `{NAME} join`: a container's restart policy, cron's @reboot, or nohup in a shell"
)


class AutostartError(HomeError):
    """The service cannot be installed, removed or asked; the text says what to do."""


@dataclass(frozen=True)
class Program:
    """The command that the unit starts: this interpreter, in this folder, for the node in this home."""

    interpreter: Path
    folder: Path  # where `-m node` finds this program
    home: Path
    options: tuple[str, ...] = ()  # of `join`

    @property
    def command(self) -> list[str]:
        return [str(self.interpreter), "-m", "node", "join", "--home", str(self.home), *self.options]

    @property
    def name(self) -> str:
        """One per home; the usual home's is the plain name."""
        if self.home == Path(DEFAULT_HOME).expanduser().absolute():
            return NAME
        return f"{NAME}-{hashlib.sha256(str(self.home).encode()).hexdigest()[:8]}"


# ---- the unit ------------------------------------------------------------------------------------------------------


def systemd_unit(program: Program) -> str:
    """The text of a systemd user unit (see systemd.service, systemd.exec and systemd.kill)."""
    return f"""\
# Written by `{NAME} service install`; `{NAME} service uninstall` removes it.
[Unit]
Description=autoresearch-node in {_unit_text(str(program.home))}
StartLimitIntervalSec=0

[Service]
ExecStart={" ".join(map(_unit_word, program.command))}
WorkingDirectory={_unit_text(str(program.folder))}
EnvironmentFile=-{_unit_text(str(program.home / ENVIRONMENT))}
# Its log goes to node.log.jsonl in its home; standard output has the dashboard's address with its token.
StandardOutput=null
StandardError=journal
# Each run gets a control group of its own below this one's, by which its CPU time is measured.
Delegate=yes
Nice={NICE}
IOSchedulingClass=idle
# It ends as by Ctrl-C, with its runs; after {STOP_SECONDS} s it is killed.
KillSignal=SIGINT
KillMode=mixed
TimeoutStopSec={STOP_SECONDS}
SuccessExitStatus={INTERRUPTED_STATUS}
# Started again after a failure, ever later; not after a mistake in its settings.
Restart=on-failure
RestartSec={FIRST_WAIT_SECONDS}
RestartSteps={WAIT_STEPS}
RestartMaxDelaySec={LONGEST_WAIT_SECONDS}
RestartPreventExitStatus={USAGE_STATUS}

[Install]
WantedBy=default.target
"""


def _unit_text(text: str) -> str:
    """A value in which nothing is a specifier."""
    return text.replace("%", "%%")


def _unit_word(word: str) -> str:
    """One argument of ExecStart: quoted, and without variables or specifiers."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_unit_text(escaped)}"'


# ---- systemd --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ServiceManager:
    """The systemd unit of one program for one user, and the commands about it."""

    program: Program
    unit: Path
    content: str

    @property
    def install_commands(self) -> list[list[str]]:
        """The commands that make it known, and start it now and with the computer."""
        words = (["daemon-reload"], ["enable", self.unit.name], ["restart", self.unit.name])
        return [self._systemctl(*each) for each in words]

    @property
    def uninstall_command(self) -> list[str]:
        """The command that stops it and keeps it from starting again."""
        return self._systemctl("disable", "--now", self.unit.name)

    @property
    def query_command(self) -> list[str]:
        """The command whose exit status is 0 while it runs."""
        return self._systemctl("is-active", self.unit.name)

    def _systemctl(self, *arguments: str) -> list[str]:
        return ["systemctl", "--user", *arguments]

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        """Run one of its commands: exit status and output. Raises AutostartError when systemd does not answer."""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=SYSTEMCTL_SECONDS,
                env=child_environment(*OF_THE_SESSION),
            )  # fmt: skip
        except FileNotFoundError:
            raise AutostartError(NO_SYSTEMD) from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AutostartError(f"`{' '.join(command)}` does not answer ({error}); try it by hand") from None
        return done.returncode, (done.stderr.strip() or done.stdout.strip())


def service_manager(program: Program, system: str = sys.platform) -> ServiceManager:
    """The service of a program on this kind of system. Raises AutostartError where it is not Linux."""
    if system == "darwin":
        raise AutostartError("nothing can be started on macOS: it has no sandbox for runs yet; a node needs Linux")
    if system != "linux":
        raise AutostartError(f"there is no way to start with the computer on {system} yet; start `{NAME} join` by hand")
    settings = Path(variable("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    return ServiceManager(program, settings / "systemd" / "user" / f"{program.name}.service", systemd_unit(program))


def install(manager: ServiceManager) -> None:
    """Write the unit and have systemd start it, now and with the computer. Raises AutostartError."""
    _check_environment(manager)
    status, said = manager.run(["systemctl", "--user", "show-environment"])
    if status:
        raise AutostartError(f"{NO_SYSTEMD} (it says: {said:.200})")
    try:
        manager.unit.parent.mkdir(parents=True, exist_ok=True)
        manager.unit.write_text(manager.content)
    except OSError as error:
        raise AutostartError(f"cannot write {manager.unit} ({error.strerror})") from None
    for command in manager.install_commands:
        status, said = manager.run(command)
        if status:
            raise AutostartError(f"`{' '.join(command)}` ended with status {status}: {said:.400}")


def uninstall(manager: ServiceManager) -> None:
    """Stop it and remove the unit; the home stays. Raises AutostartError where there is nothing to remove."""
    if not manager.unit.exists():
        raise AutostartError(f"no service is installed for the home {manager.program.home}: there is no {manager.unit}")
    manager.run(manager.uninstall_command)  # whatever its exit status: a unit that was not running is stopped, too
    manager.unit.unlink()
    manager.run(["systemctl", "--user", "daemon-reload"])


def status(manager: ServiceManager) -> dict[str, object]:
    """Whether it is installed as this program would install it now, and whether it runs."""
    installed = manager.unit.exists()
    code, said = manager.run(manager.query_command) if installed else (1, "")
    return {
        "unit": str(manager.unit),
        "installed": installed,
        "running": installed and code == 0,
        "said": said.splitlines()[0][:200] if said else "",
        "node_running": Home(manager.program.home).in_use(),
    }


def _check_environment(manager: ServiceManager) -> None:
    """Refuse a file of variables that others can read: it holds keys. Raises AutostartError."""
    path = manager.program.home / ENVIRONMENT
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return
    if mode & 0o077:
        raise AutostartError(f"{path} may hold keys and can be read by others; do: chmod 600 {path}")


def lingers() -> bool | None:
    """Whether the user's services run without a login; None where loginctl cannot say."""
    if shutil.which("loginctl") is None:
        return None
    query = ["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=5.0, env=child_environment())
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(answer.stdout.strip())
