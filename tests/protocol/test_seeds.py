"""Seeds repeat for their node, differ for everything else, and are spread over all integers that readers take."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from protocol.audits import is_report
from protocol.identity import Identity
from protocol.records import open_record
from protocol.seeds import SEEDS, own_seed, seeds_of

ALICE, BOB = (Identity.from_seed(hashlib.sha256(name).digest()) for name in (b"alice", b"bob"))
ONE, TWO, THREE = (hashlib.sha256(bytes([number])).digest() for number in range(3))
VECTOR = Path(__file__).resolve().parents[2] / "protocol" / "vectors" / "proofs.json"


def test_an_own_seed_depends_on_all_that_it_is_for() -> None:
    seeds = {
        own_seed(who, objective, use, parent, child, number)
        for who in (ALICE, BOB)
        for objective in (ONE, TWO)
        for use in ("a", "b")
        for parent in (ONE, TWO)
        for child in (ONE, TWO)
        for number in (1, 2)
    }
    assert len(seeds) == 2**6
    assert own_seed(ALICE, ONE, "a", TWO, THREE, 1) == own_seed(ALICE, ONE, "a", TWO, THREE, 1)


def test_seeds_are_whole_numbers_that_every_reader_of_records_takes_and_javascript_holds() -> None:
    seeds = [
        seed
        for number in range(4000)
        for seed in seeds_of(hashlib.sha512(bytes([number % 256, number // 256])).digest(), 2)
    ]
    assert SEEDS == 2**53 - 1
    assert all(1 <= seed <= SEEDS and float(seed) == seed for seed in seeds)
    assert len(set(seeds)) == 8000
    for bit in range(53):  # 4,000 expected, with a deviation of 45
        assert 3700 < sum(seed >> bit & 1 for seed in seeds) < 4300


def test_another_client_can_check_a_report_by_the_vector() -> None:
    vector = json.loads(VECTOR.read_text())
    report = open_record(bytes.fromhex(vector["report"]))
    assert is_report(report)
    assert report.proven_value is not None
    assert report.proven_value.hex() == vector["value"]
    assert seeds_of(report.proven_value, 2) == vector["seeds"] == [pair.seed for pair in report.body.pairs]  # type: ignore[union-attr]
