"""The command `join`: find the objective (embedded, a folder, or a peer's by invite), then run the node and sum up.

An objective that comes from a peer is shown before anything of it is used, is checked against the id in the invite, and
runs only in the sandbox. Any objective that asks for more than this host gives is refused here.
"""

from __future__ import annotations

import argparse
import os
import secrets
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import trio

from node.app.consent import is_public
from node.app.environment import refuse_unprepared
from node.app.researched import (
    Chosen,
    asked_for,
    descriptions,
    give_files_to_objectives,
    held,
    last_researched,
    log_changed_folder,
    log_configured,
    remembered,
)
from node.app.running import Stop, Summary
from node.app.service import NodeSetup, StartError, run_node
from node.app.swarms import tell_cut_off
from node.app.this_machine import objective_for_this_machine, on_this_machine
from node.ledger.store import Ledger
from node.network import Address, ListenError, NotReachedError, fetch_objective
from node.objective.catalog import embedded_with, keep_files
from node.objective.limits import demands, limits_of_runs, refuse_beyond
from node.objective.load import load_objective, write_objective
from node.objective.scales import budget_text
from node.objective.schema import SETTINGS, Objective, ObjectiveError, Trust
from node.platform.config import AUTO, FILE_NAME, Config
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.log import Log, open_log, saying_who_measured, short_id
from node.proposers.catalogue import CatalogueError
from node.view.terminal.run_bar import RunBar
from node.view.web.dashboard import print_url, show_beside
from protocol.codec import MalformedError
from protocol.identity import KEY_BYTES, Identity, short_peer
from protocol.objective import SWARM_KEY_BYTES, Invite, decode_invite

FETCH_SECONDS = 60.0
OPEN_SWARM = "the private swarm in this home is another objective's; this one's is open to whoever has an address"
PRIVATE_HINT = "stop the node, `autoresearch-node swarm new --private`, and start it again, for a swarm of its own"
UNSHARED_SWARM = "its data are not for everybody, so its swarm is private: only those can connect whom you `invite`"


class JoinError(HomeError):
    """Joining failed; the text says what to do."""


def join(options: argparse.Namespace, config: Config) -> int:
    """Run a node until it is told to stop. Returns the exit status: 0, or 1 when it had to give up.

    Raises HomeError, LedgerError or JoinError with a sentence for the person who asked.
    """
    try:
        return _join(options, config)
    except (ObjectiveError, CatalogueError, ListenError, StartError) as error:
        raise JoinError(str(error)) from None


def _join(options: argparse.Namespace, config: Config) -> int:
    if options.invite is not None:
        decode_invite(options.invite)  # what is no invite is said first: whether a node runs here makes no difference
    home = Home(config.home)
    home.make()
    with home.locked() as lock:
        log_writer = open_log(home.root, config.log_level)

        def write(event: str, level: str = "info", **details: object) -> None:
            getattr(log_writer, level)(event, **details)

        log: Log = write

        give_files_to_objectives(home)
        chosen = _chosen(options, config, home, log)
        objective = _at_scale(chosen.objective, config, log)
        refuse_beyond(objective, limits_of_runs(config))
        refuse_unprepared(objective)
        if objective.trust == Trust.SELF_MEASURED:
            log = saying_who_measured(log, objective.trust)
        if options.invite is not None:  # it led somewhere: what it replaces may be forgotten
            home.keep_invite(objective.id, options.invite)
            home.keep_swarm_key(objective.id, decode_invite(options.invite).key)
            home.keep_swarm_key(None, None)  # a key for whatever comes first is not for a swarm that others began
        else:
            home.give_swarm("swarm.key", objective.id)
            close_swarm(objective, home, log)
        keep_files(home, objective)
        tell_cut_off(home, objective.id, objective.name, log)
        if home.swarm_key(objective.id) is None and home.has_private_swarm():
            log("open swarm", level="warning", title=objective.name, why=OPEN_SWARM, hint=PRIVATE_HINT)
        config = replace(config, public=is_public(config, home, objective.id))
        bootstrap = [*config.bootstrap, *_addresses(home, objective)]
        dashboard = None if options.no_dashboard else partial(show_beside, config, print_url, log)
        with RunBar() as view:
            setup = NodeSetup(
                config,
                home,
                objective,
                log,
                view,
                folder=chosen.folder,
                stop=Stop(options.experiments, options.seconds),
                no_research=options.no_research,
                unsafe=options.unsafe_run_peer_code,
                lock=lock,
            )
            summary = trio.run(run_node, setup, bootstrap, dashboard)
        _sum_up(summary, home, log)
        return 1 if summary.error else 0


def close_swarm(objective: Objective, home: Home, log: Log) -> None:
    """Begin a private swarm for an objective whose data are not for everybody, unless this home has one for it already.

    A home that joined an open one by an invite stays there.
    """
    if objective.unshared and home.swarm_key(objective.id) is None and home.invite(objective.id) is None:
        home.keep_swarm_key(objective.id, secrets.token_bytes(SWARM_KEY_BYTES))
        log("private swarm", title=objective.name, why=UNSHARED_SWARM)


def _chosen(options: argparse.Namespace, config: Config, home: Home, log: Log) -> Chosen:
    """What to research: what the invite or the option names, else what was researched last, else swarm.toml's."""
    with remembered(home) as ledger:
        if options.invite is not None:
            invite = decode_invite(options.invite)
            if options.objective is not None:
                return _both_named(invite, asked_for(options.objective, home, ledger), options.objective)
            return _by_invite(invite, home, ledger, log)
        last = last_researched(home, ledger, log) if ledger is not None and options.objective is None else None
        chosen = last or asked_for(_configured(config, log), home, ledger)
        if last is not None and config.objective != AUTO:
            log_configured(chosen, config.objective, log)
        log_changed_folder(chosen, ledger, log)
        return chosen


def _configured(config: Config, log: Log) -> str:
    """The objective that the option or swarm.toml names; that which suits this machine where they leave it open."""
    if config.objective != AUTO:
        return config.objective
    name, why = objective_for_this_machine(config)
    log("objective chosen", title=name, why=why, hint=f"`--objective NAME`, or `objective` in {FILE_NAME}")
    return name


def _at_scale(objective: Objective, config: Config, log: Log) -> Objective:
    """The objective as this machine runs it, which is said where that is not as it is meant to be run."""
    found = on_this_machine(objective, config)
    if found.why:
        note = "its values compare only with those of machines that run it at this scale"
        about = {"title": objective.name, "scale": found.objective.scale, "device": found.objective.device}
        log("scale", **about, budget=budget_text(found.objective), why=found.why, note=note)
    return found.objective


def _addresses(home: Home, objective: Objective) -> tuple[str, ...]:
    """The addresses in the invite by which this home joined an objective's swarm."""
    path = home.invite(objective.id)
    try:
        return decode_invite(path.read_text().strip()).addresses if path is not None else ()
    except MalformedError as error:
        raise JoinError(f"{path} is damaged ({error}); remove it or join with an invite again") from None


def _both_named(invite: Invite, chosen: Chosen, named: str) -> Chosen:
    """What an invite and `--objective` name, if that is one: a person's folder may have data that no peer can make."""
    if chosen.objective.id != invite.objective:
        raise JoinError(
            f"the invite is for the objective {short_id(invite.objective)}, and --objective {named} is another one, "
            f"{chosen.objective.name} {short_id(chosen.objective.id)}: leave --objective away to join the invite's "
            "swarm, or the invite to research the other without it"
        )
    return chosen


def _by_invite(invite: Invite, home: Home, ledger: Ledger | None, log: Log) -> Chosen:
    if ledger is not None and invite.objective in descriptions(ledger):
        return held(home, invite.objective, ledger)
    root = home.objective(invite.objective)
    embedded = embedded_with(invite.objective)
    if embedded is not None:
        return Chosen(replace(embedded, data_dir=home.data(embedded.id)))
    if not (root / SETTINGS).exists():
        _fetch(invite, root, log)
    objective = load_objective(root, home.data(invite.objective))
    if objective.id != invite.objective:
        raise JoinError(f"the objective in {root} is not the one of the invite; remove that folder and join again")
    return Chosen(objective)


def _fetch(invite: Invite, root: Path, log: Log) -> None:
    """Bring a peer's objective into the home, file by file, each checked by its content id."""
    log("asking peers for the objective", objective=short_id(invite.objective), addresses=len(invite.addresses))

    reasons = [""]

    def say_why(address: Address, error: NotReachedError) -> None:
        if str(error) != reasons[-1]:
            reasons.append(str(error))
            about = {"peer": short_peer(address.peer), "address": address.transport}
            log("peer not reached", level="warning", **about, why=str(error), hint="it is tried a few times more")

    async def fetch() -> tuple[bytes, dict[str, bytes], str] | None:
        identity = Identity.from_seed(os.urandom(KEY_BYTES))
        with trio.move_on_after(FETCH_SECONDS):
            return await fetch_objective(identity, invite, lambda done, of: None, say_why)
        return None

    fetched = trio.run(fetch)
    if fetched is None:
        why = reasons[-1] or "is the inviting node still running?"
        raise JoinError(f"nobody at the invite's addresses could hand over the objective: {why}")
    _, files, peer = fetched
    write_objective(files, root)
    objective = load_objective(root, root)
    measured = {} if objective.trust == Trust.JUDGED else {"measured": objective.trust}
    log(
        "objective received",
        title=objective.name,
        metric=objective.metric,
        **measured,
        files=len(files),
        kilobytes=round(sum(map(len, files.values())) / 1024),
        **demands(objective),
        peer=peer,
        note="its code runs only in the sandbox",
    )


def _sum_up(summary: Summary, home: Home, log: Log) -> None:
    details = {name: value for name, value in asdict(summary).items() if value is not None}
    details["seconds"] = round(summary.seconds)
    if summary.overhead is not None:
        details["overhead"] = f"{100 * summary.overhead:.1f} %"
    log("stopped", **details, home=str(home.root))
