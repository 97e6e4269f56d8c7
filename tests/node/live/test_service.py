"""The service over loopback: who is shown what, what is counted, and what is dropped and why."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from node.live import service
from node.live.assignment import Answerer
from node.platform.http import MAX_BODY_BYTES
from tests.node.live.conftest import Test

pytestmark = pytest.mark.sockets

PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SIGNUP = re.compile(r"/go/signup/[\w-]+")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def title(self) -> str:
        return self.body.partition("<h1>")[2].partition("</h1>")[0]

    @property
    def link(self) -> str:
        found = SIGNUP.search(self.body)
        assert found is not None
        return found[0]


@dataclass
class Browser:
    """Somebody who asks the service and keeps its cookie."""

    port: int
    agent: str = PERSON
    cookie: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    async def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        given = {"Host": "shop", "Connection": "close", "User-Agent": self.agent, "Cookie": self.cookie} | self.extra
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        given |= {"Content-Length": str(len(body))} if body else {}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            received = b"".join([piece async for piece in stream]).decode()
        top, _, text = received.partition("\r\n\r\n")
        lines = top.split("\r\n")
        answer = Answer(int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:]), text)
        if "set-cookie" in answer.headers:
            original = next(line for line in lines if line.lower().startswith("set-cookie"))
            self.cookie = original.split(": ", 1)[1].split(";")[0]
        return answer

    async def visit(self) -> Answer:
        """The page, by way of the redirect that sets the cookie."""
        answer = await self.ask("/")
        return await self.ask(answer.headers["location"]) if answer.status == 303 else answer


@asynccontextmanager
async def serving(test: Test, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """The port of a service of this folder, until the block ends."""
    monkeypatch.setattr(service, "TICK_SECONDS", 0.05)
    ready: list[str] = []
    open_now = trio.Event()

    def told(url: str) -> None:
        ready.append(url)
        open_now.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.run, test.root, "127.0.0.1", 0, told, lambda *_, **__: None)
        await open_now.wait()
        yield int(ready[0].rstrip("/").rpartition(":")[2])
        nursery.cancel_scope.cancel()


async def dropped(test: Test, answers: int) -> dict[str, int]:
    """Why answers were not counted, once so many were noted: they are written together, a moment later."""
    with trio.move_on_after(10):
        while sum(test.store.dropped().values()) < answers:
            await trio.sleep(0.05)
    return test.store.dropped()


@pytest.fixture
def open_garden(garden: Test) -> Test:
    garden.set(("too_fast_seconds = 1.0", "too_fast_seconds = 0.0"))
    garden.approve("control", "one-step", "benefit-first")
    return garden


async def test_nobody_sees_anything_before_it_is_approved(garden: Test, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(garden, monkeypatch) as port:
        answer = await Browser(port).visit()
        assert (answer.status, answer.body) == (503, "nothing here was approved yet\n")
        garden.approve("control")
        assert (await Browser(port).visit()).title == "A letter on gardening, once a month"
        assert garden.store.tally(1, 0.0, 1e12).visitors == 0  # with nothing to compare, nobody is counted
        garden.approve("one-step")
        assert [(await Browser(port).visit()).status for _ in range(4)] == [200] * 4
        assert sum(garden.store.tally(arm, 0.0, 1e12).visitors for arm in (1, 2)) == 4


async def test_a_visitor_keeps_the_variant_and_answers_once(open_garden: Test, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(open_garden, monkeypatch) as port:
        visitor = Browser(port)
        first = await visitor.visit()
        assert "script" not in first.headers["content-security-policy"]
        assert first.headers["content-security-policy"].startswith("default-src 'none'")
        leads = await visitor.ask(first.link)
        assert (leads.status, leads.headers["location"]) == (303, "https://www.example.org/welcome")
        await visitor.ask(first.link)
    async with serving(open_garden, monkeypatch) as port:  # after a restart
        visitor.port = port
        assert (await visitor.visit()).body == first.body
        assert await dropped(open_garden, 1) == {"repeat": 1}
    tallies = [open_garden.store.tally(arm, 0.0, 1e12) for arm in (1, 2, 3)]
    assert sum(tally.visitors for tally in tallies) == 1
    assert [tally.answers for tally in tallies if tally.visitors] == [{"signup": 1}]


async def test_what_is_no_person_is_shown_the_control_and_not_counted(
    open_garden: Test, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(open_garden, monkeypatch) as port:
        bot = await Browser(port, "Mozilla/5.0 (compatible; Googlebot/2.1)").visit()
        assert bot.title == "A letter on gardening, once a month"
        assert bot.link == "/go/signup/-"
        assert (await Browser(port).ask("/", "HEAD")).status == 200
        assert (await Browser(port).ask("/", Sec_Purpose="prefetch;prerender")).status == 503
        forgetful = Browser(port)
        await forgetful.ask("/")
        forgetful.cookie = ""
        assert (await forgetful.ask("/?back=1")).link == "/go/signup/-"
        made_up = Browser(port, cookie="live=me.AAAA")
        assert (await made_up.ask("/")).status == 303
        await Browser(port).ask("/go/signup/-")
        assert await dropped(open_garden, 5) == {
            "HEAD request": 1, "declared bot": 1, "no cookie back": 1, "not counted as a visitor": 1, "prefetch": 1
        }  # fmt: skip
    assert sum(open_garden.store.tally(arm, 0.0, 1e12).visitors for arm in (1, 2, 3)) == 0


async def test_links_that_are_forged_borrowed_or_too_fast_count_nothing(
    open_garden: Test, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_garden.set(("too_fast_seconds = 0.0", "too_fast_seconds = 5.0"))
    async with serving(open_garden, monkeypatch) as port:
        one, other = Browser(port), Browser(port)
        mine, theirs = await one.visit(), await other.visit()
        await one.ask("/go/signup/" + "A" * 48)
        await one.ask(theirs.link)
        await one.ask(mine.link)
        never = open_garden.store.signer.token(Answerer(bytes(16), 1))
        await Browser(port).ask(f"/go/signup/{never}")
        assert (await one.ask("/go/elsewhere/x")).status == 404
        assert await dropped(open_garden, 4) == {
            "cookie of another visitor": 1, "forged link": 1, "never shown to this visitor": 1, "too fast": 1
        }  # fmt: skip
    assert all(open_garden.store.tally(arm, 0.0, 1e12).answers == {} for arm in (1, 2, 3))


async def test_one_network_is_counted_only_so_often(open_garden: Test, monkeypatch: pytest.MonkeyPatch) -> None:
    open_garden.set(("an_address = 100", "an_address = 5"), ("behind_proxy = false", "behind_proxy = true"))
    async with serving(open_garden, monkeypatch) as port:
        for number in range(8):
            await Browser(port, extra={"X-Forwarded-For": f"10.0.0.1, 192.0.2.{number}"}).visit()
        await Browser(port, extra={"X-Forwarded-For": "192.0.2.1, 198.51.100.7"}).visit()
        assert await dropped(open_garden, 3) == {"too many from one network": 3}
    assert sum(open_garden.store.tally(arm, 0.0, 1e12).visitors for arm in (1, 2, 3)) == 6
    for path in (open_garden.root / "state").iterdir():
        assert b"192.0.2." not in path.read_bytes()


async def test_another_program_reports_answers_with_the_secret_alone(
    open_garden: Test, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = open_garden.store.webhook_secret
    async with serving(open_garden, monkeypatch) as port:
        shop = Browser(port, "shop/1.0")
        page = await Browser(port).ask("/?id=customer-17")
        assert page.status == 200
        assert (await Browser(port).ask("/?id=Customer-17")).body == page.body

        async def report(value: object, given: str = secret) -> int:
            return (await shop.ask("/hook/signup", "POST", json.dumps(value).encode(), X_Live_Secret=given)).status

        assert await report({"id": "customer-17"}, "wrong") == 403
        assert await report({"id": "customer-17"}) == 202
        assert await report({"id": "customer-18"}) == 202
        assert await report({"token": page.link.rpartition("/")[2]}) == 202
        assert await report([1]) == 400
        assert await report({"id": "x" * 300}) == 400
        assert (await shop.ask("/hook/signup", "POST", b"x" * (MAX_BODY_BYTES + 1))).status == 413
        assert await dropped(open_garden, 3) == {
            "never shown to this visitor": 1, "repeat": 1, "webhook without the secret": 1
        }  # fmt: skip
    assert sum(open_garden.store.tally(arm, 0.0, 1e12).answers.get("signup", 0) for arm in (1, 2, 3)) == 1


async def uncounted(visitor: Browser) -> None:
    """Wait until a visitor is shown a page that does not count: the service looks at the folder now and then."""
    with trio.fail_after(10):
        while (await visitor.visit()).link != "/go/signup/-":
            await trio.sleep(0.05)


async def test_an_edit_takes_a_variant_from_its_visitors_at_once(
    open_garden: Test, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(open_garden, monkeypatch) as port:
        visitors = [Browser(port) for _ in range(12)]
        seen = [(await visitor.visit()).title for visitor in visitors]
        moved = [visitor for visitor, title in zip(visitors, seen, strict=True) if title.startswith("Know what")]
        assert moved
        open_garden.edit("benefit-first", "Know what", "Learn what")
        await uncounted(moved[0])
        for visitor in moved:
            answer = await visitor.visit()
            assert (answer.title, answer.link) == ("A letter on gardening, once a month", "/go/signup/-")
        open_garden.edit("control", "Subscribe", "Join")  # the page that was approved goes on being shown, uncounted
        newcomer = Browser(port)
        await uncounted(newcomer)
        answer = await newcomer.visit()
        assert (answer.status, answer.link) == (200, "/go/signup/-")
        assert "Subscribe" in answer.body
