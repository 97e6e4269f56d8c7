"""What claims would bring is worked out for all of them together, and comes to what a walk for each would find."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from node.ledger.projections.lineage import SourceVersion, ancestry, claimed_gain_by_category, source_ids
from node.review.expected_gains import OwnSearch, expected_gains

CATEGORIES = ("initialisation", "optimizer", "batch")


def of(name: object, author: str = "a") -> SourceVersion:
    return author.encode(), str(name).encode()


def walked(
    version: SourceVersion,
    derived: dict[SourceVersion, frozenset[SourceVersion]],
    claimed: dict[SourceVersion, dict[str, float]],
    own: OwnSearch,
) -> float:
    """The same by a walk for this version alone."""
    own_sources = source_ids(own.lineage)
    lineage = ancestry(derived, version, until=own_sources)
    gains = claimed_gain_by_category(claimed, (v for v in lineage if v[1] not in own_sources))
    parting = [v for v in lineage if v[1] in own_sources]
    ours = {} if own.best in source_ids(parting) else own.gains_since(source_ids(ancestry(derived, *parting)))
    return min(0.3, sum(max(0.0, gain - ours.get(name, 0.0)) for name, gain in gains.items()))


@pytest.mark.parametrize("number", range(12))
def test_it_is_what_a_walk_for_each_version_alone_would_find(number: int) -> None:
    dice = random.Random(number)
    versions = [of(n, dice.choice("abc")) for n in range(60)]
    # Names repeat, so that authors share sources; some versions lead back to themselves, in circles.
    versions += [(dice.choice("abc").encode(), dice.choice(versions)[1]) for _ in range(10)]
    derived = {
        version: frozenset(dice.sample(versions, dice.choice((1, 1, 1, 2)))) for version in dice.sample(versions, 55)
    }
    claimed = {
        version: {name: dice.random() / 30 for name in dice.sample(CATEGORIES, dice.choice((1, 1, 2)))}
        for version in dice.sample(versions, 50)
    }
    best = dice.choice(versions)
    own = OwnSearch(best[1], ancestry(derived, best), claimed, dict.fromkeys(CATEGORIES, 0.03))
    found = expected_gains(versions, derived, claimed, own, lambda author: author == b"a")
    for version in versions:
        assert found[version] == pytest.approx(walked(version, derived, claimed, own)), version


def test_a_chain_of_thousands_of_claims_needs_no_walks() -> None:
    chain = [of(n) for n in range(3000)]
    derived = {made: frozenset({origin}) for origin, made in itertools.pairwise(chain)}
    claimed = {version: {"optimizer": 1e-6} for version in chain}
    own = OwnSearch(b"0", frozenset({of(0)}), claimed, {})
    found = expected_gains(chain, derived, claimed, own, lambda author: False, most_steps=0)
    assert math.isclose(found[chain[-1]], 2999e-6, rel_tol=1e-6)


def test_merges_beyond_the_limit_of_walks_count_for_themselves_and_known_authors_come_first() -> None:
    claimed = {of(name, author): {"optimizer": 0.01} for name in "xyz" for author in ("known", "stranger")}
    merged = {of("z", author): frozenset({of("x", author), of("y", author)}) for author in ("known", "stranger")}
    own = OwnSearch(b"0", frozenset({of(0)}), claimed, {})
    found = expected_gains(merged, merged, claimed, own, lambda author: author == b"known", most_steps=1)
    assert found[of("z", "known")] == pytest.approx(0.03)
    assert found[of("z", "stranger")] == pytest.approx(0.01)
