"""A mailing: who is sent what, and what a mail program's CSV is taken for."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.live.folder import LiveError, read_folder
from node.live.mailing import Columns, Imported, assign, read_results
from tests.node.live.conftest import Test


@pytest.fixture
def letter(garden: Test) -> Test:
    """Subject lines instead of pages."""
    for name, subject in (("control", "The garden in May"), ("one-step", "Sow this now"), ("benefit-first", "Beans!")):
        (garden.root / "variants" / f"{name}.html").unlink()
        (garden.root / "variants" / f"{name}.txt").write_text(f"{subject}\n")
    garden.set(('must_have = ["Unsubscribe"]', "must_have = []"))
    garden.approve("control", "one-step")
    return garden


def imported(test: Test, text: str, columns: Columns | None = None) -> Imported:
    path = test.root.parent / "results.csv"
    path.write_text(text)
    return read_results(path, columns or Columns(), read_folder(test.root).settings, test.store)


def test_results_are_counted_once_for_each_recipient_and_no_address_is_kept(letter: Test) -> None:
    found = imported(
        letter,
        "recipient,variant,signup,unsubscribe\n"
        "ann@example.org,control,1,\n"
        "bob@example.org,The garden in May,0,2026-05-01 10:00\n"
        "cy@example.org,sow this now,3,no\n"
        "ANN@example.org,control,1,1\n"
        "ann@example.org,one-step,1,0\n"
        "dee@example.org,benefit-first,1,0\n"
        ",control,1,0\n",
    )
    assert (found.rows, found.recipients) == (7, 3)
    assert found.dropped == {
        "repeat": 1,
        "was shown another variant before": 1,
        "no variant that a person approved": 1,
        "no recipient": 1,
    }
    control, other = letter.store.arms()
    assert letter.store.tally(control.id, 0.0, 1e12).answers == {"signup": 1, "unsubscribe": 2}
    assert letter.store.tally(other.id, 0.0, 1e12).answers == {"signup": 1}
    for path in (letter.root / "state").iterdir():
        assert b"example.org" not in path.read_bytes()


def test_a_file_that_is_given_again_changes_nothing(letter: Test) -> None:
    text = "email,subject,sent,signup\nann@example.org,control,yes,1\nbob@example.org,one-step,no,0\n"
    columns = Columns("email", "subject", "sent")
    assert imported(letter, text, columns).dropped == {"not sent": 1}
    again = imported(letter, text, columns)
    assert (again.recipients, again.dropped) == (0, {"not sent": 1, "known already": 1})


def test_the_split_is_ours_and_comes_out_the_same_again(letter: Test, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("recipient\n" + "".join(f"r{number}@example.org\n" for number in range(400)))
    first = [(recipient, arm.variant) for recipient, arm in assign(path, Columns(), letter.store)]
    assert first == [(recipient, arm.variant) for recipient, arm in assign(path, Columns(), letter.store)]
    assert 160 < sum(variant == "control" for _, variant in first) < 240


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recipient,signup\na,1\n", "no column 'variant'"),
        ("", "no column 'recipient'"),
        ('recipient,variant,signup\n"a,control,1\n', "cannot read"),
        ("recipient,variant,signup\n\xff", None),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(letter: Test, text: str, says: str | None) -> None:
    if says is None:
        (letter.root / "latin.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(LiveError, match="CSV in UTF-8"):
            read_results(letter.root / "latin.csv", Columns(), read_folder(letter.root).settings, letter.store)
        return
    with pytest.raises(LiveError, match=says):
        imported(letter, text)


def test_nothing_is_sent_that_nobody_approved(garden: Test, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("recipient\na\n")
    with pytest.raises(LiveError, match="nothing is approved to be sent"):
        list(assign(tmp_path / "list.csv", Columns(), garden.store))
