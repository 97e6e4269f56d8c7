"""The dashboard: a page on this machine's own loopback that shows the swarm's records as they come.

`http` speaks HTTP and knows no page; `site` decides who may see what; `view.model.dashboard` works out what the
page draws from the ledger; `actions` are what a person may do; `static` is the page itself. It reads a ledger through
its own connection, so it works beside a running node and without one, and changes nothing but by `actions`.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import trio

from node.ledger.error import LedgerError
from node.ledger.store import Ledger
from node.platform.concurrency import in_own_loop
from node.platform.config import Config
from node.platform.file_trouble import in_words
from node.platform.home import Home
from node.platform.http import serve
from node.platform.log import Log
from node.view.model.dashboard import DashboardModel
from node.view.web.actions import actions
from node.view.web.site import Site

HOST = "127.0.0.1"
ANSWER_SECONDS = 1.0  # for an earlier dashboard to accept a connection


class DashboardError(LedgerError):
    """The dashboard cannot be shown; the text says what to do."""


async def show(config: Config, port: int, ready: Callable[[str], None], log: Log) -> None:
    """Serve the dashboard of a node's home until cancelled.

    config: the node's settings, its home among them.
    port: on 127.0.0.1, 0 for any free one. ready: called with the address once it can be opened. log: for requests that
    failed here.
    Raises LedgerError without a ledger, DashboardError when the port is taken.
    """
    home = Home(config.home)
    ledger = Ledger.read(home.ledger)
    try:
        model = DashboardModel(ledger, config)
        model.refresh()
        await _log_stale_address(home, log)
        try:
            (listener,) = await trio.open_tcp_listeners(port, host=HOST)
        except OSError as error:
            raise DashboardError(f"cannot listen on {HOST}:{port} ({error.strerror}); give another --port") from None
        port = listener.socket.getsockname()[1]
        site = Site(model, port, actions(config, ledger), home.feed_key(), home.live_folders())
        home.write_dashboard(site.url)

        def failed(why: str) -> None:
            log("dashboard request failed", level="warning", why=why)

        try:
            ready(site.url)
            await serve(listener, site.answer, failed)
        finally:
            home.forget_dashboard(site.url)
    finally:
        ledger.close()


async def _log_stale_address(home: Home, log: Log) -> None:
    """Log when the address in the home leads nowhere: a person may have it as a bookmark, and it is replaced now."""
    before = home.dashboard()
    if before is None:
        return
    try:
        with trio.fail_after(ANSWER_SECONDS):
            stream = await trio.open_tcp_stream(HOST, urlsplit(before).port or 0)
        await trio.aclose_forcefully(stream)
    except (OSError, ValueError, trio.TooSlowError):
        log("stale dashboard address", why="nothing answers at the address in dashboard.url, which is replaced")


async def show_beside(config: Config, ready: Callable[[str], None], log: Log) -> None:
    """The same beside a running node, in a thread with an event loop and a ledger connection of its own.

    No request of the page can delay the node's tasks; an error that ends the dashboard is logged and ends nothing else.
    """
    try:
        await in_own_loop(lambda: show(config, 0, ready, log))
    except Exception as error:  # the page is a convenience: no fault of it may stop the research
        why = in_words(error, config.home) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        log("dashboard ended", level="warning", why=why)


def print_url(url: str) -> None:
    """Print the dashboard's address, token and all, to the person's own terminal; it goes to no log."""
    print(f"dashboard  {url}", flush=True)
