"""The progress of a run under way: what is shown of it, and that it stays small whatever the candidate reports."""

from __future__ import annotations

import json

from node.execution.run_progress import Progress, RunProgress
from node.execution.workers.budgets import CURVE_PARTS
from node.ledger.outcome import CurvePoint


def test_progress_shows_how_far_the_run_is_and_its_curve() -> None:
    run_progress = RunProgress(b"\xab" * 32)
    for share, loss in ((0.1, 5.123456), (0.5, 4.0)):
        run_progress.note(Progress(share, loss, 10 * share, "train"))
    run_progress.note(Progress(1.0, None, 10.0, "judge"))
    assert run_progress.as_json() == {
        "source": "ab" * 32,
        "phase": "judge",
        "share": 1.0,
        "seconds": 10.0,
        "loss": None,
        "curve": [[0.1, 5.1235], [0.5, 4.0]],
        "beside": None,
    }
    run_progress.beside_source, run_progress.beside = b"\xcd" * 32, [CurvePoint(0.1, 6.0, 1.0)]
    assert run_progress.as_json()["beside"] == {"source": "cd" * 32, "curve": [[0.1, 6.0]]}


def test_of_every_part_of_the_budget_the_curve_has_what_was_said_last() -> None:
    run_progress = RunProgress(bytes(32))
    for share, loss, cost in ((0.0, 9.0, 0.1), (0.01, 8.0, 0.2), (0.03, 7.0, 0.3), (0.04, 5.0, 0.4)):
        run_progress.note(Progress(share, loss, 1.0, "train", cost))
    assert run_progress.curve == [CurvePoint(0.03, 7.0, 0.3), CurvePoint(0.04, 5.0, 0.4)]
    run_progress.note(Progress(0.02, 1.0, 2.0, "train", 0.5))  # a share that goes back is none
    assert [point.share for point in run_progress.curve] == [0.03, 0.04]


def test_a_curve_stays_short_whatever_a_candidate_sends() -> None:
    run_progress = RunProgress(bytes(32))
    for number in range(10_000):
        run_progress.note(Progress(number % 1000 / 999, 1e300 / (number + 1), 0.0, "train"))
    shown = run_progress.as_json()
    shares = [share for share, _ in shown["curve"]]
    assert CURVE_PARTS / 2 < len(shares) <= CURVE_PARTS + 1
    assert shares == sorted(shares)
    assert len(json.dumps(shown)) < 3000
