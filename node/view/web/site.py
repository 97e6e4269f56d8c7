"""Who may see the dashboard, and what is at which address.

Only this machine can reach it, and only a browser that was opened with the token may see it: other users and web pages
on the same machine may not. The token comes once in the address, then as a cookie that no script can read. A foreign
Host (DNS rebinding) or Origin (a page elsewhere posting here) is refused. The policy sent with every answer lets the
page load and ask nothing but this server and run nothing but its files, so text in a peer's record stays text.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from importlib import resources
from typing import Any

import trio

from node.platform.http import Request, Response, text
from node.view.files import plot
from node.view.model.dashboard import DashboardModel
from node.view.web.actions import Actions

READ_SECONDS = 0.5  # between two readings of the ledger while a page is open
HEARTBEAT_SECONDS = 5.0  # between two messages to a page; by one that cannot be sent, a closed page is noticed
MAX_STREAMS = 16
MAX_ROWS_AT_ONCE = 2000
MAX_ACTION_TEXT = 2000

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
SAFETY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Site:
    """The addresses of one dashboard."""

    def __init__(self, model: DashboardModel, port: int, actions: Actions) -> None:
        self._model = model
        self._actions = actions
        self._port = port
        self._token = secrets.token_urlsafe(32)
        self._cookie = f"autoresearch_{port}"  # cookies do not tell ports apart
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._streams = 0
        self._files = _static_files()

    @property
    def url(self) -> str:
        """The page's address with the token: for the person's own terminal, never for a log."""
        return f"http://127.0.0.1:{self._port}/?token={self._token}"

    async def answer(self, request: Request) -> Response:
        """The answer to a request, with the headers that every answer has."""
        response = self._refusal(request) or await self._found(request)
        return Response(response.status, response.content_type, response.body, {**SAFETY, **response.headers})

    # ---- who may ask -------------------------------------------------------------------------------------------

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if host not in self._hosts:
            return text(HTTPStatus.MISDIRECTED_REQUEST, "this dashboard answers only to its own address")
        if request.headers.get("origin", f"http://{host}") != f"http://{host}":
            return text(HTTPStatus.FORBIDDEN, "another page may not ask here")
        if not self._knows_token(request):
            return text(
                HTTPStatus.FORBIDDEN,
                "open the dashboard with the whole address that `autoresearch-node dashboard` or `join` printed; "
                "it ends in a token that is new at every start",
            )
        return None

    def _knows_token(self, request: Request) -> bool:
        try:
            morsel = SimpleCookie(request.headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            morsel = None
        shown = [morsel.value if morsel else ""]
        if request.path == "/":
            shown.append(request.query.get("token", ""))
        return any(hmac.compare_digest(one.encode(), self._token.encode()) for one in shown)

    # ---- what is where -----------------------------------------------------------------------------------------

    async def _found(self, request: Request) -> Response:
        if request.method == "POST":
            return self._act(request)
        if request.method not in ("GET", "HEAD"):
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "this dashboard is for looking")
        match request.path.strip("/").split("/"):
            case [""]:
                cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                return self._file("index.html", {"Set-Cookie": cookie})
            case ["static", name]:
                return self._file(name, {})
            case ["api", "state"]:
                return _json(self._state(_cursor(request)))
            case ["api", "board"]:
                return _json(self._model.board())
            case ["api", "events"]:
                return self._events(_cursor(request))
            case ["api", "record", record_id]:
                shown = await self._model.record(record_id)
                return _json(shown) if shown is not None else _nothing()
            case ["api", "record", record_id, "forest.svg"]:
                found = self._model.discovery(record_id)
                return (
                    Response(HTTPStatus.OK, TYPES["svg"], plot.forest(found, self._model.measured_suffix()).encode())
                    if found
                    else _nothing()
                )
        return _nothing()

    def _file(self, name: str, headers: Mapping[str, str]) -> Response:
        if name not in self._files:
            return _nothing()
        return Response(HTTPStatus.OK, TYPES[name.rpartition(".")[2]], self._files[name], headers)

    def _state(self, after: int) -> dict[str, Any]:
        """Rows after a cursor and the cursor to ask with next time; the first answer also says what this is about."""
        self._model.refresh()
        rows = self._model.rows(after)
        state = {"cursor": after + len(rows), "rows": rows, "now": self._model.now()}
        if after == 0:
            state |= {"about": self._model.about(), "actions": sorted(self._actions)}
        return state

    def _events(self, after: int) -> Response:
        if self._streams >= MAX_STREAMS:
            return text(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_STREAMS} pages are open already; close one")
        return Response(HTTPStatus.OK, "text/event-stream", self._news(after))

    async def _news(self, after: int) -> AsyncGenerator[bytes, None]:
        """Server-sent events: rows after the cursor, at most READ_SECONDS after their arrival, and the status."""
        self._streams += 1
        try:
            yield b"retry: 2000\n\n"
            last = trio.current_time()
            while True:
                count = self._model.refresh()
                if count > after or trio.current_time() - last >= HEARTBEAT_SECONDS:
                    rows = self._model.rows(after)[:MAX_ROWS_AT_ONCE]
                    after += len(rows)
                    last = trio.current_time()
                    news = {"cursor": after, "rows": rows, "now": self._model.now()}
                    yield f"id: {after}\ndata: {json.dumps(news)}\n\n".encode()
                await trio.sleep(READ_SECONDS)
        finally:
            self._streams -= 1

    def _act(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        action = self._actions.get(parts[-1]) if parts[:-1] == ["api", "do"] else None
        if action is None:
            return _nothing()
        if request.headers.get("content-type") != "application/json" or "origin" not in request.headers:
            return text(HTTPStatus.FORBIDDEN, "only the dashboard's own page may do this")
        try:
            asked = json.loads(request.body)
            given = asked.get("text", "") if isinstance(asked, dict) else None
            if not isinstance(given, str) or len(given) > MAX_ACTION_TEXT:
                raise ValueError(f"give a text of at most {MAX_ACTION_TEXT} characters")
            return _json({"said": action(given)})
        except ValueError as error:
            return text(HTTPStatus.BAD_REQUEST, str(error))


def _static_files() -> dict[str, bytes]:
    folder = resources.files("node.view.web") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES}


def _cursor(request: Request) -> int:
    """How many rows the page has: what it says, or what its browser remembers when a stream broke off."""
    said = request.headers.get("last-event-id", request.query.get("after", "0"))
    return int(said) if said.isascii() and said.isdigit() and len(said) < 12 else 0


def _json(value: object) -> Response:
    return Response(HTTPStatus.OK, "application/json", json.dumps(value).encode())


def _nothing() -> Response:
    return text(HTTPStatus.NOT_FOUND, "there is nothing here")
