"""The live service: HTTP for visitors, in a process of its own that knows the live folder and nothing of a node.

    GET  /              the page: a variant for a visitor with a cookie, or for `?id=` of a mailing
    GET  /go/NAME/TOKEN an answer; leads on to the address that live.toml gives for NAME
    POST /hook/NAME     an answer that another program reports: JSON {"token": ...} or {"id": ...}, with the header
                        X-Live-Secret

It is started as `python -m node.live.service FOLDER --host HOST --port PORT`, with none of the environment's settings.
"""

from __future__ import annotations

import argparse
import hmac
import json
import signal
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

import trio

from node.live.assignment import MAX_ID, recipient_name
from node.live.bots import not_a_person
from node.live.folder import STATE, Folder, LiveError, read_folder
from node.live.store import Store, opened
from node.live.visits import Shown, Visits
from node.live.watch import live_log, settle
from node.platform.http import Request, Response, serve, text
from node.platform.log import Log

TICK_SECONDS = 1.0  # between two looks at the folder and the answers
IDLE_FOR_WORK = 20  # of what a look took: with millions of visitors counting takes long, and visitors must not wait
COOKIE = "live"
COOKIE_SECONDS = 180 * 86400
RETRY = "back"  # in the query of a first visit's second request
BASE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}


class Door:
    """Answers the requests of visitors."""

    def __init__(self, visits: Visits, webhook_secret: str) -> None:
        self.visits = visits
        self._secret = webhook_secret

    async def answer(self, request: Request) -> Response:
        response = self._found(request)
        return Response(response.status, response.content_type, response.body, {**BASE_HEADERS, **response.headers})

    def _found(self, request: Request) -> Response:
        names = self.visits.settings.answers
        match request.path.strip("/").split("/"):
            case [""] if request.method in ("GET", "HEAD"):
                return self._page(request)
            case ["go", name, token] if request.method in ("GET", "HEAD") and name in names:
                return self._go(request, name, token)
            case ["hook", name] if request.method == "POST" and name in names:
                return self._hook(request, name)
            case ["robots.txt"]:
                return text(HTTPStatus.OK, "User-agent: *\nDisallow: /go/")
        return text(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _page(self, request: Request) -> Response:
        reason = not_a_person(request.method, request.headers)
        if reason == "prefetch":
            self.visits.drop(reason)
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "not ahead of time")  # a browser then asks when a person does
        if reason is not None:
            self.visits.drop(reason)
            return self._shown(self.visits.control())
        given = request.query.get("id", "")
        if given:
            if len(given) > MAX_ID:
                return text(HTTPStatus.BAD_REQUEST, f"an id has at most {MAX_ID} characters")
            return self._shown(self.visits.page(recipient_name(given), self._address(request)))
        number = self._cookie(request.headers)
        if number is not None:
            return self._shown(self.visits.page(number, self._address(request)))
        if RETRY in request.query:
            self.visits.drop("no cookie back")
            return self._shown(self.visits.control())
        secure = "; Secure" if self._is_https(request) else ""
        cookie = f"{COOKIE}={self.visits.signer.new_cookie()}; Max-Age={COOKIE_SECONDS}; Path=/; HttpOnly; SameSite=Lax"
        return _lead(f"/?{RETRY}=1", {"Set-Cookie": cookie + secure})

    def _go(self, request: Request, name: str, token: str) -> Response:
        reason = not_a_person(request.method, request.headers)
        if reason is not None:
            self.visits.drop(reason)
        else:
            self.visits.answer(name, token, self._cookie(request.headers))
        target = self.visits.settings.answers[name]
        return _lead(target, {}) if target else text(HTTPStatus.OK, "Thank you.")

    def _hook(self, request: Request, name: str) -> Response:
        if not hmac.compare_digest(request.headers.get("x-live-secret", "").encode(), self._secret.encode()):
            self.visits.drop("webhook without the secret")
            return text(HTTPStatus.FORBIDDEN, "the header X-Live-Secret is not what state/webhook.secret has")
        try:
            told = json.loads(request.body)
            token, given = (told.get("token"), told.get("id")) if isinstance(told, dict) else (None, None)
        except ValueError:
            token, given = None, None
        if isinstance(token, str):
            self.visits.answer(name, token, None)
        elif isinstance(given, str) and len(given) <= MAX_ID:
            self.visits.count_answer(name, self.visits.signer.visitor(recipient_name(given)), None)
        else:
            return text(HTTPStatus.BAD_REQUEST, 'send JSON: {"token": "..."} or {"id": "..."}')
        return text(HTTPStatus.ACCEPTED, "taken; `live status` tells what was counted and what was dropped")

    def _shown(self, shown: Shown | None) -> Response:
        if shown is None:
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "nothing here was approved yet")
        return Response(HTTPStatus.OK, shown.content_type, shown.content, {"Content-Security-Policy": self._policy()})

    def _policy(self) -> str:
        """What a browser holds a variant to, whatever the constraints overlooked: no script, nothing from elsewhere."""
        hosts = " ".join(f"https://{host}" for host in self.visits.settings.constraints.hosts)
        return (
            f"default-src 'none'; style-src 'unsafe-inline'; img-src data: {hosts}; form-action 'self' {hosts}; "
            "base-uri 'none'; frame-ancestors 'none'"
        )

    def _cookie(self, headers: Mapping[str, str]) -> str | None:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return self.visits.signer.in_cookie(morsel.value) if morsel else None

    def _address(self, request: Request) -> str:
        """Of the visitor: the connection's, or what the person's own proxy says, the last that it added."""
        if not self.visits.settings.traffic.behind_proxy:
            return request.address
        return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or request.address

    def _is_https(self, request: Request) -> bool:
        behind = self.visits.settings.traffic.behind_proxy
        return behind and request.headers.get("x-forwarded-proto", "") == "https"


def _lead(address: str, headers: Mapping[str, str]) -> Response:
    return Response(HTTPStatus.SEE_OTHER, "text/plain; charset=utf-8", b"", {"Location": address, **headers})


async def run(root: Path, host: str, port: int, ready: Callable[[str], None], log: Log) -> None:
    """Serve a live folder until cancelled. ready: called with the address. Raises LiveError."""
    folder = read_folder(root)
    with opened(root) as store:
        visits = Visits(store, folder.settings)
        try:
            (listener,) = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise LiveError(f"cannot listen on {host}:{port} ({error.strerror}); give another --port") from None

        def failed(why: str) -> None:
            log("live request failed", level="warning", why=why)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep_watching, folder, store, visits, log)
                nursery.start_soon(_end_on_signal, nursery.cancel_scope)
                ready(f"http://{host}:{listener.socket.getsockname()[1]}/")
                await serve(listener, Door(visits, store.webhook_secret).answer, failed)
        finally:
            visits.write_dropped()


async def _keep_watching(folder: Folder, store: Store, visits: Visits, log: Log) -> None:
    """Look at the folder again and again: edits end arms, answers end some and prove others."""
    said, took = "", 0.0
    while True:
        await trio.sleep(max(TICK_SECONDS, IDLE_FOR_WORK * took))
        began = trio.current_time()
        try:
            visits.write_dropped()
            settle(read_folder(folder.root), store, log)
            said = ""
        except (LiveError, OSError) as error:
            # a file in the middle of being written, or a mistake in live.toml: the approved goes on being served
            if str(error) != said:
                said = str(error)
                log("live folder unreadable", level="warning", why=said)
        took = trio.current_time() - began


async def _end_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a live folder to visitors.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()

    def ready(address: str) -> None:
        print(f"serving  {address}", flush=True)

    try:
        root = given.folder.resolve()
        read_folder(root)
        with opened(root):
            pass
        trio.run(run, root, given.host, given.port, ready, live_log(root / STATE))
    except LiveError as error:
        parser.exit(2, f"live: {error}\n")


if __name__ == "__main__":
    main()
