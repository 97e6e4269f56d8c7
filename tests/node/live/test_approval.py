"""The gate: what is seen is what a person approved, and only while the folder still says the same."""

from __future__ import annotations

import sqlite3

import pytest

from node.live.approval import approve, arms_of_round, end_what_changed, withdraw
from node.live.folder import LiveError, read_folder
from tests.node.live.conftest import Test


def test_an_approval_is_of_the_bytes_that_were_seen(garden: Test) -> None:
    folder = read_folder(garden.root)
    seen = folder.variants["one-step"].sha256
    garden.edit("one-step", "Send me", "Give me")
    with pytest.raises(LiveError, match="not what was seen any more"):
        approve(read_folder(garden.root), garden.store, "one-step", seen)
    with pytest.raises(LiveError, match="not what was seen"):
        approve(folder, garden.store, "one-step", "")
    assert approve(folder, garden.store, "one-step", seen[:12]) == 1


def test_what_is_served_is_what_was_approved_and_an_edit_ends_it(garden: Test) -> None:
    control, arm = garden.approve("control", "one-step")
    assert end_what_changed(read_folder(garden.root), garden.store) == []
    garden.edit("one-step", "Send me", "Give me")
    assert b"Send me" in garden.store.content(arm)
    (ended,) = end_what_changed(read_folder(garden.root), garden.store)
    assert (ended.arm.id, ended.reason) == (arm, "edited")
    assert [each.id for each in garden.store.arms() if each.running] == [control]


def test_a_deleted_file_ends_it_too(garden: Test) -> None:
    garden.approve("control", "one-step")
    garden.set(('[[variant]]\nname = "one-step"\nthemes = ["one-field", "first-person-button"]\n', ""))
    (garden.root / "variants" / "one-step.html").unlink()
    assert [each.reason for each in end_what_changed(read_folder(garden.root), garden.store)] == ["edited"]


def test_a_constraint_that_came_later_ends_it(garden: Test) -> None:
    garden.approve("control", "one-step")
    garden.set(('must_not_have = ["act now"', 'must_not_have = ["one click"'))
    (ended,) = end_what_changed(read_folder(garden.root), garden.store)
    assert ended.reason == "constraint"
    assert "'one click': these words may not appear" in ended.detail


def test_what_breaks_a_constraint_cannot_be_approved(garden: Test) -> None:
    garden.edit("one-step", "Send me the letter", "Act now")
    with pytest.raises(LiveError, match="line 15: 'act now'"):
        garden.approve("one-step")


def test_nobody_but_those_named_may_approve(garden: Test) -> None:
    garden.set(("approvers = []", 'approvers = ["somebody-else"]'))
    with pytest.raises(LiveError, match="may not approve here"):
        garden.approve("control")


def test_rules_stay_as_they_were_at_the_first_approval(garden: Test) -> None:
    garden.approve("control")
    garden.set(("level = 0.05", "level = 0.2"))
    with pytest.raises(LiveError, match=r"changed \(rules\)"):
        garden.approve("one-step")


def test_only_as_many_contents_are_approved_as_have_evidence(garden: Test) -> None:
    garden.set(("most_variants = 5", "most_variants = 2"))
    garden.approve("control", "one-step", "benefit-first")
    garden.edit("one-step", "Send me", "Give me")
    with pytest.raises(LiveError, match="2 contents were approved"):
        garden.approve("one-step")


def test_a_new_control_begins_anew(garden: Test) -> None:
    garden.approve("control", "one-step")
    garden.edit("control", "once a month", "every month")
    end_what_changed(read_folder(garden.root), garden.store)
    (control,) = garden.approve("control")
    arms = garden.store.arms()
    assert [arm.reason for arm in arms] == ["edited", "new control", ""]
    assert [arm.id for arm in arms_of_round(arms)] == [control]


def test_the_first_control_may_be_approved_after_a_variant(garden: Test) -> None:
    garden.approve("one-step", "control", "benefit-first")
    arms = garden.store.arms()
    assert all(arm.running for arm in arms)
    assert [arm.variant for arm in arms_of_round(arms)] == ["one-step", "control", "benefit-first"]


def test_what_is_withdrawn_is_gone_until_it_is_approved_again(garden: Test) -> None:
    garden.approve("control", "one-step")
    with pytest.raises(LiveError, match="approved already"):
        garden.approve("one-step")
    withdraw(read_folder(garden.root), garden.store, "one-step")
    with pytest.raises(LiveError, match="nothing to withdraw"):
        withdraw(read_folder(garden.root), garden.store, "one-step")
    assert garden.approve("one-step") == [3]


def test_an_approval_is_never_rewritten(garden: Test) -> None:
    garden.approve("control")
    with (
        sqlite3.connect(garden.root / "state" / "live.sqlite") as other,
        pytest.raises(sqlite3.IntegrityError, match="not changed"),
    ):
        other.execute("UPDATE arms SET content = 'other'")
    other.close()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("level = 0.05", "level = 0.5", "level"),
        ("level = 0.05", "levle = 0.05", "levle"),
        ('name = "signup"', 'name = "Sign up"', "answer.name"),
        ("https://www.example.org/welcome", "javascript:go()", "target of signup"),
        ('"say-what-they-get"', '"no-such-theme"', "has the theme no-such-theme"),
        ('name = "one-step"', 'name = "two-steps"', "names the variant two-steps"),
        ('name = "unsubscribe"', 'name = "signup"', "have one name"),
    ],
)
def test_a_mistake_in_the_settings_is_told_in_words(garden: Test, old: str, new: str, says: str) -> None:
    garden.set((old, new))
    with pytest.raises(LiveError, match=says):
        read_folder(garden.root)
