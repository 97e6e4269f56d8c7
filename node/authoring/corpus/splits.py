"""Which documents are trained on, which are for validation, and which are the holdout: whole documents, never parts.

Where their dates say something, the newest are the holdout, those before them validation, and the oldest are trained
on, so that a source is judged by what was written later. Where most were written to the disk at one time, as after
unpacking an archive, dates say nothing, and the order is that of a hash of their text.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from node.authoring.corpus.duplicates import is_rest, passages_once
from node.authoring.corpus.folder import Document, Skipped

DAY = 86_400
MOST_ON_ONE_DAY = 0.5  # of the bytes; where more have one date, dates say nothing
SCORED_SHARE = 0.1  # of all text, for each scored split
# Where there is text in plenty no document is more than a small part of a split: it is cut to the least of these
# lengths at which there is still enough. A changelog of megabytes would be most of what is scored.
LENGTHS = tuple(1 << power for power in range(16, 23))  # bytes
FEW = 10  # documents in a split, below which a gain may be one of these few alone


class TooLittleError(Exception):
    """There is not enough text; the message says how much there is, and how much is needed."""


@dataclass(frozen=True)
class Least:
    """How much text a model of some size needs, and how much of it is used at most. In bytes."""

    train: int
    scored: int  # of validation, and of the holdout
    most_train: int
    most_scored: int


@dataclass(frozen=True)
class Splits:
    train: tuple[Document, ...]
    val: tuple[Document, ...]
    holdout: tuple[Document, ...]
    by_time: bool
    repeated: int  # bytes of passages that another document has too
    rest: tuple[Skipped, ...]  # documents of which nothing else was left
    unused: int  # documents beyond what is used at most

    @property
    def named(self) -> dict[str, tuple[Document, ...]]:
        return {"train": self.train, "val": self.val, "holdout": self.holdout}


def dates_tell(documents: Sequence[Document]) -> bool:
    """Whether the dates of documents differ enough to part them by."""
    days: Counter[int] = Counter()
    for document in documents:
        days[int(document.date // DAY)] += len(document.text)
    return bool(days) and max(days.values()) <= MOST_ON_ONE_DAY * days.total()


def in_order(documents: Sequence[Document]) -> list[Document]:
    """What is scored first: the newest, or, where dates say nothing, in the order of a hash."""
    by_hash = sorted(documents, key=_by_hash)
    return sorted(by_hash, key=lambda document: -document.date) if dates_tell(documents) else by_hash


def cut(documents: Sequence[Document], least: Least) -> tuple[list[Document], int]:
    """The documents, each cut at a line's end to a length at which there is still text in plenty; and that length.

    0: none was cut, as there is not.
    """
    plenty = least.most_train + 2 * least.most_scored
    for length in LENGTHS:
        if sum(min(length, len(document.text)) for document in documents) >= plenty:
            return [replace(document, text=_beginning(document.text, length)) for document in documents], length
    return list(documents), 0


def _beginning(text: bytes, length: int) -> bytes:
    if len(text) <= length:
        return text
    end = text.rfind(b"\n", length // 2, length)
    return text[: end if end > 0 else length].decode("utf-8", "ignore").encode()


def split(documents: Sequence[Document], least: Least) -> Splits:
    """Part documents that are in order: the first for the holdout, then validation, the others to train on.

    A passage that occurs twice stays where it is first, so that nothing that is scored is trained on. Raises
    TooLittleError.
    """
    repeated, rest, left = 0, [], []
    for document, removed in passages_once(documents):
        repeated += removed
        if is_rest(document.text):
            rest.append(Skipped(document.place, "nothing left that no other document has"))
        else:
            left.append(document)
    total = sum(len(document.text) for document in left)
    wanted = min(least.most_scored, max(least.scored, int(SCORED_SHARE * total)))
    parts: dict[str, list[Document]] = {"holdout": [], "val": [], "train": []}
    sizes = dict.fromkeys(parts, 0)
    for document in left:
        size = len(document.text)
        name = next((n for n in ("holdout", "val") if sizes[n] < wanted and size <= wanted), "train")
        parts[name].append(document)
        sizes[name] += size
    _refuse_too_little(left, sizes, wanted, least)
    train = list(_until(sorted(parts["train"], key=_by_hash), least.most_train))
    unused = len(parts["train"]) - len(train)
    parts["train"] = train
    tuples = {name: tuple(found) for name, found in parts.items()}
    return Splits(**tuples, by_time=dates_tell(documents), repeated=repeated, rest=tuple(rest), unused=unused)


def _by_hash(document: Document) -> bytes:
    return hashlib.sha256(document.text).digest()


def _until(documents: Sequence[Document], most: int) -> Iterator[Document]:
    """The first documents, until there is so much text."""
    size = 0
    for document in documents:
        if size >= most:
            return
        size += len(document.text)
        yield document


def _refuse_too_little(documents: list[Document], sizes: dict[str, int], wanted: int, least: Least) -> None:
    total = sum(len(document.text) for document in documents)
    needed = least.train + 2 * least.scored
    if total < needed:
        raise TooLittleError(
            f"there are {total:,} bytes of text in {len(documents):,} documents, once copies are left out, and "
            f"{needed:,} are needed: {least.train:,} to train on, and twice {least.scored:,} to be scored, which is "
            "twice what a source can hold. Add texts"
        )
    if min(sizes["val"], sizes["holdout"]) < wanted or sizes["train"] < least.train:
        largest = list(islice(sorted((len(document.text) for document in documents), reverse=True), 3))
        raise TooLittleError(
            f"{total:,} bytes would be enough, but the documents are too few or too large to be parted: a scored split "
            f"needs whole documents of {wanted:,} bytes together, {least.train:,} bytes must be left to train on, and "
            f"the largest have {', '.join(f'{size:,}' for size in largest)}. Put large ones into files of their own "
            "parts, such as a file for each chapter"
        )
