"""A stranger's folder as the importer reads it: which of its files belong to an objective, and their texts.

Where git tracks the folder, git says what belongs to it: what is tracked, and what is new and not ignored. Elsewhere
the folder is walked. In both cases caches, environments, earlier results and secrets are left out, and so are links
that lead outside the folder: what belongs to an objective is sent to every peer.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from node.authoring.importing.recognised import ImportRefusedError
from node.objective.load import walk_files
from node.objective.schema import SETTINGS
from node.platform.environment import git_environment
from protocol.objective import MAX_FILE_BYTES, safe_path

MAX_TEXT_BYTES = 4 << 20  # of a file that is searched for what it says: a long log of a search too
GIT_SECONDS = 20

# fmt: off
# Folders that no objective has: caches, environments, editors' and agents' own.
_NEVER = {
    ".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".pytest_cache", ".mypy_cache",
    ".ruff_cache", ".tox", ".ipynb_checkpoints", ".idea", ".vscode", ".claude", ".codex", ".cursor", ".cache",
    ".github",
}
# Folders and files of what programs make. They are left out where git does not track them.
_MADE = {
    "results", "runs", "wandb", "checkpoints", "worktrees", "queue", "dist", "build", "target", "logs", "outputs",
    "artifacts",
}
_MADE_FILES = (
    "*.log", "*.tmp", "*.bak", "*.swp", "*.pyc", "*.so", "*.o", "*.sqlite", "*.db", ".DS_Store", "results.tsv",
    "*.pt", "*.pth", "*.ckpt", "*.safetensors", "*.onnx", "*.gguf", "*.bin", "*.npz", "*.npy", "*.parquet", "*.h5",
    "*.pkl", "*.zip", "*.tar", "*.gz", "*.whl", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*.mp4", "*.pdf",
    "*.ipynb",
)
_SECRETS = (
    ".env", ".env.*", "*.pem", "*.key", "id_rsa*", "id_ed25519*", ".netrc", ".npmrc", ".pypirc", "*credentials*",
    "*secret*.*",
)
_PICTURES = ("*.ipynb", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*.mp4", "*.mov", "*.pdf")
_PICTURE_FOLDERS = {"docs", "doc", "assets", "images", "figures", "media", "screenshots"}
# fmt: on


@dataclass(frozen=True)
class Folder:
    """A folder to import. Its files are listed when they are first asked for."""

    root: Path
    wanted: tuple[str, ...] = ()  # glob patterns of the person; where given, they alone say what belongs
    always: tuple[str, ...] = field(default=())  # paths that belong whatever else holds

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The relative paths of what belongs to the folder, in order, without objective.toml."""
        if self.wanted:
            chosen = {path for path in self.present if any(fnmatchcase(path, pattern) for pattern in self.wanted)}
        else:
            tracked = self._in_git("--cached")
            chosen = set(self._tracked(tracked)) if tracked else set()
            fresh = self._in_git("--others", "--exclude-standard") if tracked else self.present
            chosen |= {path for path in fresh or () if not _made(path)}
        chosen |= set(self.always)
        return tuple(sorted(path for path in chosen & set(self.present) if path != SETTINGS and not _secret(path)))

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """Files that were passed over and that a person may miss: too large, or secrets by their names."""
        tracked = self._in_git("--cached")
        return tuple(path for path in tracked or () if path not in self.files and (_secret(path) or self._large(path)))

    @cached_property
    def present(self) -> tuple[str, ...]:
        """Every file that an objective could have, by its relative path."""
        walked = walk_files(self.root, hidden=True, enters=lambda folder: folder.rsplit("/", 1)[-1] not in _NEVER)
        found = [path.relative_to(self.root).as_posix() for path in walked]
        return tuple(path for path in found if safe_path(path) and not self._large(path))

    def has(self, path: str) -> bool:
        return path in self.present

    def text(self, path: str) -> str:
        """What a file says; "" where there is none, or it is too large to be searched, or no text."""
        if path not in self.present:
            return ""
        try:
            data = (self.root / path).read_bytes()
        except OSError:
            return ""
        return "" if len(data) > MAX_TEXT_BYTES or b"\0" in data else data.decode("utf-8", errors="replace")

    def matching(self, pattern: str) -> list[str]:
        """The files that match a glob; a folder stands for all in it."""
        pattern = pattern.removeprefix("./").rstrip("/")
        wide = re.sub(r"\*\*/?", "*", pattern)
        return [path for path in self.files if fnmatchcase(path, wide) or path.startswith(f"{pattern}/")]

    def _tracked(self, paths: list[str]) -> Iterator[str]:
        for path in paths:
            *folders, name = path.split("/")
            picture = any(fnmatchcase(name.lower(), pattern) for pattern in _PICTURES)
            if not (picture and (not folders or folders[0] in _PICTURE_FOLDERS or name.endswith(".ipynb"))):
                yield path

    def _in_git(self, *what: str) -> list[str] | None:
        """Paths that git lists here; None where the folder is no repository, or git is not there.

        Git may run programs that a repository's settings name: a file system monitor, and whatever fetches objects
        that a partial clone lacks. Both are turned off. Raises ImportRefusedError where git does not answer.
        """
        if not any((folder / ".git").exists() for folder in (self.root, *self.root.parents)):
            return None
        command = ["git", "-c", "core.fsmonitor=false", "-C", str(self.root), "ls-files", "-z", *what]
        # Nothing is fetched: by no kind of address, and in later versions of git not at all.
        offline = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
        environment = git_environment(GIT_OPTIONAL_LOCKS="0", **offline)
        try:
            done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, env=environment, check=False)
        except subprocess.TimeoutExpired:  # its settings may name a file that never ends
            told = f"git did not list the files of {self.root} within {GIT_SECONDS} s"
            raise ImportRefusedError(f"{told}; move its .git folder away, and all its files are looked at") from None
        except OSError:
            return None
        if done.returncode != 0:
            return None
        return [path for path in done.stdout.decode("utf-8", errors="replace").split("\0") if path]

    def _large(self, path: str) -> bool:
        try:
            return (self.root / path).stat().st_size > MAX_FILE_BYTES
        except OSError:
            return True


def _secret(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    return any(fnmatchcase(name, pattern) for pattern in _SECRETS)


def _made(path: str) -> bool:
    """Whether a file looks like something that a program made."""
    *folders, name = path.split("/")
    made = any(fnmatchcase(name.lower(), pattern) for pattern in _MADE_FILES)
    return made or any(folder in _MADE or folder.endswith(".egg-info") for folder in folders)
