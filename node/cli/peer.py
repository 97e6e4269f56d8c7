"""The commands `peer check`, whether a node can be reached, and `peer show`, what one has done and how that held.

Thin: they read arguments, call the part that does the work, and print.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from node.cli.terminal import print_value
from node.ledger.error import LedgerError
from node.platform.config import Config
from node.platform.home import Home

if TYPE_CHECKING:
    from node.network import PeerCheck

Command = Callable[..., argparse.ArgumentParser]
MOST_PROTOCOLS = 3  # named on one line


class UnknownPeerError(LedgerError):
    """No peer is called that; the text says where they are listed."""


def add_commands(command: Command) -> None:
    """Make the commands known; `command` adds one below `peer`."""
    check = command("check", _check, "dial a node, ask it what it is, and say what is wrong if something is")
    show = command("show", _show, "what a peer claims, what came of it, and what its word weighs here and why")
    show.add_argument("peer", metavar="PEER", help="a peer id, or the end of one as tables show it")
    check.add_argument("target", metavar="ADDRESS|INVITE", help="/ip4/192.0.2.1/tcp/4001/p2p/12D3Koo… or an invite")


def _show(options: argparse.Namespace, config: Config) -> int:
    from node.ledger.store import Ledger
    from node.view.model.folds import Folds
    from node.view.model.peer import author_of, peer_page, without_records
    from node.view.model.swarm import online_peers
    from node.view.terminal import peer_table
    from protocol.identity import peer_id_of

    home = Home(config.home)
    folds, running = Folds.of(Ledger.read(home.ledger)), home.read_status()
    author = author_of(folds, options.peer)
    if author is None:
        connected = without_records(running, options.peer)
        if connected is not None:
            print_value(options, connected, lambda: peer_table.without_records(connected))
            return 0
        raise UnknownPeerError(
            f"no single peer whose records are held here is called {options.peer!r}; `autoresearch-node leaderboard` "
            "lists them"
        )
    value = peer_page(folds, author, peer_id_of(author) in online_peers(running))
    print_value(options, value, lambda: peer_table.table(value))
    return 0


def _check(options: argparse.Namespace, config: Config) -> int:
    from node.app.peer_checkup import check  # starts the network stack, which the reading commands do without

    checkup = check(options.target, config)
    if options.json:
        print(json.dumps(checkup.as_json(), indent=2, sort_keys=True))
    else:
        for found in checkup.peers:
            print("\n".join(lines(found)))
        print(f"this node's own reach: {checkup.here}")
        if checkup.ok and len(checkup.peers) > 1:
            print("one address that works is enough to join")
    return 0 if checkup.ok else 1


def lines(found: PeerCheck) -> list[str]:
    """What was found at one address, as far as it came, and what is wrong last."""
    from node.platform.log import one_line

    told = [one_line(found.address)]
    if found.connect_seconds is not None:
        told.append(f"  connected   in {1000 * found.connect_seconds:.0f} ms, and it has proved its peer id")
    if found.agent:
        told.append(f"  program     {one_line(found.agent)}")
    ours = [protocol for protocol in found.protocols if protocol.startswith("/autoresearch/")]
    if ours:
        told.append(f"  protocols   {one_line(', '.join(ours[:MOST_PROTOCOLS]))}")
    if found.pings:
        told.append(f"  ping        {', '.join(f'{1000 * seconds:.0f}' for seconds in found.pings)} ms")
    if found.objective:
        told.append(f"  objective   {found.objective[:16]}")
    told.append(f"  {found.fault}: {found.why}" if found.fault else "  ok")
    return told
