"""Replays of the best sources are kept beside the records, and go nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.ledger.outcome import pack_outcome, unpack_outcome
from node.ledger.replays import MOST_KEPT
from node.ledger.store import Ledger
from tests.node.conftest import outcome
from tests.node.records_for_tests import OBJECTIVE, source

REPLAY = {"prices": {"bid": (99.0, 98.5), "ask": (101.0, 102.0)}}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE)
    yield opened
    opened.close()


def test_the_last_run_of_a_source_is_what_is_kept(ledger: Ledger) -> None:
    ledger.replays.keep(source("s"), 3.0, {"prices": {"bid": (1.0,)}})
    ledger.replays.keep(source("s"), 4.0, REPLAY)
    assert ledger.replays.of(source("s")) == REPLAY
    assert ledger.replays.of(source("another")) is None


def test_of_more_sources_than_are_kept_the_worst_goes(ledger: Ledger) -> None:
    for number in range(MOST_KEPT + 2):
        ledger.replays.keep(source(f"{number}"), float(number), REPLAY)
    kept = [ledger.replays.of(source(f"{number}")) is not None for number in range(MOST_KEPT + 2)]
    assert kept == [True] * MOST_KEPT + [False] * 2
    ledger.replays.keep(source("the best"), -1.0, REPLAY)
    assert ledger.replays.of(source("the best")) == REPLAY
    assert ledger.replays.of(source(f"{MOST_KEPT - 1}")) is None


def test_another_objective_has_its_own(ledger: Ledger, tmp_path: Path) -> None:
    ledger.replays.keep(source("s"), 1.0, REPLAY)
    ledger.close()
    other = Ledger.open(tmp_path / "ledger.sqlite", source("another objective"))
    assert other.replays.of(source("s")) is None
    other.close()


def test_an_earlier_version_reads_outcomes_that_had_one() -> None:
    assert pack_outcome(replace(outcome(), replay=REPLAY)) == pack_outcome(outcome())
    assert unpack_outcome(pack_outcome(replace(outcome(), replay=REPLAY))).replay is None


def test_a_ledger_of_an_earlier_version_is_read_as_one_without_replays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    made = Ledger.open(path, OBJECTIVE)
    made.set_meta("objective", OBJECTIVE)
    made.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE replays")
    ledger = Ledger.read(path)
    assert ledger.replays.of(source("s")) is None
    ledger.close()
