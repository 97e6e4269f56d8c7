"""The commands `swarm new --private` and `swarm open`: whom a home's node meets over what it researches.

A key cuts a home off from every node that has none, and giving it up lets every node in. So what a change means is said
before it is made, a person agrees, and the key is kept. It does not know how a node runs.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from node.app.researched import descriptions, give_files_to_objectives, held, remembered
from node.ledger.store import Ledger
from node.objective.catalog import CatalogError
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.log import Log
from protocol.objective import SWARM_KEY_BYTES

CUT_OFF = "nodes of the open swarm in which this home was before cannot connect: they have no key"
WAY_BACK = "stop the node and `autoresearch-node swarm open`, to go back to them"


@dataclass(frozen=True)
class Company:
    """Whom a home has met over an objective. others: authors of records but this home's own."""

    name: str
    records: int = 0
    of_others: int = 0
    others: int = 0
    invited: bool = False

    @property
    def known(self) -> bool:
        return self.invited or self.others > 0

    def __str__(self) -> str:
        return f"of the {self.records} records here {self.of_others} are by {self.others} other authors"


def begin_private(home: Home, agrees: Callable[[str], bool]) -> str | None:
    """Begin a private swarm for what the home researches; returns its name, or None where a person did not agree.

    Raises HomeError where there is one already.
    """
    home.make()
    with home.locked():
        objective, company = _researched(home)
        if home.swarm_key(objective) is not None:
            raise HomeError(
                f"{home.root} already has a private swarm for {company.name}; choose another --home for a new one"
            )
        if company.known and not agrees(_what_is_left(company)):
            return None
        if objective is not None and company.known:
            home.note_left_open_swarm(objective)
        home.keep_swarm_key(objective, secrets.token_bytes(SWARM_KEY_BYTES))
    return company.name


def _what_is_left(company: Company) -> str:
    return (
        f"{company.name} has been researched here in an open swarm: {company}. With a key this home and the nodes of "
        "that swarm can no longer connect: none hears of what is found here from now on, nor this home of what they "
        "find. What is here stays, and goes to those whom you invite. `autoresearch-node swarm open` goes back."
    )


def open_again(home: Home, agrees: Callable[[str], bool]) -> str | None:
    """Give the private swarm up for the open one; returns what was done, or None where a person did not agree.

    The key is kept beside. Raises HomeError where there is no private swarm, or where the data are not for everybody.
    """
    if not home.root.exists():
        raise HomeError(f"there is no node home at {home.root}")
    with home.locked():
        objective, company = _researched(home)
        if home.swarm_key(objective) is None:
            raise HomeError(f"{company.name} is in no private swarm in {home.root}")
        if objective is not None and _is_unshared(home, objective):
            raise HomeError(f"the data of {company.name} are not for everybody, so its swarm stays private")
        if not agrees(_what_is_shown(company)):
            return None
        kept = home.set_swarm_key_aside(objective)
    return f"{company.name} is in the open swarm from the next `join` on; the key is kept in {kept}"


def _what_is_shown(company: Company) -> str:
    return (
        f"Without the key every node that researches {company.name} can connect to this one and is given all records "
        f"here, those of the private swarm too: {company}. The nodes of the private swarm can no longer connect."
    )


def tell_cut_off(home: Home, objective_id: bytes, title: str, log: Log) -> None:
    """Say at a start that this home has left an open swarm, as long as it is in the private one."""
    if home.swarm_key(objective_id) is not None and home.left_open_swarm(objective_id):
        log("left the open swarm", title=title, why=CUT_OFF, hint=WAY_BACK)


def _researched(home: Home) -> tuple[bytes | None, Company]:
    """What the home researches, None in one that has researched nothing, and whom it has met over that."""
    give_files_to_objectives(home)
    with remembered(home) as memory:
        objective = memory.settings.objective if memory is not None else None
        name = descriptions(memory)[objective].name if objective is not None else "the first objective joined here"
    if objective is None:
        return None, Company(name)
    with closing(Ledger.read(home.ledger, objective)) as ledger:
        own, records = ledger.settings.author, ledger.all_records()
    authors = [record.author for record in records if record.author != own]
    invited = home.invite(objective) is not None
    return objective, Company(name, len(records), len(authors), len(set(authors)), invited)


def _is_unshared(home: Home, objective: bytes) -> bool:
    with remembered(home) as memory:
        assert memory is not None
        try:
            return bool(held(home, objective, memory).objective.unshared)
        except CatalogError as error:
            raise HomeError(str(error)) from None
