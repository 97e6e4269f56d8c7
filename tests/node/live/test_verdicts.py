"""What answers say of variants, and what is done about it."""

from __future__ import annotations

import json

import pytest

from node.live.approval import arms_of_round
from node.live.folder import LiveError, read_folder
from node.live.themes import answer_map
from node.live.verdicts import Verdict, verdicts
from node.live.watch import settle
from node.view.model.live import TRUST, live_map_for_peers, live_status
from tests.node.live.conftest import Test


def verdict_of(test: Test, variant: str) -> Verdict:
    found = verdicts(arms_of_round(test.store.arms()), read_folder(test.root).settings, test.store.tally)
    return next(verdict for verdict in found if verdict.arm.variant == variant)


def log_into(events: list[str]):  # type: ignore[no-untyped-def]
    return lambda event, **details: events.append(f"{event} {details['title']}: {details['why']}")


def test_a_variant_that_is_surely_better_is_found_once_and_stays_in_traffic(garden: Test) -> None:
    control, better, other = garden.approve("control", "one-step", "benefit-first")
    for arm, answered in ((control, 50), (better, 120), (other, 52)):
        garden.crowd(arm, 1000, answered)
    verdict = verdict_of(garden, "one-step")
    assert verdict.better
    assert verdict.best
    assert verdict.ratio.low > 1
    assert not verdict_of(garden, "benefit-first").better
    events: list[str] = []
    settle(read_folder(garden.root), garden.store, log_into(events))
    settle(read_folder(garden.root), garden.store, log_into(events))
    assert events == [
        "variant found better one-step: better than the control",
        "variant found better one-step: better than every other in traffic",
    ]
    assert all(arm.running for arm in garden.store.arms())


def test_nothing_is_said_of_few(garden: Test) -> None:
    control, arm = garden.approve("control", "one-step")
    garden.crowd(control, 150, 1)
    garden.crowd(arm, 150, 60)
    verdict = verdict_of(garden, "one-step")
    assert verdict.evidence > verdict.needed
    assert not verdict.enough
    assert not verdict.better


def test_a_variant_that_is_surely_worse_leaves_traffic_and_says_why(garden: Test) -> None:
    control, arm = garden.approve("control", "one-step")
    garden.crowd(control, 400, 80)
    garden.crowd(arm, 400, 30)
    events: list[str] = []
    settle(read_folder(garden.root), garden.store, log_into(events))
    says = "it is surely answered less than the control: 30 of 400 against 80 of 400"
    assert events == [f"variant stopped one-step: {says}"]
    (stopped,) = live_status(read_folder(garden.root), garden.store)["stopped"]
    assert (stopped["variant"], stopped["reason"], stopped["detail"]) == ("one-step", "stop-loss", says)


def test_a_variant_may_cost_only_so_much_without_proof(garden: Test) -> None:
    garden.set(("lost = 50.0", "lost = 10.0"))
    control, arm = garden.approve("control", "one-step")
    garden.crowd(control, 400, 40)
    garden.crowd(arm, 400, 28)
    verdict = verdict_of(garden, "one-step")
    assert not verdict.worse
    assert verdict.stop == (
        "stop-loss",
        "about 12 answers were lost, without proof that it is worse: 28 of 400 against 40 of 400",
    )


def test_a_winner_that_harms_a_guard_is_stopped_instead(garden: Test) -> None:
    control, arm = garden.approve("control", "one-step")
    garden.crowd(control, 1000, 50)
    garden.crowd(arm, 1000, 130, left=30)
    verdict = verdict_of(garden, "one-step")
    assert not verdict.better
    says = "unsubscribe is more frequent than allowed: 30 of 1000 against 0 of 1000"
    assert verdict.stop == ("guard unsubscribe", says)


def test_a_split_that_is_not_in_half_stops_every_claim(garden: Test) -> None:
    control, arm = garden.approve("control", "one-step")
    garden.crowd(control, 1000, 50)
    garden.crowd(arm, 700, 130)
    verdict = verdict_of(garden, "one-step")
    assert verdict.split_broken
    assert not verdict.better


def test_only_visitors_who_came_while_both_were_there_are_compared(garden: Test) -> None:
    (control,) = garden.approve("control")
    garden.crowd(control, 500, 250)
    (arm,) = garden.approve("one-step")
    rows = [(garden.store.signer.visitor(f"later {number}"), (control, arm)[number % 2], []) for number in range(100)]
    garden.store.add_mailing(rows)
    verdict = verdict_of(garden, "one-step")
    assert (verdict.visitors, verdict.control_visitors, verdict.control_answers) == (50, 50, 0)


def test_a_map_without_approvals_has_everything_to_try(garden: Test) -> None:
    folder = read_folder(garden.root)
    found = answer_map([], folder.themes, folder.settings, garden.store.tally)
    assert (found.tried, {theme.name for theme in found.untried}) == ((), folder.themes.keys())


def test_the_map_has_effects_by_theme_what_comes_together_and_what_was_never_tried(garden: Test) -> None:
    control, one, other = garden.approve("control", "one-step", "benefit-first")
    for arm, answered in ((control, 50), (one, 100), (other, 50)):
        garden.crowd(arm, 1000, answered)
    folder = read_folder(garden.root)
    found = answer_map(garden.store.arms(), folder.themes, folder.settings, garden.store.tally)
    rows = {effect.theme.name: effect for effect in found.tried}
    assert rows.keys() == {"say-what-they-get", "one-field", "first-person-button"}
    assert 1.9 < rows["one-field"].ratio.ratio < 2.1
    assert rows["one-field"].never_without == ("first-person-button",)
    assert rows["say-what-they-get"].ratio.low < 1 < rows["say-what-they-get"].ratio.high
    assert {theme.name for theme in found.untried} == folder.themes.keys() - rows.keys()


def test_a_theme_of_two_variants_is_compared_as_a_whole(garden: Test) -> None:
    garden.set(('themes = ["say-what-they-get"]', 'themes = ["one-field"]'))
    control, one, other = garden.approve("control", "one-step", "benefit-first")
    for arm, answered in ((control, 100), (one, 150), (other, 150)):
        garden.crowd(arm, 1000, answered)
    folder = read_folder(garden.root)
    found = answer_map(garden.store.arms(), folder.themes, folder.settings, garden.store.tally)
    effect = next(effect for effect in found.tried if effect.theme.name == "one-field")
    assert effect.visitors == 2000
    assert 1.45 < effect.ratio.ratio < 1.55
    assert effect.ratio.low < 1.5 < effect.ratio.high


def test_peers_may_have_themes_and_effects_alone_and_only_if_a_person_says_so(garden: Test) -> None:
    garden.approve("control", "one-step")
    with pytest.raises(LiveError, match="peers are given nothing"):
        live_map_for_peers(read_folder(garden.root), garden.store)
    garden.set(("share_themes = false", "share_themes = true"))
    value = live_map_for_peers(read_folder(garden.root), garden.store)
    assert value["measured"] == TRUST
    assert value["tried"][0].keys() == {
        "theme", "category", "ratio", "low", "high", "visitors", "control_visitors", "never_without"
    }  # fmt: skip
    for secret in ("garden", "Garden", "Send me", "one-step", "example.org"):
        assert secret not in json.dumps(value)
