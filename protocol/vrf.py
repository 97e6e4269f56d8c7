"""A verifiable random function: ECVRF-EDWARDS25519-SHA512-TAI of RFC 9381, with Ed25519 keys as they are.

Only the holder of a key can work out the function's value of an input. The value comes with a proof; with the proof and
the public key everybody can work out the value too, and nobody can prove another one. So a value is unknown until its
author publishes the proof, and the author could not choose it.

Curve arithmetic is libsodium's, by PyNaCl. This file knows bytes, and not what a value is used for. A signature and a
proof may share a key: an Ed25519 nonce is a hash of the secret prefix and the message, a nonce here one of the prefix
and a point (32 bytes), and no message that a node signs has 32 bytes, since each begins with its domain.
"""

from __future__ import annotations

import hashlib

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import RuntimeError as SodiumError
from nacl.exceptions import TypeError as SodiumTypeError

PROOF_BYTES = 80  # a point, a challenge and a scalar: 32 + 16 + 32
VALUE_BYTES = 64
POINT_BYTES = 32
CHALLENGE_BYTES = 16
SUITE = b"\x03"  # ECVRF-EDWARDS25519-SHA512-TAI
ENCODE, CHALLENGE, VALUE, END = b"\x01", b"\x02", b"\x03", b"\x00"  # domain separators, section 5.4 and 5.2
FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
IDENTITY = (1).to_bytes(POINT_BYTES, "little")
DOUBLINGS_BY_COFACTOR = 3  # the curve has 8 = 2³ times as many points as the group


def prove(seed: bytes, alpha: bytes) -> bytes:
    """The proof (PROOF_BYTES) for the input `alpha` under the Ed25519 key with these 32 secret bytes (section 5.1).

    The same key and input always give the same proof.
    """
    expanded = hashlib.sha512(seed).digest()
    secret = _secret_scalar(expanded[:32])
    public = crypto_scalarmult_ed25519_base_noclamp(secret)
    point = _encode_to_curve(public, alpha)
    gamma = crypto_scalarmult_ed25519_noclamp(secret, point)
    nonce = crypto_core_ed25519_scalar_reduce(hashlib.sha512(expanded[32:] + point).digest())
    by_base = crypto_scalarmult_ed25519_base_noclamp(nonce)
    by_point = crypto_scalarmult_ed25519_noclamp(nonce, point)
    challenge = _challenge(public, point, gamma, by_base, by_point)
    answer = crypto_core_ed25519_scalar_add(nonce, crypto_core_ed25519_scalar_mul(_scalar(challenge), secret))
    return gamma + challenge + answer


def value_of(proof: bytes) -> bytes:
    """The function's value (VALUE_BYTES) in a proof that was made here or verified (section 5.2)."""
    return hashlib.sha512(SUITE + VALUE + _times_cofactor(proof[:POINT_BYTES]) + END).digest()


def verify(public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
    """The value that `proof` proves for `alpha` and the key `public`; None where it proves nothing (section 5.3).

    Never raises, whatever the bytes. A key or point outside the group of prime order is refused, as section 5.4.5 asks
    of keys that a stranger made: with them a value could be chosen.
    """
    if len(proof) != PROOF_BYTES or len(public) != POINT_BYTES:
        return None
    gamma = proof[:POINT_BYTES]
    challenge = proof[POINT_BYTES : POINT_BYTES + CHALLENGE_BYTES]
    answer = proof[POINT_BYTES + CHALLENGE_BYTES :]
    if int.from_bytes(answer, "little") >= ORDER:
        return None
    try:
        if not crypto_core_ed25519_is_valid_point(public) or not crypto_core_ed25519_is_valid_point(gamma):
            return None
        point = _encode_to_curve(public, alpha)
        times = _scalar(challenge)
        by_base = crypto_core_ed25519_sub(
            crypto_scalarmult_ed25519_base_noclamp(answer), crypto_scalarmult_ed25519_noclamp(times, public)
        )
        by_point = crypto_core_ed25519_sub(
            crypto_scalarmult_ed25519_noclamp(answer, point), crypto_scalarmult_ed25519_noclamp(times, gamma)
        )
        holds = _challenge(public, point, gamma, by_base, by_point) == challenge
        return value_of(proof) if holds else None
    except (SodiumError, SodiumTypeError):  # a scalar of zero, say, which libsodium multiplies by nothing
        return None


def _encode_to_curve(public: bytes, alpha: bytes) -> bytes:
    """The point of the group that stands for an input: the first hash of it and a counter that is a point on the curve
    (try and increment, section 5.4.1.1), times the cofactor. About every second hash is one.
    """
    for counter in range(256):
        digest = hashlib.sha512(SUITE + ENCODE + public + alpha + bytes([counter]) + END).digest()
        encoded = digest[:POINT_BYTES]
        if int.from_bytes(encoded, "little") % 2**255 >= FIELD:
            continue  # not canonical; libsodium would reduce it
        try:
            point = _times_cofactor(encoded)
        except SodiumError:
            continue  # not on the curve
        if point != IDENTITY:
            return point
    raise AssertionError("256 hashes in a row are no points")


def _times_cofactor(point: bytes) -> bytes:
    """8 · point, of any point on the curve."""
    for _ in range(DOUBLINGS_BY_COFACTOR):
        point = crypto_core_ed25519_add(point, point)
    return point


def _challenge(*points: bytes) -> bytes:
    return hashlib.sha512(SUITE + CHALLENGE + b"".join(points) + END).digest()[:CHALLENGE_BYTES]


def _scalar(challenge: bytes) -> bytes:
    """A challenge as a scalar of 32 bytes, little-endian."""
    return challenge.ljust(32, b"\0")


def _secret_scalar(half: bytes) -> bytes:
    """The secret scalar of an Ed25519 key, modulo the order: RFC 8032 clears and sets bits of a hash's first half."""
    clamped = bytes([half[0] & 0xF8]) + half[1:31] + bytes([half[31] & 0x7F | 0x40])
    return crypto_core_ed25519_scalar_reduce(clamped.ljust(64, b"\0"))
