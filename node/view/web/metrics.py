"""What monitoring asks for: a server of its own, at the address in `[metrics]`, that answers /metrics and nothing else.

It is apart from the dashboard, whose port and token are new at every start and belong to a person. It reads the ledger
by a connection of its own, in a thread of its own (`beside`), so that nobody who asks can delay the node. It has no
password: on loopback only this machine's users reach it, and what it tells is counts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import trio

from node.ledger.error import LedgerError
from node.ledger.store import Ledger
from node.platform.concurrency import in_own_loop, in_thread
from node.platform.cpu_share import CpuShare
from node.platform.gpu_types import Gpu, GpuUse
from node.platform.gpus import GpuDriver, InstalledDrivers
from node.platform.home import Home
from node.platform.http import Request, Response, serve, text
from node.platform.log import Log
from node.view.files.openmetrics import CONTENT_TYPE, Machine, OpenMetrics

PATH = "/metrics"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
OPEN_HINT = "whoever can reach this address can read them; 127.0.0.1 keeps them to this machine"


class MetricsError(LedgerError):
    """The metrics cannot be served; the text says what to do."""


class MetricsPage:
    """What is answered. local: only this machine can reach the server."""

    def __init__(self, home: Home, ledger: Ledger, driver: GpuDriver, local: bool) -> None:
        self._home = home
        self._ledger = ledger
        self._metrics = OpenMetrics(ledger)
        self._share = CpuShare()
        self._driver = driver
        self._gpus = driver.gpus()
        self._local = local

    async def answer(self, request: Request) -> Response:
        if self._local and urlsplit(f"//{request.headers.get('host', '')}").hostname not in LOCAL_NAMES:
            return text(HTTPStatus.MISDIRECTED_REQUEST, "this answers only to its own address")  # DNS rebinding
        if request.path != PATH:
            return text(HTTPStatus.NOT_FOUND, f"metrics are at {PATH}")
        if request.method not in ("GET", "HEAD"):
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "metrics are for reading")
        uses = await in_thread(lambda: tuple(self._uses()))
        self._ledger.refresh()
        paused = self._home.paused_until() is not None
        machine = Machine(self._share.now(), uses)
        page = self._metrics.text(self._home.read_status(), paused, machine)
        return Response(HTTPStatus.OK, CONTENT_TYPE, page.encode(), {"Cache-Control": "no-store"})

    def _uses(self) -> Iterator[tuple[Gpu, GpuUse]]:
        for gpu in self._gpus:
            use = self._driver.use(gpu)
            if use is not None:
                yield gpu, use


async def show(root: Path, host: str, port: int, log: Log) -> None:
    """Serve the metrics of the home at `root` until cancelled. Raises MetricsError where it cannot listen."""
    home, driver = Home(root), InstalledDrivers()
    ledger = Ledger.read(home.ledger)
    try:
        local = ipaddress.ip_address(host).is_loopback
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise MetricsError(f"cannot listen on {host}, port {port} ({error.strerror}); name another") from None
        asked = f"[{host}]" if ":" in host else host
        address = f"http://{asked}:{listeners[0].socket.getsockname()[1]}{PATH}"
        if local:
            log("metrics", address=address)
        else:
            log("metrics open to others", level="warning", address=address, hint=OPEN_HINT)

        def failed(why: str) -> None:
            log("metrics request failed", level="warning", why=why)

        await serve(listeners[0], MetricsPage(home, ledger, driver, local).answer, failed)
    finally:
        ledger.close()
        driver.close()


async def beside(root: Path, host: str, port: int, log: Log) -> None:
    """The same beside a running node; where it cannot be served, that is logged, and nothing else ends."""
    try:
        await in_own_loop(lambda: show(root, host, port, log))
    except Exception as error:  # whoever watches the research may not end it
        why = str(error) if isinstance(error, LedgerError) else f"{type(error).__name__}: {error}"
        log("metrics not served", level="warning", why=why, hint="see [metrics] in swarm.toml")
