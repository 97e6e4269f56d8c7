"""The dashboard's server: who is let in, what is said to whom, and what it does to those who break a limit."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trio

from node.authoring.live import begin_live
from node.platform import concurrency, http
from node.platform.config import Config, load_config
from node.platform.home import Home
from node.platform.http import MAX_BODY_BYTES, MAX_CONNECTIONS, MAX_HEAD_BYTES
from node.view.web import dashboard, site
from protocol.identity import short
from protocol.records import Unknown
from tests.node.records_for_tests import experiment, reporters
from tests.node.view.conftest import HOSTILE, NAMED, Swarm

pytestmark = pytest.mark.sockets

STATIC = Path(dashboard.__file__).parent / "static"
ATOM = "{http://www.w3.org/2005/Atom}"
OWN_FILES = sorted(file.name for file in STATIC.glob("*.[hj]*") if file.name != "uplot.js")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """Something that asks the dashboard, with or without its token."""

    url: str
    log: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    @property
    def token(self) -> str:
        return self.url.partition("token=")[2]

    @property
    def cookie(self) -> str:
        return f"autoresearch_{self.port}={self.token}"

    async def ask(
        self, path: str, method: str = "GET", body: bytes = b"", cookie: str | None = None, **headers: str
    ) -> Answer:
        given = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", "Cookie": cookie or self.cookie}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            given["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return await self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    async def send(self, request: bytes) -> Answer:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(request)
            received = b"".join([piece async for piece in stream])
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return Answer(int(lines[0].split()[1]), headers, body)

    async def do(self, action: str, text: str = "", **headers: str) -> Answer:
        origin = {"Origin": f"http://127.0.0.1:{self.port}", "Content_Type": "application/json"} | headers
        return await self.ask(f"/api/do/{action}", "POST", json.dumps({"text": text}).encode(), **origin)


def settings(home: Path) -> Config:
    return load_config(None, {"home": str(home)})


@asynccontextmanager
async def showing(home: Path) -> AsyncIterator[Browser]:
    """The dashboard of a home, until the block ends."""
    ready: list[str] = []
    log: list[str] = []
    open_now = trio.Event()

    def told(url: str) -> None:
        ready.append(url)
        open_now.set()

    def remember(event: str, **details: object) -> None:
        log.append(f"{event} {details}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dashboard.show, settings(home), 0, told, remember)
        await open_now.wait()
        yield Browser(ready[0], log)
        nursery.cancel_scope.cancel()


# ---- who is let in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/?token=wrong", "/static/page.js", "/api/state", "/api/events", "/nothing"])
async def test_nobody_sees_anything_without_the_token(swarm: Swarm, path: str) -> None:
    async with showing(swarm.home) as browser:
        for cookie in ("none=1", f"autoresearch_{browser.port}=guess", '"; broken'):
            answer = await browser.ask(path, cookie=cookie)
            assert answer.status == 403
            assert b"tinylm" not in answer.body
            assert browser.token.encode() not in answer.body


async def test_the_token_in_the_address_becomes_a_cookie_no_script_can_read(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        answer = await browser.ask(f"/?token={browser.token}", cookie="none=1")
        assert answer.status == 200
        assert answer.headers["set-cookie"].startswith(browser.cookie.lower())
        assert "httponly; samesite=strict" in answer.headers["set-cookie"]


async def test_the_token_in_an_address_opens_only_the_page(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        assert (await browser.ask(f"/api/state?token={browser.token}", cookie="none=1")).status == 403


async def test_a_feed_reader_is_given_the_feed_by_its_key_and_nothing_else(swarm: Swarm) -> None:
    good = swarm.write("carol", experiment("Good", parent=swarm.parent, child=swarm.child))
    for record in reporters(good, lambda body: swarm.write("alice", body)):
        swarm.ledger.add(record, NAMED)
    async with showing(swarm.home) as browser:
        path = (await browser.ask("/api/state")).json["feed"]
        answer = await browser.ask(path, cookie="none=")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/atom+xml")
        feed = ElementTree.fromstring(answer.body)
        (entry,) = feed.findall(f"{ATOM}entry")
        (link,) = entry.findall(f"{ATOM}link")
        assert entry.findtext(f"{ATOM}title") == "Good"
        assert entry.findtext(f"{ATOM}author/{ATOM}name") == short(swarm.authors["carol"].key)
        assert link.get("href") == f"http://127.0.0.1:{browser.port}/#/record/{good.id.hex()}"
        key = path.partition("=")[2]
        for other in (f"/?key={key}", f"/api/state?key={key}", f"/?token={key}", "/feed.atom?key=wrong", "/feed.atom"):
            assert (await browser.ask(other, cookie="none=")).status == 403
    async with showing(swarm.home) as again:
        assert (await again.ask("/api/state")).json["feed"] == path


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:80", "[::1]:80"])
async def test_a_foreign_host_name_is_refused(swarm: Swarm, host: str) -> None:
    async with showing(swarm.home) as browser:
        assert (await browser.ask("/", Host=host)).status == 421


async def test_another_page_may_not_ask(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        assert (await browser.ask("/api/state", Origin="http://evil.example")).status == 403
        assert (await browser.do("pause", Origin="null")).status == 403
        assert not Home(swarm.home).paused_until()


async def test_it_listens_on_loopback_only_and_keeps_its_address_for_the_owner(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        kept = swarm.home / "dashboard.url"
        assert browser.url.startswith("http://127.0.0.1:")
        assert kept.read_text().strip() == browser.url
        assert kept.stat().st_mode & 0o777 == 0o600
    assert not kept.exists()


async def test_beside_a_node_it_goes_when_the_node_goes(swarm: Swarm) -> None:
    ready: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            dashboard.show_beside, settings(swarm.home), ready.append, lambda event, **details: pytest.fail(event)
        )
        with trio.fail_after(20):
            while not ready:
                await trio.sleep(0.01)
        assert (await Browser(ready[0]).ask("/api/state")).status == 200
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        while (swarm.home / "dashboard.url").exists():
            await trio.sleep(0.01)


async def test_a_dashboard_that_is_ended_while_it_starts_ends_too(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting, go_on, shown, ended = threading.Event(), threading.Event(), [], threading.Event()

    def slow_partial(*arguments: Any) -> Callable[[], object]:
        starting.set()
        go_on.wait(20)
        return partial(*arguments)

    async def show(*_: object) -> None:
        shown.append(True)
        await trio.sleep_forever()

    run = trio.run

    def run_to_the_end(function: Callable[[], Any]) -> None:
        run(function)
        ended.set()

    monkeypatch.setattr(concurrency, "partial", slow_partial)
    monkeypatch.setattr(dashboard, "show", show)
    monkeypatch.setattr(trio, "run", run_to_the_end)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dashboard.show_beside, settings(swarm.home), print, print)
        while not starting.is_set():
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    go_on.set()
    assert await trio.to_thread.run_sync(ended.wait, 5)
    assert not shown


async def test_the_address_that_a_killed_node_left_is_logged(swarm: Swarm) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        Home(swarm.home).write_dashboard(f"http://127.0.0.1:{nobody.getsockname()[1]}/?token=old")
        told: list[str] = []
        async with trio.open_nursery() as nursery:
            ready = trio.Event()
            nursery.start_soon(
                dashboard.show, settings(swarm.home), 0, lambda url: ready.set(), lambda event, **_: told.append(event)
            )
            with trio.fail_after(10):
                await ready.wait()
            nursery.cancel_scope.cancel()
    assert told == ["stale dashboard address"]


async def test_a_dashboard_that_cannot_start_is_logged_and_stops_nothing(tmp_path: Path) -> None:
    log: list[str] = []
    await dashboard.show_beside(
        settings(tmp_path), log.append, lambda event, **details: log.append(str(details["why"]))
    )
    assert "there is no ledger" in log[0]


async def test_every_answer_forbids_what_the_page_does_not_need(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        for path in ("/", "/api/state", "/static/page.css", "/nothing"):
            headers = (await browser.ask(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"


# ---- what it says ---------------------------------------------------------------------------------------------------


async def test_the_state_has_every_record_and_then_only_what_is_new(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        state = (await browser.ask("/api/state")).json
        assert state["about"]["metric"] == "val_bpb"
        assert [row["kind"] for row in state["rows"]] == ["experiment", "replication", "experiment", "hypothesis"]
        assert state["now"] == {"running": None, "paused": False}
        swarm.write("alice", experiment("Another"))
        later = (await browser.ask(f"/api/state?after={state['cursor']}")).json
        assert [row["title"] for row in later["rows"]] == ["Another"]
        assert "about" not in later


async def test_a_page_is_given_everything_anew_when_records_were_dropped(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        state = (await browser.ask("/api/state")).json
        swarm.ledger._drop([swarm.authors["bob"].key])
        cursor = f"after={state['cursor']}&dropped={state['dropped']}"
        later = (await browser.ask(f"/api/state?{cursor}")).json
        assert later["dropped"] == state["dropped"] + 1
        assert len(later["rows"]) == later["cursor"] == swarm.ledger.count() < state["cursor"]
        async with await trio.open_tcp_stream("127.0.0.1", browser.port) as stream:
            head = f"Host: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
            await stream.send_all(f"GET /api/events?{cursor} HTTP/1.1\r\n{head}\r\n".encode())
            received = b""
            while b"data: " not in received:
                received += await stream.receive_some()
        assert f'"cursor": {later["cursor"]}'.encode() in received


async def test_the_board_has_the_leaderboard_discoveries_and_what_was_tried(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        board = (await browser.ask("/api/board")).json
        claimed = next(found for found in board["discoveries"] if found["title"] == "Smaller initialisation")
        assert claimed["claimed"]["pairs"] == 2
        assert (claimed["replicated"], claimed["reports"], claimed["keys"]) == (None, 0, 1)
        assert claimed["unchecked"]["mean"] == pytest.approx(-0.19)
        assert claimed["rests_on"] == "too early to say: 1 reported, and this node has checked none of them"
        assert [(one["category"], one["tried"]) for one in board["tried"]] == [("initialisation", 2)]


async def test_a_record_shows_its_edit_runs_replications_and_forest_plot(swarm: Swarm) -> None:
    record = swarm.authors["alice"].records[0]
    async with showing(swarm.home) as browser:
        shown = (await browser.ask(f"/api/record/{record.id.hex()}")).json
        assert shown["diff"][3:5] == ["-LR = 1e-3", "+LR = 3e-3  # </pre><script>window.taken=1</script>"]
        assert shown["replications"][0]["route"] == "child"
        drawn = await browser.ask(f"/api/record/{record.id.hex()}/forest.svg")
        assert drawn.headers["content-type"] == "image/svg+xml"
        assert b"claimed" in drawn.body
        assert (await browser.ask(f"/api/record/{record.id.hex()[:8]}")).status == 404
        assert shown["replay"] is None
        swarm.ledger.replays.keep(swarm.child, 3.5, {"prices": {"bid": (1.0, 2.0)}})
        again = (await browser.ask(f"/api/record/{record.id.hex()}")).json
        assert again["replay"] == {"prices": {"bid": [1.0, 2.0]}}


async def test_a_new_record_reaches_an_open_page_within_a_second(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser, await trio.open_tcp_stream("127.0.0.1", browser.port) as stream:
        head = f"Host: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
        await stream.send_all(f"GET /api/events?after=4 HTTP/1.1\r\n{head}\r\n".encode())
        received = await stream.receive_some()
        assert b"text/event-stream" in received
        while b"retry" not in received:
            received += await stream.receive_some()
        swarm.write("alice", experiment("News"))
        started = time.monotonic()
        with trio.fail_after(5):
            while b"News" not in received:
                received += await stream.receive_some()
        assert time.monotonic() - started < 1.0
        assert b"id: 5\n" in received


async def test_hostile_text_comes_out_as_json_and_svg_text(swarm: Swarm) -> None:
    record = swarm.authors["bob"].records[1]
    async with showing(swarm.home) as browser:
        answer = await browser.ask("/api/state")
        assert answer.headers["content-type"] == "application/json"
        assert HOSTILE in [row.get("title") for row in answer.json["rows"]]
        drawn = (await browser.ask(f"/api/record/{record.id.hex()}/forest.svg")).body
        assert b"<script" not in drawn
        assert b"<img" not in drawn


async def test_large_fields_of_an_unknown_record_are_cut(swarm: Swarm) -> None:
    record = swarm.write("bob", Unknown("poem", {"text": "x" * 2000}))
    async with showing(swarm.home) as browser:
        shown = (await browser.ask(f"/api/record/{record.id.hex()}")).json
        assert len(shown["record"]["body"]["text"]) == 1000


@pytest.mark.long
async def test_ten_thousand_records_are_answered_in_a_second(crowded: Swarm) -> None:
    async with showing(crowded.home) as browser:
        for path in ("/api/state", "/api/board", f"/api/state?after={crowded.ledger.count() - 1}"):
            started = time.process_time()
            answer = await browser.ask(path)
            assert time.process_time() - started < 1.0
            assert answer.status == 200
        assert len(answer.json["rows"]) == 1
        assert len(answer.body) < 1000


# ---- what a person may do -------------------------------------------------------------------------------------------


async def test_pausing_resuming_and_suggesting_are_the_only_things_the_page_can_do(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        assert (await browser.do("pause")).status == 200
        assert Home(swarm.home).paused_until()
        assert (await browser.ask("/api/state?after=4")).json["now"]["paused"]
        assert (await browser.do("resume")).status == 200
        assert not Home(swarm.home).paused_until()
        assert "when it next starts" in (await browser.do("suggest", "Try a longer context")).json["said"]
        assert [path.suffix for path in Home(swarm.home).suggestions.iterdir()] == [".json"]
        assert (await browser.do("suggest", " ")).status == 400
        assert (await browser.do("delete")).status == 404
        assert (await browser.ask("/api/state", "PUT")).status == 405
        assert (await browser.do("pause", Content_Type="text/plain")).status == 403
        assert (await browser.do("pause", "x" * 3000)).status == 400


# ---- limits ---------------------------------------------------------------------------------------------------------


async def test_too_much_is_refused_and_the_server_goes_on(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        assert (await browser.ask("/api/state", X_Filler="x" * 2 * MAX_HEAD_BYTES)).status == 431
        assert (await browser.ask("/api/do/pause", "POST", b"x" * (MAX_BODY_BYTES + 1))).status == 413
        assert (await browser.send(b"\x16\x03\x01 not HTTP\r\n\r\n")).status == 400
        assert (await browser.ask("/../../etc/passwd")).status == 404
        assert (await browser.ask("/static/..%2f..%2fsite.py")).status == 404
        assert (await browser.ask("/api/state?after=-1&after=x")).status == 200


async def test_who_sends_a_request_drop_by_drop_is_cut_off(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.3)
    async with showing(swarm.home) as browser, await trio.open_tcp_stream("127.0.0.1", browser.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost:")
        with trio.fail_after(5):
            assert await stream.receive_some() == b""


async def test_connections_beyond_the_limit_are_closed_at_once(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        held = [await trio.open_tcp_stream("127.0.0.1", browser.port) for _ in range(MAX_CONNECTIONS)]
        async with await trio.open_tcp_stream("127.0.0.1", browser.port) as one_more:
            with trio.fail_after(5):
                assert await one_more.receive_some() == b""
        for stream in held:
            await stream.aclose()
        with trio.fail_after(5):
            while True:
                try:
                    if (await browser.ask("/api/state")).status == 200:
                        break
                except (trio.BrokenResourceError, IndexError):
                    await trio.sleep(0.01)  # until the server has seen that they left


async def test_open_pages_are_limited_and_a_closed_one_makes_room(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "MAX_STREAMS", 0)
    async with showing(swarm.home) as browser:
        assert (await browser.ask("/api/events")).status == 503


async def test_a_fault_in_one_answer_is_logged_and_ends_nothing_else(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with showing(swarm.home) as browser:
        with monkeypatch.context() as patch:
            patch.setattr(site.DashboardModel, "about", lambda self: 1 / 0)
            with pytest.raises((IndexError, trio.BrokenResourceError)):
                await browser.ask("/api/state")
        assert "ZeroDivisionError" in browser.log[0]
        assert (await browser.ask("/api/state")).status == 200


# ---- the page itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OWN_FILES)
def test_the_page_never_parses_text_as_markup_and_loads_nothing_from_elsewhere(name: str) -> None:
    content = (STATIC / name).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", content)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", content)


def test_the_page_has_no_inline_script_or_style() -> None:
    content = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", content)


async def test_a_live_test_has_its_page_here_behind_the_same_gate(swarm: Swarm, tmp_path: Path) -> None:
    garden = tmp_path / "garden"
    begin_live(garden, None)
    Home(swarm.home).add_live_folder(garden)
    Home(swarm.home).add_live_folder(tmp_path / "gone")
    async with showing(swarm.home) as browser:
        assert (await browser.ask("/api/state")).json["live"] == ["garden"]
        assert b"live.js" in (await browser.ask("/live/0/")).body
        assert (await browser.ask("/live/0/", cookie="none")).status == 403
        shown = (await browser.ask("/live/0/api/live")).json
        control = next(row for row in shown["variants"] if row["name"] == "control")
        preview = await browser.ask(f"/live/0/preview/control/{control['sha256']}")
        assert preview.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert (await browser.ask("/live/0/preview/control/00")).status == 404
        given = {"Origin": f"http://127.0.0.1:{browser.port}", "Content_Type": "application/json"}
        body = json.dumps({"text": f"control {control['sha256']}"}).encode()
        assert (
            await browser.ask("/live/0/api/do/approve", "POST", body, Content_Type="application/json")
        ).status == 403
        assert (await browser.ask("/live/0/api/do/approve", "POST", body, **given)).json == {
            "said": "control may be seen now"
        }
        assert (await browser.ask("/live/0/api/do/approve", "POST", body, **given)).status == 400
        assert (await browser.ask("/live/1/")).status == 404
