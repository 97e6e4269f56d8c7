"""A live test's page: look at variants as people would see them, approve and withdraw, watch what comes of it.

A preview comes with a policy under which it can run, load and reach nothing, in a frame without an origin: what is not
approved yet may be anybody's text. Approving names the sha256 of what the page showed.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import trio

from node.live.approval import approve, withdraw
from node.live.folder import LiveError, read_folder
from node.live.store import opened
from node.platform.http import Request, Response, serve, text
from node.platform.log import Log
from node.view.model.live import live_map, live_status
from node.view.web.gate import SAFETY, TYPES, Gate, act, as_json, nothing, static_files

HOST = "127.0.0.1"
FRAMED = SAFETY["Content-Security-Policy"] + "; frame-src 'self'"
PREVIEW = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'",
}


class LivePages:
    """The addresses of one live test, below wherever a site puts them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = static_files()

    def answer(self, parts: list[str], request: Request) -> Response:
        """The answer to somebody who may ask. parts: the path below this test's own address."""
        try:
            return self._found(parts, request)
        except LiveError as error:
            return text(HTTPStatus.CONFLICT, str(error))

    def _found(self, parts: list[str], request: Request) -> Response:
        if request.method == "POST":
            return act(parts, request, {"approve": self._approve, "withdraw": self._withdraw})
        match parts:
            case [""]:
                return Response(
                    HTTPStatus.OK, TYPES["html"], self._files["live.html"], {"Content-Security-Policy": FRAMED}
                )
            case ["api", "live"]:
                folder = read_folder(self._root)
                with opened(self._root) as store:
                    return as_json(live_status(folder, store) | {"map": live_map(folder, store)})
            case ["preview", name, sha256]:
                variant = read_folder(self._root).variants.get(name)
                if variant is None or variant.sha256 != sha256:
                    return text(HTTPStatus.NOT_FOUND, "the file is another one now; load the page again")
                return Response(HTTPStatus.OK, variant.content_type, variant.content, PREVIEW)
        return nothing()

    def _approve(self, given: str) -> str:
        name, _, sha256 = given.partition(" ")
        return self._done(lambda folder, store: approve(folder, store, name, sha256), f"{name} may be seen now")

    def _withdraw(self, name: str) -> str:
        return self._done(lambda folder, store: withdraw(folder, store, name), f"nobody sees {name} any more")

    def _done(self, action: Callable[..., object], said: str) -> str:
        try:
            with opened(self._root) as store:
                action(read_folder(self._root), store)
        except LiveError as error:
            raise ValueError(str(error)) from None
        return said


async def show_live(root: Path, port: int, ready: Callable[[str], None], log: Log) -> None:
    """Serve the page of the live folder `root` on loopback until cancelled.

    ready: called with the address once it can be opened. Raises LiveError without a folder, or when the port is taken.
    """
    read_folder(root)
    try:
        (listener,) = await trio.open_tcp_listeners(port, host=HOST)
    except OSError as error:
        raise LiveError(f"cannot listen on {HOST}:{port} ({error.strerror}); give another --port") from None
    gate = Gate(listener.socket.getsockname()[1], "`autoresearch-node live dashboard`")
    pages, files = LivePages(root), static_files()

    async def answer(request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        response = gate.refusal(request)
        if response is None and parts[0] == "static" and parts[-1] in files:
            response = Response(HTTPStatus.OK, TYPES[parts[-1].rpartition(".")[2]], files[parts[-1]])
        response = response or pages.answer(parts, request)
        cookie = gate.cookie if request.path == "/" and response.status == HTTPStatus.OK else {}
        return Response(response.status, response.content_type, response.body, {**SAFETY, **response.headers, **cookie})

    def failed(why: str) -> None:
        log("dashboard request failed", level="warning", why=why)

    ready(gate.url)
    await serve(listener, answer, failed)
