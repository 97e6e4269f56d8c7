"""A model behind an OpenAI-compatible endpoint: a conversation goes in, a text comes out, or nothing does.

The far side is untrusted: an answer is bounded in size and time, decoded once here, and a service that refuses, fails
or floods is left alone for a while. Every question is paid from the account before it is asked. The key goes into the
request's header and nowhere else; no text of the service or of an exception is ever logged.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai
import trio

from node.platform.log import Log
from node.proposers.spending import Amount, Prices, Reservation, Spending

MAX_ANSWER_BYTES = 1 << 20
ATTEMPTS = 3
FIRST_DELAY_SECONDS = 2.0
LONGEST_DELAY_SECONDS = 30.0
REST_SECONDS = 300.0  # after a service that failed
LONG_REST_SECONDS = 3600.0  # after one that will not serve us as we are set up
MESSAGE_OVERHEAD = 16  # tokens around a message and its role
OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class ModelAddress:
    """Which model is asked, where, and how long and large an answer may be."""

    base_url: str
    model: str
    key: str = field(repr=False)
    answer_tokens: int
    seconds: float


class _TooLargeError(Exception):
    """The response passed MAX_ANSWER_BYTES or came compressed, so that its size is unknown."""


class _Bounded(httpx2.AsyncByteStream):
    """A response body that ends in an error once it is too large."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise _TooLargeError
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _TooLargeError
    response.stream = _Bounded(response.stream)


@dataclass(frozen=True)
class _Failure:
    """Why there is no answer, whether to try again and when, and whether it may have cost something all the same."""

    why: str
    again: bool
    rest_seconds: float = REST_SECONDS
    delay_seconds: float | None = None
    charged: bool = False


class Endpoint:
    """Asks one model, one question at a time."""

    def __init__(self, address: ModelAddress, prices: Prices, spending: Spending, log: Log) -> None:
        self._address = address
        self._prices = prices
        self._spending = spending
        self._log = log
        self._rest_until = -math.inf
        self._said = ""

    async def ask(self, conversation: Sequence[dict[str, str]]) -> str | None:
        """The model's answer. None, with the reason in the log, when there is none or it may not be asked."""
        if trio.current_time() < self._rest_until:
            return None
        delay = FIRST_DELAY_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            worst = self._prices.of(_most_tokens(conversation), self._address.answer_tokens)
            reservation = self._spending.reserve(worst)
            if isinstance(reservation, str):
                self._say_once(reservation)
                return None
            found = await self._attempt(conversation, reservation)
            if not isinstance(found, _Failure):
                self._said = ""
                return found
            if not found.charged:
                self._spending.settle(reservation, Amount())
            wait = found.delay_seconds if found.delay_seconds is not None else delay
            if not found.again or attempt == ATTEMPTS or wait > LONGEST_DELAY_SECONDS:
                self._rest_until = trio.current_time() + max(found.rest_seconds, found.delay_seconds or 0.0)
                self._log("LLM gave no answer", level="warning", model=self._address.model, why=found.why)
                return None
            await trio.sleep(wait)
            delay *= 2
        raise AssertionError("unreachable")

    def _say_once(self, why: str) -> None:
        if why != self._said:
            self._log("LLM not asked", level="warning", model=self._address.model, why=why)
        self._said = why

    async def _attempt(self, conversation: Sequence[dict[str, str]], reservation: Reservation) -> str | _Failure:
        body: str | _Failure | None = None
        with trio.move_on_after(self._address.seconds):
            body = await self._request(conversation)
        if body is None:
            return _Failure(f"no answer within {self._address.seconds:g} seconds", again=True, charged=True)
        if isinstance(body, _Failure):
            return body
        return self._decode(body, reservation)

    async def _request(self, conversation: Sequence[dict[str, str]]) -> str | _Failure:
        address = self._address
        limit = "max_completion_tokens" if address.base_url == OPENAI_URL else "max_tokens"
        body = {"model": address.model, "messages": list(conversation), "stream": False, limit: address.answer_tokens}
        http = httpx2.AsyncClient(
            timeout=address.seconds,
            follow_redirects=False,  # the key goes where a person said, nowhere else
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [_bound]},
        )
        async with openai.AsyncOpenAI(
            api_key=address.key, base_url=address.base_url, max_retries=0, timeout=address.seconds, http_client=http
        ) as client:
            try:
                response = await client.post("/chat/completions", body=body, cast_to=httpx2.Response)
                return response.text
            except openai.APIStatusError as error:
                return _refusal(error.status_code, error.response.headers.get("retry-after"))
            except openai.APIConnectionError as error:
                sent = not isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
                return _Failure("the connection failed" if sent else "nobody answers there", again=True, charged=sent)
            except _TooLargeError:
                return _Failure("the answer is too large", again=False, charged=True)

    def _decode(self, body: str, reservation: Reservation) -> str | _Failure:
        """The text in a response; counts what it cost, by the service's own figures where they can be true."""
        try:
            fields = json.loads(body)
            content = fields["choices"][0]["message"]["content"]
            usage = fields.get("usage")
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            content, usage = None, None
        used = self._used(usage) or reservation.worst
        self._spending.settle(reservation, used)
        left = self._spending.left()
        self._log(
            "LLM asked",
            model=self._address.model,
            tokens=used.tokens,
            cost=round(used.money, 6),
            tokens_left=left.tokens,
            money_left=round(left.money, 4),
        )
        if not isinstance(content, str):
            return _Failure("what came back is no chat completion", again=False, charged=True)
        return content

    def _used(self, usage: Any) -> Amount | None:
        if not isinstance(usage, dict):
            return None
        counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
        believed = [count for count in counts if type(count) is int and 0 <= count < 10**9]
        return self._prices.of(*believed) if len(believed) == 2 else None


def _most_tokens(conversation: Sequence[dict[str, str]]) -> int:
    """More tokens than a conversation can be: no tokenizer makes more of them than there are bytes."""
    return sum(len(message["content"].encode("utf-8", "replace")) + MESSAGE_OVERHEAD for message in conversation)


def _refusal(status: int, retry_after: str | None) -> _Failure:
    if status == 429 or status >= 500:
        what = "too many requests" if status == 429 else "the service failed"
        return _Failure(f"{what} (status {status})", again=True, delay_seconds=_seconds(retry_after))
    hints = {
        401: "the key is refused; see key_env in [llm]",
        403: "the key may not do this; see key_env in [llm]",
        404: "there is no such model or address; see model and base_url in [llm]",
    }
    hint = hints.get(status, "the service refuses the request; see model and base_url in [llm]")
    return _Failure(f"{hint} (status {status})", again=False, rest_seconds=LONG_REST_SECONDS)


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds, as far as it can be believed."""
    if text is None or not text.strip().isdecimal() or len(text) > 6:
        return None
    return min(float(text), LONG_REST_SECONDS)
