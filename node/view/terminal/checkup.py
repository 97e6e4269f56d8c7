"""The check-up's findings, as a table for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.platform.program import in_hints
from node.view.model.findings import Finding

STYLES = {"ok": "green", "warn": "yellow", "missing": "bold red"}


def report(findings: Sequence[Finding], as_json: bool) -> int:
    """Print the findings. Returns the exit status: 1 when something that a node needs is missing."""
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        Console().print(table(findings))
    return 1 if any(finding.ok == "missing" for finding in findings) else 0


def table(findings: Sequence[Finding]) -> Table:
    """One row per finding, with what to do about it where there is something to do."""
    rows = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for finding in findings:
        found = Text(finding.found)
        if finding.remedy:
            found.append(f"\n→ {in_hints(finding.remedy)}", style=STYLES[finding.ok])
        rows.add_row(Text(finding.ok, style=STYLES[finding.ok]), Text(finding.name), found)
    return rows
