"""Make an objective of a person's own prices: the template portfolio, with the prices as the judge's data.

How much two strategies differ by chance follows from how long the history is, so that is written into objective.toml.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tomlkit

from node.authoring.fixing import fix_sums
from node.authoring.prices import Prices
from node.authoring.template import begin
from node.objective.catalog import CatalogError
from node.objective.schema import SETTINGS

DATA = "prices.bin"
VALIDATION = 0.35  # the share of the history that the search is scored on, as the template's judge.py has it
ALIKE = 0.9  # the correlation of a strategy with another that differs in one edit, for what chance makes of them


@dataclass(frozen=True)
class Begun:
    """An objective that was made. years: of validation. minimum_effect: in units of a year's Sharpe ratio."""

    name: str
    years: float
    minimum_effect: float


def begin_portfolio(folder: Path, name: str | None, prices: Prices) -> Begun:
    """Write an objective of these prices into an empty or new folder. Raises CatalogError."""
    begun = begin(folder, name, "portfolio")
    years = VALIDATION * len(prices.rows) / prices.days_a_year
    smallest = round(by_chance(years), 2)
    settings = folder / SETTINGS
    try:
        (folder / DATA).write_bytes(prices.packed())
        document = tomlkit.parse(settings.read_text("utf-8"))
        document["statistics"]["minimum_effect"] = smallest
        settings.write_text(tomlkit.dumps(document), "utf-8")
    except OSError as error:
        raise CatalogError(f"cannot write to {folder} ({error.strerror}); give another folder") from None
    fix_sums(folder)
    return Begun(begun, years, smallest)


def by_chance(years: float) -> float:
    """The standard error of the difference of two strategies' annual Sharpe ratios, where they are alike and no better.

    A ratio's own is 1/sqrt(years) (Lo 2002, for small ratios); of a difference it is sqrt(2 (1 - correlation)) of that.
    """
    return float((2 * (1 - ALIKE) / years) ** 0.5)
