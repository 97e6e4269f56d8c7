"""What every page on loopback shares: who may see it, the policy that its browser keeps to, its files, its actions.

Only this machine can reach it, and only a browser that was opened with the token may see it: other users and web pages
on the same machine may not. The token comes once in the address, then as a cookie that no script can read. A feed
reader has neither: it shows a key that opens the feed alone. A foreign Host (DNS rebinding) or Origin (a page elsewhere
posting here) is refused. The policy sent with every answer lets the page load and ask nothing but this server and run
nothing but its files, so text in a peer's record stays text.
"""

from __future__ import annotations

import hmac
import json
import secrets
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from importlib import resources

from node.platform.http import Request, Response, text
from node.view.web.actions import Actions

MAX_ACTION_TEXT = 2000
FEED = "/feed.atom"

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


class Gate:
    """Lets in the browser that was opened with the token of one server, and nobody else."""

    def __init__(self, port: int, command: str, feed_key: str | None = None) -> None:
        """command: what a person types to have the address printed. feed_key: what opens the address FEED by itself."""
        self._feed_key = feed_key
        self._port = port
        self._command = command
        self._token = secrets.token_urlsafe(32)
        self._cookie = f"autoresearch_{port}"  # cookies do not tell ports apart
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    @property
    def url(self) -> str:
        """The page's address with the token: for the person's own terminal, never for a log."""
        return f"http://127.0.0.1:{self._port}/?token={self._token}"

    @property
    def cookie(self) -> dict[str, str]:
        """The header with which the page's browser gets the token as a cookie."""
        return {"Set-Cookie": f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"}

    def refusal(self, request: Request) -> Response | None:
        """The answer to whoever may not ask; None for who may."""
        host = request.headers.get("host", "")
        if host not in self._hosts:
            return text(HTTPStatus.MISDIRECTED_REQUEST, "this dashboard answers only to its own address")
        if request.headers.get("origin", f"http://{host}") != f"http://{host}":
            return text(HTTPStatus.FORBIDDEN, "another page may not ask here")
        if not self._knows_token(request):
            return text(
                HTTPStatus.FORBIDDEN,
                f"open the dashboard with the whole address that {self._command} printed; "
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
        if request.path == FEED and self._feed_key is not None and _same(request.query.get("key", ""), self._feed_key):
            return True
        return any(_same(one, self._token) for one in shown)


def act(parts: list[str], request: Request, actions: Actions) -> Response:
    """Do what a page's own script asks for by POST to api/do/NAME. parts: of the path, below the page's own."""
    action = actions.get(parts[-1]) if parts[:-1] == ["api", "do"] else None
    if action is None:
        return nothing()
    if request.headers.get("content-type") != "application/json" or "origin" not in request.headers:
        return text(HTTPStatus.FORBIDDEN, "only the dashboard's own page may do this")
    try:
        asked = json.loads(request.body)
        given = asked.get("text", "") if isinstance(asked, dict) else None
        if not isinstance(given, str) or len(given) > MAX_ACTION_TEXT:
            raise ValueError(f"give a text of at most {MAX_ACTION_TEXT} characters")
        return as_json({"said": action(given)})
    except ValueError as error:
        return text(HTTPStatus.BAD_REQUEST, str(error))


def static_files() -> dict[str, bytes]:
    """The pages and what they load, by name."""
    folder = resources.files("node.view.web") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES}


def as_json(value: object) -> Response:
    """An answer with data."""
    return Response(HTTPStatus.OK, "application/json", json.dumps(value).encode())


def nothing() -> Response:
    """The answer where nothing is."""
    return text(HTTPStatus.NOT_FOUND, "there is nothing here")


def _same(shown: str, secret: str) -> bool:
    """Whether they are the same, in a time that says nothing of where they differ."""
    return hmac.compare_digest(shown.encode(), secret.encode())
