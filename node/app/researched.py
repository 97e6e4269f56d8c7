"""Which objective a home researches: the one asked for, or the one it researched last.

A home can research several, one after the other. Each has its records, runs, data, workspace, swarm and files apart, so
going back to one finds it as it was left. It does not know how a node runs, nor peers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.live.folder import is_live
from node.objective.catalog import (
    CatalogError,
    description_of,
    embedded_names,
    held_objective,
    keep_files,
    named_objective,
    successor,
)
from node.objective.load import load_objective
from node.objective.schema import SETTINGS, Kind, Objective, ObjectiveError
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.log import Log, short_id
from protocol.codec import MalformedError
from protocol.objective import decode_invite

NO_OBJECTIVE = bytes(32)  # a ledger opened for it has no records in memory, whatever is in the file
ID_DIGITS = 4  # the fewest of an id that name an objective


@dataclass(frozen=True)
class Chosen:
    """An objective, and the folder in which a person keeps its files; "" where it has none."""

    objective: Objective
    folder: str = ""


@contextmanager
def remembered(home: Home) -> Iterator[Ledger | None]:
    """The home's ledger without any records, for what it remembers of objectives; None in a home without one."""
    if not home.ledger.exists():
        yield None
        return
    ledger = Ledger.read(home.ledger, NO_OBJECTIVE)
    try:
        yield ledger
    finally:
        ledger.close()


def descriptions(ledger: Ledger | None) -> dict[bytes, Description]:
    """What a home has researched, by id. Of what an earlier version researched before the last, no name is known."""
    if ledger is None:
        return {}
    unnamed = {objective: Description() for objective in ledger.record_counts()}
    return unnamed | ledger.settings.descriptions


# ---- which one ------------------------------------------------------------------------------------------------------


def asked_for(text: str, home: Home, ledger: Ledger | None) -> Chosen:
    """The objective that a person names: an embedded one, a folder, or one of this home by name or start of its id.

    Raises CatalogError when there is none, or when there are several.
    """
    folder = Path(text).expanduser()
    if text in embedded_names():
        return _in_home(named_objective(text), home)
    if (folder / SETTINGS).exists():
        return _in_home(named_objective(text), home, str(folder.resolve()))
    if is_live(folder):
        raise CatalogError(f"{text} is a live test, which people meet and no node runs; see `autoresearch-node live`")
    known = descriptions(ledger)
    found = _named(text, known) or _received(text, home)
    _refuse_several(text, found, known)
    if not found:
        raise CatalogError(
            f"no objective {text!r}: give one of {', '.join(embedded_names())}, one that `autoresearch-node objective "
            "list` shows, or the path of a folder with an objective.toml"
        )
    if ledger is None or found[0] not in known:
        return Chosen(load_objective(home.objective(found[0]), home.data(found[0])))
    return held(home, found[0], ledger)


def id_of(text: str, ledger: Ledger | None) -> bytes:
    """The id of what this home has researched under a name or the start of an id. Its files need not be here.

    Raises CatalogError when there is none, or when there are several.
    """
    known = descriptions(ledger)
    found = _named(text, known)
    _refuse_several(text, found, known)
    if not found:
        raise CatalogError(
            f"this home has researched no {text!r}; `autoresearch-node objective list` shows what it has"
        )
    return found[0]


def _named(text: str, known: dict[bytes, Description]) -> list[bytes]:
    """The ids of objectives with this name; where there are none, those that begin so."""
    found = [objective for objective, about in known.items() if about.name == text]
    if not found and len(text) >= ID_DIGITS:
        found = [objective for objective in known if objective.hex().startswith(text.lower())]
    return found


def _refuse_several(text: str, found: list[bytes], known: dict[bytes, Description]) -> None:
    if len(found) > 1:
        names = {one: known[one].name if one in known else "" for one in found}
        ids = ", ".join(f"{short_id(one)} ({name or 'no name'})" for one, name in names.items())
        raise CatalogError(f"{text!r} names several objectives of this home: {ids}; give the start of an id")


def _received(text: str, home: Home) -> list[bytes]:
    """The ids of objectives whose files came here from a peer, by name or the start of the id."""
    found = []
    folder = home.root / "objectives"
    for root in sorted(folder.iterdir()) if folder.is_dir() else ():
        objective = _as_it_is(root)
        if isinstance(objective, Objective):
            by_id = len(text) >= ID_DIGITS and objective.id.hex().startswith(text.lower())
            if by_id or objective.name == text:
                found.append(objective.id)
    return found


def held(home: Home, objective_id: bytes, ledger: Ledger) -> Chosen:
    """An objective that this home has researched, as it was. Raises CatalogError when its files are gone.

    It is taken from the person's folder where that still has the same files, and else from those kept in the home. What
    a command's environment has below that folder is there alone, so the folder must still be there for it.
    """
    folder = descriptions(ledger).get(objective_id, Description()).folder
    if folder:
        same = _as_it_is(Path(folder))
        if isinstance(same, Objective) and same.id == objective_id:
            return _in_home(same, home, folder)
    objective = held_objective(home, objective_id, ledger)
    beside = (
        [path for path in objective.environment.paths if not path.startswith("~/")] if objective.environment else []
    )
    if not folder or objective.kind != Kind.COMMAND or not beside:
        return Chosen(objective, folder)
    if not Path(folder).is_dir():
        raise CatalogError(
            f"objective {objective.name} needs {', '.join(beside)} in {folder}, and that folder is gone; put it back, "
            "or join with --objective and the folder in which it is now"
        )
    return Chosen(replace(objective, root=Path(folder)), folder)


def last_researched(home: Home, ledger: Ledger, log: Log) -> Chosen | None:
    """What this home researched last; None in one that has researched nothing. Raises CatalogError as `held` does.

    Where it came with an earlier version of the program, it is what this version has in its place: an older one may not
    run any more. An objective that was joined by invite stays, for its swarm does.
    """
    last = ledger.settings.objective
    if last is None:
        return None
    newer = successor(last, descriptions(ledger)[last]) if home.invite(last) is None else None
    if newer is None:
        return held(home, last, ledger)
    why = f"this version of the program has it in place of {short_id(last)}, which was researched here last"
    hint = f"`autoresearch-node objective use {short_id(last)}` goes back, if that one still runs"
    log("another objective", title=newer.name, id=short_id(newer.id), why=why, hint=hint)
    return _in_home(newer, home)


def _in_home(objective: Objective, home: Home, folder: str = "") -> Chosen:
    return Chosen(replace(objective, data_dir=home.data(objective.id)), folder)


def _as_it_is(folder: Path) -> Objective | str:
    """The objective in a folder now, or why it cannot be read."""
    try:
        return load_objective(folder, folder)
    except (ObjectiveError, OSError) as error:
        return str(error)


# ---- what a person should know --------------------------------------------------------------------------------------


def log_changed_folder(chosen: Chosen, ledger: Ledger | None, log: Log) -> None:
    """Say when a folder's files are no longer those of the objective that was researched from it.

    Other files are another objective, with a swarm of its own: nobody should change over without knowing it.
    """
    if not chosen.folder:
        return
    id_now, about = chosen.objective.id, {"title": chosen.objective.name, "folder": chosen.folder}
    now = _as_it_is(Path(chosen.folder))
    before = [
        objective
        for objective, known in sorted(descriptions(ledger).items(), key=lambda item: -item[1].joined)
        if known.folder == chosen.folder and objective != id_now
    ]
    if not isinstance(now, Objective):
        why = "its files cannot be read now, so the node goes on with those it kept"
        log("objective folder changed", level="warning", **about, id=short_id(id_now), why=why)
    elif now.id != id_now:
        why = f"its files are now another objective, {short_id(now.id)}; the node goes on with those it kept"
        again = f"`autoresearch-node join --objective {quote(chosen.folder)}`"
        hint = f"{again} researches it as it is now, in a swarm of its own"
        log("objective folder changed", level="warning", **about, id=short_id(id_now), why=why, hint=hint)
    elif before and id_now not in descriptions(ledger):
        former = short_id(before[0])
        records = ledger.record_counts().get(before[0], 0) if ledger is not None else 0
        why = (
            f"its files have changed, so this is another objective than {former}, with its own swarm; "
            f"{records} records stand under the former id"
        )
        hint = (
            f"`autoresearch-node leaderboard --objective {former}` shows them, "
            f"`autoresearch-node objective use {former}` goes back to that one"
        )
        log("objective folder changed", level="warning", **about, id=short_id(id_now), why=why, hint=hint)


def log_configured(chosen: Chosen, configured: str, log: Log) -> None:
    """Say when swarm.toml names another objective than the one this home goes on with."""
    try:
        other = named_objective(configured)
    except (CatalogError, ObjectiveError):
        return
    if other.id == chosen.objective.id:
        return
    why = f"swarm.toml names {other.name} {short_id(other.id)}; this home goes on with what it researched last"
    hint = f"`autoresearch-node objective use {configured}` changes over"
    log("another objective", title=chosen.objective.name, id=short_id(chosen.objective.id), why=why, hint=hint)


# ---- changing over --------------------------------------------------------------------------------------------------


def use(home: Home, text: str) -> Chosen:
    """Have the next `join` research the objective that a person names. Raises HomeError while a node runs here."""
    if home.in_use():
        raise HomeError(
            f"a node is running in {home.root}; stop it, choose the objective, and start it again, or research two "
            "objectives at once with a --home for each"
        )
    home.make()
    with home.locked():
        give_files_to_objectives(home)
        with remembered(home) as memory:
            chosen = asked_for(text, home, memory)
            _refuse_two_of_a_name(text, chosen, memory)
        keep_files(home, chosen.objective)
        ledger = Ledger.open(home.ledger, chosen.objective.id, metric=chosen.objective.measure)
        try:
            ledger.settings.choose(description_of(chosen.objective, chosen.folder))
        finally:
            ledger.close()
    return chosen


def _refuse_two_of_a_name(text: str, chosen: Chosen, memory: Ledger | None) -> None:
    """Raise CatalogError where a bare word names a folder here, and another objective that the home has researched."""
    if "/" in text or not chosen.folder:
        return
    others = [one for one, about in descriptions(memory).items() if about.name == text and one != chosen.objective.id]
    if others:
        ids = ", ".join(map(short_id, others))
        raise CatalogError(
            f"{text!r} is both the folder ./{text}, whose objective is {short_id(chosen.objective.id)}, and one that "
            f"this home has researched ({ids}): write ./{text} for the folder, or the start of an id"
        )


def give_files_to_objectives(home: Home) -> None:
    """Say which objective the files of an earlier version are of, before another one is researched.

    An invite names its objective, and the key of a private swarm came with it; another key and a workspace are those of
    the objective that was researched last. The caller holds the home's lock.
    """
    with remembered(home) as ledger:
        current = ledger.settings.objective if ledger is not None else None
    path = home.root / "invite"
    if path.exists():
        try:
            invite = decode_invite(path.read_text().strip())
        except (OSError, ValueError, MalformedError):
            raise HomeError(f"{path} is damaged; remove it or join with an invite again") from None
        if invite.key is not None:
            home.give_swarm("swarm.key", invite.objective)
        home.give_swarm("invite", invite.objective)
    if current is not None:
        home.give_swarm("swarm.key", current)
        home.mark_workspace(current)
