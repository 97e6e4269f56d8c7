"""A server of files on loopback that does what the test says: cuts connections, lies, drips, redirects."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file as the server gives it.

    cut: bytes of an answer after which the connection ends, for as many answers as there are numbers. drip: seconds
    between single bytes. length: what Content-Length says instead of the truth. headers: sent in addition.
    """

    content: bytes
    status: int = 200
    ranges: bool = True
    tag: bool = True
    cut: list[int] = field(default_factory=list)
    drip: float = 0.0
    length: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


@dataclass
class FileServer:
    """What is served by path, and every request that came, as (path, headers)."""

    files: dict[str, Served]
    url: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    on_request: Callable[[str], None] = lambda path: None

    def ranges(self, path: str) -> list[str]:
        """The Range of each request for a file; "" where there was none."""
        return [headers.get("range", "") for asked, headers in self.requests if asked == path]


@contextmanager
def file_server(**files: Served) -> Iterator[FileServer]:
    here = FileServer({f"/{name}": served for name, served in files.items()})
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            here.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            here.on_request(self.path)
            served = here.files.get(self.path, Served(b"", 404))
            with suppress(OSError):  # the client may have had enough
                self._answer(served)
            self.close_connection = True

        def _answer(self, served: Served) -> None:
            begin, status = self._begin(served), served.status
            if begin and status == 200:
                status = 206 if begin < len(served.content) else 416
            content = served.content[begin:]
            self.send_response(status)
            if served.tag:
                self.send_header("ETag", served.etag)
            if status == 206:
                size = len(served.content)
                self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
            self.send_header("Content-Length", str(len(content) if served.length is None else served.length))
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if served.cut:
                content = content[: served.cut.pop(0)]
            if not served.drip:
                self.wfile.write(content)
                return
            for number in range(len(content)):
                self.wfile.write(content[number : number + 1])
                self.wfile.flush()
                if over.wait(served.drip):
                    return

        def _begin(self, served: Served) -> int:
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
            same = self.headers.get("if-range", served.etag) == served.etag
            return int(match[1]) if match and served.ranges and same else 0

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    here.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield here
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
        time.sleep(0)
