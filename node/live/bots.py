"""Which requests are not a person's, by what they say of themselves and by how many come from one place.

A browser that is driven by a program and says nothing of it looks like a person, and is counted. Nothing is kept of an
address: its network is hashed with a salt that is new each day and lives in memory only.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import time
from collections.abc import Mapping

BUCKETS = 1 << 16  # counters; two networks may share one, which can only drop more
NETWORK_BITS = {4: 24, 6: 48}
DAY_SECONDS = 86400
DECLARED = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|preview|facebookexternalhit|whatsapp|headless|python|curl|wget|libwww|httpclient|"
    r"okhttp|go-http|java/|axios|node-fetch|scrapy|monitor|uptime|pingdom|lighthouse|safelinks|proofpoint|barracuda",
    re.IGNORECASE,
)


def not_a_person(method: str, headers: Mapping[str, str]) -> str | None:
    """Why a request is none of a person who looks at a page; None where nothing says so."""
    agent = headers.get("user-agent", "")
    if method == "HEAD":
        return "HEAD request"
    purpose = " ".join(headers.get(name, "") for name in ("sec-purpose", "purpose", "x-purpose", "x-moz")).lower()
    if "prefetch" in purpose or "preview" in purpose or "prerender" in purpose:
        return "prefetch"
    if not agent or DECLARED.search(agent):
        return "declared bot"
    return None


class Crowd:
    """How many new visitors came today from each network, in a fixed number of counters."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._day = -1
        self._counts = [0] * BUCKETS
        self._salt = b""

    def admits(self, address: str) -> bool:
        """Count one more new visitor of an address's network; False where today's are too many."""
        day = int(time.time()) // DAY_SECONDS
        if day != self._day:
            self._day, self._counts, self._salt = day, [0] * BUCKETS, secrets.token_bytes(16)
        digest = hashlib.blake2b(_network(address).encode(), key=self._salt, digest_size=8).digest()
        bucket = int.from_bytes(digest, "big") % BUCKETS
        self._counts[bucket] += 1
        return self._counts[bucket] <= self._most


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ipaddress.ip_network((parsed, NETWORK_BITS[parsed.version]), strict=False))
