"""The manifest of an objective, its id, and the invite that names it.

It knows paths, sizes and hashes, not what the files say. A manifest is canonical msgpack, so the same files give
the same bytes and the same id everywhere; the manifest is itself content that peers ask for by that id.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import base58

from protocol.codec import MANIFEST_LIMITS, Limits, MalformedError, decode, encode
from protocol.outline import MAX_CONTENT
from protocol.records import is_plain

MAX_FILES = 512
MAX_FILE_BYTES = 8 << 20
INVITE_PREFIX = "ar1"
INVITE_LIMITS = Limits(max_bytes=4096, max_depth=3, max_items=64, max_text=256, max_binary=32)
SWARM_KEY_BYTES = 32
CHECKSUM_BYTES = 4  # enough to notice a mistake in copying: one in 2³² is missed
MAX_ADDRESSES = 16  # in one invite


@dataclass(frozen=True)
class FileEntry:
    """A file by its relative path, the sha256 of its content and its size in bytes."""

    path: str
    sha256: bytes
    size: int


@dataclass(frozen=True)
class Manifest:
    """What an objective consists of: its files, and the data that are made by its prepare step or come from peers."""

    name: str
    files: tuple[FileEntry, ...]
    data: tuple[FileEntry, ...]


def encode_manifest(manifest: Manifest) -> bytes:
    """Canonical bytes: entries in order of their paths."""
    return encode({"v": 1, "name": manifest.name, "files": _pack(manifest.files), "data": _pack(manifest.data)})


def _pack(entries: tuple[FileEntry, ...]) -> list[list[Any]]:
    return [[entry.path, entry.sha256, entry.size] for entry in sorted(entries, key=lambda entry: entry.path)]


def decode_manifest(data: bytes) -> Manifest:
    """Raises MalformedError; what comes back has only safe relative paths, each named once."""
    fields = decode(data, MANIFEST_LIMITS)
    if not isinstance(fields, dict) or fields.get("v") != 1:
        raise MalformedError("a manifest is a map of version 1")
    name = fields.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 60 or not is_plain(name):
        raise MalformedError("a manifest's name is plain text of at most 60 characters")
    files = _open(fields.get("files"), MAX_FILE_BYTES)
    return Manifest(name, files, _open(fields.get("data"), MAX_CONTENT))


def _open(rows: Any, largest: int) -> tuple[FileEntry, ...]:
    if not isinstance(rows, list) or len(rows) > MAX_FILES:
        raise MalformedError(f"a manifest lists at most {MAX_FILES} files")
    entries = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 3:
            raise MalformedError("a manifest entry is [path, sha256, size]")
        path, digest, size = row
        if not isinstance(path, str) or not safe_path(path):
            raise MalformedError("a manifest has an unsafe path")
        if not isinstance(digest, bytes) or len(digest) != 32:
            raise MalformedError("a manifest entry's sha256 is not 32 bytes")
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= largest:
            raise MalformedError(f"a manifest entry is larger than {largest} bytes")
        entries.append(FileEntry(path, digest, size))
    if len({entry.path for entry in entries}) != len(entries):
        raise MalformedError("a manifest names a path twice")
    return tuple(entries)


def safe_path(path: str) -> bool:
    """Whether a path stays below the folder it is put in, on every system, and is written in its one normal form."""
    if not path or len(path) > 200 or "\\" in path or ":" in path or not is_plain(path):
        return False
    return not any(part in ("", ".", "..") for part in path.split("/"))  # "" also: absolute, doubled, at the end


def objective_id(manifest_bytes: bytes) -> bytes:
    """The sha256 of the manifest: same id, same swarm."""
    return hashlib.sha256(manifest_bytes).digest()


@dataclass(frozen=True)
class Invite:
    """All a new node needs: the objective, and addresses of nodes that have it (multiaddrs with /p2p/).

    key: the pre-shared key of a private swarm. An invite with a key is a secret of the swarm's members.
    """

    objective: bytes
    addresses: tuple[str, ...]
    key: bytes | None = field(default=None, repr=False)


def encode_invite(invite: Invite) -> str:
    """One string without spaces: "ar1" and base58 of msgpack [objective, addresses] with a 4-byte checksum.

    A private swarm's key is a third item.
    """
    key = [] if invite.key is None else [invite.key]
    packed = encode([invite.objective, list(invite.addresses[:MAX_ADDRESSES]), *key])
    return INVITE_PREFIX + base58.b58encode(packed + _checksum(packed)).decode()


def decode_invite(text: str) -> Invite:
    """Raises MalformedError with a message for the person who pasted it."""
    text = "".join(text.split())
    if not text.startswith(INVITE_PREFIX) or len(text) > 8192:
        raise MalformedError(f'this is not an invite: one begins with "{INVITE_PREFIX}"; copy the whole line')
    try:
        raw = base58.b58decode(text[len(INVITE_PREFIX) :])
    except ValueError:
        raise MalformedError("the invite has a character that no invite has; copy it again") from None
    packed, checksum = raw[:-CHECKSUM_BYTES], raw[-CHECKSUM_BYTES:]
    if _checksum(packed) != checksum:
        raise MalformedError("the invite is damaged or cut short; copy the whole line again")
    value = decode(packed, INVITE_LIMITS)
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise MalformedError("the invite is of another version; upgrade autoresearch-node")
    objective, addresses, *rest = value
    key = rest[0] if rest else None
    if rest and not (isinstance(key, bytes) and len(key) == SWARM_KEY_BYTES):
        raise MalformedError("the invite is of another version; upgrade autoresearch-node")
    if not isinstance(objective, bytes) or len(objective) != 32 or not isinstance(addresses, list):
        raise MalformedError("the invite is of another version; upgrade autoresearch-node")
    if not all(isinstance(address, str) and address.startswith("/") and is_plain(address) for address in addresses):
        raise MalformedError("the invite has an address that is none")
    return Invite(objective, tuple(addresses[:MAX_ADDRESSES]), key)


def _checksum(packed: bytes) -> bytes:
    return hashlib.sha256(b"autoresearch/invite/1\0" + packed).digest()[:CHECKSUM_BYTES]
