"""What the node passes on for an agent, what it counts, and what it says where it does not."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import trio

from node.proposers import agent_proxy
from node.proposers.agent_proxy import PORT, Account, AgentProxy
from node.proposers.agent_service import SERVICES, Reach, Usage, most_answer_tokens, passed_headers, refusal, url_to_ask
from node.proposers.spending import Amount, Caps, Prices, Spending
from tests.node.proposers.agent_api import ANSWER_TOKENS, QUESTION_TOKENS, SILENT, AgentApi, agent_api
from tests.node.proposers.known_agents import KEY, Kept, Logged

HOST = {"Host": f"127.0.0.1:{PORT}"}
ANTHROPIC = Reach(SERVICES["anthropic"], "https://api.anthropic.com", KEY)
OPENAI = Reach(SERVICES["openai"], "https://gateway.example/openai/v1", KEY)
GOOGLE = Reach(SERVICES["google"], "https://generativelanguage.googleapis.com", KEY)

PASSED = [
    (ANTHROPIC, "POST", "/v1/messages?beta=true", "https://api.anthropic.com/v1/messages?beta=true"),
    (ANTHROPIC, "POST", "/v1/messages/count_tokens", "https://api.anthropic.com/v1/messages/count_tokens"),
    (ANTHROPIC, "GET", "/v1/models", "https://api.anthropic.com/v1/models"),
    (OPENAI, "POST", "/v1/responses", "https://gateway.example/openai/v1/responses"),
    (OPENAI, "POST", "/v1/chat/completions", "https://gateway.example/openai/v1/chat/completions"),
    (
        GOOGLE, "POST", "/v1beta/models/m:streamGenerateContent?alt=sse&key=mine",
        "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("reach", "method", "target", "url"), PASSED)
def test_what_makes_a_model_answer_is_passed_on(reach: Reach, method: str, target: str, url: str) -> None:
    assert refusal(reach, PORT, method, target, [("host", f"127.0.0.1:{PORT}")]) is None
    assert url_to_ask(reach, target) == url


REFUSED = [
    ("CONNECT", "api.anthropic.com:443", "no tunnel is made"),
    ("GET", "http://192.0.2.7/v1/models", "an address of another server"),
    ("OPTIONS", "*", "an address of another server"),
    ("POST", "/v1/files", "only what a model answers"),
    ("POST", "/v1/messages/batches", "only what a model answers"),
    ("GET", "/v1/messages", "only what a model answers"),
    ("DELETE", "/v1/models/m", "DELETE is not passed on"),
    ("POST", "/v1/messages/../organizations/api_keys", "this path is not passed on"),
    ("POST", "/v1/messages%2f..%2ffiles", "this path is not passed on"),
    ("POST", "//192.0.2.7/v1/messages", "this path is not passed on"),
    ("POST", "/v1\\messages", "this path is not passed on"),
    ("POST", "/@192.0.2.7/v1/messages", "this path is not passed on"),
]


@pytest.mark.parametrize(("method", "target", "why"), REFUSED)
def test_everything_else_is_refused_in_a_sentence(method: str, target: str, why: str) -> None:
    said = refusal(ANTHROPIC, PORT, method, target, [("host", f"127.0.0.1:{PORT}")])
    assert said is not None
    assert why in said


def test_of_an_agents_headers_none_says_who_asks() -> None:
    given = [
        ("authorization", "Bearer of-the-agent"), ("x-api-key", "of-the-agent"), ("cookie", "a=b"),
        ("connection", "keep-alive, x-odd"), ("x-odd", "1"), ("proxy-authorization", "x"), ("x-forwarded-for", "me"),
        ("content-type", "application/json"), ("anthropic-version", "2023-06-01"), ("anthropic-beta", "b\x00"),
    ]  # fmt: skip
    assert passed_headers(ANTHROPIC, given) == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "accept-encoding": "identity",
        "x-api-key": KEY,
    }
    assert KEY not in repr(ANTHROPIC)


ANSWERS = [
    ('{"usage": {"prompt_tokens": 7, "completion_tokens": 3}}', (7, 3)),
    ('{"usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 3}}', (7, 3)),
    ('{\n "usageMetadata": {\n "promptTokenCount": 7, "candidatesTokenCount": 1, "thoughtsTokenCount": 2}\n}', (7, 3)),
    (
        'event: message_start\ndata: {"message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}\n\n'
        'event: message_delta\ndata: {"usage": {"output_tokens": 3}}\n\n',
        (7, 3),
    ),
    ('data: {"response": {"usage": {"input_tokens": 7, "output_tokens": 3}}}\n\n', (7, 3)),
    ('data: {"usage": null}\n\ndata: {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\ndata: [DONE]', (7, 3)),
    ('{"usage": {"prompt_tokens": -7, "completion_tokens": true}}', (None, None)),
    ('{"usage": "much"}', (None, None)),
    ("no JSON: usage", (None, None)),
]


@pytest.mark.parametrize(("answer", "counts"), ANSWERS)
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_what_an_answer_used_is_read_as_it_passes(
    answer: str, counts: tuple[int | None, int | None], size: int
) -> None:
    usage, data = Usage(), answer.encode()
    for start in range(0, len(data), size):
        usage.feed(data[start : start + size])
    usage.end(data)
    assert (usage.question, usage.answer) == counts


def test_the_most_that_an_answer_can_take_is_what_the_question_allows() -> None:
    assert most_answer_tokens(b'{"max_tokens": 5}', 99) == 5
    assert most_answer_tokens(b'{"generationConfig": {"maxOutputTokens": 6}}', 99) == 6
    for odd in (b"{}", b"[", b"[1]", b'{"max_tokens": "5"}', b'{"max_tokens": -1}'):
        assert most_answer_tokens(odd, 99) == 99


# ---- over real sockets -------------------------------------------------------------------------------------------


class Asked:
    """A proxy before an API, and what it counted and logged."""

    def __init__(self, api: AgentApi, most_requests: int = 10, caps: Caps | None = None) -> None:
        self.log = Logged()
        caps = caps or Caps(Amount(10**7, 10.0), Amount(10**7, 10.0))
        self.spending = Spending(Kept(), caps, time.time)
        reach = Reach(SERVICES["anthropic"], api.url, KEY)
        self.proxy = AgentProxy(reach, "", Account(self.spending, Prices(1.0, 10.0)), most_requests, self.log)
        self.url = ""

    async def post(self, **body: Any) -> httpx2.Response:
        async with httpx2.AsyncClient(trust_env=False) as client:
            return await client.post(f"{self.url}/v1/messages", json={"max_tokens": 100, **body}, headers=HOST)


@asynccontextmanager
async def asked(api: AgentApi, **more: Any) -> AsyncIterator[Asked]:
    one = Asked(api, **more)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    one.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.proxy.serve, listener)
        yield one
        nursery.cancel_scope.cancel()


@pytest.mark.sockets
async def test_tokens_and_money_are_counted_and_no_cookie_comes_back() -> None:
    with agent_api() as api:
        async with asked(api) as one:
            answer = await one.post()
            assert answer.status_code == 200
            assert "set-cookie" not in answer.headers
            assert one.proxy.counted.used == Amount(
                QUESTION_TOKENS + ANSWER_TOKENS, (QUESTION_TOKENS + 10 * ANSWER_TOKENS) / 1e6
            )
            assert one.spending.total == one.proxy.counted.used
            assert one.proxy.counted.bytes_down == len(answer.content)
    assert api.headers[0] == {"host", "accept", "accept-encoding", "content-length", "content-type", "user-agent"} | {
        "x-api-key", "connection"
    }  # fmt: skip


@pytest.mark.sockets
async def test_an_answer_that_tells_no_usage_is_counted_at_its_most() -> None:
    with agent_api() as api:
        async with asked(api) as one:
            await one.post(model=SILENT)
            size = one.proxy.counted.bytes_up
            assert one.spending.total.tokens == size + 100


@pytest.mark.sockets
async def test_a_stream_of_events_passes_as_it_comes() -> None:
    with agent_api() as api:
        async with asked(api) as one:
            answer = await one.post(stream=True)
            events = [json.loads(line[6:])["type"] for line in answer.text.splitlines() if line]
            assert events == ["begins", "ends"]
            assert one.proxy.counted.used.tokens == QUESTION_TOKENS + ANSWER_TOKENS


@pytest.mark.sockets
async def test_requests_are_capped() -> None:
    with agent_api() as api:
        async with asked(api, most_requests=2) as one:
            answers = [await one.post() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert answers[2].json()["error"]["message"] == "after 2 requests no more are passed on; see turns in [agent]"
    assert len(api.asked) == 2


@pytest.mark.sockets
async def test_what_is_too_large_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_proxy, "MAX_QUESTION_BYTES", 1000)
    with agent_api() as api:
        async with asked(api) as one:
            assert (await one.post(messages="x" * 2000)).status_code == 413
            monkeypatch.setattr(agent_proxy, "MAX_ANSWER_BYTES", 10)
            with pytest.raises(httpx2.RemoteProtocolError):
                await one.post()
    assert len(api.asked) == 1


@pytest.mark.sockets
async def test_a_service_that_is_not_there_costs_nothing() -> None:
    async with asked(AgentApi("http://127.0.0.1:9")) as one:
        answer = await one.post()
        assert (answer.status_code, one.spending.total) == (502, Amount())
        assert "does not answer" in answer.json()["error"]["message"]
