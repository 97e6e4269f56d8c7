"""The vectors on disk, the code, and the script that makes them agree; another client can rely on all three."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from protocol.codec import MalformedError, encode
from protocol.digests import Digest, FeedTree
from protocol.feed import FeedHead
from protocol.identity import Identity
from protocol.messages import decode_gossip, decode_message, encode_gossip, encode_message
from protocol.metric import Direction, Metric, Scale
from protocol.objective import decode_invite, decode_manifest, encode_manifest, objective_id
from protocol.records import Experiment, body_to_json, open_record

REPOSITORY = Path(__file__).resolve().parents[2]
VECTORS = REPOSITORY / "protocol" / "vectors"
sys.path.insert(0, str(REPOSITORY / "scripts"))

import make_vectors  # noqa: E402


def read(name: str) -> dict[str, list[dict[str, str]]]:
    content = json.loads((VECTORS / name).read_text())
    assert isinstance(content, dict)
    return content


def test_the_script_makes_exactly_these_files() -> None:
    for name, content in make_vectors.vectors().items():
        assert json.loads(json.dumps(content)) == json.loads((VECTORS / name).read_text())


def test_a_record_says_how_its_values_compare() -> None:
    vector = json.loads((VECTORS / "metrics.json").read_text())
    record = open_record(bytes.fromhex(vector["wire"]))
    assert body_to_json(record) == vector["says"]
    assert record.body.metric == Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.004)
    for each in vector["differences"]:
        direction, scale, unit, spread = each["metric"]
        metric = Metric(Direction(direction), Scale(scale), unit, spread)
        assert metric.difference(each["parent"], each["child"]) == pytest.approx(each["difference"], abs=1e-15)
        assert metric.gain(each["difference"]) == pytest.approx(each["gain"], abs=1e-12)


def test_a_record_says_on_what_a_search_went_on() -> None:
    vectors = read("chains.json")["records"]
    records = [open_record(bytes.fromhex(one["wire"])) for one in vectors]
    assert [body_to_json(record) for record in records] == [one["says"] for one in vectors]
    bodies = [record.body for record in records if isinstance(record.body, Experiment)]
    assert [body.is_bet for body in bodies] == [True, False, False]
    assert [body.ended_at for body in bodies] == [msgspec.UNSET, 0.5, msgspec.UNSET]
    assert [step.record for step in bodies[2].chain] == [records[0].id]


def test_an_experiment_says_from_which_other_objective_its_idea_is() -> None:
    vector = read("origins.json")
    record = open_record(bytes.fromhex(vector["wire"]))
    assert body_to_json(record) == vector["says"]
    assert isinstance(record.body, Experiment)
    assert [part.hex() for part in (record.body.origin.objective, record.body.origin.record)] == vector["says"]["body"][
        "origin"
    ]


def test_records_open_to_what_they_say() -> None:
    for vector in read("records.json")["records"]:
        record = open_record(bytes.fromhex(vector["wire"]))
        assert record.id.hex() == vector["id"]
        assert record.payload.hex() == vector["payload"]
        assert record.wire().hex() == vector["wire"]
        assert body_to_json(record) == vector["says"]


def test_keys_give_authors_and_peer_ids() -> None:
    for vector in read("records.json")["keys"]:
        identity = Identity.from_seed(bytes.fromhex(vector["seed"]))
        assert identity.author.hex() == vector["author"]
        assert identity.peer_id == vector["peer id"]


def test_messages_survive_a_round_trip() -> None:
    content = read("messages.json")
    for vector in content["gossip"]:
        message = decode_gossip(bytes.fromhex(vector["bytes"]))
        assert type(message).__name__ == vector["type"]
        assert encode_gossip(message).hex() == vector["bytes"]
    for vector in content["streams"]:
        told = decode_message(bytes.fromhex(vector["bytes"]))
        assert type(told).__name__ == vector["type"]
        assert encode_message(told).hex() == vector["bytes"]


def test_digests_of_sets_of_feeds() -> None:
    for vector in json.loads((VECTORS / "digests.json").read_text()):
        tree = FeedTree()
        for author, length, head in vector["feeds"]:
            tree.put(FeedHead(bytes.fromhex(author), length, bytes.fromhex(head)))
        for bucket, (count, value) in vector["digests"].items():
            assert tree.digest(bucket) == Digest(count, bytes.fromhex(value))


@pytest.mark.parametrize(
    "wrong",
    [{"parent": bytes(31)}, {"fingerprint": None}, {"seconds": -1}, {"seconds": 86_401}, {"seconds": 1.5}],
)
def test_a_lease_of_another_shape_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        decode_gossip(encode({"t": "lease", "parent": bytes(32), "fingerprint": bytes(32), "seconds": 60, **wrong}))


def test_manifest_and_invite() -> None:
    content = json.loads((VECTORS / "objectives.json").read_text())
    manifest = decode_manifest(bytes.fromhex(content["manifest"]))
    assert encode_manifest(manifest).hex() == content["manifest"]
    assert objective_id(bytes.fromhex(content["manifest"])).hex() == content["objective id"]
    invite = decode_invite(content["invite"])
    assert invite.objective.hex() == content["objective id"]
    assert list(invite.addresses) == content["addresses"]
    assert invite.key is None
    private = decode_invite(content["private invite"])
    assert private.key is not None
    assert private.key.hex() == content["swarm key"]
    assert private.key.hex() not in repr(private)


@pytest.mark.parametrize("vector", json.loads((VECTORS / "invalid-records.json").read_text()), ids=lambda v: v["why"])
def test_invalid_records_are_refused(vector: dict[str, str]) -> None:
    with pytest.raises(MalformedError):
        open_record(bytes.fromhex(vector["wire"]))
