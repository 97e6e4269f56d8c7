"""Reading [[downloads]]: files from which prepare.py makes data, with where they are fetched and what they must be.

Only addresses are read here; nothing is fetched. An objective may be a stranger's, so what an address may be is
limited: https, with no name or password in it; plain http only where the address is this machine itself.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from node.objective.schema import SETTINGS, Download, ObjectiveError
from node.objective.table import Table
from protocol.objective import FileEntry, safe_path

MOST_MIRRORS = 8  # of one file
FIELDS = ("name", "urls", "size", "sha256")


def read_downloads(settings: Table) -> tuple[Download, ...]:
    """[[downloads]], in their order. Raises ObjectiveError."""
    found = []
    for name, urls, entry in read_open_downloads(settings):
        if entry is None:
            raise ObjectiveError(
                f"{SETTINGS}: downloads.size and downloads.sha256 of {name} are not fixed yet; `autoresearch-node "
                "objective prepare FOLDER` fetches the file and writes them"
            )
        found.append(Download(name, urls, entry))
    return tuple(found)


def read_open_downloads(settings: Table) -> list[tuple[str, tuple[str, ...], FileEntry | None]]:
    """(name, addresses, size and sum) of each; None where its maker has left these two open. Raises ObjectiveError."""
    found = [_read(row) for row in settings.rows("downloads")]
    names = [name for name, _, _ in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ObjectiveError(f"{SETTINGS}: there are two [[downloads]] named {twice!r}; give one another name")
    if found and "prepare" not in settings:
        raise ObjectiveError(f"{SETTINGS}: [[downloads]] are for prepare.py, and no prepare is named")
    return found


def _read(row: Table) -> tuple[str, tuple[str, ...], FileEntry | None]:
    name = row.text("name")
    if not safe_path(name) or "/" in name or "=" in name:
        raise ObjectiveError(f"{SETTINGS}: downloads.name must be a plain file name, not {name!r:.80}")
    urls = addresses(row, name)
    if "sha256" not in row:
        return name, urls, None
    try:
        digest = bytes.fromhex(row.text("sha256"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ObjectiveError(f"{SETTINGS}: downloads.sha256 of {name} must be 64 hexadecimal digits")
    return name, urls, FileEntry(name, digest, row.whole("size"))


def addresses(row: Table, name: str) -> tuple[str, ...]:
    """`urls` of a download. Raises ObjectiveError."""
    urls = row.texts("urls")
    if not 1 <= len(urls) <= MOST_MIRRORS or len(set(urls)) < len(urls):
        raise ObjectiveError(f"{SETTINGS}: downloads.urls of {name} must be 1 to {MOST_MIRRORS} different addresses")
    for url in urls:
        why = why_not_fetched(url)
        if why:
            raise ObjectiveError(f"{SETTINGS}: downloads.urls of {name} has {url!r:.200}, and {why}")
    return urls


def why_not_fetched(url: str) -> str:
    """Why nothing is fetched from an address; "" where it may be."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "that is no address"
    if not parts.hostname or not url.isascii() or not url.isprintable() or " " in url or len(url) > 2000:
        return "that is no address"
    if parts.username is not None or parts.password is not None:
        return "an address must have no name or password in it"
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts)):
        return ""
    return "only https is fetched, and http from this machine itself"


def is_loopback(parts: SplitResult) -> bool:
    """Whether an address leads to this machine itself."""
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
