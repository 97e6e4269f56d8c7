"""Documents that say what another one says already, and passages that occur twice.

Whole documents are compared by MinHash (Broder 1997): the share of two documents' shingles, runs of five words, that
are the same is the chance that the least hash of both is equal. Documents are put into buckets by four such hashes at a
time, and only those that share one of sixteen buckets are compared. Passages are compared by their own hash.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from node.authoring.corpus.folder import Document, Skipped
from node.authoring.corpus.formats import LEAST_BYTES

ALIKE = 0.8  # share of shingles from which two documents are one: a second edition, a mirrored page
SHINGLE = 5  # words
BANDS, ROWS = 16, 4
MOST_WORDS = 50_000  # of a document that are looked at
MOST_IN_BUCKET = 20  # documents of one bucket that a new one is compared with
PASSAGE = 200  # bytes, as in nanolm: what is shorter may well occur twice
_WORD = re.compile(rb"[^\s]+")
_DICE = np.random.default_rng(1)
_FACTORS = _DICE.integers(1, 1 << 63, BANDS * ROWS, dtype=np.uint64) | np.uint64(1)
_ADDED = _DICE.integers(0, 1 << 63, BANDS * ROWS, dtype=np.uint64)

Signature = NDArray[np.uint64]


def without_copies(documents: Iterable[Document]) -> tuple[list[Document], list[Skipped]]:
    """The documents without those that one before them says nearly word by word; and these, with what they copy."""
    kept: list[Document] = []
    copies: list[Skipped] = []
    signatures: list[Signature | None] = []
    exact: dict[bytes, int] = {}
    buckets: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for document in documents:
        digest = hashlib.sha256(b" ".join(document.text.split())).digest()
        signature = _signature(document.text)
        keys = _buckets(signature)
        same = exact.get(digest)
        near = same if same is not None else _alike(signature, keys, signatures, buckets)
        if near is not None:
            how = "the same text as" if same is not None else "nearly the same text as"
            copies.append(Skipped(document.place, f"{how} {kept[near].place}"))
            continue
        exact[digest] = len(kept)
        for key in keys:
            if len(buckets[key]) < MOST_IN_BUCKET:
                buckets[key].append(len(kept))
        kept.append(document)
        signatures.append(signature)
    return kept, copies


def passages_once(documents: Iterable[Document]) -> Iterator[tuple[Document, int]]:
    """Each document without the passages, between empty lines, that one before it has; and how many bytes these were.

    What is left of it may be less than a document.
    """
    seen: set[bytes] = set()
    for document in documents:
        passages = []
        for passage in document.text.split(b"\n\n"):
            if len(passage) >= PASSAGE:
                digest = hashlib.blake2b(b" ".join(passage.split()), digest_size=16).digest()
                if digest in seen:
                    continue
                seen.add(digest)
            passages.append(passage)
        text = b"\n\n".join(passages).strip()
        yield replace(document, text=text), len(document.text) - len(text)


def is_rest(text: bytes) -> bool:
    """Whether what is left of a document is too little for one."""
    return len(text) < LEAST_BYTES


def _signature(text: bytes) -> Signature | None:
    """The least hashes of a document's shingles; None where it is shorter than a few of them."""
    words = _WORD.findall(text.lower())[:MOST_WORDS]
    if len(words) < 2 * SHINGLE:
        return None
    hashes = np.fromiter((zlib.crc32(word) for word in words), dtype=np.uint64, count=len(words))
    shingles = np.zeros(len(words) - SHINGLE + 1, dtype=np.uint64)
    for place in range(SHINGLE):
        shingles = shingles * np.uint64(0x9E3779B97F4A7C15) + hashes[place : place + len(shingles)]
    shingles ^= shingles >> np.uint64(29)
    return np.array([(shingles * factor + add).min() for factor, add in zip(_FACTORS, _ADDED, strict=True)])


def _buckets(signature: Signature | None) -> list[tuple[int, bytes]]:
    if signature is None:
        return []
    return [(band, signature[band * ROWS : (band + 1) * ROWS].tobytes()) for band in range(BANDS)]


def _alike(
    signature: Signature | None,
    keys: list[tuple[int, bytes]],
    signatures: list[Signature | None],
    buckets: defaultdict[tuple[int, bytes], list[int]],
) -> int | None:
    """A kept document that this one is nearly the same as."""
    for number in dict.fromkeys(number for key in keys for number in buckets.get(key, ())):
        other = signatures[number]
        if signature is not None and other is not None and float((signature == other).mean()) >= ALIKE:
            return number
    return None
