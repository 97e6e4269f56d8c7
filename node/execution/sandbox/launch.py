"""From a policy to the command line that runs a program behind one tier of protection.

Knows how each tier is started and that each, but for "unsafe", ends in `stage`; starts nothing itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from node.execution.sandbox import bubblewrap, container, hidden, readable_paths
from node.execution.sandbox.container import Container
from node.execution.sandbox.engine import ENGINES
from node.execution.sandbox.handover import DOOR
from node.execution.sandbox.orders import READ_ANY_FILE, Mounts, Orders
from node.execution.sandbox.policy import Policy
from node.platform.environment import variable
from node.platform.gpus import driver_files, driver_libraries

NOT_INSTALLED = "not installed"
# What bwrap, unshare and the stage itself see; the program gets `environment`.
OUTER_ENVIRONMENT = {"PATH": "/usr/bin:/bin"}

# systemd reserves the user ids 61184 to 65519 for services that get a new user at each start (systemd.io/UIDS-GIDS), so
# no file belongs to any of them.
_FIRST_UNUSED_UID, _UNUSED_UIDS = 61184, 4336
_OTHERS_USE = 0o006  # the permissions to read and to write, of those who are neither owner nor in the group
_OPEN_FILES = 256  # descriptors that one process may have open
_LOCKED_BYTES = 64 << 20
_STACK_BYTES = 64 << 20
# Memory is limited by watching what is resident, every 0.05 to 0.1 s. The kernel's limit on data (RLIMIT_DATA) is this
# much higher: enough for what allocators reserve and never touch, and a stop for an allocation that is faster than the
# watching.
_RESERVED_BYTES = 1 << 30
# The kernel's other limits too lie a little above the watched ones. So the watching meets a breach first, and knows the
# reason, which a signal from the kernel would not tell.
_SPARE_TASKS = 16
_SPARE_CPU_SECONDS = 2
_SPARE_FILE_BYTES = 16 << 20


class UnavailableError(Exception):
    """A tier cannot be started on this machine; the text says what is missing."""


def command(
    tier: str,
    program: Sequence[str],
    policy: Policy,
    *,
    keep: Sequence[int],
    lifeline: int,
    inside: Container | None = None,
    listener: int | None = None,
) -> list[str]:
    """The whole command line. It must be started so that the descriptors `keep`, `lifeline`, `listener` are inherited.

    inside: the container to be made, where the tier is an engine; the descriptors then go through its door.

    As root it also gives the writable directory to the user that the program will run as.
    Tier "unsafe" protects nothing: only the environment is kept from the program, and limits are watched.
    Raises UnavailableError when the tier's tools are not installed, FileNotFoundError for a path that does not exist.
    """
    if tier == "unsafe":
        writable = os.path.abspath(policy.writable) if policy.writable is not None else None
        settings = (f"{name}={value}" for name, value in _environment(policy, writable).items())
        place = [] if policy.directory is None else [f"--chdir={policy.directory}"]
        return [_tool("env"), "-i", *place, *settings, *program]
    root = os.geteuid() == 0
    # A container's program has no capability, so not this one either.
    read_any_file = root and inside is None and bool(_capabilities() & READ_ANY_FILE)
    concealed = [os.path.realpath(path) for path in readable_paths.given(policy.hidden)]
    devices = readable_paths.given(policy.devices)
    system = hidden.outside([*readable_paths.system(), *readable_paths.python()], concealed)
    read_only = hidden.outside(readable_paths.given(policy.read_only), concealed)
    programs = hidden.outside(readable_paths.given(policy.programs), concealed)
    if devices:
        programs += driver_libraries()
        read_only += driver_files(devices)
    writable = os.path.abspath(policy.writable) if policy.writable is not None else None
    uid = None
    if root and (inside is None or not inside.engine.rootless) and _may_change_user(policy, read_any_file):
        uid = _unused_uid()
        if writable is not None:
            os.chown(writable, uid, uid)
    mounts = _mounts(policy)
    own_processes, supervised = has_own_processes(tier), is_supervised(tier, policy)
    orders = Orders(
        system=system,
        read_only=read_only,
        programs=programs,
        devices=list(devices),
        groups=[] if inside is not None else _groups(devices),
        hidden=concealed,
        writable=writable,
        directory=str(policy.directory or writable or "/"),
        mounts=mounts if own_processes else None,
        keep=list(keep),
        lifeline=lifeline,
        door=None if inside is None else DOOR,
        node_at=policy.node_at,
        listener=listener,
        limits=_limits(policy, alone=uid is not None),
        uid=uid if inside is None else None,
        supervise=supervised,
        init=tier == "unshare" or inside is not None,  # bwrap has an init of its own
        processes="threads" if policy.processes == "any" and not own_processes and not supervised else policy.processes,
        locks=policy.locks,
        builds=policy.builds,
        own_files=mounts is not None and (uid is not None or own_processes),
        mounts_private=has_own_mounts(tier),
        environment=_environment(policy, writable),
    )
    stage = [sys.executable, "-I", "-S", "-B", str(Path(__file__).with_name("stage.py")), json.dumps(orders._asdict())]
    staged = [*stage, "--", *program]
    shown = [*read_only, *programs, str(Path(__file__).parent)]
    if inside is not None:
        outer = container.command(
            inside, user=(os.getuid(), os.getgid()) if uid is None else (uid, uid),
            memory_bytes=policy.memory_bytes + _RESERVED_BYTES, tasks=policy.tasks + _SPARE_TASKS,
            user_tasks=orders.limits["RLIMIT_NPROC"],
            system=system, read_only=shown, writable=writable, mounts=mounts,
            devices=devices, groups=_groups(devices), hidden=concealed,
        )  # fmt: skip
        return [*outer, *staged]
    if tier == "bwrap":
        outer = bubblewrap.command(
            _tool("bwrap"), root=root, read_any_file=read_any_file,
            system=system, read_only=shown, writable=writable, mounts=mounts,
            devices=devices, hidden=concealed,
        )  # fmt: skip
        return [*outer, *staged]
    if tier == "unshare":
        # setpriv makes unshare die with the node; --kill-child makes the program die with unshare.
        user = [] if root else ["--user", "--map-current-user"]
        if user and mounts is not None:
            user.append("--keep-caps")  # over the exec of the stage, which makes the mounts and then gives them up
        namespaces = ["--pid", "--net", "--ipc", "--uts", "--mount", "--fork", "--kill-child", "--mount-proc"]
        return [_tool("setpriv"), "--pdeathsig", "KILL", _tool("unshare"), *user, *namespaces, *staged]
    return staged


def is_supervised(tier: str, policy: Policy) -> bool:
    """Whether the stage stays beside the program, as root, and ends all processes of the program's user with it."""
    wanted = tier == "inproc" and policy.builds and policy.processes == "any"
    return wanted and os.geteuid() == 0 and _may_change_user(policy, bool(_capabilities() & READ_ANY_FILE))


def has_own_processes(tier: str) -> bool:
    """Whether a program in this tier has a PID namespace, which ends as a whole."""
    return tier in ("bwrap", "unshare", *ENGINES)


def has_own_mounts(tier: str) -> bool:
    """Whether a program in this tier sees only what is mounted for it."""
    return tier in ("bwrap", *ENGINES)


def may_start_programs(tier: str | None, policy: Policy) -> bool:
    """Whether a program under this policy can start others in this tier."""
    return policy.processes == "any" and (tier != "inproc" or is_supervised(tier, policy))


def _may_change_user(policy: Policy, read_any_file: bool) -> bool:
    """Whether the program can be another user than root, who is us.

    Another user can read the files if it keeps the capability to read any, or if their modes allow it. Otherwise root's
    user id stays, without any capability.
    """
    if read_any_file:
        return True
    given = [*policy.read_only, *policy.programs, *([policy.writable] if policy.writable is not None else [])]
    return readable_paths.open_to_others([*readable_paths.system(), *readable_paths.python(), *map(str, given)])


def _groups(devices: Sequence[str]) -> list[int]:
    """The groups that another user must have to open these files, which AMD's driver gives to "render"."""
    found = [os.stat(path) for path in devices]
    return sorted({one.st_gid for one in found if one.st_mode & _OTHERS_USE != _OTHERS_USE})


def _unused_uid() -> int:
    """A user id without a process, since one program's processes are not to be another's to signal."""
    used = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # the process has ended
            used.add(os.stat(f"/proc/{name}").st_uid)
    return secrets.choice(
        [uid for uid in range(_FIRST_UNUSED_UID, _FIRST_UNUSED_UID + _UNUSED_UIDS) if uid not in used]
    )


def _mounts(policy: Policy) -> Mounts | None:
    """The mounts that a program that `builds` gets, where its tier has mounts of its own."""
    if not policy.builds or policy.writable is None:
        return None
    folders = {parent for path in policy.locked for parent in path.parents if policy.writable in parent.parents}
    shown = [*policy.read_only, *policy.programs, *policy.devices, policy.writable]
    return Mounts(
        folders=sorted(map(str, folders)),  # one before what lies in it
        locked=[str(path) for path in policy.locked],
        stand_ins=[
            (str(folder), place)
            for place, folder in policy.stand_ins.items()
            if not any(Path(place) in path.parents for path in shown)
        ],
    )


def python(script: Path) -> list[str]:
    """A command line that runs a script with this Python, its packages and nothing of a person's.

    Not -I, which would ignore PYTHONHASHSEED; other settings of Python are not in the environment.
    """
    return [sys.executable, "-P", "-s", "-B", str(script)]


def fork_limits(policy: Policy) -> dict[str, int]:
    """The kernel's limits for one fork of a fork server, which has the others from its server."""
    return {
        "RLIMIT_CPU": int(policy.cpu_seconds) + _SPARE_CPU_SECONDS,
        "RLIMIT_DATA": policy.memory_bytes + _RESERVED_BYTES,
        "RLIMIT_FSIZE": policy.writable_bytes + _SPARE_FILE_BYTES,
    }


def _limits(policy: Policy, *, alone: bool) -> dict[str, int]:
    # RLIMIT_NPROC counts all tasks of a user. A user made for this program has no others; the node's user has.
    others = 0 if alone else _tasks_of_this_user()
    return {
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": _LOCKED_BYTES,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_NOFILE": _OPEN_FILES,
        "RLIMIT_NPROC": policy.tasks + _SPARE_TASKS + others,
        "RLIMIT_STACK": _STACK_BYTES,
        **fork_limits(policy),
    }


def _environment(policy: Policy, writable: str | None) -> dict[str, str]:
    home = writable or "/"
    libraries = {"LD_LIBRARY_PATH": os.pathsep.join(driver_libraries())} if policy.devices else {}
    threads = {name: str(policy.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "USER": "box",  # there is no /etc/passwd to ask
        "LOGNAME": "box",
        # Python orders sets of words by a number drawn at each start. Drawn, it would make two runs differ.
        "PYTHONHASHSEED": "0",
        # Only the last lines of what is printed are kept: a traceback must not come before what was printed earlier.
        "PYTHONUNBUFFERED": "1",
        # torch's optimizers import its compiler, which fails when no folder for its cache can be named.
        "TORCHINDUCTOR_CACHE_DIR": home,
        **threads,
        **libraries,
        **policy.env,
    }


def _tasks_of_this_user() -> int:
    tasks, me = 0, os.getuid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == me:
                    tasks += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue  # the process has ended
    return tasks


def _tool(name: str) -> str:
    path = shutil.which(name, path=os.pathsep.join((OUTER_ENVIRONMENT["PATH"], variable("PATH"))))
    if path is None:
        raise UnavailableError(NOT_INSTALLED)
    return os.path.abspath(path)


def _capabilities() -> int:
    """This process's effective capabilities, as a bit mask."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0
