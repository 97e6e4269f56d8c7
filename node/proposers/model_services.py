"""Services of language models as they are found: which run on this machine, and what one that is named says of itself.

On this machine the usual ports of the usual servers are asked, on loopback, without any key. A key goes to the service
that the settings name and to no other. Answers are bounded in size and time, and read as data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import trio

from node.proposers.service_client import client_for, why_no_client

# docs.ollama.com/faq, lmstudio.ai/docs/developer, github.com/ggml-org/llama.cpp/tree/master/tools/server,
# docs.vllm.ai/en/latest/serving/openai_compatible_server
USUAL_PORTS: Mapping[int, str] = {11434: "Ollama", 1234: "LM Studio", 8080: "llama.cpp", 8000: "vLLM"}
_BY_OWNER = {"library": "Ollama", "llamacpp": "llama.cpp", "vllm": "vLLM", "organization_owner": "LM Studio"}
LOCAL_SECONDS = 1.0  # a server on this machine lists its models within milliseconds
NAMED_SECONDS = 10.0
MAX_LIST_BYTES = 2 << 20
MOST_MODELS = 200
_NAME = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True)
class LocalServer:
    """A server on this machine that speaks OpenAI's API, and its models."""

    name: str
    base_url: str
    models: tuple[str, ...]


def usual_servers() -> list[str]:
    """The names of those that are looked for on this machine."""
    return list(USUAL_PORTS.values())


def local_servers() -> list[LocalServer]:
    """Those that answer at a usual port of this machine. Call outside an event loop; it takes a second at most."""
    return trio.run(_local_servers)


async def _local_servers() -> list[LocalServer]:
    found: dict[int, LocalServer] = {}

    async def look(port: int) -> None:
        base_url = f"http://127.0.0.1:{port}/v1"
        status, body = await _list(base_url, "", "", LOCAL_SECONDS)
        entries = _entries(body) if status == 200 else None
        if entries is not None:
            owner = next((str(entry.get("owned_by")) for entry in entries), "")
            found[port] = LocalServer(_BY_OWNER.get(owner, USUAL_PORTS[port]), base_url, _names(entries))

    async with trio.open_nursery() as nursery:
        for port in USUAL_PORTS:
            nursery.start_soon(look, port)
    return [found[port] for port in USUAL_PORTS if port in found]


def models_of(base_url: str, key: str, proxy: str) -> tuple[str, ...] | str:
    """The models that a service lists, or what is wrong, as the end of a sentence. Call outside an event loop.

    An empty list says that the service answers and lists none.
    """
    status, body = trio.run(_list, base_url, key, proxy, NAMED_SECONDS)
    if status is None:
        return body.decode()
    if status in (401, 403):
        return f"it refuses the key (status {status}); see key_env in [llm]"
    if 300 <= status < 400:
        return f"it sends one elsewhere (status {status}), which is not followed; correct base_url in [llm]"
    if status in (404, 405):
        return ()  # some lists no models
    if status != 200:
        return f"it answers with status {status}; correct base_url in [llm], or wait if the service has trouble"
    entries = _entries(body)
    if entries is None:
        return "what answers there does not speak OpenAI's API; correct base_url in [llm]: it mostly ends in /v1"
    return _names(entries)


async def _list(base_url: str, key: str, proxy: str, seconds: float) -> tuple[int | None, bytes]:
    """(status, body) of the list of models; (None, what is wrong) where there is no answer."""
    try:
        client = client_for(base_url, proxy, seconds)
    except (ValueError, OSError) as error:
        return None, why_no_client(error).encode()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    through = f" through the proxy {proxy}" if proxy else ""
    with trio.move_on_after(seconds):
        async with client:
            try:
                async with client.stream("GET", f"{base_url.rstrip('/')}/models", headers=headers) as response:
                    body = b""
                    async for piece in response.aiter_raw():
                        body += piece
                        if len(body) > MAX_LIST_BYTES:
                            return None, b"its list of models is larger than any that is known"
                    return response.status_code, body
            except httpx2.ProxyError:
                return None, f"the proxy {proxy} does not let it through; correct `proxy` in [llm]".encode()
            except httpx2.HTTPError:
                return (
                    None,
                    f"nobody answers there{through}; start it, or correct base_url or `proxy` in [llm]".encode(),
                )
    return None, f"there is no answer within {seconds:g} s{through}; see base_url and `proxy` in [llm]".encode()


def _entries(body: bytes) -> list[dict[str, Any]] | None:
    """The models in an answer; None for one that is no list of models."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    listed = said.get("data", []) if isinstance(said, dict) and said.get("object", "list") == "list" else None
    if listed is None:  # Ollama without a model says null
        return [] if isinstance(said, dict) and said.get("object") == "list" else None
    return [entry for entry in listed if isinstance(entry, dict)][:MOST_MODELS] if isinstance(listed, list) else None


def _names(entries: list[dict[str, Any]]) -> tuple[str, ...]:
    """Their names, as far as they could stand in the settings."""
    names = (entry.get("id") for entry in entries)
    return tuple(name for name in names if isinstance(name, str) and _NAME.fullmatch(name))
