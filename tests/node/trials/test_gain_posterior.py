"""What an idea is believed to gain: known values, and what holds for all of them."""

from __future__ import annotations

import math
import random

import pytest

from node.objective.schema import Prior
from node.trials.gain_posterior import (
    GainPrior,
    gain_prior,
    learnt,
    least_gain_seen,
    posterior,
    value_of_look,
    value_of_new_idea,
)

PRIOR = GainPrior(success=0.2, gain=0.02, nothing=0.3, harm=0.02)
SEEN = [-0.2, -0.05, -0.01, 0.0, 0.005, 0.01, 0.03, 0.1, 0.5]


def summed(prior: GainPrior, seen: float, se: float) -> tuple[float, float]:
    """The posterior mean and the chance of a gain, by adding up narrow slices of the prior."""
    width = se / 200
    weights, mean, chance = prior.nothing * math.exp(-0.5 * (seen / se) ** 2), 0.0, 0.0
    harming = 1 - prior.success - prior.nothing
    for number in range(-6000, 6000):
        gain = (number + 0.5) * width
        share, scale = (prior.success, prior.gain) if gain > 0 else (harming, prior.harm)
        weight = width * share / scale * math.exp(-abs(gain) / scale - 0.5 * ((seen - gain) / se) ** 2)
        weights, mean, chance = weights + weight, mean + weight * gain, chance + weight * (gain > 0)
    return mean / weights, chance / weights


@pytest.mark.parametrize("seen", [-0.03, 0.0, 0.01, 0.04])
def test_the_closed_form_is_the_sum_over_all_gains(seen: float) -> None:
    mean, chance = summed(PRIOR, seen, 0.01)
    found = posterior(PRIOR, seen, 0.01)
    assert found.mean == pytest.approx(mean, abs=1e-7)
    assert found.chance == pytest.approx(chance, abs=1e-5)


def test_a_gain_seen_clearly_is_only_reduced_by_what_the_exponential_prior_takes() -> None:
    """Far from zero the posterior is normal around y − s² / a: .30 − .005² / .02 = .29875."""
    found = posterior(PRIOR, 0.3, 0.005)
    assert (found.mean, found.deviation, found.chance) == pytest.approx((0.29875, 0.005, 1.0))


def test_where_all_ideas_help_the_posterior_is_one_truncated_normal_distribution() -> None:
    """Seen s² / a, the truncated normal begins at its mode: its mean is s · √(2/π), its variance s² (1 − 2/π)."""
    found = posterior(GainPrior(1.0, 0.02, 0.0, 0.02), 0.01**2 / 0.02, 0.01)
    assert found.mean == pytest.approx(0.01 * math.sqrt(2 / math.pi))
    assert found.deviation == pytest.approx(0.01 * math.sqrt(1 - 2 / math.pi))


def test_far_tails_stay_numbers() -> None:
    for seen in (-5.0, -0.5, 0.5, 5.0):
        for se in (1e-4, 1e-3, 1.0):
            found = posterior(PRIOR, seen, se)
            assert all(map(math.isfinite, (found.mean, found.deviation, found.chance)))
            assert found.mean * seen >= 0 or se == 1.0


def test_both_sides_of_the_switch_to_the_continued_fraction_agree() -> None:
    below, above = (posterior(PRIOR, (0.5 - 3.0 + nudge) * 0.01, 0.01) for nudge in (-1e-9, 1e-9))
    assert below.mean == pytest.approx(above.mean, rel=1e-7)
    assert below.deviation == pytest.approx(above.deviation, rel=1e-6)


def test_the_more_is_seen_the_more_is_believed() -> None:
    means = [posterior(PRIOR, seen, 0.01).mean for seen in SEEN]
    assert means == sorted(means)


def test_the_least_gain_to_keep_has_a_posterior_of_nothing() -> None:
    assert posterior(PRIOR, least_gain_seen(PRIOR, 0.01), 0.01).mean == pytest.approx(0, abs=1e-9)


def test_where_few_ideas_help_more_must_be_seen() -> None:
    rare = GainPrior(0.02, 0.02, 0.3, 0.02)
    assert least_gain_seen(rare, 0.01) > 2 * least_gain_seen(PRIOR, 0.01) > 0


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("next_se", [0.001, 0.01, 0.1])
def test_a_look_never_has_a_negative_value(seen: float, next_se: float) -> None:
    assert value_of_look(PRIOR, seen, 0.01, next_se) >= 0


def test_a_look_is_worth_most_in_doubt_and_nothing_where_all_is_clear() -> None:
    doubtful = value_of_look(PRIOR, least_gain_seen(PRIOR, 0.01), 0.01, 0.01)
    assert doubtful > 10 * value_of_look(PRIOR, 0.06, 0.01, 0.01)
    assert doubtful > 10 * value_of_look(PRIOR, -0.03, 0.01, 0.01)


def test_a_sharper_look_is_worth_more() -> None:
    values = [value_of_look(PRIOR, 0.01, 0.01, next_se) for next_se in (0.1, 0.03, 0.01, 0.003, 0.001)]
    assert values == sorted(values)


def drawn(rng: random.Random, prior: GainPrior = PRIOR) -> float:
    kind = rng.random()
    if kind < prior.success:
        return rng.expovariate(1 / prior.gain)
    return 0.0 if kind < prior.success + prior.nothing else -rng.expovariate(1 / prior.harm)


def test_a_new_idea_is_worth_what_keeping_the_right_ones_gains_on_average() -> None:
    rng = random.Random(1)
    for noise in (0.001, 0.01, 0.05):
        least = least_gain_seen(PRIOR, noise)
        gains = [drawn(rng) for _ in range(40_000)]
        kept = math.fsum(gain for gain in gains if gain + noise * rng.gauss(0, 1) > least) / len(gains)
        assert value_of_new_idea(PRIOR, noise) == pytest.approx(kept, rel=0.06)


def test_a_look_is_worth_what_deciding_after_it_gains_on_average() -> None:
    """Of drawn ideas whose first run showed about 1 %, the gain of those kept after a second run, less those now."""
    rng = random.Random(2)
    noise, now, after = 0.01, 0.0, 0.0
    weights = 0.0
    for _ in range(60_000):
        gain = drawn(rng)
        weight = math.exp(-0.5 * ((0.01 - gain) / noise) ** 2)
        both = (0.01 + gain + noise * rng.gauss(0, 1)) / 2
        weights += weight
        now += weight * gain
        after += weight * gain * (both > least_gain_seen(PRIOR, noise / math.sqrt(2)))
    assert value_of_look(PRIOR, 0.01, noise, noise) == pytest.approx((after - max(0.0, now)) / weights, rel=0.1)


def test_without_noise_a_new_idea_is_worth_its_chance_times_its_gain() -> None:
    assert value_of_new_idea(PRIOR, 1e-6) == pytest.approx(0.2 * 0.02, rel=1e-3)


def test_a_category_that_seldom_helps_is_expected_to_harm_on_the_whole() -> None:
    assert gain_prior(Prior(0.1, 0.01)).mean == pytest.approx(0.1 * 0.01 - 0.6 * 0.01)


def test_before_anything_was_seen_the_prior_is_what_it_was() -> None:
    assert learnt(PRIOR, []) == PRIOR


def test_what_ideas_have_shown_corrects_a_prior_that_is_four_times_too_hopeful() -> None:
    """One in twenty helps, by .6 %; the prior says one in five, by 2 %. Known after 300 runs with an error of 1 %."""
    rng = random.Random(3)
    true = GainPrior(0.05, 0.006, 0.3, 0.0125)
    hopeful = GainPrior(0.2, 0.02, 0.25, 0.02)
    seen = [(drawn(rng, true) + 0.01 * rng.gauss(0, 1), 0.01) for _ in range(300)]
    found = learnt(hopeful, seen)
    assert found.success < 0.12
    assert value_of_new_idea(found, 0.005) < 0.5 * value_of_new_idea(hopeful, 0.005)
    assert found.harm == pytest.approx(true.harm, rel=0.3)


def test_ideas_that_were_measured_badly_teach_little() -> None:
    found = learnt(PRIOR, [(0.05, 1.0)] * 20)
    assert found.gain == pytest.approx(PRIOR.gain, rel=0.02)
    assert found.success == pytest.approx(PRIOR.success, rel=0.1)
