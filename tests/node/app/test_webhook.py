"""The webhook, against a real server on loopback: what is posted, how it is signed, and what happens when it fails."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trio

from node.app import notify, webhook
from node.app.notify import NotifyError, missing_program, notify_of_confirmed, webhook_of
from node.app.webhook import Webhook, message_of, post, secret_of
from node.ledger.projections.discoveries import discoveries
from node.ledger.store import Ledger
from node.platform.config import Config, ConfigError, load_config
from tests.node.app.test_notify import Swarm, until
from tests.node.records_for_tests import OBJECTIVE

pytestmark = pytest.mark.sockets
SECRET = "whsec_" + base64.b64encode(b"a shared secret").decode()


class Receiver:
    """A server that keeps what it is sent, and answers with these statuses, one after the other; the last again."""

    def __init__(self, *statuses: int) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.statuses = list(statuses) or [204]
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                at = min(len(receiver.received), len(receiver.statuses)) - 1
                self.send_response(receiver.statuses[at])
                self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/s3cret"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def swarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swarm]:
    monkeypatch.setattr(notify, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(webhook, "WAITS", (0.0, 0.0))
    ledger = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE)
    yield Swarm(ledger)
    ledger.close()


def settings(tmp_path: Path, text: str) -> Config:
    (tmp_path / "swarm.toml").write_text(text)
    return load_config(tmp_path / "swarm.toml", {})


def message(swarm: Swarm) -> dict[str, Any]:
    claim = swarm.claim("Better")
    swarm.confirm(claim)
    (found,) = discoveries(swarm.ledger.all_records(), swarm.ledger.weights(swarm.authors["me"].key), {claim.id})
    return message_of(found, OBJECTIVE, swarm.ledger.settings.description)


async def posted(swarm: Swarm, *statuses: int) -> Receiver:
    receiver = Receiver(*statuses)
    try:
        with trio.fail_after(20):
            await post(Webhook(receiver.url), message(swarm), swarm.log)
    finally:
        receiver.stop()
    return receiver


async def test_a_confirmed_discovery_is_posted_once_and_signed(
    swarm: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    receiver = Receiver()
    config = settings(tmp_path, f'[notify]\nurl = "{receiver.url}"\nsecret_env = "HOOK_SECRET"\n')
    claim = swarm.claim("Better")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notify_of_confirmed, swarm.ledger, config, swarm.log)
            await trio.testing.wait_all_tasks_blocked(0.005)
            swarm.confirm(claim)
            await until(lambda: receiver.received)
            nursery.cancel_scope.cancel()
    receiver.stop()
    ((headers, body),) = receiver.received
    assert headers["webhook-id"] == claim.id.hex()
    signed = f"{claim.id.hex()}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"a shared secret", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    told = json.loads(body)
    assert told["type"] == "discovery.confirmed"
    assert told["discovery"]["title"] == "Better"
    assert told["discovery"]["replicated"]["text"].startswith("+17.3 %")
    assert "others confirmed “Better”" in told["text"]


async def test_a_server_that_is_busy_is_asked_three_times_and_no_more(swarm: Swarm) -> None:
    assert len((await posted(swarm, 503, 429, 204)).received) == 3
    assert not swarm.told("notification failed")
    assert len((await posted(swarm, 500)).received) == 3
    (failed,) = (details for event, details in swarm.events if event == "notification failed")
    assert failed["why"] == "it answered 500"
    assert "s3cret" not in str(failed)  # the path of such an address is often all that protects it


@pytest.mark.parametrize(("status", "why"), [(404, "it answered 404"), (307, "no redirect is followed")])
async def test_a_refusal_and_a_redirect_are_final(swarm: Swarm, status: int, why: str) -> None:
    assert len((await posted(swarm, status, 204)).received) == 1
    (failed,) = (details for event, details in swarm.events if event == "notification failed")
    assert why in failed["why"]


async def test_nobody_there_and_nobody_answering_cost_a_line_in_the_log(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TRY_SECONDS", 0.05)
    (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    told = message(swarm)
    port = silent.socket.getsockname()[1]
    await post(Webhook(f"http://127.0.0.1:{port}/"), told, swarm.log)
    await silent.aclose()
    monkeypatch.setattr(webhook, "TRY_SECONDS", 10.0)
    await post(Webhook(f"http://127.0.0.1:{port}/"), told, swarm.log)
    reasons = [details["why"] for event, details in swarm.events if event == "notification failed"]
    assert "it took longer" in reasons[0] or "Timeout" in reasons[0]  # whichever of two clocks was first
    assert reasons[1] == "it cannot be reached (ConnectError)"


def test_a_secret_is_a_text_or_base64(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert secret_of("plain") == b"plain"
    assert secret_of(SECRET) == b"a shared secret"
    config = settings(tmp_path, '[notify]\nurl = "https://hooks.example/x"\nsecret_env = "HOOK_SECRET"\n')
    with pytest.raises(NotifyError, match="no HOOK_SECRET"):
        webhook_of(config)
    monkeypatch.setenv("HOOK_SECRET", "whsec_!")
    with pytest.raises(NotifyError, match="not base64"):
        webhook_of(config)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    assert SECRET not in repr(webhook_of(config))


async def test_what_cannot_work_is_said_at_the_start(swarm: Swarm, tmp_path: Path) -> None:
    config = settings(
        tmp_path,
        '[notify]\ncommand = ["no-such-program"]\nurl = "https://hooks.example/x"\nsecret_env = "NOT_SET_AT_ALL"\n',
    )
    with trio.move_on_after(0.05):
        await notify_of_confirmed(swarm.ledger, config, swarm.log)
    reasons = [details["why"] for event, details in swarm.events if event == "notification not possible"]
    assert reasons[0].startswith("the environment has no NOT_SET_AT_ALL")
    assert reasons[1].startswith("no-such-program is not on the PATH")
    assert missing_program(("sh",)) is None


@pytest.mark.parametrize("url", ["ftp://hooks.example", "https://me:pw@hooks.example/", "hooks.example", "file:///etc"])
def test_an_address_that_is_no_webhooks_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"\[notify\] url"):
        settings(tmp_path, f'[notify]\nurl = "{url}"\n')
