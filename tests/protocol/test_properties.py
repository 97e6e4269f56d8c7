"""What holds for all input: bytes from outside raise MalformedError or nothing, feeds and evidence are consistent."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import MESSAGE_LIMITS, RECORD_LIMITS, Limits, MalformedError, decode, encode
from protocol.evidence import OwnRuns, Report, Standing, combine, standing
from protocol.feed import FeedCheck, FeedHead, Fork, check_next, open_fork
from protocol.identity import Identity, author_of, peer_id_of, short
from protocol.messages import decode_gossip, decode_message
from protocol.objective import decode_invite, decode_manifest, safe_path
from protocol.records import Effect, Experiment, open_record
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, source

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
WIRE = Author("alice").write(experiment()).wire()
FEEDS = {name: [Author(name).write(experiment("one"))] for name in ("alice", "bob", "carol")}
for _name, _feed in FEEDS.items():
    _author = Author(_name, list(_feed))
    _feed += [_author.write(experiment(f"number {n}", decision="no_gain")) for n in range(5)]


@given(plain)
def test_every_plain_value_survives_a_round_trip(value: Any) -> None:
    assert decode(encode(value), RECORD_LIMITS) == value


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_malformed_error(data: bytes) -> None:
    for opener in (open_record, decode_message, decode_gossip, decode_manifest):
        with pytest.raises(MalformedError):
            opener(data)


@given(st.text(max_size=100))
def test_no_text_passes_for_an_invite(text: str) -> None:
    with pytest.raises(MalformedError):
        decode_invite(text)


@given(st.integers(0, len(WIRE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused(position: int, change: int) -> None:
    changed = bytearray(WIRE)
    changed[position] ^= change
    with pytest.raises(MalformedError):
        open_record(bytes(changed))


@given(st.integers(0, len(WIRE) - 1))
def test_a_truncated_record_is_refused(length: int) -> None:
    with pytest.raises(MalformedError):
        open_record(WIRE[:length])


DEEP = {"lists": b"\x91" * 60_000 + b"\xc0", "maps": b"\x81\xa1a" * 20_000 + b"\xc0"}


@pytest.mark.parametrize("limits", [RECORD_LIMITS, MESSAGE_LIMITS], ids=["record", "message"])
@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP.keys())
def test_what_is_nested_very_deep_is_refused(deep: bytes, limits: Limits) -> None:
    with pytest.raises(MalformedError):
        decode(deep, limits)


@pytest.mark.parametrize("limits", [RECORD_LIMITS, MESSAGE_LIMITS], ids=["record", "message"])
@pytest.mark.parametrize("inside", [b"\x91", b"\x81\xa1a"], ids=["lists", "maps"])
def test_values_may_be_as_deep_as_the_limit_and_no_deeper(inside: bytes, limits: Limits) -> None:
    decode(inside * limits.max_depth + b"\xc0", limits)
    with pytest.raises(MalformedError, match="too deep"):
        decode(inside * (limits.max_depth + 1) + b"\xc0", limits)


@pytest.mark.parametrize("limits", [RECORD_LIMITS, MESSAGE_LIMITS], ids=["record", "message"])
def test_lists_that_each_promise_many_items_take_little_memory(limits: Limits) -> None:
    promise = b"\xdc" + limits.max_items.to_bytes(2, "big") if limits.max_items < 1 << 16 else b"\xdc\xff\xff"
    tracemalloc.start()
    try:
        for nested in (1, limits.max_depth, 1024, 20_000):
            with pytest.raises(MalformedError):
                decode(promise * nested, limits)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


MISLEADING = {
    "huge list": b"\xdd\xff\xff\xff\xff",
    "huge map": b"\xdf\x7f\xff\xff\xff",
    "huge text": b"\xdb\xff\xff\xff\xff",
    "huge binary": b"\xc6\xff\xff\xff\xff",
    "same key twice": b"\x82\xa1a\x01\xa1a\x02",
}


@pytest.mark.parametrize("data", MISLEADING.values(), ids=MISLEADING.keys())
def test_sizes_that_are_announced_are_not_allocated(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data, MESSAGE_LIMITS)


def test_extensions_and_numbers_that_are_none_are_refused() -> None:
    for data in (b"\xd4\x01\x00", b"\xcb\x7f\xf8" + bytes(6), b"\xcb\x7f\xf0" + bytes(6)):
        with pytest.raises(MalformedError):
            decode(data, RECORD_LIMITS)


def test_an_identity_keeps_its_secret_to_itself() -> None:
    identity = Identity.from_seed(source("alice"))
    assert identity.seed.hex() not in repr(identity)
    assert author_of(peer_id_of(identity.author)) == identity.author
    assert peer_id_of(identity.author).startswith("12D3KooW")
    assert peer_id_of(identity.author).endswith(short(identity.author)[1:])
    for wrong in ("", "12D3KooW", "0OIl", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"):
        with pytest.raises(MalformedError):
            author_of(wrong)


def test_paths_that_leave_the_folder_are_unsafe() -> None:
    for unsafe in ("", "/etc/passwd", "../x", "a/../b", "./a", "a//b", "a\\b", "C:x", "a\nb", "a/"):
        assert not safe_path(unsafe)
    assert safe_path("ideas/a.toml")


# ---- feeds -----------------------------------------------------------------------------------------------------------


def test_a_record_is_next_known_after_a_gap_or_of_another_predecessor() -> None:
    feed = FEEDS["alice"]
    head = FeedHead(feed[0].author, 2, feed[1].id)
    assert check_next(None, feed[0]) is FeedCheck.NEXT
    assert check_next(head, feed[2]) is FeedCheck.NEXT
    assert check_next(head, feed[1]) is FeedCheck.DUPLICATE_OR_FORK
    assert check_next(head, feed[3]) is FeedCheck.GAP
    assert check_next(FeedHead(head.author, 2, bytes(32)), feed[2]) is FeedCheck.BAD_LINK


def test_only_contradicting_records_prove_a_fork() -> None:
    one, two = Author("bob"), Author("bob")
    first, other = one.write(experiment("a")), two.write(experiment("b"))
    later = two.write(experiment("c"))

    assert open_fork(first.wire(), other.wire()) == Fork(first.author, OBJECTIVE, 0, first.wire(), other.wire())
    assert open_fork(later.wire(), first.wire()).seq == 1
    for pair in ((first, first), (other, later), (first, Author("carol").write(experiment("a")))):
        with pytest.raises(MalformedError):
            open_fork(*(record.wire() for record in pair))
    with pytest.raises(MalformedError):
        open_fork(b"", first.wire())


# ---- evidence --------------------------------------------------------------------------------------------------------

reports = st.lists(
    st.builds(
        Report,
        st.binary(min_size=32, max_size=32),
        st.sampled_from(["cpu", "gpu"]),
        st.builds(Effect, st.floats(-1, 1), st.floats(0, 0.1), st.integers(1, 6)),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda report: report.author,
)


def report(name: str, mean: float, weight: float = 1.0, compute_class: str = "cpu") -> Report:
    return Report(source(name), compute_class, Effect(mean, 0.003, 2), weight, upheld=False, known=True)


def judged(found: list[Report], own: float | None = None) -> Standing:
    """own: the effect of this node's own run of the claim, in all classes."""
    runs = {} if own is None else {name: OwnRuns((Effect(own, 0.003, 1),)) for name in ("cpu", "gpu")}
    return standing(claim(), found, runs, len(found))


def claim() -> Experiment:
    body = experiment()
    assert isinstance(body, Experiment)
    return body


@given(reports, st.randoms())
def test_standing_does_not_depend_on_the_order_of_reports(found: list[Report], dice: Any) -> None:
    mixed = found[:]
    dice.shuffle(mixed)
    assert judged(mixed, -0.05) == judged(found, -0.05)


def test_without_reports_a_discovery_is_open_whatever_it_claims() -> None:
    assert judged([]).verdict == "open"
    assert judged([], -0.5).verdict == "open"
    assert judged([]).effect is None


def test_three_gains_confirm_where_an_own_run_shows_one_and_two_do_not() -> None:
    found = [report(name, -0.05) for name in "abc"]
    assert judged(found, -0.05).verdict == "confirmed"
    assert judged(found[:2], -0.05).verdict == "open"
    assert (judged(found).verdict, judged(found).says) == ("open", "confirmed")
    assert judged(found, 0.001).verdict == "open"
    assert judged([report(name, -0.05, weight=0.4) for name in "abc"], -0.05).verdict == "open", "together 1.2 reports"


def test_three_reports_of_harm_refute_where_an_own_run_shows_no_gain() -> None:
    found = [report(name, 0.01) for name in "abc"]
    assert judged(found, 0.0).verdict == "refuted"
    assert (judged(found).verdict, judged(found).says) == ("open", "refuted")
    assert judged(found, -0.01).verdict == "open"
    assert judged([report(name, 0.0) for name in "abc"], 0.0).verdict == "open"
    assert judged([report(name, 0.0) for name in "abcdef"], 0.0).verdict == "refuted"


def test_one_wild_report_cannot_confirm() -> None:
    assert judged([report("a", -5.0)], -5.0).z <= 2.5
    assert judged([report("a", -5.0), report("b", 0.05), report("c", 0.05)], -5.0).verdict != "confirmed"


def test_fractions_of_reports_count_as_fewer_reports() -> None:
    whole = [report(name, -0.003) for name in "abcd"]
    halves = [report(name, -0.003, weight=0.5) for name in "abcdefgh"]
    assert judged(halves).z == pytest.approx(judged(whole).z)
    many = [report(f"{n}", -0.003, weight=1e-6) for n in range(15)]
    assert judged(many).z < 0.01


def test_classes_are_judged_apart_and_holding_in_two_is_general() -> None:
    found = [report(f"{c}{n}", -0.05, compute_class=c) for c in ("cpu", "gpu") for n in range(3)]
    assert judged(found, -0.05).general
    assert judged(found, -0.05).classes == ("cpu", "gpu")
    mixed = [report("a", -0.05), *(report(f"{n}", -0.05, compute_class=f"gpu {n}") for n in range(3))]
    assert judged(mixed, -0.05).verdict == "open", "three machines of three kinds are no three reports"
    assert judged(mixed, -0.05).classes == ()


def test_where_reports_were_made_up_the_others_count_by_the_share_that_held() -> None:
    mine = replace(report("me", -0.05), upheld=True)
    others = [report(name, -0.05) for name in "abc"]
    runs = {"cpu": OwnRuns((Effect(-0.05, 0.003, 1),), overturned=1)}
    assert standing(claim(), [mine, *others], runs, 5).weight == 1 + 3 / 2
    assert standing(claim(), others, runs, 4).weight == 0


def test_combined_effects_weigh_by_precision_with_a_floor() -> None:
    exact, rough = Effect(-0.1, 0.0, 2), Effect(0.1, 0.1, 2)
    both = combine([exact, rough])
    assert both is not None
    assert both.mean == pytest.approx(-0.1, abs=0.001)
    assert both.se == pytest.approx((0.002**2 + 0.001**2) ** 0.5, rel=0.01)
    assert both.n == 4
    assert combine([]) is None
