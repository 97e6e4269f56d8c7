"""Where an installed tool and what it runs on lie, so that a sandbox can show these and nothing else of a person's.

Tools come as a program of their own, as a script of Node.js in a folder of packages, or in a Python environment, each
often behind links and mostly somewhere below the home. Of that only the package's own folder is shown.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from node.platform.environment import variable

_PACKAGES = "node_modules"
_ENVIRONMENT = "pyvenv.cfg"
_MOST_LINE = 256  # bytes of the line that names an interpreter (execve(2))
_PYTHON_PARTS = ("bin", "lib", "lib64")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")  # shown in every sandbox


@dataclass(frozen=True)
class Installed:
    """A tool as it is started. words: what to execute. shown: files and folders to show it. path: for its PATH."""

    words: tuple[str, ...]
    shown: tuple[Path, ...]
    path: str


def installed(program: str) -> Installed | None:
    """The tool of this name on the PATH, None when there is none."""
    found = shutil.which(program)
    if found is None:
        return None
    file = Path(os.path.realpath(found))
    shown = {_belongs_to(file)}
    words = [str(file)]
    folders = [str(file.parent)]
    interpreter = _interpreter(file)
    if interpreter is not None:
        words = [*interpreter, str(file)]
        shown |= _runtime(Path(interpreter[0]))
        folders.insert(0, str(Path(interpreter[0]).parent))
    outside = sorted(path for path in shown if not str(path).startswith(tuple(f"{one}/" for one in SYSTEM)))
    return Installed(tuple(words), tuple(outside), os.pathsep.join([*folders, "/usr/bin", "/bin"]))


def _belongs_to(file: Path) -> Path:
    """The folder in which the tool's package lies with those it needs: the outermost node_modules, a Python
    environment, or the file alone."""
    for parent in reversed(file.parents):
        if parent.name == _PACKAGES:
            return parent
    for parent in file.parents:
        if (parent / _ENVIRONMENT).is_file():
            return parent
    return file


def _interpreter(file: Path) -> list[str] | None:
    """What runs a script, by its first line, as words with a whole path first; None for a program of its own."""
    with file.open("rb") as opened:
        line = opened.read(_MOST_LINE).partition(b"\n")[0]
    if not line.startswith(b"#!"):
        return None
    words = line[2:].decode("utf-8", "replace").split()
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if word != "-S"]
        found = shutil.which(words[0], path=variable("PATH")) if words else None
        words[:1] = [found] if found is not None else []
    return words or None


def _base_of(settings: Path) -> set[Path]:
    """The Python that an environment was made from, by the name in its settings, which may lead over links."""
    for line in settings.read_text("utf-8", "replace").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "home":
            base = Path(value.strip()).parent
            return {base / part for part in _PYTHON_PARTS if (base / part).exists()}
    return set()


def _runtime(interpreter: Path) -> set[Path]:
    """What an interpreter needs: itself behind its links, and of a Python its environment and its base."""
    real = Path(os.path.realpath(interpreter))
    shown = {interpreter if not interpreter.is_symlink() else real, real}
    environment = interpreter.parent.parent
    if (environment / _ENVIRONMENT).is_file():
        shown |= {environment, *_base_of(environment / _ENVIRONMENT)}
    if real.name.startswith("python"):
        base = real.parent.parent
        shown |= {base / part for part in _PYTHON_PARTS if (base / part).exists()}
    return shown
