"""What became of a person's folder, for that person: beside the objective's folder, never in it.

The report names files, so it is no part of the objective, whose files go to whoever is invited.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node.authoring.corpus.folder import Contents, Document, Skipped
from node.authoring.corpus.languages import languages_of
from node.authoring.corpus.splits import FEW, Splits
from node.platform.private_files import write_private

UNSAID = "not said"


@dataclass(frozen=True)
class Report:
    """What was found and what was made of it. tokens: of each split."""

    contents: Contents
    copies: tuple[Skipped, ...]
    splits: Splits
    tokens: dict[str, int]
    cut_to: int  # bytes of a document that were taken at most; 0 where all were
    size: str  # which of the sizes the model has, in words
    warnings: tuple[str, ...]


def as_data(report: Report) -> dict[str, Any]:
    """The report as JSON has it, with the name of every file that was passed over."""
    used = [document for part in report.splits.named.values() for document in part]
    passed = [*report.contents.skipped, *report.copies, *report.splits.rest]
    names: defaultdict[str, list[str]] = defaultdict(list)
    for one in passed:
        names[_kind_of(one.why)].append(f"{one.place}: {one.why}" if _kind_of(one.why) != one.why else one.place)
    return {
        "files": report.contents.files,
        "documents": len(report.contents.documents),
        "used": len(used),
        "skipped": {why: len(places) for why, places in _by_count(names)},
        "unused": report.splits.unused,
        "cut_to_bytes": report.cut_to,
        "repeated_bytes": report.splits.repeated,
        "split_by": "time" if report.splits.by_time else "hash",
        "splits": {name: _split(part, report.tokens[name]) for name, part in report.splits.named.items()},
        "dated_by": _shares([(document.dated_by, len(document.text)) for document in used]),
        "languages": languages_of(used),
        "licences": _shares([(document.licence or UNSAID, len(document.text)) for document in used]),
        "size": report.size,
        "warnings": list(report.warnings),
        "skipped_files": dict(_by_count(names)),
    }


def write(report: dict[str, Any], path: Path) -> None:
    """Write it as JSON, readable by its owner alone."""
    write_private(path, json.dumps(report, indent=1, ensure_ascii=True).encode() + b"\n")


def few_documents(splits: Splits) -> list[str]:
    """What to say of splits that are of a few documents."""
    return [
        f"{name} has {len(part)} {'document' if len(part) == 1 else 'documents'}: a gain may be one of these alone"
        for name, part in splits.named.items()
        if len(part) < FEW and name != "train"
    ]


def as_lines(report: dict[str, Any]) -> list[str]:
    """What a person is told at once."""
    lines = [f"{report['files']:,} files, {report['documents']:,} documents; {report['used']:,} are used"]
    lines += [f"  {count:,} passed over: {why}" for why, count in report["skipped"].items()]
    if report["unused"]:
        lines.append(f"  {report['unused']:,} not needed: there is more text than a model of this size reads")
    if report["cut_to_bytes"]:
        lines.append(f"  of each document the first {report['cut_to_bytes'] >> 10} KiB, as there is text in plenty")
    lines.append(f"  {report['repeated_bytes'] / 1e6:.1f} MB of passages that occur twice were left out")
    for name, part in report["splits"].items():
        when = f", {part['from']} to {part['to']}" if report["split_by"] == "time" else ""
        amount = f"{part['documents']:,} documents, {part['bytes']:,} bytes, {part['tokens']:,} tokens"
        lines.append(f"{name}: {amount}{when}")
    lines.append(f"languages: {_in_words(report['languages']) or 'unknown, as py3langid is not installed'}")
    lines.append(f"licences that they name: {_in_words(report['licences'])}")
    lines.append(f"model: {report['size']}")
    return lines + [f"warning: {text}" for text in report["warnings"]]


def _split(documents: Sequence[Document], tokens: int) -> dict[str, Any]:
    dates = [document.date for document in documents]
    return {
        "documents": len(documents),
        "bytes": sum(len(document.text) for document in documents),
        "tokens": tokens,
        "from": _day(min(dates)),
        "to": _day(max(dates)),
    }


def _day(date: float) -> str:
    try:
        return datetime.fromtimestamp(date, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "unknown"


def _kind_of(why: str) -> str:
    """A reason without the name of another file."""
    return "a copy" if why.startswith(("the same text as", "nearly the same text as")) else why


def _by_count(names: dict[str, list[str]]) -> list[tuple[str, list[str]]]:
    return sorted(names.items(), key=lambda item: -len(item[1]))


def _shares(sizes: Sequence[tuple[str, int]]) -> dict[str, float]:
    counted: Counter[str] = Counter()
    for name, size in sizes:
        counted[name] += size
    return {name: round(size / max(1, counted.total()), 4) for name, size in counted.most_common()}


def _in_words(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(shares.items())[:6])
