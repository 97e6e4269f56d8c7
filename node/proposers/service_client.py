"""An HTTP client for one named service: how it is reached, and that nothing else is.

No redirect is followed, so that a key goes to the address in the settings and nowhere else. The environment's proxies
and certificates are obeyed only where the settings say so, and never for a service on this machine.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx2

from node.objective.downloads import is_loopback
from node.platform.config import OF_THE_ENVIRONMENT


def client_for(base_url: str, proxy: str, timeout: float | httpx2.Timeout, **more: Any) -> httpx2.AsyncClient:
    """What carries requests to a service. Raises ValueError or OSError for a proxy or certificates that cannot be used.

    proxy: as `proxy` of [llm]: an address, OF_THE_ENVIRONMENT, or "" for none. more: further arguments of the client.
    """
    direct = is_loopback(urlsplit(base_url))  # a proxy would be told the key, and look on its own machine
    as_environment = proxy == OF_THE_ENVIRONMENT
    return httpx2.AsyncClient(
        timeout=timeout,
        trust_env=as_environment and not direct,
        proxy=None if direct or as_environment or not proxy else proxy,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        **more,
    )


def why_no_client(error: Exception) -> str:
    """A proxy or certificates that cannot be used, as a sentence."""
    return f"the proxy or the certificates that [llm] or the environment names cannot be used: {error}"
