"""The folder that a site lies in: what was made there earlier, what has changed, and what somebody else put there.

`.autoresearch-site.json` in it says which files were made here, each with the sha256 of its content. A file that it
does not name, or that was changed since, is somebody else's: it is neither written over nor removed. Nothing is written
through a link. The note is written before the files and again after them, so that a kill in between leaves no file
that the next run takes for somebody else's. It does not know what is in the files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG

import msgspec

from node.ledger.error import LedgerError
from node.platform.private_files import DRAFT

NOTE = ".autoresearch-site.json"
VERSION = 1
READABLE, ENTERABLE = 0o644, 0o755  # a web server runs as somebody else


class PublishError(LedgerError):
    """The site cannot be written there; the text says what to do."""


class Note(msgspec.Struct, frozen=True):
    """What was made here: every content (sha256) that a path may have, by path."""

    version: int
    objective: str
    files: dict[str, list[str]]


@dataclass(frozen=True)
class Published:
    """What was done. left: paths at which something of somebody else's is, and was left."""

    written: tuple[str, ...]
    unchanged: int
    removed: tuple[str, ...]
    left: tuple[str, ...]


def publish(folder: Path, files: Mapping[str, bytes], objective: str) -> Published:
    """Make the folder hold these files, of those that were made by an earlier call no others, and all else as it was.

    objective: its id, in hexadecimal. Raises PublishError where the folder is another site's or somebody else's.
    """
    try:
        return _publish(folder, files, objective)
    except OSError as error:
        where = error.filename or folder
        raise PublishError(f"cannot write {where} ({error.strerror}); give another folder, or make room") from None


def _publish(folder: Path, files: Mapping[str, bytes], objective: str) -> Published:
    folder.mkdir(parents=True, exist_ok=True)
    before = _note_in(folder, objective)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    paths = dict.fromkeys((*before, *files))
    both = {path: list(dict.fromkeys([*before.get(path, []), *_one(digests, path)])) for path in paths}
    _write_note(folder, objective, both)
    written, removed, left, kept = [], [], [], dict(before)
    for path, content in files.items():
        there = _digest_at(folder, path)
        if there == digests[path]:
            kept[path] = [there]
        elif there is None or there in before.get(path, []):
            _write(folder / path, content)
            written.append(path)
            kept[path] = [digests[path]]
        else:
            left.append(path)
            kept.pop(path, None)
    for path in before.keys() - files.keys():
        there = _digest_at(folder, path)
        if there is not None and there in before[path]:
            (folder / path).unlink()
            removed.append(path)
        elif there is not None:
            left.append(path)
        kept.pop(path)
    _remove_empty_folders(folder, removed)
    _write_note(folder, objective, kept)
    unchanged = len(files) - len(written) - sum(path in files for path in left)
    return Published(tuple(written), unchanged, tuple(sorted(removed)), tuple(sorted(left)))


def _one(digests: Mapping[str, str], path: str) -> list[str]:
    return [digests[path]] if path in digests else []


def _note_in(folder: Path, objective: str) -> dict[str, list[str]]:
    """What an earlier call made here. Raises PublishError where the folder is somebody else's."""
    if (folder / NOTE).is_symlink():
        raise PublishError(f"{folder / NOTE} is a link; give an empty folder or a new one")
    try:
        note = msgspec.json.decode((folder / NOTE).read_bytes(), type=Note)
    except FileNotFoundError:
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise PublishError(
                f"{folder} is not empty, and `publish` has not made what is in it; give an empty folder or a new one"
            ) from None
        return {}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise PublishError(f"{folder / NOTE} cannot be read; give an empty folder or a new one") from None
    if note.version != VERSION:
        raise PublishError(f"{folder} was made by another version of this program; give an empty folder or a new one")
    if note.objective != objective:
        raise PublishError(f"{folder} holds the site of another objective; give a folder of its own to each")
    # The note may have come from elsewhere with the folder: what it names outside of the folder is nobody's here.
    return {path: digests for path, digests in note.files.items() if _inside(path)}


def _inside(path: str) -> bool:
    parts = path.split("/")
    return not os.path.isabs(path) and all(part and not part.startswith(".") and "\0" not in part for part in parts)


def _digest_at(folder: Path, path: str) -> str | None:
    """The digest of a file; "" of something that is none, or that lies behind a link; None where nothing is."""
    place = folder
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        place = place / part
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            return ""
        if not (S_ISREG(mode) if number == len(parts) else S_ISDIR(mode)):
            return ""
    return hashlib.sha256(place.read_bytes()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, for everybody to read."""
    path.parent.mkdir(mode=ENTERABLE, exist_ok=True)
    draft = path.with_name(f".{path.name}{DRAFT}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, READABLE)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(draft, path)


def _write_note(folder: Path, objective: str, files: Mapping[str, list[str]]) -> None:
    note = {"version": VERSION, "objective": objective, "files": dict(sorted(files.items()))}
    content = json.dumps(note, indent=0).encode() + b"\n"
    path = folder / NOTE
    if path.exists() and path.read_bytes() == content:
        return
    _write(path, content)


def _remove_empty_folders(folder: Path, removed: list[str]) -> None:
    for parent in {(folder / path).parent for path in removed}:
        if parent != folder and not any(parent.iterdir()):
            parent.rmdir()
