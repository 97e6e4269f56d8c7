"""The verifiable random function is RFC 9381's, and nothing that a stranger sends makes it raise or prove a lie."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add

from protocol.identity import Identity
from protocol.vrf import ORDER, PROOF_BYTES, prove, value_of, verify

# RFC 9381, appendix B.3, examples 16 to 18: secret key, public key, alpha, pi, beta.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d97"
        "27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
        "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff"
        "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465"
        "301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
        "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb"
        "5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf8096bb474e53895c362d8628ee9f9ea3c0"
        "e52c7a5c691b6c18c9979866568add7a2d41b00b05081ed0f58ee5e31b3a970e",
        "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c45"
        "2118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f",
    ),
]
ALICE = Identity.from_seed(hashlib.sha256(b"alice").digest())
INPUT = b"what it is for"
PROOF = prove(ALICE.seed, INPUT)
GAMMA, CHALLENGE, ANSWER = PROOF[:32], PROOF[32:48], PROOF[48:]
# The points of order 1, 2, 4 and 8, and their other encodings, which a sloppy decoder accepts.
SMALL = [
    bytes.fromhex(most + last)
    for most, lasts in {
        "01" + 30 * "00": ("00", "80"),
        31 * "00": ("00", "80"),
        "ec" + 30 * "ff": ("7f", "ff"),
        "ed" + 30 * "ff": ("7f", "ff"),
        "ee" + 30 * "ff": ("7f", "ff"),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03": ("7a", "fa"),
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc": ("05", "85"),
    }.items()
    for last in lasts
]


@pytest.mark.parametrize(("secret", "public", "alpha", "pi", "beta"), VECTORS)
def test_the_examples_of_the_rfc(secret: str, public: str, alpha: str, pi: str, beta: str) -> None:
    proof = prove(bytes.fromhex(secret), bytes.fromhex(alpha))
    assert proof.hex() == pi
    assert value_of(proof).hex() == beta
    assert verify(bytes.fromhex(public), bytes.fromhex(alpha), proof) == bytes.fromhex(beta)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_a_key_proves_one_value_of_an_input_and_its_holder_alone_knows_it(seed: bytes, alpha: bytes) -> None:
    identity = Identity.from_seed(seed)
    proof = identity.prove(alpha)
    assert verify(identity.author, alpha, proof) == value_of(proof)
    assert verify(identity.author, alpha + b"\0", proof) is None
    assert verify(ALICE.author, alpha, proof) is None or seed == ALICE.seed


@pytest.mark.parametrize("bit", range(8 * PROOF_BYTES))
def test_a_proof_of_which_one_bit_is_flipped_proves_nothing(bit: int) -> None:
    flipped = bytearray(PROOF)
    flipped[bit // 8] ^= 1 << bit % 8
    assert verify(ALICE.author, INPUT, bytes(flipped)) is None


def test_a_scalar_that_is_not_reduced_proves_nothing() -> None:
    """Else one value would have several proofs."""
    number = int.from_bytes(ANSWER, "little")
    for more in (ORDER, 2 * ORDER, 8 * ORDER):
        unreduced = (number + more).to_bytes(32, "little")
        assert verify(ALICE.author, INPUT, GAMMA + CHALLENGE + unreduced) is None
    for odd in (0, ORDER - 1, ORDER, 2**255, 2**256 - 1):
        assert verify(ALICE.author, INPUT, GAMMA + CHALLENGE + odd.to_bytes(32, "little")) is None
    assert verify(ALICE.author, INPUT, GAMMA + bytes(16) + ANSWER) is None


@pytest.mark.parametrize("point", SMALL)
def test_points_of_small_order_prove_nothing(point: bytes) -> None:
    assert verify(point, INPUT, PROOF) is None
    assert verify(ALICE.author, INPUT, point + CHALLENGE + ANSWER) is None
    assert verify(point, INPUT, point + bytes(48)) is None


def test_points_beside_the_group_prove_nothing() -> None:
    """A point of the group plus one of order 8, which is on the curve."""
    small = SMALL[10]
    assert verify(ALICE.author, INPUT, crypto_core_ed25519_add(GAMMA, small) + CHALLENGE + ANSWER) is None
    assert verify(crypto_core_ed25519_add(ALICE.author, small), INPUT, PROOF) is None


@pytest.mark.parametrize("length", [0, 1, 79, 81, 160])
def test_a_proof_or_key_of_another_length_proves_nothing(length: int) -> None:
    assert verify(ALICE.author, INPUT, (2 * PROOF)[:length]) is None
    assert verify((5 * ALICE.author)[:length], INPUT, PROOF) is None


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=40), st.binary(min_size=80, max_size=80))
def test_random_bytes_prove_nothing(public: bytes, alpha: bytes, proof: bytes) -> None:
    assert verify(public, alpha, proof) is None
    assert verify(ALICE.author, alpha, proof) is None
