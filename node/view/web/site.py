"""What is at which address of the dashboard; `gate` says who may ask."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import trio

from node.platform.http import Request, Response, text
from node.view.files import plot
from node.view.files.site import feed
from node.view.model.compare import NotComparableError
from node.view.model.dashboard import DashboardModel
from node.view.web.actions import Actions
from node.view.web.gate import FEED, SAFETY, TYPES, Gate, act, as_json, nothing, static_files

if TYPE_CHECKING:
    from node.view.web.live import LivePages

READ_SECONDS = 0.5  # between two readings of the ledger while a page is open
HEARTBEAT_SECONDS = 5.0  # between two messages to a page; by one that cannot be sent, a closed page is noticed
MAX_STREAMS = 16
MAX_ROWS_AT_ONCE = 2000


class Site:
    """The addresses of one dashboard."""

    def __init__(
        self, model: DashboardModel, port: int, actions: Actions, feed_key: str, lives: Sequence[Path] = ()
    ) -> None:
        """feed_key: what a feed reader shows. lives: folders of live tests, which have pages of their own here."""
        self._model = model
        self._actions = actions
        self._gate = Gate(port, "`autoresearch-node dashboard` or `join`", feed_key)
        self._home = f"http://127.0.0.1:{port}/"
        self._feed = f"{FEED}?key={feed_key}"
        self._lives = {str(number): _live_pages(folder) for number, folder in enumerate(lives)}
        self._names = [folder.name for folder in lives]
        self._streams = 0
        self._projections: Mapping[str, Callable[[], object]] = {
            "board": model.board,
            "live": model.live,
            "map": model.map,
            "objective": model.objective,
            "progress": model.progress,
            "settings": model.settings,
            "suggestions": model.suggestions,
            "swarm": model.swarm,
            "totals": model.totals,
        }
        self._files = static_files()

    @property
    def url(self) -> str:
        """The page's address with the token: for the person's own terminal, never for a log."""
        return self._gate.url

    async def answer(self, request: Request) -> Response:
        """The answer to a request, with the headers that every answer has."""
        response = self._gate.refusal(request) or await self._found(request)
        return Response(response.status, response.content_type, response.body, {**SAFETY, **response.headers})

    # ---- what is where -----------------------------------------------------------------------------------------

    async def _found(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        if parts[0] == "live" and len(parts) > 1 and parts[1] in self._lives:
            return self._lives[parts[1]].answer(parts[2:] or [""], request)
        if request.method == "POST":
            return act(parts, request, self._actions)
        if request.method not in ("GET", "HEAD"):
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "this dashboard is for looking")
        match parts:
            case [""]:
                return self._file("index.html", self._gate.cookie)
            case ["static", name]:
                return self._file(name, {})
            case ["feed.atom"]:
                self._model.refresh()
                return Response(HTTPStatus.OK, feed.CONTENT_TYPE, self._confirmed())
            case ["api", "state"]:
                return as_json(self._state(_cursor(request), _dropped(request)))
            case ["api", "peer", peer]:
                self._model.refresh()
                return _found_or_not(self._model.peer(peer))
            case ["api", "compare"]:
                self._model.refresh()
                return await self._compare(request)
            case ["api", name] if name in self._projections:
                self._model.refresh()
                return as_json(self._projections[name]())
            case ["api", "events"]:
                return self._events(_cursor(request), _dropped(request))
            case ["api", "record", record_id]:
                shown = await self._model.record(record_id)
                return as_json(shown) if shown is not None else nothing()
            case ["api", "record", record_id, "forest.svg"]:
                found = self._model.discovery(record_id)
                return (
                    Response(HTTPStatus.OK, TYPES["svg"], plot.forest(found, self._model.measured_suffix()).encode())
                    if found
                    else nothing()
                )
        return nothing()

    def _confirmed(self) -> bytes:
        """The feed of confirmed discoveries, whose entries lead to their pages here."""
        home = self._home
        places = feed.Places(urljoin(home, self._feed), home, lambda record_id: f"{home}#/record/{record_id.hex()}")
        return feed.feed(self._model.ledger, self._model.discoveries(), places)

    def _file(self, name: str, headers: Mapping[str, str]) -> Response:
        if name not in self._files:
            return nothing()
        return Response(HTTPStatus.OK, TYPES[name.rpartition(".")[2]], self._files[name], headers)

    async def _compare(self, request: Request) -> Response:
        try:
            return _found_or_not(await self._model.compare(request.query.get("a", ""), request.query.get("b", "")))
        except NotComparableError as error:
            return text(HTTPStatus.CONFLICT, str(error))

    def _state(self, after: int, dropped: int | None) -> dict[str, Any]:
        """Rows after a cursor and the cursor to ask with next time; the first answer also says what this is about.

        dropped: how often rows had been dropped when the cursor was given. Where it was more often since, the answer
        begins anew.
        """
        after = self._where(self._model.refresh(), after, dropped)
        state = self._rows(after, self._model.rows(after))
        if after == 0:
            state |= {"about": self._model.about(), "actions": sorted(self._actions), "live": self._names}
            state["feed"] = self._feed
        return state

    def _where(self, count: int, after: int, dropped: int | None) -> int:
        """The cursor, or 0 where the rows that it counts are others by now."""
        others = dropped is not None and dropped != self._model.dropped
        return 0 if others or after > count else after

    def _rows(self, after: int, rows: list[Any]) -> dict[str, Any]:
        cursor, dropped = after + len(rows), self._model.dropped
        return {"cursor": cursor, "dropped": dropped, "rows": rows, "now": self._model.now()}

    def _events(self, after: int, dropped: int | None) -> Response:
        if self._streams >= MAX_STREAMS:
            return text(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_STREAMS} pages are open already; close one")
        return Response(HTTPStatus.OK, "text/event-stream", self._news(after, dropped))

    async def _news(self, after: int, dropped: int | None) -> AsyncGenerator[bytes, None]:
        """Server-sent events: rows after the cursor, at most READ_SECONDS after their arrival, and the status.

        Beside these, under the name "live", what runs now, whenever that has changed; and under "suggestions" that
        those, or the settings, may have.
        """
        self._streams += 1
        shown = changed = None
        try:
            yield b"retry: 2000\n\n"
            last = trio.current_time()
            while True:
                count = self._model.refresh()
                after = self._where(count, after, dropped)
                dropped = self._model.dropped
                if count > after or trio.current_time() - last >= HEARTBEAT_SECONDS:
                    news = self._rows(after, self._model.rows(after)[:MAX_ROWS_AT_ONCE])
                    after = news["cursor"]
                    last = trio.current_time()
                    yield f"id: {after}\ndata: {json.dumps(news)}\n\n".encode()
                live = json.dumps(self._model.live())
                if live != shown:
                    shown = live
                    yield f"event: live\ndata: {live}\n\n".encode()
                if (changes := self._model.changes()) != changed:
                    if changed is not None:
                        yield b'event: suggestions\ndata: {"changed": true}\n\n'
                    changed = changes
                await trio.sleep(READ_SECONDS)
        finally:
            self._streams -= 1


def _live_pages(folder: Path) -> LivePages:
    from node.view.web.live import LivePages  # brings numpy, 10 MiB, which a node without live tests does without

    return LivePages(folder)


def _found_or_not(value: object | None) -> Response:
    return as_json(value) if value is not None else nothing()


def _cursor(request: Request) -> int:
    """How many rows the page has: what it says, or what its browser remembers when a stream broke off."""
    return _number(request.headers.get("last-event-id", request.query.get("after", "0"))) or 0


def _dropped(request: Request) -> int | None:
    """How often rows had been dropped when the page got its own; None where it does not say."""
    return _number(request.query.get("dropped", ""))


def _number(said: str) -> int | None:
    return int(said) if said.isascii() and said.isdigit() and len(said) < 12 else None
