"""The webhook: a confirmed discovery as JSON, posted to the address in `[notify]` and signed for who receives it.

The message has the form of Standard Webhooks (standardwebhooks.com): its id is that of the discovery's record, so one
that arrives twice is known again, and with a secret it is signed with HMAC-SHA256 over id, time and body. It goes to
the address that a person has named and to no other: no redirect is followed, no proxy of the environment is asked.
Attempts, their time and what is read of an answer are limited, and a fault costs no more than a line in the log. The
address may itself be a secret, so only its host is ever logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trio

from node.ledger.projections.discoveries import Discovery
from node.ledger.projections.effects import gain_text
from node.ledger.settings import Description
from node.platform.log import Json, Log, one_line
from node.view.model.leaderboard import discovery_json, gain_unit
from protocol.identity import short
from protocol.records import metric_of

EVENT = "discovery.confirmed"
TRY_SECONDS = 10.0  # for one attempt
WAITS = (2.0, 20.0)  # seconds before the second attempt and the third, which is the last
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # answers after which another attempt may help
SECRET_PREFIX = "whsec_"  # of a secret that is written in base64, as Standard Webhooks has it
HINT = "see [notify] in swarm.toml"


@dataclass(frozen=True)
class Webhook:
    """Where a person wants to be told. secret: what messages are signed with, None where they are not."""

    url: str = field(repr=False)
    secret: bytes | None = field(repr=False, default=None)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


def secret_of(text: str) -> bytes:
    """The key in a secret: what is behind "whsec_" in base64, else the text itself. Raises ValueError."""
    if not text.startswith(SECRET_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {SECRET_PREFIX} is not base64") from None


def message_of(found: Discovery, objective: bytes, about: Description) -> Json:
    """What is posted of a discovery. `text` is the sentence that chat programs show."""
    metric = metric_of(found.claim)
    gain = gain_text(found.standing.effect, metric) + about.measured_suffix
    title = one_line(found.claim.title)
    return {
        "type": EVENT,
        "version": 1,
        "text": f"{about.name}: others confirmed “{title}” by {short(found.record.author)}: {gain}",
        "objective": {
            "id": objective.hex(),
            "name": about.name,
            "metric": about.metric,
            "unit": about.unit,
            "direction": about.measure.direction,
            "gain_unit": gain_unit(metric),
            "measured": about.trust,
        },
        "discovery": discovery_json(found),
    }


def headers_of(record_id: str, body: bytes, secret: bytes | None, now: int) -> dict[str, str]:
    """The headers of a message. now: seconds since 1970."""
    headers = {"Content-Type": "application/json", "webhook-id": record_id, "webhook-timestamp": str(now)}
    if secret is not None:
        signed = hmac.new(secret, f"{record_id}.{now}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = "v1," + base64.b64encode(signed).decode()
    return headers


async def post(webhook: Webhook, message: Json, log: Log) -> None:
    """Post a message; when the last attempt has failed, the log says why."""
    body = json.dumps(message, sort_keys=True).encode()
    record_id = str(message["discovery"]["id"])
    why: str | None = None
    for wait in (0.0, *WAITS):
        await trio.sleep(wait)
        headers = headers_of(record_id, body, webhook.secret, int(time.time()))
        why, again = await _try(webhook.url, body, headers)
        if why is None:
            return
        if not again:
            break
    log("notification failed", level="warning", why=why, host=webhook.host, hint=HINT)


async def _try(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[str | None, bool]:
    """Why an attempt has failed, None where it has not, and whether another one may help."""
    import httpx2  # here, since few nodes have a webhook

    try:
        with trio.fail_after(TRY_SECONDS):
            async with (
                httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=TRY_SECONDS) as client,
                client.stream("POST", url, content=body, headers=dict(headers)) as answer,
            ):
                status = answer.status_code  # the body is not read: nothing in it is asked for
    except trio.TooSlowError:
        return f"it took longer than {TRY_SECONDS:.0f} s", True
    except httpx2.InvalidURL:
        return "the address cannot be used", False
    except (httpx2.HTTPError, OSError) as error:
        return f"it cannot be reached ({type(error).__name__})", True
    if 200 <= status < 300:
        return None, False
    if 300 <= status < 400:
        return f"it answered {status}, and no redirect is followed: name the new address", False
    return f"it answered {status}", status in AGAIN
