"""A model behind an OpenAI-compatible endpoint: a conversation goes in, a text comes out, or nothing does.

The service is untrusted: an answer is bounded in size and time, decoded once here, and a service that refuses, fails
or floods is not asked for a while. The most that a question can cost is reserved before it is asked. The key goes into
the request's header and nowhere else; no text of the service or of an exception is ever logged.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import openai
import trio

from node.platform.config import OPENAI_URL
from node.platform.log import Log
from node.proposers.completion import AGAIN, Asking, is_too_long, is_used_up, read_completion, retry_after_seconds
from node.proposers.service_client import client_for, why_no_client
from node.proposers.spending import Amount, Prices, Reservation, Spending

MAX_ANSWER_BYTES = 1 << 20  # an edit with its reason is some kilobytes
ATTEMPTS = 3
FIRST_DELAY_SECONDS = 2.0  # before the second attempt; doubled before the third
LONGEST_DELAY_SECONDS = 30.0  # a service that asks for more is given up for now: research waits meanwhile
BACKOFF_SECONDS = 300.0  # in which a service that failed is not asked again
LONG_BACKOFF_SECONDS = 3600.0  # the same after a refusal, which a person has to mend in the settings
MESSAGE_OVERHEAD = 16  # tokens around a message and its role, generously
OK = 200
MOST_CHARACTERS = 16  # of a token: a service that counts fewer tokens than this does not count


@dataclass(frozen=True)
class ModelAddress:
    """Which model is asked, where, and how long (seconds) and large (tokens) an answer may be."""

    base_url: str
    model: str
    key: str = field(repr=False)
    answer_tokens: int
    seconds: float
    proxy: str = ""  # through which it is asked; OF_THE_ENVIRONMENT: as the environment says


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
    """Why there is no answer.

    again: whether to try again, after `delay_seconds` if the service named a time. backoff_seconds: how long it is not
    asked when there is no further attempt. charged: whether the question may be on the bill all the same.
    """

    why: str
    again: bool
    backoff_seconds: float = BACKOFF_SECONDS
    delay_seconds: float | None = None
    charged: bool = False


def client_of(address: ModelAddress) -> httpx2.AsyncClient:
    """What carries the questions. Raises ValueError or OSError for a proxy or certificates that cannot be used."""
    return client_for(address.base_url, address.proxy, address.seconds, event_hooks={"response": [_bound]})


class Endpoint:
    """Asks one model, one question at a time."""

    def __init__(self, address: ModelAddress, prices: Prices, spending: Spending, log: Log) -> None:
        self._address = address
        self._prices = prices
        self._spending = spending
        self._log = log
        self._back_off_until = -math.inf
        self._last_reason = ""
        self._asking = Asking("max_completion_tokens" if address.base_url == OPENAI_URL else "max_tokens")
        self._refused: set[Asking] = set()

    async def ask(self, conversation: Sequence[dict[str, str]]) -> str | None:
        """The model's answer. None, with the reason in the log, when there is none or it may not be asked."""
        if trio.current_time() < self._back_off_until:
            return None
        delay = FIRST_DELAY_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            worst = self._prices.of(_most_tokens(conversation), self._address.answer_tokens)
            reservation = self._spending.reserve(worst)
            if isinstance(reservation, str):
                self._log_once(reservation)
                return None
            found = await self._attempt(conversation, reservation)
            if not isinstance(found, _Failure):
                self._last_reason = ""
                return found
            if not found.charged:
                self._spending.settle(reservation, Amount())
            wait = found.delay_seconds if found.delay_seconds is not None else delay
            if not found.again or attempt == ATTEMPTS or wait > LONGEST_DELAY_SECONDS:
                self._back_off_until = trio.current_time() + max(found.backoff_seconds, found.delay_seconds or 0.0)
                self._log("LLM gave no answer", level="warning", model=self._address.model, why=found.why)
                return None
            await trio.sleep(wait)
            delay *= 2
        raise AssertionError("unreachable")

    def _log_once(self, why: str) -> None:
        if why != self._last_reason:
            self._log("LLM not asked", level="warning", model=self._address.model, why=why)
        self._last_reason = why

    async def _attempt(self, conversation: Sequence[dict[str, str]], reservation: Reservation) -> str | _Failure:
        body: str | _Failure | None = None
        with trio.move_on_after(self._address.seconds):
            body = await self._request(conversation)
        if body is None:
            return _Failure(f"no answer within {self._address.seconds:g} seconds", again=True, charged=True)
        if isinstance(body, _Failure):
            return body
        return self._decode(body, conversation, reservation)

    async def _request(self, conversation: Sequence[dict[str, str]]) -> str | _Failure:
        """A response's body. Where the service refuses a parameter, it is asked once more without it."""
        address = self._address
        try:
            http = client_of(address)
        except (ValueError, OSError) as error:
            return _Failure(why_no_client(error), again=False, backoff_seconds=LONG_BACKOFF_SECONDS)
        async with openai.AsyncOpenAI(
            api_key=address.key, base_url=address.base_url, max_retries=0, timeout=address.seconds, http_client=http
        ) as client:
            while True:
                messages = self._asking.messages(conversation)
                body = {"model": address.model, "messages": messages, "stream": False}
                body[self._asking.limit] = address.answer_tokens
                try:
                    response = await client.post("/chat/completions", body=body, cast_to=httpx2.Response)
                    return response.text
                except openai.APIStatusError as error:
                    said = error.response.text
                    otherwise = self._asking.after_refusal(error.status_code, said)
                    if otherwise is None or otherwise in self._refused:
                        return self._refusal(error.status_code, error.response.headers.get("retry-after"), said)
                    self._refused.add(self._asking)
                    self._asking = otherwise
                except openai.APIConnectionError as error:
                    # Without a connection nothing was asked and nothing is charged; one that broke later may be.
                    sent = not isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
                    why = "the connection failed" if sent else "nobody answers there"
                    return _Failure(why, again=True, charged=sent)
                except _TooLargeError:
                    return _Failure("the answer is too large", again=False, charged=True)

    def _refusal(self, status: int, retry_after: str | None, said: str) -> _Failure:
        seconds = retry_after_seconds(retry_after, time.time(), LONG_BACKOFF_SECONDS)
        if status == 402 or is_used_up(said):
            why = f"the account has nothing left to spend; see its limits and bills at the service (status {status})"
            return _Failure(why, again=False, backoff_seconds=LONG_BACKOFF_SECONDS)
        if status in AGAIN or status >= 500:
            what = "too many requests" if status == 429 else "the service failed"
            return _Failure(f"{what} (status {status})", again=True, delay_seconds=seconds)
        if status == 413 or is_too_long(said):
            why = "the question is longer than this model can read; lower answer_tokens in [llm], or name another model"
            return _Failure(why, again=False)
        hints = {
            401: "the key is refused; see key_env in [llm]",
            403: "the key may not do this; see key_env in [llm]",
            404: "there is no such model or address; see model and base_url in [llm]",
        }
        if 300 <= status < 400:
            hints[status] = "the service sends to another address, which is not followed; correct base_url in [llm]"
        hint = hints.get(status, "the service refuses the request; see model and base_url in [llm]")
        return _Failure(f"{hint} (status {status})", again=False, backoff_seconds=LONG_BACKOFF_SECONDS)

    def _decode(self, body: str, asked: Sequence[dict[str, str]], reservation: Reservation) -> str | _Failure:
        """The text in a response; charges it by the service's figures, or at its most where they make no sense."""
        found = read_completion(body, self._address.answer_tokens)
        if found.text is None and found.status != OK:
            failure = self._refusal(found.status, None, body)
            return replace(failure, why=found.why)
        used = self._used(found.usage, asked, found.text or "", reservation) or reservation.worst
        self._spending.settle(reservation, used)
        remaining = self._spending.remaining()
        self._log(
            "LLM asked",
            model=self._address.model,
            tokens=used.tokens,
            cost=round(used.money, 6),
            tokens_left=remaining.tokens,
            money_left=round(remaining.money, 4),
        )
        return _Failure(found.why, again=False, charged=True) if found.text is None else found.text

    def _used(
        self, usage: Any, asked: Sequence[dict[str, str]], answer: str, reservation: Reservation
    ) -> Amount | None:
        """The cost by a response's `usage`, between what it must at least have been and what it can have been at most.

        None if its counts are missing, no integers, negative or absurdly large.
        """
        if not isinstance(usage, dict):
            return None
        counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
        believed = [count for count in counts if type(count) is int and 0 <= count < 10**9]
        if len(believed) != 2:
            return None
        least = [sum(len(message["content"]) for message in asked) // MOST_CHARACTERS, len(answer) // MOST_CHARACTERS]
        used = self._prices.of(*(max(told, bound) for told, bound in zip(believed, least, strict=True)))
        worst = reservation.worst
        return Amount(min(used.tokens, worst.tokens), min(used.money, worst.money))


def _most_tokens(conversation: Sequence[dict[str, str]]) -> int:
    """An upper bound of a conversation's tokens: no tokenizer makes more of them than there are bytes."""
    return sum(len(message["content"].encode("utf-8", "replace")) + MESSAGE_OVERHEAD for message in conversation)
