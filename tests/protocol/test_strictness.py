"""What the types hold: no value passes for another, one statement has one encoding, and a refusal says where it was."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from protocol.codec import RECORD_LIMITS, MalformedError, decode, encode
from protocol.messages import MAX_UNKNOWN, PaddedError, Presence, decode_gossip, decode_message, encode_gossip
from protocol.records import DOMAIN, ChainStep, Effect, Experiment, Run, open_record, reopen_record, sign_record
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, run, source
from tests.protocol.test_properties import plain

ALICE = Author("alice").identity
FIELDS: dict[str, Any] = decode(Author("alice").write(experiment()).payload, RECORD_LIMITS)
PRESENCE = {"t": "presence", "class": "cpu", "best": None, "feeds": 1, "records": 1, "addresses": []}


def signed(payload: bytes) -> bytes:
    return encode([payload, ALICE.sign(DOMAIN, payload)])


def with_body(**changes: Any) -> bytes:
    return signed(encode({**FIELDS, "body": {**FIELDS["body"], **changes}}))


def with_run(position: int, value: Any) -> bytes:
    told = [3.0, 9.5, 524288, [[20, 5.0]], None]
    told[position] = value
    return with_body(screening=[1, told, told])


REFUSED: dict[str, Callable[[], bytes]] = {
    "a float for a whole number": lambda: with_run(2, 524288.0),
    "true for a whole number": lambda: with_run(2, True),
    "true for a number": lambda: with_run(1, True),
    "text for a number": lambda: with_run(1, "9.5"),
    "a whole number beyond 2^53": lambda: with_run(2, 2**53 + 1),
    "a whole number beyond 2^63": lambda: with_run(2, 2**64 - 1),
    "a number out of its range": lambda: with_run(1, 1e10),
    "text for binary": lambda: with_body(parent="A" * 43 + "="),
    "text of 32 characters for binary": lambda: with_body(parent="x" * 32),
    "binary for text": lambda: with_body(title=b"a title"),
    "a list for a map": lambda: signed(encode({**FIELDS, "body": []})),
    "a map for a list": lambda: with_body(effect={"mean": -0.2, "se": 0.01, "n": 2}),
    "a list too long": lambda: with_body(effect=[-0.2, 0.01, 2, 0]),
    "a list too short": lambda: with_body(effect=[-0.2, 0.01]),
    "nil where something is said": lambda: with_body(decision=None),
    "a decision and a line break": lambda: with_body(decision="improved\n"),
    "a failure nobody knows": lambda: with_body(
        screening=[1, [None, 1.0, 1, [], "tired"], FIELDS["body"]["pairs"][0][1]]
    ),
    "a character that is not plain": lambda: with_body(reason="a\u202eb"),
    "more seeds than a record has pairs": lambda: with_body(alternated=list(range(18))),
    "a field left out": lambda: signed(encode({**FIELDS, "body": {"title": "only this"}})),
}


@pytest.mark.parametrize("made", REFUSED.values(), ids=REFUSED.keys())
def test_a_record_takes_no_value_for_another(made: Callable[[], bytes]) -> None:
    with pytest.raises(MalformedError, match=r"experiment|record"):
        open_record(made())


def test_a_whole_number_will_do_where_a_number_is_allowed() -> None:
    body = open_record(with_run(1, 9)).body
    assert isinstance(body, Experiment)
    assert body.screening is not None
    assert (body.screening.child.cpu_seconds, type(body.screening.child.cpu_seconds)) == (9.0, float)


PACKED_TIME = msgpack.packb("time") + msgpack.packb(FIELDS["time"])
TAMPERED = {
    "a longer encoding of a whole number": (b"\xa1v\x01", b"\xa1v\xcd\x00\x01"),
    "a longer encoding of text": (b"\xa4kind\xaaexperiment", b"\xa4kind\xd9\x0aexperiment"),
    "a float of 32 bits": (b"\xcb" + struct.pack(">d", 9.5), b"\xca" + struct.pack(">f", 9.5)),
    "text that is no UTF-8": (b"catalogue", b"catalog\xff\xfe"),
    "half of a surrogate pair": (b"catalogue", b"catalo\xed\xa0\x80"),
    "not a number": (struct.pack(">d", 9.5), struct.pack(">d", float("nan"))),
    "an infinite number": (struct.pack(">d", 9.5), struct.pack(">d", float("inf"))),
    "an extension type": (b"\xa1v\x01", b"\xa1v\xd4\x01\x01"),
    "a key that is binary": (b"\xa1v\x01", b"\xc4\x01v\x01"),
    "a key twice": (b"\x88\xa6author", b"\x89\xa1v\x01\xa6author"),
    "another key first": (PACKED_TIME + b"\xa1v\x01", b"\xa1v\x01" + PACKED_TIME),
}


@pytest.mark.parametrize(("old", "new"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_signed_payload_has_one_encoding(old: bytes, new: bytes) -> None:
    payload = encode(FIELDS)
    assert old in payload
    with pytest.raises(MalformedError):
        open_record(signed(payload.replace(old, new)))


def test_nothing_follows_a_payload_or_a_record() -> None:
    payload = encode(FIELDS)
    assert open_record(signed(payload))
    for more in (signed(payload + b"\xc0"), signed(payload) + b"\xc0"):
        with pytest.raises(MalformedError):
            open_record(more)


def test_a_record_that_says_more_than_is_known_is_kept_as_it_was_signed() -> None:
    wire = signed(encode({**FIELDS, "later": 1, "body": {**FIELDS["body"], "later": [1, {"x": "\x1b"}]}}))
    record = open_record(wire)
    assert record.body == experiment()
    assert record.wire() == wire
    assert reopen_record(wire, record.id) == record


def test_a_record_says_which_pairs_took_turns_and_an_earlier_one_does_not() -> None:
    for said, read in (({}, msgspec.UNSET), ({"alternated": []}, ()), ({"alternated": [12]}, (12,))):
        body = {name: value for name, value in FIELDS["body"].items() if name != "alternated"}
        found = open_record(signed(encode({**FIELDS, "body": {**body, **said}}))).body
        assert isinstance(found, Experiment)
        assert found.alternated == read


def test_a_bet_claims_nothing_and_an_ended_run_has_no_pairs() -> None:
    bet, step = structs.replace(experiment(decision="unclear"), bet=True), ChainStep(bytes(32), "init", -0.1)
    ended = structs.replace(experiment(decision="no_gain"), pairs=())
    for body, wrong in (
        (experiment(), {"steps": ()}),
        (experiment(), {"steps": (step,) * 33}),
        (bet, {"steps": (step,)}),
        (bet, {"decision": "no_gain"}),
        (bet, {"effect": None}),
        (ended, {"ended_at": 1.5}),
        (experiment(decision="no_gain"), {"ended_at": 0.5}),
    ):
        with pytest.raises(MalformedError):
            sign_record(ALICE, OBJECTIVE, 0, bytes(32), 0, structs.replace(body, **wrong))


def test_numbers_that_are_none_are_not_signed() -> None:
    for effect in (Effect(float("nan"), 0.1, 1), Effect(-0.1, float("inf"), 1)):
        with pytest.raises(MalformedError):
            sign_record(ALICE, OBJECTIVE, 0, bytes(32), 0, experiment(effect=effect))


def test_a_run_has_either_a_value_or_a_failure_wherever_it_is_made() -> None:
    for value, failure in ((None, None), (run().value, "killed")):
        with pytest.raises(MalformedError, match="either a value or a failure"):
            Run(value, 1.0, 1, (), failure)


@given(plain)
def test_the_canonical_bytes_are_those_of_sorted_keys_in_the_shortest_msgpack(value: Any) -> None:
    def in_order(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: in_order(item[key]) for key in sorted(item, key=str.encode)}
        return [in_order(each) for each in item] if isinstance(item, list) else item

    assert encode(value) == msgpack.packb(in_order(value))


@given(st.text(max_size=40))
def test_what_a_stranger_wrote_is_not_in_the_reason_of_its_refusal(word: str) -> None:
    for door in (decode_gossip, decode_message):
        with pytest.raises(MalformedError) as refused:
            door(encode({"t": f"\x1b{word}\n - at", "id": bytes(32)}))
        assert str(refused.value).endswith("message: an unknown value - at `$.t`")


def test_a_refusal_says_where_in_the_record_it_was() -> None:
    with pytest.raises(
        MalformedError, match=r"experiment: Expected `int` <= 9007199254740992 - at `\$.screening\[1\]\[2\]`"
    ):
        open_record(with_run(2, 2**53 + 1))
    with pytest.raises(MalformedError, match="record: Object missing required field `objective`"):
        open_record(signed(encode({name: value for name, value in FIELDS.items() if name != "objective"})))
    with pytest.raises(MalformedError, match="another protocol version"):
        open_record(signed(encode({**FIELDS, "v": 2})))


@pytest.mark.parametrize(
    "wrong",
    [{"addresses": None}, {"addresses": ["ip4"]}, {"addresses": ["/a\x07"]}, {"feeds": True}, {"best": bytes(31)},
     {"class": "x" * 41}, {"addresses": ["/x"] * 7}, {"t": None}],
)  # fmt: skip
def test_a_presence_of_another_shape_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        decode_gossip(encode({**PRESENCE, **wrong}))


@pytest.mark.parametrize("message", [PRESENCE, {"t": "record", "wire": b"x" * 5000}])
def test_fields_of_a_later_version_are_ignored_and_padding_is_not_passed_on(message: dict[str, object]) -> None:
    assert decode_gossip(encode({**message, "zz": bytes(MAX_UNKNOWN - 20)})) == decode_gossip(encode(message))
    with pytest.raises(PaddedError, match="unknown fields"):
        decode_gossip(encode({**message, "zz": bytes(MAX_UNKNOWN + 20)}))


def test_a_presence_may_leave_out_its_best_and_has_its_addresses() -> None:
    told = {name: value for name, value in PRESENCE.items() if name != "best"}
    assert decode_gossip(encode(told)) == Presence("cpu", 1, 1, ())
    assert encode_gossip(Presence("cpu", 1, 1, (), source("best"))) == encode({**PRESENCE, "best": source("best")})
    with pytest.raises(MalformedError, match="addresses"):
        decode_gossip(encode({name: value for name, value in PRESENCE.items() if name != "addresses"}))


def test_a_message_need_not_have_the_shortest_encoding() -> None:
    assert decode_gossip(encode(PRESENCE).replace(b"\xa5feeds\x01", b"\xa5feeds\xcf" + bytes(7) + b"\x01"))
