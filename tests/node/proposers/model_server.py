"""A service on loopback that speaks as much of the OpenAI API as the node uses, and gives the answers set up for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One HTTP response. `hold`: never finish it; the client has to give up."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hold: bool = False


def says(content: object, question_tokens: int = 1000, answer_tokens: int = 200) -> Reply:
    """A chat completion with this content, which is made JSON unless it is a text."""
    text = content if isinstance(content, str) else json.dumps(content)
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": question_tokens, "completion_tokens": answer_tokens}
    return Reply(json.dumps({"choices": [{"index": 0, "message": message}], "usage": usage}).encode())


def idea(search: str, replace: str, title: str = "An idea", **more: object) -> dict[str, object]:
    """An answer with one edit."""
    edit = {"search": search, "replace": replace}
    return {"title": title, "category": "optimizer", "reason": "It may help.", "edits": [edit], **more}


@dataclass
class ModelServer:
    """Answers request after request from `replies`; what is asked beyond them gets status 500."""

    replies: list[Reply]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    headers: list[set[str]] = field(default_factory=list)  # the names, in small letters

    def said(self, number: int) -> str:
        """All text of a request's messages."""
        return "\n".join(message["content"] for message in self.requests[number]["messages"])


@contextmanager
def model_server(*replies: Reply) -> Iterator[ModelServer]:
    model = ModelServer(list(replies))
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            model.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            model.keys.append(self.headers["authorization"])
            model.headers.append({name.lower() for name in self.headers})
            reply = model.replies.pop(0) if model.replies else Reply(b"{}", 500)
            with suppress(OSError):  # the client may have had enough
                self.send_response(reply.status)
                self.send_header("content-type", "application/json")
                if not reply.hold:
                    self.send_header("content-length", str(len(reply.body)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
                self.wfile.flush()
                if reply.hold:
                    over.wait()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield model
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
