"""The Atom feed (RFC 4287) of confirmed discoveries, the last confirmed first.

A published site has it as a file, and the dashboard serves it: where pages are is said by who asks. Identifiers are
those of records, so that a reader knows an entry again wherever the site moves. It has no time of its own: a feed in
which nothing is new is the same file to the last byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree

from node.ledger.projections.discoveries import Discovery
from node.ledger.projections.effects import gain_text
from node.ledger.store import Ledger
from node.view.files.plot import drawable
from node.view.model.standing import rests_on
from protocol.evidence import Verdict
from protocol.identity import short
from protocol.records import metric_of

ATOM = "http://www.w3.org/2005/Atom"
CONTENT_TYPE = "application/atom+xml"
MOST_ENTRIES = 100
LATEST_MS = 253_402_300_799_000  # the end of the year 9999: times are their authors' word


@dataclass(frozen=True)
class Places:
    """Where the feed, the page that it is of, and the page of each record are."""

    feed: str
    home: str
    record: Callable[[bytes], str]


def feed(ledger: Ledger, found: Iterable[Discovery], places: Places) -> bytes:
    """The feed. found: all discoveries of the ledger."""
    confirmed = [one for one in found if one.standing.verdict == Verdict.CONFIRMED]
    newest = sorted(confirmed, key=lambda one: (_confirmed_at(one), one.record.id), reverse=True)[:MOST_ENTRIES]
    about = ledger.settings.description
    root = ElementTree.Element("feed", xmlns=ATOM)
    _add(root, "title", f"{about.name}: confirmed discoveries")
    _add(root, "id", f"urn:sha256:{ledger.objective.hex()}")
    _add(root, "updated", _time(max((_confirmed_at(one) for one in newest), default=0)))
    _link(root, "self", places.feed, CONTENT_TYPE)
    _link(root, "alternate", places.home, "text/html")
    for one in newest:
        root.append(_entry(one, places.record(one.record.id), about.measured_suffix))
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _entry(one: Discovery, page: str, measured: str) -> ElementTree.Element:
    claim, metric = one.claim, metric_of(one.claim)
    entry = ElementTree.Element("entry")
    _add(entry, "title", claim.title or "(without a title)")
    _add(entry, "id", f"urn:sha256:{one.record.id.hex()}")
    _add(entry, "updated", _time(_confirmed_at(one)))
    _add(entry, "published", _time(one.record.time))
    _add(_add(entry, "author"), "name", short(one.record.author))
    entry.append(ElementTree.Element("category", term=drawable(claim.category)))
    _link(entry, "alternate", page, "text/html")
    found = f"Others found {gain_text(one.standing.effect, metric)}{measured}"
    claimed = f"claimed was {gain_text(claim.effect, metric)}{measured}, on {claim.compute_class}"
    _add(entry, "summary", f"{found}; {claimed}. {rests_on(one.standing)}.")
    return entry


def _confirmed_at(one: Discovery) -> int:
    """When the last of its evidence was signed, as its authors state it."""
    return max(record.time for record in (one.record, *one.replications, *one.audits))


def _add(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, name)
    element.text = drawable(text) if text is not None else None
    return element


def _link(parent: ElementTree.Element, relation: str, address: str, form: str) -> None:
    ElementTree.SubElement(parent, "link", rel=relation, href=address, type=form)


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(min(milliseconds, LATEST_MS) / 1000, UTC).isoformat(timespec="seconds")
