"""A projection is computed once for as long as no record arrives."""

from __future__ import annotations

from pathlib import Path

from node.ledger.projections.cached import CachedProjection
from node.ledger.store import Ledger
from tests.node.records_for_tests import OBJECTIVE, Author, experiment


def test_a_projection_is_computed_again_only_when_there_are_new_records(tmp_path: Path) -> None:
    ledger, looked = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE), []

    def titles() -> list[str]:
        looked.append(ledger.count())
        return [record.body.title for record in ledger.all_records()]  # type: ignore[union-attr]

    fold = CachedProjection(ledger, titles)
    assert [fold(), fold()] == [[], []]
    ledger.add(Author("bob").write(experiment("one")), "peer")
    assert [fold(), fold()] == [["one"], ["one"]]
    assert looked == [0, 1]
    ledger.close()
