"""The report: what was tried, found, confirmed and refuted, with figures and how to see each again.

One text for two formats: a self-contained HTML page and Markdown. Every figure has its standard error and its number of
seed pairs, and what was claimed stands beside what others found. Text from records is escaped for either format.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from node.execution.parsing.parser import SourceParser
from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.effects import gain_text
from node.ledger.settings import JUDGED, Description
from node.ledger.store import Ledger
from node.platform.log import Json, short_id
from node.review.proven import proven_in
from node.view.files import plot as figures
from node.view.model import leaderboard as data
from node.view.model.baseline import baseline
from node.view.model.luck import Luck, luck
from node.view.model.rows import rows_of, tried
from node.view.model.standing import rests_on
from node.view.model.transfers import names_of, transfers
from protocol.identity import peer_id_of, short, short_peer
from protocol.metric import Metric, Scale
from protocol.records import Effect, Experiment, metric_of

MAX_TITLES = 500  # rows of a table; the export has the rest
MAX_IN_DETAIL = 50  # discoveries with a picture, their reason and their edit
SELF_MEASURED = (
    "All values and gains here are self-measured: the objective's own program printed them, and the source that it "
    "measures may run in the same process. No judge stands between the two."
)
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&])")

STYLE = """
:root { color-scheme: light dark; } body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #8886; vertical-align: top; }
svg { max-width: 100%; height: auto; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid #8886; font-size: .8rem; }
h1, h2, h3, td { overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    svg: str
    about: str


Block = Heading | Paragraph | Table | Code | Picture


# ---- its content ----------------------------------------------------------------------------------------------------


async def report(ledger: Ledger) -> list[Block]:
    """The report on everything that this ledger holds; "this node" is the one whose ledger it is."""
    records = ledger.all_records()
    own, about = ledger.settings.author, ledger.settings.description
    board = data.leaderboard(ledger)
    rows = rows_of(records, baseline(ledger))
    found = sorted(discoveries(records, ledger.weights(own)), key=_largest_first)
    return [
        Heading(1, f"Laboratory report: {board['name']}, {board['metric']}{about.measured_suffix}"),
        Paragraph(
            f"Objective {short_id(board['objective'])}, {len(records)} signed records of {len(board['nodes'])} nodes. "
            f"{about.metric}: {about.measure.direction} is better. A gain is {_unit(about)} by which a source is "
            "better than its parent, adjusted for CPU cost, ± its standard error, with the number of seed pairs; "
            "positive is better. Claims are biased upward by selection; what others found is not."
        ),
        *([] if about.trust == JUDGED else [Paragraph(SELF_MEASURED)]),
        *_progress(rows, about, peer_id_of(own) if own else None),
        *_nodes(board["nodes"]),
        *_tried(rows, about.measure),
        *_luck(luck(ledger)),
        *_carried(transfers(records, proven_in(ledger, own), names_of(ledger))),
        *_standing(found, "confirmed", "What others confirmed"),
        *_standing(found, "refuted", "What others refuted"),
        *_standing(found, "open", "What is open"),
        *await _details(ledger, found, SourceParser()),
        *_again(board),
    ]


def _unit(about: Description) -> str:
    if about.measure.scale == Scale.LOG:
        return f"the share of {about.metric}, in per cent,"
    return f"the difference in {about.metric}" + (f" ({about.unit})" if about.unit else "")


def _largest_first(found: Discovery) -> tuple[float, bytes]:
    return (found.claim.effect.mean if found.claim.effect else 0.0, found.record.id)


def _progress(rows: Sequence[Json], about: Description, own: str | None) -> list[Block]:
    mine = [one for one in rows if one["by"] == own]
    blocks: list[Block] = [Heading(2, "Progress")]
    if any(one["kind"] == "experiment" for one in mine):
        blocks.append(Picture(figures.progress(mine, about, "This node"), "this node's experiments"))
    blocks.append(Picture(figures.progress(rows, about, "Everybody whose records are here"), "all experiments"))
    return blocks


def _nodes(nodes: Sequence[Json]) -> list[Block]:
    lines = tuple(
        (
            short_peer(node["peer"]),
            node["compute_class"],
            _gain(node["replicated"]),
            f"{node['replicated_steps']} of {len(node['steps'])}",
            _gain(node["gain"]),
            _gain(node["holdout"]),
            str(node["experiments"]),
            str(node["replications"]),
        )
        for node in nodes[:MAX_TITLES]
    )
    columns = ("node", "class", "replicated gain", "steps replicated", "own figure", "on holdout", "tried", "re-run")
    return [Heading(2, "How far each node has got"), Table(columns, lines)]


def _tried(rows: Sequence[Json], metric: Metric) -> list[Block]:
    lines = tuple(
        (
            one["category"],
            str(one["tried"]),
            str(one["kept"]),
            str(one["failed"]),
            one["median_text"] or "–",
            one["best_text"] or "–",
        )
        for one in tried(rows, metric)
    )
    columns = ("category", "tried", "kept", "failed", "median gain", "best gain")
    return [Heading(2, "What was tried, and what it gave"), Table(columns, lines)]


def _luck(found: Luck | None) -> list[Block]:
    """Of a metric that is a Sharpe ratio: how much of the best one is luck."""
    if found is None:
        return []
    lines = [
        ("sources run here", str(found.tries)),
        ("Sharpe ratio of the best, a year", f"{found.sharpe:.2f}"),
        ("the best of as many without any skill", f"{found.expected_best:.2f}"),
        ("deflated Sharpe ratio: probability that there is skill, given the tries", f"{found.deflated:.3f}"),
    ]
    if found.overfitting is not None:
        over = found.overfitting
        about = (
            f"probability of overfitting, of {over.sources} sources run at one seed, {over.splits} splits of its time"
        )
        lines.append((about, f"{over.probability:.2f}"))
    lines += [(f"of the best: {name}", f"{value:.4g}") for name, value in found.metrics.items()]
    return [
        Heading(2, "How far luck goes"),
        Table(("", ""), tuple(lines)),
        Paragraph(
            "Whoever tries many strategies and shows the best shows luck too. Tries count as independent, which they "
            "are not, so the third figure is higher than it should be. None of this is advice."
        ),
    ]


def _carried(data: Json) -> list[Block]:
    """What carries over to larger scales, and from other objectives; nothing where nothing was tried."""
    return [*_from_objectives(data["objectives"]), *_to_scales(data)]


def _from_objectives(rows: Sequence[Json]) -> list[Block]:
    if not rows:
        return []
    shown = tuple(
        (one["name"] or short_id(bytes.fromhex(one["objective"])), one["category"], one["text"], _rate(one))
        for one in rows
    )
    return [
        Heading(2, "What carries over from other objectives"),
        Table(("objective", "category", "came of it", "rate"), shown),
    ]


def _to_scales(data: Json) -> list[Block]:
    if not data["transfers"]:
        return []
    by_category = tuple((one["category"], one["scale"], one["text"], _rate(one)) for one in data["categories"])
    promoted = tuple(
        (
            one["title"] or short_id(bytes.fromhex(one["discovery"])),
            one["scale"],
            _gain(one["claimed"]),
            _gain(one["effect"]),
            one["decision"].replace("_", " "),
        )
        for one in data["transfers"][:MAX_TITLES]
    )
    return [
        Heading(2, "What carries over to larger scales"),
        Table(("category", "scale", "carries over", "rate"), by_category),
        Table(("discovery", "scale", "claimed gain", "gain there", "decision"), promoted),
    ]


def _rate(one: Json) -> str:
    return f"{100 * one['rate']:.0f} % ± {100 * one['rate_error']:.0f}"


def _standing(found: Sequence[Discovery], verdict: str, heading: str) -> list[Block]:
    chosen = [one for one in found if one.standing.verdict == verdict]
    if not chosen:
        return [Heading(2, heading), Paragraph("Nothing.")]
    lines = tuple(
        (
            short_id(one.record.id),
            one.claim.title,
            f"{short(one.record.author)} {one.claim.compute_class}",
            _gain_of(one, one.claim.effect),
            _gain_of(one, one.claim.holdout),
            _found_by_others(one),
        )
        for one in chosen[:MAX_TITLES]
    )
    columns = ("record", "discovery", "by", "claimed gain", "on holdout", "others found")
    return [Heading(2, heading), Table(columns, lines), *_left_out(len(chosen), MAX_TITLES)]


def _found_by_others(found: Discovery) -> str:
    """The gain that others found, by how many; and where none of it counts here, that it was not checked."""
    standing = found.standing
    if standing.unchecked is not None:
        return f"{_gain_of(found, standing.unchecked)} by {standing.keys}, not checked"
    return f"{_gain_of(found, standing.effect)} by {standing.reports}" if standing.effect else "–"


def _gain_of(found: Discovery, effect: Effect | None) -> str:
    return gain_text(effect, metric_of(found.claim)) if effect is not None else "–"


def _left_out(count: int, most: int) -> list[Block]:
    return [Paragraph(f"The {most} largest of {count}.")] if count > most else []


async def _details(ledger: Ledger, found: Sequence[Discovery], parser: SourceParser) -> list[Block]:
    blocks: list[Block] = [Heading(2, "Each discovery"), *_left_out(len(found), MAX_IN_DETAIL)]
    measured = ledger.settings.description.measured_suffix
    for one in found[:MAX_IN_DETAIL]:
        record_id = one.record.id.hex()
        blocks += [
            Heading(3, one.claim.title),
            Paragraph(one.claim.reason),
            Paragraph(
                f"Standing: {one.standing.verdict} ({rests_on(one.standing)}). "
                f"Claimed gain: {_gain_of(one, one.claim.effect)}{measured}, on "
                f"{one.claim.compute_class} ({one.claim.device}), seeds {_seeds(one.claim)}."
            ),
            Picture(figures.forest(one, measured), "the claim beside what others found"),
            Paragraph(
                f"To see everything about it: autoresearch-node show {short_id(record_id)}. "
                f"To run what it reports again: autoresearch-node reproduce {short_id(record_id)}"
            ),
        ]
        edit = await data.diff(ledger, one.claim.parent, one.claim.child, parser)
        blocks.append(Code(tuple(edit)) if edit is not None else Paragraph("Its sources have not arrived here."))
    return blocks


def _seeds(claim: Experiment) -> str:
    return ", ".join(str(pair.seed) for pair in claim.pairs)


def _again(board: Json) -> list[Block]:
    return [
        Heading(2, "To see it again"),
        Paragraph(
            f"A node that joins the swarm of objective {short_id(board['objective'])} with --no-research re-runs every "
            "discovery on its machine, with seeds of its own: autoresearch-node join INVITE --no-research"
        ),
        Paragraph(
            "A run with the same source, seed and platform gives the same values. Sources are kept by content id: "
            "`show` prints the edit, and the workspace folder of a node's home holds what was kept as commits."
        ),
    ]


def _gain(effect: Json | None) -> str:
    return str(effect["text"]) if effect else "–"


# ---- as HTML and as Markdown ----------------------------------------------------------------------------------------


def as_html(blocks: Iterable[Block]) -> str:
    """One page that needs nothing else: pictures inside, no script."""
    body = list(blocks)
    title = next((block.text for block in body if isinstance(block, Heading)), "Laboratory report")
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>\n"
    )
    return head + "\n".join(_html(block) for block in body) + "\n</body></html>\n"


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Table(columns, lines):
            head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
            body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
            return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        case Code(lines):
            return f"<pre>{html.escape(chr(10).join(lines))}</pre>"
        case Picture(svg, about):
            return f"<figure>{svg}<figcaption>{html.escape(about)}</figcaption></figure>"


def as_markdown(blocks: Iterable[Block], keep_picture: Callable[[str], str]) -> str:
    """Markdown; `keep_picture` takes an SVG, keeps it beside the text and returns the name to refer to it by."""
    return "\n\n".join(_markdown(block, keep_picture) for block in blocks) + "\n"


def _markdown(block: Block, keep_picture: Callable[[str], str]) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_plain(text)}"
        case Paragraph(text):
            return _plain(text)
        case Table(columns, lines):
            rows = [columns, ("---",) * len(columns)]
            shown = ["| " + " | ".join(line) + " |" for line in rows]
            return "\n".join([*shown, *("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)])
        case Code(lines):
            return "\n".join(f"    {line}" for line in lines)
        case Picture(svg, about):
            return f"![{_plain(about)}]({keep_picture(svg)})"


def _plain(text: str) -> str:
    """Text that Markdown shows as itself, on one line."""
    return MARKDOWN.sub(r"\\\1", " ".join(text.split()))
