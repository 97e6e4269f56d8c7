"""The progress of a run under way: what is shown of it, and that it stays small whatever the candidate reports."""

from __future__ import annotations

import json

from node.execution.run_progress import MOST_POINTS, Progress, RunProgress


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
    }


def test_a_curve_stays_short_whatever_a_candidate_sends() -> None:
    run_progress = RunProgress(bytes(32))
    for number in range(10_000):
        run_progress.note(Progress(number % 1000 / 999, 1e300 / (number + 1), 0.0, "train"))
    shown = run_progress.as_json()
    shares = [share for share, _ in shown["curve"]]
    assert MOST_POINTS / 2 < len(shares) <= MOST_POINTS + 1
    assert shares == sorted(shares)
    assert len(json.dumps(shown)) < 3000
