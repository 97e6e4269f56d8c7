"""A byte-pair encoding (Sennrich et al. 2016), learnt from the text to train on, of as many tokens as a model is for.

As nanolm's, with another pattern for words: none is longer than 64 bytes, so that no line of signs takes long to cut,
and the length of every token fits one byte. Only who makes a corpus needs it: the objective has tokens and lengths.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

DOCUMENT_BEGINS = b"\0"  # stands before each document; no text has it
MOST_KNOWN = 1_000_000  # words whose tokens are remembered
RARE = 2  # a word that occurs so seldom teaches the encoding nothing
WORDS = re.compile(
    rb"\x00|[^\r\n0-9A-Za-z\x80-\xff\x00]?[A-Za-z\x80-\xff]{1,62}|[0-9]{1,2}"
    rb"| ?[^\sA-Za-z0-9\x80-\xff\x00]{1,32}|[ \t]{0,32}\n[ \t\n]{0,31}|[ \t]{1,32}(?=[ \t])|\s"
)

Tokens = NDArray[np.uint16]


class FewWordsError(Exception):
    """The text has too few different words to learn so many tokens from."""


class Encoding:
    """tokens: the bytes of each, by its number; the first 256 are the single bytes."""

    def __init__(self, text: bytes, vocabulary: int) -> None:
        """Raises FewWordsError."""
        counts = Counter(WORDS.findall(text))
        self.tokens = [bytes([byte]) for byte in range(256)]
        self._ranks: dict[tuple[int, int], int] = {}
        words = sorted(word for word, count in counts.items() if count > RARE and len(word) > 1)
        split = [list(word) for word in words]
        self._learn(split, [counts[word] for word in words], vocabulary)
        self._known = dict(zip(words, split, strict=True))

    def encode(self, documents: Iterable[bytes]) -> Tokens:
        """The tokens of these documents, one after the other, each with its beginning."""
        parts = []
        for document in documents:
            found: list[int] = []
            for word in WORDS.findall(DOCUMENT_BEGINS + document):
                found += self._tokens_of(word)
            parts.append(np.array(found, dtype=np.uint16))
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint16)

    @property
    def lengths(self) -> bytes:
        return bytes(len(token) for token in self.tokens)

    def _learn(self, split: list[list[int]], counts: list[int], vocabulary: int) -> None:
        """Merge the commonest pair of neighbours, again and again, in `split` too: words as lists of tokens."""
        total: defaultdict[tuple[int, int], int] = defaultdict(int)
        where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for number, word in enumerate(split):
            for pair in pairwise(word):
                total[pair] += counts[number]
                where[pair].add(number)
        queue = [(-count, pair) for pair, count in total.items()]
        heapify(queue)
        while len(self.tokens) < vocabulary:
            if not queue:
                raise FewWordsError
            count, pair = heappop(queue)
            if -count != total[pair]:  # its count has changed since it was put there, and it stands elsewhere too
                continue
            new = len(self.tokens)
            self.tokens.append(self.tokens[pair[0]] + self.tokens[pair[1]])
            self._ranks[pair] = new
            changed = set()
            for number in where.pop(pair, ()):
                word, times = split[number], counts[number]
                for old in pairwise(word):
                    total[old] -= times
                    changed.add(old)
                _merge(word, pair, new)
                for now in pairwise(word):
                    total[now] += times
                    where[now].add(number)
                    changed.add(now)
            for other in changed:
                if total[other] > 0:
                    heappush(queue, (-total[other], other))

    def _tokens_of(self, word: bytes) -> list[int]:
        """The merges in the order in which they were learnt."""
        tokens = self._known.get(word)
        if tokens is None:
            tokens = list(word)
            while len(tokens) > 1:
                pair = min(pairwise(tokens), key=lambda pair: self._ranks.get(pair, len(self.tokens)))
                if pair not in self._ranks:
                    break
                _merge(tokens, pair, self._ranks[pair])
            if len(self._known) < MOST_KNOWN:
                self._known[word] = tokens
        return tokens


def _merge(word: list[int], pair: tuple[int, int], new: int) -> None:
    """Put `new` in the place of each `pair`, from left to right."""
    at = 0
    while at < len(word) - 1:
        if (word[at], word[at + 1]) == pair:
            word[at : at + 2] = [new]
        at += 1
