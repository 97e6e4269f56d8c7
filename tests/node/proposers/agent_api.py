"""An API on loopback for agents: it answers in the forms of three services, and keeps what it was asked with which key.

It holds a connection open, as services do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

QUESTION_TOKENS, ANSWER_TOKENS = 1000, 50
KEY_HEADERS = ("x-api-key", "authorization", "x-goog-api-key")
REDIRECT, SILENT = "a-model-that-moved", "a-model-that-tells-no-usage"


@dataclass
class AgentApi:
    """asked: (method, path, the values of the headers that hold keys). elsewhere: where a redirect would lead."""

    url: str
    elsewhere: str = "http://127.0.0.1:9/"
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    headers: list[set[str]] = field(default_factory=list)


def _usage(path: str) -> dict[str, Any]:
    if "generateContent" in path:
        return {"usageMetadata": {"promptTokenCount": QUESTION_TOKENS, "candidatesTokenCount": ANSWER_TOKENS}}
    if path.endswith("/chat/completions"):
        return {"usage": {"prompt_tokens": QUESTION_TOKENS, "completion_tokens": ANSWER_TOKENS}}
    return {"usage": {"input_tokens": QUESTION_TOKENS, "output_tokens": ANSWER_TOKENS}}


@contextmanager
def agent_api() -> Iterator[AgentApi]:
    api = AgentApi("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._keep()
            self._answer(b'{"data": []}')

        def do_POST(self) -> None:
            self._keep()
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if asked.get("model") == REDIRECT:
                self.send_response(302)
                self.send_header("location", api.elsewhere)
                self.send_header("content-length", "0")
                self.end_headers()
            elif asked.get("stream"):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for event in ({"type": "begins"}, {"type": "ends", **_usage(self.path)}):
                    piece = f"data: {json.dumps(event)}\n\n".encode()
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
            else:
                self._answer(json.dumps({} if asked.get("model") == SILENT else _usage(self.path)).encode())

        def _keep(self) -> None:
            keys = {name: self.headers[name] for name in KEY_HEADERS if name in self.headers}
            api.asked.append((self.command, self.path, keys))
            api.headers.append({name.lower() for name in self.headers})

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("set-cookie", "who=you")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
