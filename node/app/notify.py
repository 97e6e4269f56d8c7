"""Notification of a confirmed discovery: an event in the log, and the program and the webhook of `[notify]`, if any.

What is confirmed follows from the records held, as everywhere; what was confirmed before the node started is left out.
The title is a stranger's text: it is cleaned, it is never read by a shell, and it cannot pass for an option of the
program. Nothing here makes the node wait, and a fault of the program costs no more than a line in the log.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from subprocess import DEVNULL

import trio

from node.app.webhook import HINT, Webhook, message_of, post, secret_of
from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.effects import gain_text
from node.ledger.store import Ledger
from node.platform.config import PLACEHOLDER, Config
from node.platform.environment import OF_THE_DESKTOP, OF_THE_SESSION, child_environment, variable
from node.platform.log import Log, one_line, short_id
from protocol.evidence import Verdict
from protocol.identity import short
from protocol.records import Audit, Decision, Experiment, Record, Replication, metric_of
from protocol.weights import NOBODY

CHECK_SECONDS = 2.0  # between two checks for new records
RUN_SECONDS = 10.0  # for the program to end
MAX_TOLD_AT_ONCE = 3  # after one check
JUDGED_IN_A_ROW = 50  # discoveries, before other tasks get their turn
MARKUP = str.maketrans("<>&", "‹›＆")  # some desktops read markup in a message


class NotifyError(Exception):
    """What `[notify]` asks for cannot be done; the text says why."""


class Confirmations:
    """The discoveries that new records have confirmed, each once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen = 0  # records, in the order of arrival
        self._dropped = 0  # how often the ledger had dropped records then
        self._about: dict[bytes, list[Record]] = {}  # a discovery's replications and audits
        self._confirmed: set[bytes] = set()
        self._weights = NOBODY

    async def new(self) -> list[Discovery]:
        """Those confirmed since the last call, in the order of arrival of their claims.

        Only discoveries that new records are about are judged again; all, where an author's word counts more or less
        since.
        """
        touched: dict[bytes, None] = {}
        _, dropped = self._ledger.version()
        if dropped != self._dropped:  # the order is another one now
            self._seen, self._dropped = 0, dropped
            self._about.clear()
        for record in self._ledger.all_records()[self._seen :]:
            self._seen += 1
            body = record.body
            if isinstance(body, Replication | Audit):
                self._about.setdefault(body.discovery, []).append(record)
                touched[body.discovery] = None
            elif isinstance(body, Experiment) and body.decision == Decision.IMPROVED:
                touched[record.id] = None
        weights = self._ledger.weights(self._ledger.settings.author)
        if weights != self._weights:
            self._weights, touched = weights, touched | dict.fromkeys(self._about)
        claims = {record.id: record for record in self._ledger.all_records() if record.id in touched}
        confirmed: list[Discovery] = []
        for number, (key, claim) in enumerate(claims.items()):
            if number % JUDGED_IN_A_ROW == 0:
                await trio.lowlevel.checkpoint()
            if key in self._confirmed or key not in self._about:
                continue
            (found,) = discoveries([claim, *self._about[key]], weights)
            if found.standing.verdict == Verdict.CONFIRMED:
                self._confirmed.add(key)
                confirmed.append(found)
        return confirmed


def webhook_of(config: Config) -> Webhook | None:
    """The webhook of the settings; None without one. Raises NotifyError where its secret is not there."""
    if not config.notify_url:
        return None
    if not config.notify_secret_env:
        return Webhook(config.notify_url)
    secret = variable(config.notify_secret_env)
    if not secret:
        raise NotifyError(f"the environment has no {config.notify_secret_env}, with which messages are to be signed")
    try:
        return Webhook(config.notify_url, secret_of(secret))
    except ValueError as error:
        raise NotifyError(f"the secret in {config.notify_secret_env} cannot be used: {error}") from None


def missing_program(command: Sequence[str]) -> str | None:
    """Why the program of `[notify]` cannot be started; None where it can, or none is named."""
    if not command or shutil.which(command[0], path=child_environment().get("PATH")) is not None:
        return None
    return f"{command[0]} is not on the PATH, or is no program that you may run"


async def notify_of_confirmed(ledger: Ledger, config: Config, log: Log) -> None:
    """`keep_notifying` as the settings say; what of them cannot work is logged at once, not at the first discovery."""
    webhook = None
    try:
        webhook = webhook_of(config)
    except NotifyError as error:
        log("notification not possible", level="warning", why=str(error), hint=HINT)
    why = missing_program(config.notify_command)
    if why is not None:
        log("notification not possible", level="warning", why=why, hint=HINT)
    await keep_notifying(ledger, config.notify_command, log, webhook)


async def keep_notifying(ledger: Ledger, command: Sequence[str], log: Log, webhook: Webhook | None = None) -> None:
    """Log every discovery that is confirmed from now on, and tell a program and a webhook. command: the program, or ().

    Of many at once only the first few are told: a whole history that arrives must not be a hundred messages.
    """
    confirmations = Confirmations(ledger)
    checked = ledger.version()
    about = ledger.settings.description
    await confirmations.new()  # those confirmed before the start
    async with trio.open_nursery() as nursery:
        while True:
            await trio.sleep(CHECK_SECONDS)
            if ledger.version() == checked:
                continue
            checked = ledger.version()
            for number, found in enumerate(await confirmations.new()):
                _log_confirmed(found, log)
                if command and number < MAX_TOLD_AT_ONCE:
                    nursery.start_soon(_run, filled(command, found, about.measured_suffix), log)
                if webhook is not None and number < MAX_TOLD_AT_ONCE:
                    nursery.start_soon(post, webhook, message_of(found, ledger.objective, about), log)


def _log_confirmed(found: Discovery, log: Log) -> None:
    log(
        "discovery confirmed",
        title=found.claim.title,
        gain=gain_text(found.standing.effect, metric_of(found.claim)),
        peer=short(found.record.author),
        compute_class=found.claim.compute_class,
        record=short_id(found.record.id),
        peers=found.standing.reports,
    )


def filled(command: Sequence[str], found: Discovery, measured: str) -> list[str]:
    """The command with the discovery's title and gain in its arguments.

    measured: what stands behind a gain where the objective measures itself.
    """
    gain = gain_text(found.standing.effect, metric_of(found.claim)) + measured
    words = {
        "title": one_line(found.claim.title).translate(MARKUP),
        "gain": gain,
        "effect": gain,  # as settings of earlier versions call it
    }
    arguments = [PLACEHOLDER.sub(lambda name: words[name[1]], argument) for argument in command]
    # An argument that begins with a hyphen only because of a title could be an option of the program.
    return [
        f" {argument}" if argument.startswith("-") and not given.startswith("-") else argument
        for argument, given in zip(arguments, command, strict=True)
    ]


async def _run(command: list[str], log: Log) -> None:
    why = f"it took longer than {RUN_SECONDS:.0f} s"
    with trio.move_on_after(RUN_SECONDS):
        try:
            done = await trio.run_process(
                command,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=DEVNULL,
                env=child_environment(*OF_THE_DESKTOP, *OF_THE_SESSION),
                start_new_session=True,
                check=False,
                deliver_cancel=_end,
            )
        except OSError as error:
            why = error.strerror or type(error).__name__
        else:
            if done.returncode == 0:
                return
            why = f"it ended with status {done.returncode}"
    log("notification failed", level="warning", why=why, program=command[0], hint=HINT)


async def _end(process: trio.Process) -> None:
    """End the program with all it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
