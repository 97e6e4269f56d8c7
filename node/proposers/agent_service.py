"""The services that coding agents ask: where each is, what may be asked of it, and how its answers tell what was used.

What an agent asks for is judged here, without I/O: `refusal` says why a request is not passed on, `passed_headers`
what of it is. Only what makes a model answer can be asked for: no files are uploaded, no batches started, no keys made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from node.platform.config import OPENAI_URL

ServiceName = Literal["anthropic", "openai", "google"]
MOST_LINE_BYTES = 4 << 20  # of a stream of events; the last event of OpenAI's repeats the whole answer
MOST_TOKENS = 10**9  # what a service says beyond this is no count
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_.:\-]+)+")
_NAME, _VALUE = re.compile(r"[a-z0-9-]+"), re.compile(r"[\x20-\x7e\t]*")
# Of a request only these headers are passed on, and of an answer only those. Not among them: who asks (Authorization,
# X-Api-Key, Cookie), for whom (Host, Forwarded), how it travels (RFC 9110, 7.6.1: Connection, Upgrade and the like).
_ASKED = re.compile(r"accept|content-type|user-agent|anthropic-(version|beta)|openai-beta|x-stainless-[a-z-]+")
_ANSWERED = re.compile(r"content-type|retry-after|(x-)?request-id|(anthropic|x)-ratelimit-[a-z-]+|openai-[a-z-]+")
_MOST_ANSWER = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True)
class Service:
    """One API. Paths are relative to the base URL, as the tools add them to theirs."""

    name: ServiceName
    base_url: str
    prefix: str  # of the path of a base URL that the tools expect
    key_header: str
    key_form: str  # with {key}
    asking: re.Pattern[str]  # paths of POST
    reading: re.Pattern[str]  # paths of GET


# platform.claude.com/docs/en/api, platform.openai.com/docs/api-reference, ai.google.dev/api
SERVICES: Mapping[ServiceName, Service] = {
    "anthropic": Service(
        "anthropic", "https://api.anthropic.com", "", "x-api-key", "{key}",
        re.compile(r"/v1/messages(/count_tokens)?"), re.compile(r"/v1/models(/[^/]+)?"),
    ),
    "openai": Service(
        "openai", OPENAI_URL, "/v1", "authorization", "Bearer {key}",
        re.compile(r"/(chat/completions|responses)"), re.compile(r"/models(/.+)?"),
    ),
    "google": Service(
        "google", "https://generativelanguage.googleapis.com", "", "x-goog-api-key", "{key}",
        re.compile(r"/v1(beta)?/models/[^/:]+:(generateContent|streamGenerateContent|countTokens)"),
        re.compile(r"/v1(beta)?/models(/[^/:]+)?"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Reach:
    """The one service that an agent may ask: where it is, and the key that the node adds."""

    service: Service
    base_url: str
    key: str = field(repr=False)

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc


def local_url(service: Service, port: int) -> str:
    """The base URL that an agent is given: on its own loopback, where the node answers."""
    return f"http://127.0.0.1:{port}{service.prefix}"


def refusal(reach: Reach, port: int, method: str, target: str, headers: Iterable[tuple[str, str]]) -> str | None:
    """Why a request is not passed on, in a sentence; None for one that is. target: as in the request's first line."""
    known = list(headers)
    only = f"from here only {reach.host} can be asked, at {local_url(reach.service, port)}"
    if method == "CONNECT":
        return f"no tunnel is made: {only}"
    if not target.startswith("/"):
        return f"an address of another server is not passed on: {only}"
    if [value for name, value in known if name == "host"] != [f"127.0.0.1:{port}"]:
        return f"the Host header names another server: {only}"
    names = {name for name, _ in known}
    if {"content-length", "transfer-encoding"} <= names:
        return "a request whose length is told in two ways is not passed on"
    if "upgrade" in names:
        return "the connection cannot be upgraded: ask by plain HTTP"
    path = relative_path(reach.service, target)
    if path is None:
        return f"this path is not passed on: {only}"
    allowed = {"POST": reach.service.asking, "GET": reach.service.reading}.get(method)
    if allowed is None or not allowed.fullmatch(path):
        return f"{method if method.isalpha() else 'this'} is not passed on for this path: only what a model answers is"
    return None


def relative_path(service: Service, target: str) -> str | None:
    """The path below the service's base URL; None for one that is not plain, or not below it."""
    path = target.partition("?")[0]
    if not _PLAIN_PATH.fullmatch(path) or "/." in path:
        return None
    return path.removeprefix(service.prefix) if path.startswith(f"{service.prefix}/") else None


def url_to_ask(reach: Reach, target: str) -> str:
    """Where a request that is not refused goes to. A key in its query, which Google's API takes, is left out."""
    path = relative_path(reach.service, target)
    query = urlencode([pair for pair in parse_qsl(target.partition("?")[2]) if pair[0] in ("alt", "beta", "pageSize")])
    return f"{reach.base_url.rstrip('/')}{path}" + (f"?{query}" if query else "")


def passed_headers(reach: Reach, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers of a request that goes to the service, with the key."""
    passed = {name: value for name, value in headers if _ASKED.fullmatch(name) and _VALUE.fullmatch(value)}
    passed["accept-encoding"] = "identity"  # an answer is counted as it passes
    if reach.key:
        passed[reach.service.key_header] = reach.service.key_form.format(key=reach.key)
    return passed


def answered_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of an answer that the agent sees."""
    return [(name, value) for name, value in headers if _ANSWERED.fullmatch(name) and _VALUE.fullmatch(value)]


def most_answer_tokens(body: bytes, otherwise: int) -> int:
    """The most tokens that the answer to a question may have, by what the question says."""
    try:
        asked: Any = json.loads(body)
    except (ValueError, RecursionError):
        return otherwise
    if not isinstance(asked, dict):
        return otherwise
    config = asked.get("generationConfig")
    said = [asked.get(name) for name in _MOST_ANSWER]
    said += [config.get("maxOutputTokens")] if isinstance(config, dict) else []
    counts = [one for one in said if type(one) is int and 0 < one < MOST_TOKENS]
    return max(counts, default=otherwise)


class Usage:
    """What an answer says it used, read as it passes: from JSON, or from a stream of server-sent events.

    The largest counts that were seen hold: services repeat them as they grow. What is read from a cache counts as read.
    """

    def __init__(self) -> None:
        self.question: int | None = None
        self.answer: int | None = None
        self._line = b""
        self._dropped = False

    def feed(self, piece: bytes) -> None:
        *lines, rest = (self._line + piece).split(b"\n")
        for line in lines:
            if not self._dropped:
                self._read(line)
            self._dropped = False
        self._dropped = self._dropped or len(rest) > MOST_LINE_BYTES
        self._line = b"" if self._dropped else rest

    def end(self, whole: bytes) -> None:
        """whole: the answer, as far as it is kept, which may be JSON in several lines."""
        self._read(self._line)
        self._read(whole)

    def _read(self, line: bytes) -> None:
        if b"usage" not in line:
            return
        try:
            said: Any = json.loads(line.removeprefix(b"data:"))
        except (ValueError, RecursionError):
            return
        for one in said if isinstance(said, list) else [said]:
            if isinstance(one, dict):
                self._count(one)

    def _count(self, said: dict[str, Any]) -> None:
        for place in (said, said.get("message"), said.get("response")):
            for name in ("usage", "usageMetadata"):
                counts = place.get(name) if isinstance(place, dict) else None
                if isinstance(counts, dict):
                    cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
                    self.question = _largest(
                        self.question, counts, ("prompt_tokens",), ("input_tokens", *cached), ("promptTokenCount",)
                    )
                    thought = ("candidatesTokenCount", "thoughtsTokenCount")
                    self.answer = _largest(self.answer, counts, ("completion_tokens",), ("output_tokens",), thought)


def _largest(known: int | None, counts: Mapping[str, Any], *sums: tuple[str, ...]) -> int | None:
    """The largest of what is known and the sums of these counts, as far as they are there."""
    found = [known] if known is not None else []
    for names in sums:
        there = [counts[name] for name in names if type(counts.get(name)) is int and 0 <= counts[name] < MOST_TOKENS]
        found += [sum(there)] if there else []
    return max(found, default=None)
