"""The pages of the site as data for their templates, and the same data as the JSON that lies beside each page.

It knows what each page shows, from the ledger alone, and only what was signed or is counted over it: no address, no
folder, no setting and nothing of the machine that makes the site has a part. It does not know HTML or files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from node.execution.parsing.parser import SourceParser
from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.effects import gain_figures, value_text
from node.ledger.store import Ledger
from node.platform.log import Json
from node.view.files import plot
from node.view.files.site.feed import LATEST_MS
from node.view.model import leaderboard as data
from node.view.model.baseline import baseline
from node.view.model.rows import rows_of, tried
from node.view.model.transfers import listed_transfers
from protocol.evidence import Verdict
from protocol.identity import peer_id_of, short, short_peer
from protocol.records import Record

ID_DIGITS = 20  # of a record in the name of its page: 80 bits, so that nobody can make two records that share one
MOST_ON_THE_INDEX, MOST_NODES_ON_THE_INDEX = 10, 5
MOST_IDEAS = 300  # of a category, the newest; the data beside the page have all
SECTIONS = (
    (
        Verdict.CONFIRMED,
        "Enough reports of others hold, and runs of this node agree.",
        "Nothing is confirmed yet: that takes three reports that count, and runs of this node that agree.",
    ),
    (Verdict.OPEN, "Claimed, and not yet run again often enough to say.", "Nothing is open."),
    (
        Verdict.REFUTED,
        "Others ran it again and found no gain, or harm, and so did this node.",
        "Nothing was refuted.",
    ),
)
NOT_PLAIN = re.compile(r"[^a-z0-9]+")
KINDS_OF_LINE = {"+": "added", "-": "removed", "@": "place"}


@dataclass(frozen=True)
class Page:
    """One page: the template it is made with, what that needs, and the data that lie beside it."""

    path: str
    template: str
    values: Mapping[str, object]
    data: Json


@dataclass(frozen=True)
class Swarm:
    """What every page is made from, worked out once."""

    ledger: Ledger
    records: Sequence[Record]
    found: Sequence[Discovery]
    board: Json
    rows: Sequence[Json]

    @classmethod
    def of(cls, ledger: Ledger) -> Swarm:
        records = ledger.all_records()
        found = discoveries(records, ledger.weights(ledger.settings.author))
        return cls(ledger, records, found, data.leaderboard(ledger), rows_of(records, baseline(ledger, records)))

    def about(self) -> Json:
        author = self.ledger.settings.author
        return {
            "objective": self.board["objective"],
            **data.measured_json(self.ledger),
            "measured_suffix": self.ledger.settings.description.measured_suffix,
            "records": len(self.records),
            "nodes": len(self.board["nodes"]),
            "seen_by": short(author) if author else None,
        }

    def claims(self) -> list[Json]:
        """Every discovery, the largest first: by what others found, then by what is claimed."""
        shown = [data.discovery_json(one) | {"page": page_of(one.record.id)} for one in self.found]
        return sorted(shown, key=lambda one: (-_size(one["replicated"]), -_size(one["claimed"]), one["id"]))


def page_of(record_id: bytes) -> str:
    return f"discoveries/{record_id.hex()[:ID_DIGITS]}.html"


def _size(effect: Json | None) -> float:
    return float(effect["gain"]) if effect else 0.0


def overview_pages(swarm: Swarm) -> list[Page]:
    """The pages at the top: overview, discoveries, what was tried, nodes."""
    about, claims = swarm.about(), swarm.claims()
    by_standing = {word: [one for one in claims if one["standing"] == word] for word, _, _ in SECTIONS}
    ordered = sorted(swarm.board["nodes"], key=lambda node: (-_size(node["replicated"]), -_size(node["gain"])))
    nodes = [node | {"short": short_peer(node["peer"])} for node in ordered]
    categories = _categories(swarm)
    ideas = [one for one in swarm.rows if one["kind"] == "experiment" and not one["steps"]]
    standings = {str(word): len(each) for word, each in by_standing.items()}
    best = _best(swarm.board["nodes"])
    picture = plot.progress(swarm.rows, swarm.ledger.settings.description, "Everybody whose records are here")
    tables = {"sections": SECTIONS, "by_standing": by_standing, "nodes": nodes, "categories": categories}
    index = {
        **tables,
        "most": MOST_ON_THE_INDEX,
        "most_nodes": MOST_NODES_ON_THE_INDEX,
        "best": {name: in_short(effect) for name, effect in best.items()},
        "standings": standings,
        "tried_count": len(ideas),
        "kept_count": sum(one["kept"] for one in ideas),
        "picture": Markup(picture),
    }
    counted = {"standings": standings, "tried": len(ideas), "kept": index["kept_count"]}
    listed = [{name: value for name, value in one.items() if name != "ideas"} for one in categories]
    return [
        Page("index.html", "index.html", index, {"about": about, **counted, "best": best, "categories": listed}),
        Page("discoveries.html", "discoveries.html", tables, {"about": about, "discoveries": claims}),
        Page("tried.html", "tried.html", tables, {"about": about, "categories": listed, "ideas": ideas}),
        Page("nodes.html", "nodes.html", tables | {"most_nodes": None}, {"about": about, "nodes": ordered}),
    ]


def _best(nodes: Sequence[Json]) -> dict[str, Json | None]:
    """The largest gain over the baseline of any node: as others found it, and as its author claims."""
    found: dict[str, Json | None] = {}
    for name, of in (("replicated", "replicated"), ("claimed", "gain")):
        found[name] = max((node[of] for node in nodes if node[of]), key=lambda one: float(one["gain"]), default=None)
    return found


def in_short(effect: Json | None) -> Json | None:
    """A gain in figures for a large type: "+25.6 %", its error and its pairs."""
    if effect is None:
        return None
    suffix = " %" if effect["gain_unit"] else ""
    shown, error = gain_figures(effect["gain"], effect["gain_se"], suffix)
    return {"short": shown + suffix, "error": error, "pairs": effect["pairs"]}


# ---- what was tried -------------------------------------------------------------------------------------------------


def _categories(swarm: Swarm) -> list[Json]:
    """What was tried by category, with the newest ideas of each and an anchor for links to it."""
    by_category: dict[str, list[Json]] = {}
    for one in swarm.rows:
        if one["kind"] == "experiment" and not one["steps"]:
            by_category.setdefault(one["category"], []).append(one)
    pages = {one.record.id.hex(): page_of(one.record.id) for one in swarm.found}
    return [
        one
        | {
            "anchor": _anchor(one["category"]),
            "ideas": [_idea(row, pages) for row in reversed(by_category[one["category"]][-MOST_IDEAS:])],
        }
        for one in tried(swarm.rows, swarm.ledger.settings.measure)
    ]


def _anchor(category: str) -> str:
    """A name for links, of characters that need no escaping; what they leave out is told apart by a digest."""
    plain = NOT_PLAIN.sub("-", category.lower()).strip("-")
    return plain if plain == category else f"{plain}-{hashlib.sha256(category.encode()).hexdigest()[:8]}"


def _idea(row: Json, pages: Mapping[str, str]) -> Json:
    return {
        "title": row["title"] or "(without a title)",
        "page": pages.get(row["id"]),
        "outcome": row["conclusion"],
        "word": "kept" if row["kept"] else row["decision"],
        "gain": row.get("gain_text"),
        "compute_class": row["class"],
        "by": short_peer(row["by"]),
    }


# ---- a discovery ----------------------------------------------------------------------------------------------------


async def discovery_page(swarm: Swarm, found: Discovery, parser: SourceParser, carried: Sequence[Json]) -> Page:
    """The page of one discovery. carried: what transfers of it came to."""
    ledger, one = swarm.ledger, data.discovery_json(found)
    shown = await data.show(ledger, found.record, parser)
    shown.pop("replay", None)
    pages = {each.record.id.hex(): each for each in swarm.found}
    suffix = ledger.settings.description.measured_suffix
    path = page_of(found.record.id)
    diff = shown["diff"] or []
    values = {
        "one": one,
        "stem": found.record.id.hex()[:ID_DIGITS],
        "reason": found.claim.reason,
        "others": in_short(one["replicated"] or one["unchecked"]),
        "claimed": in_short(one["claimed"]),
        "holdout": in_short(one["holdout"]),
        "picture": Markup(plot.forest(found, suffix)),
        "replications": [_replication(each, suffix) for each in shown["replications"]],
        "audits": [_audit(each, shown) for each in shown["audits"]],
        "transfers": [
            (short_peer(each["peer"]), each["scale"], _text(each["effect"], suffix), _words(each["decision"]))
            for each in carried
        ],
        "runs": [_run(each) for each in shown["runs"]],
        "diff": [{"kind": _kind_of_line(line), "text": line} for line in diff],
        "patch": is_patch(diff),
        "lineage": [_step(each, pages) for each in shown["lineage"] if each["id"] != one["id"]],
        "embedded": ledger.settings.description.embedded,
        "facts": _facts(found, shown),
    }
    evidence = [found.record, *found.replications, *found.audits]
    signed = [{"id": r.id.hex(), "payload": r.payload.hex(), "signature": r.signature.hex()} for r in evidence]
    about = {"about": swarm.about(), "discovery": one, "transfers": list(carried), "signed": signed}
    return Page(path, "discovery.html", values, shown | about)


def is_patch(diff: Sequence[str]) -> bool:
    """Whether this is a whole edit that a program can apply: not cut, and not a word on why there is none."""
    return bool(diff) and diff[0].startswith("---") and len(diff) < data.MAX_DIFF_LINES


def _kind_of_line(line: str) -> str:
    return "place" if line.startswith(("--- ", "+++ ")) else KINDS_OF_LINE.get(line[:1], "same")


def _text(effect: Json | None, suffix: str) -> str:
    return f"{effect['text']}{suffix}" if effect else "–"


def _words(word: str) -> str:
    return word.replace("_", " ")


def _replication(one: Json, suffix: str) -> tuple[str, ...]:
    return (
        short_peer(one["peer"]),
        _words(one["decision"]),
        _text(one["effect"], suffix),
        one["compute_class"],
        one["route"] or "no",
    )


def _audit(one: Json, shown: Json) -> tuple[str, ...]:
    reporters = {each["id"]: short_peer(each["peer"]) for each in shown["replications"]}
    values = f"{_value(one['parent']['value'])}, {_value(one['child']['value'])}"
    agrees = "–" if one["agrees"] is None else "yes" if one["agrees"] else "no"
    return short_peer(one["peer"]), reporters.get(one["report"], "–"), str(one["seed"]), values, agrees


def _run(one: Json) -> tuple[str, ...]:
    return str(one["seed"]), _outcome(one["parent"]), _outcome(one["child"]), one["of"]


def _outcome(run: Json) -> str:
    return _value(run["value"]) if run["value"] is not None else f"failed: {run['failure']}"


def _value(value: float | None) -> str:
    return "–" if value is None else value_text(value)


def _step(one: Json, pages: Mapping[str, Discovery]) -> Json:
    page = page_of(pages[one["id"]].record.id).rpartition("/")[2] if one["id"] in pages else None
    return {
        "title": one["title"] or "(without a title)",
        "page": page,
        "gain": one["effect"]["text"] if one["effect"] else None,
    }


def _facts(found: Discovery, shown: Json) -> list[tuple[str, str]]:
    claim, record = found.claim, found.record
    cost = claim.cost_ratio
    return [
        ("record", record.id.hex()),
        ("by", peer_id_of(record.author)),
        ("signed", time_text(record.time)),
        ("idea from", claim.proposer),
        ("parent source", claim.parent.hex()),
        ("this source", claim.child.hex()),
        ("device", claim.device),
        ("cost", "not measured" if cost is None else f"×{cost:.3g} of the parent's"),
        *([("gain in parts", shown["effect"]["parts_text"])] if "parts_text" in (shown["effect"] or {}) else []),
    ]


def time_text(milliseconds: int) -> str:
    """A record's time, as its author states it: "2026-11-28 11:30 UTC"."""
    return datetime.fromtimestamp(min(milliseconds, LATEST_MS) / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def carried_by_discovery(records: Sequence[Record]) -> dict[str, list[Json]]:
    """What transfers came to, by the discovery (record id) that they are of."""
    found: dict[str, list[Json]] = {}
    for one in listed_transfers(records):
        found.setdefault(one["discovery"], []).append(one)
    return found
