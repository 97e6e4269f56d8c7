"""What a command needs beside its folder: where that is on this machine, and where the command finds it.

An objective declares paths: those relative to its folder (".venv"), which the person here made with the one command it
names, and those in the person's caches ("~/.cache/autoresearch"). They are read-only, at the very path they have,
because the scripts of a virtual environment and its link to Python hold absolute paths; in the run's folder and in its
home are links to them. An objective may be a stranger's, so nothing else of a person's can be declared, and no link in
a stranger's folder leads to it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SYSTEM_PROGRAMS = ("/usr/local/bin", "/usr/bin", "/bin")
_PREFIX_PARTS = ("bin", "lib", "lib64", "include", "share")  # of a Python's folder
_STANDARD_LIBRARY = "lib*/py*3*/os.py"  # by which a folder is known for a Python's
_CACHES = ".cache"
# Caches with tokens in them, and the folders there that have none.
_SECRET_CACHES = {"huggingface": ("hub", "datasets", "modules", "assets", "xet")}
_MOST_READ = 1 << 20  # characters of a file of an environment, which may be a stranger's
_MOST_LINKS = 40  # as the kernel's own limit on links in a path
_HOME = re.compile(r"^home[ \t]*=[ \t]*(/.*)$", re.MULTILINE)  # in pyvenv.cfg: where the Python it was made from is
# Commands of the field begin with `uv run`. In a run there is no network, and the environment is there and complete.
UV = """#!/bin/sh
# `uv run` in a run: the environment was prepared beforehand, so the command runs in it as it is.
if [ "$1" != run ]; then
    echo "uv $1 does not work in a run, which has no network: what a run needs is prepared beforehand" >&2
    exit 2
fi
shift
while [ $# -gt 0 ]; do
    case "$1" in
        --) shift; break ;;
        --frozen|--locked|--no-sync|--offline|--active|--no-project) shift ;;
        --exact|--all-extras|--all-groups|--no-dev|-q|--quiet|-v|--verbose) shift ;;
        -p|--python|--extra|--group|--only-group|--no-group|--project|--package) shift 2 ;;
        -m|--module) shift; exec python -m "$@" ;;
        -*) echo "uv run $1 does not work in a run: what it needs is prepared beforehand" >&2; exit 2 ;;
        *) break ;;
    esac
done
case "$1" in
    *.py) exec python "$@" ;;
    *) exec "$@" ;;
esac
"""


class NotPreparedError(Exception):
    """What an objective declares is not there, or may not be declared; the text says what to do."""


@dataclass(frozen=True)
class Surroundings:
    """What a run is shown besides its folder, all of it read-only, and how it finds it."""

    shown: tuple[Path, ...] = ()
    links: dict[str, Path] = field(default_factory=dict)  # by path in the run's folder
    home_links: dict[str, Path] = field(default_factory=dict)  # by path in the run's home
    program_folders: tuple[str, ...] = _SYSTEM_PROGRAMS  # the first is searched first
    variables: dict[str, str] = field(default_factory=dict)
    import_folders: tuple[str, ...] = ()  # in the run's folder, which an environment imports from

    def find(self, program: str) -> str | None:
        """The absolute path of a program, as the run would find it."""
        return shutil.which(program, path=os.pathsep.join(self.program_folders))


def surroundings(
    root: Path, paths: Sequence[str], prepare: str | None = None, home: Path | None = None
) -> Surroundings:
    """What these declared paths mean here. `root`: the objective's folder. Raises NotPreparedError."""
    home = Path.home() if home is None else home
    shown: list[Path] = []
    links: dict[str, Path] = {}
    home_links: dict[str, Path] = {}
    folders: list[str] = []
    variables: dict[str, str] = {}
    imports: list[str] = []
    for declared in paths:
        path = _path_of(declared, root, home)
        if not is_here(path):
            todo = f"in {root}, run: {prepare}" if prepare else f"put it at {path}"
            raise NotPreparedError(f"the objective needs {declared}, which is not here; {todo}")
        _refuse_link_out(declared, path, root, home)
        shown += [path, path.resolve()]
        if declared.startswith("~/"):
            home_links[declared.removeprefix("~/")] = path
        else:
            links[os.path.normpath(declared)] = path
        if (path / "bin").is_dir():
            folders.append(str(path / "bin"))
        if (path / "pyvenv.cfg").is_file():
            shown += _base_python(path)
            variables["VIRTUAL_ENV"] = str(path)
            imports += _imported_from(path, root)
    base = os.path.join(sys.base_prefix, "bin")  # every sandbox shows the node's own Python; where there is no other
    return Surroundings(
        tuple(dict.fromkeys(shown)),
        links,
        home_links,
        tuple(dict.fromkeys([*folders, *_SYSTEM_PROGRAMS, base])),
        variables,
        tuple(dict.fromkeys(imports)),
    )


def _path_of(declared: str, root: Path, home: Path) -> Path:
    normal = os.path.normpath(declared)
    parts = Path(normal).parts
    if normal.startswith("~"):
        if parts[:2] != ("~", _CACHES) or len(parts) < 3 or ".." in parts:
            raise NotPreparedError(
                f"the objective asks for {declared}; of a home it may read folders in ~/{_CACHES} only. If you want it"
                " to read this one, link to it from there and declare the link"
            )
        harmless = _SECRET_CACHES.get(parts[2])
        if harmless is not None and (len(parts) == 3 or parts[3] not in harmless):
            inner = f"~/{_CACHES}/{parts[2]}/{harmless[0]}"
            raise NotPreparedError(f"the objective asks for {declared}; declare {inner}, which has no tokens in it")
        return home.joinpath(*parts[1:])
    if os.path.isabs(normal) or normal == "." or ".." in parts:
        raise NotPreparedError(
            f"the objective asks for {declared}; it may have paths in its own folder and in ~/.cache"
        )
    return root.absolute() / normal


def is_here(path: Path) -> bool:
    """Whether there is something at a path that an objective declares."""
    try:
        return path.exists()
    except OSError:  # a name that no file can have, or a folder that is closed to us
        return False


def _refuse_link_out(declared: str, path: Path, root: Path, home: Path) -> None:
    """Raise NotPreparedError where a path of the folder leads out of it, to what the objective could not declare.

    A repository can have links to a person's keys in it. Only a person can have made a virtual environment elsewhere.
    """
    if declared.startswith("~"):
        return  # in ~/.cache a person links to what they want a run to read
    found = path.resolve()
    caches = (home / _CACHES).resolve()
    if found.is_relative_to(root.resolve()) or (found / "pyvenv.cfg").is_file() or found.name == "node_modules":
        return
    if found.is_relative_to(caches) and found.relative_to(caches).parts[:1] not in (
        (),
        *((n,) for n in _SECRET_CACHES),
    ):
        return
    raise NotPreparedError(
        f"the objective asks for {declared}, which is a link to {found}, outside of its folder. If you want it to read "
        f"that, link to it from ~/{_CACHES} and declare the link"
    )


def _base_python(environment: Path) -> Iterator[Path]:
    """The folders of the Python that a virtual environment was made from, by every name that leads there.

    What has no standard library is no Python's folder: a link in a stranger's repository may lead anywhere.
    """
    yield from _base_python_named(environment)
    program = environment / "bin" / "python"
    for _ in range(_MOST_LINKS):
        if not program.is_symlink():
            break
        program = program.parent / os.readlink(program)
        for name in (program, program.resolve()):
            prefix = _prefix(name)
            if prefix == environment:
                continue
            if _is_python(prefix):
                yield from (prefix / part for part in _PREFIX_PARTS if (prefix / part).exists())
            elif _is_python(_prefix(program.resolve())):
                yield name  # a link on the way to a Python, as installers make them in ~/.local/bin


def _prefix(program: Path) -> Path:
    return Path(os.path.normpath(program)).parent.parent


def _is_python(prefix: Path) -> bool:
    return any(prefix.glob(_STANDARD_LIBRARY))


def _base_python_named(environment: Path) -> Iterator[Path]:
    """The same as pyvenv.cfg has it: where `python` is a copy, or a script, no link leads there.

    pyvenv.cfg can be a file of a stranger's objective, so only what is a Python's folder is believed.
    """
    named = _HOME.search(_beginning(environment / "pyvenv.cfg"))
    folder = Path(named[1].rstrip()) if named is not None else None
    for program_folder in (folder, folder.resolve()) if folder is not None else ():
        prefix = Path(os.path.normpath(program_folder)).parent
        if _is_python(prefix):
            yield from (prefix / part for part in _PREFIX_PARTS if (prefix / part).exists())


def _imported_from(environment: Path, root: Path) -> Iterator[str]:
    """Where in the objective's folder the environment imports packages from: an editable install names it in a file.

    The run has that folder's files in another place, from which it is to import them.
    """
    for file in sorted(environment.glob("lib/python*/site-packages/*.pth")):
        if not file.is_file():  # a FIFO, or a link to a device, in a stranger's folder
            continue
        for line in _beginning(file).splitlines():
            if re.match(r"import\s", line) is None and os.path.isabs(line):
                found = Path(os.path.normpath(line.strip()))
                if found.is_relative_to(root.absolute()) and not found.is_relative_to(environment):
                    yield str(found.relative_to(root.absolute()))


def _beginning(file: Path) -> str:
    with file.open(errors="replace") as opened:
        return opened.read(_MOST_READ)
