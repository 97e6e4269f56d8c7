"""Records for other tools: JSON lines with everything that was signed, or a table with one line per record.

It knows file formats. Nothing is left out of the JSON lines; the table has the columns that most analyses begin with.
"""

from __future__ import annotations

import csv
import json
from typing import TextIO

from node.ledger.store import Ledger
from node.view.model.leaderboard import gain_unit
from node.view.model.rows import row
from protocol.records import body_to_json

COLUMNS = (
    "id", "kind", "by", "time", "title", "category", "class", "decision", "conclusion", "value", "from", "gain",
    "gain_se", "gain_unit", "gain_percent", "gain_se_percent", "pairs", "of", "route", "measured",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@")  # a spreadsheet takes a text that begins with one of these for a formula


def jsonl(ledger: Ledger, out: TextIO) -> None:
    """One record a line, in the order of arrival, with its body field by field and the signed bytes and signature."""
    measured = ledger.settings.trust
    for record in ledger.all_records():
        signed = {"payload": record.payload.hex(), "signature": record.signature.hex(), "measured": measured}
        out.write(json.dumps(body_to_json(record) | signed, sort_keys=True) + "\n")


def table(ledger: Ledger, out: TextIO) -> None:
    """CSV with a header line. A title that a spreadsheet would take for a formula gets an apostrophe before it."""
    writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    unit, measured = gain_unit(ledger.settings.measure), ledger.settings.trust
    for record in ledger.all_records():
        fields = row(record)
        gain, error, pairs = fields.pop("gain", None) or ("", "", "")
        line = {name: _harmless(value) for name, value in fields.items()}
        line |= {"gain": gain, "gain_se": error, "gain_unit": unit, "pairs": pairs, "measured": measured}
        writer.writerow(line | ({"gain_percent": gain, "gain_se_percent": error} if unit else {}))


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
