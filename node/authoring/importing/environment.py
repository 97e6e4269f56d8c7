"""What a repository needs beside its files, by the files with which its tools say so, and how it is prepared."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import replace

from node.authoring.importing.folder import Folder
from node.authoring.importing.recognised import EnvironmentFound

# A folder below ~/.cache, as code names it: join(home, ".cache", "name"), "~/.cache/name", home / ".cache" / "name".
_CACHE = re.compile(r"""["'/]\.cache["']?\s*[,/]\s*["']?(\w[\w-]*(?:\.[\w-]+)*(?:/\w[\w-]*(?:\.[\w-]+)*)*)""")
# Not any line that begins so: the prose of a docstring does too ("from different sources"). The \b leaves one way to
# read a name, so that a name of a megabyte takes no hours.
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\w+)\b[\w.]*[ \t]+import\b|import[ \t]+(\w+)\b[\w.]*[ \t]*(?:$|[,;#]|as\b))", re.MULTILINE
)
_MAKE_VENV = "python3 -m venv .venv && .venv/bin/pip install"
# Well-known packages by the names under which they are imported. Only these are offered for installing: a package that
# merely has the name of a module may be anybody's.
_PACKAGES = {
    **{name: name for name in ("jax", "matplotlib", "networkx", "numba", "numpy", "pandas", "psutil", "requests")},
    **{name: name for name in ("scipy", "sympy", "torch", "tqdm", "tiktoken", "transformers", "triton", "pyarrow")},
    "sklearn": "scikit-learn",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "PyYAML",
    "mlx": "mlx",
    "shinka": "shinka-evolve",
}
# Lock file, the command that installs it, and where to.
_OTHER_TOOLS = (
    ("pnpm-lock.yaml", "pnpm install --frozen-lockfile", "node_modules"),
    ("package-lock.json", "npm ci", "node_modules"),
    ("yarn.lock", "yarn install --frozen-lockfile", "node_modules"),
    ("bun.lock", "bun install --frozen-lockfile", "node_modules"),
)


def find_environment(folder: Folder, sources: Iterable[str] = (), also: str | None = None) -> EnvironmentFound:
    """sources: files whose caches below ~/.cache a run reads. also: a command that prepares those, after the rest."""
    steps: list[str] = []
    paths: list[str] = []
    lock: str | None = None
    if folder.has("uv.lock"):
        steps, paths, lock = ["uv sync"], [".venv"], "uv.lock"
    elif folder.has("requirements.txt"):
        steps, paths, lock = [f"{_MAKE_VENV} -r requirements.txt"], [".venv"], "requirements.txt"
    elif folder.has("pyproject.toml") and _has_dependencies(folder.text("pyproject.toml")):
        steps, paths = ["uv sync"], [".venv"]
    elif (folder.root / ".venv").is_dir():
        paths = [".venv"]
    for name, command, place in _OTHER_TOOLS:
        if folder.has(name):
            steps, paths, lock = [*steps, command], [*paths, place], lock or name
            break
    caches = dict.fromkeys(f"~/.cache/{cache}" for path in sources for cache in caches_in(folder.text(path)))
    if also is not None:
        steps.append(also)
    return EnvironmentFound((*paths, *caches), lock, " && ".join(steps) or None)


def with_imports(found: EnvironmentFound, folder: Folder, sources: Iterable[str]) -> tuple[EnvironmentFound, list[str]]:
    """(the environment with well-known packages that these Python files import, other modules that are not here).

    Where a project or a lock file lists its packages, that list stands as it is.
    """
    wanted = set().union(*(imports_of(folder.text(path)) for path in sources if path.endswith(".py")), set())
    tops = {path.split("/")[0].removesuffix(".py") for path in folder.files}
    missing = sorted(wanted - sys.stdlib_module_names - tops - {"openevolve"})
    known = [_PACKAGES[name] for name in missing if name in _PACKAGES]
    if found.lock == "requirements.txt":  # often without what another package was trusted to bring
        listed = folder.text("requirements.txt").lower()
        extra = [package for package in known if package.lower() not in listed]
        return replace(found, prepare=" ".join([found.prepare or "", *extra])), []
    if ".venv" in found.paths or not known:
        return found, [] if ".venv" in found.paths else missing
    step = f"{_MAKE_VENV} {' '.join(known)}"
    prepare = f"{step} && {found.prepare}" if found.prepare else step
    unknown = [name for name in missing if name not in _PACKAGES]
    return EnvironmentFound((".venv", *found.paths), found.lock, prepare), unknown


def caches_in(text: str) -> list[str]:
    """Folders below ~/.cache that a program names."""
    return list(dict.fromkeys(match[1] for match in _CACHE.finditer(text)))


def imports_of(text: str) -> set[str]:
    """The packages and modules that a Python file imports, by their first names."""
    return {match[1] or match[2] for match in _IMPORT.finditer(text)}


def _has_dependencies(text: str) -> bool:
    try:
        project = tomllib.loads(text).get("project")
    except (ValueError, RecursionError):
        return False
    return isinstance(project, dict) and bool(project.get("dependencies"))


def description_of(folder: Folder) -> tuple[str, str]:
    """(name, description) by pyproject.toml; "" where it does not say."""
    try:
        project = tomllib.loads(folder.text("pyproject.toml")).get("project", {})
        name, description = project.get("name", ""), project.get("description", "")
    except (ValueError, RecursionError, AttributeError):
        return "", ""
    return name if isinstance(name, str) else "", description if isinstance(description, str) else ""
