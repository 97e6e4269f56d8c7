"""The key mark: how far each feed of this home's key was signed, in a file beside the key.

A key that signs two different records with one number forks its feed, and peers then take nothing more of it. The
ledger alone cannot prevent that: it may be lost, cut short, or put back from an old copy. So the mark, too, says how
many records of each objective the key has signed and which was the last, on disk before that record leaves this
machine. Where the ledger has less, nothing is signed (node/ledger/store.py).

The file has the marks of every key that was used here, so that one which is put back finds its own. It knows no ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from node.platform.file_trouble import HomeError, read_file
from node.platform.private_files import drafted, write_private
from protocol.feed import FeedHead

MAX_BYTES = 1 << 20  # some 6,000 feeds

Hex = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class _Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many records of a feed were signed, and the id of the last."""

    records: Annotated[int, Meta(ge=1)]
    last: Hex


_Marks = dict[Hex, dict[Hex, _Signed]]  # by author and objective


class KeyMark:
    """The mark of one key. `path` may hold those of others, which are kept."""

    def __init__(self, path: Path, author: bytes, marks: _Marks) -> None:
        self.path = path
        self.author = author
        self._marks = marks

    @classmethod
    def read(cls, path: Path, author: bytes) -> KeyMark:
        """Raises HomeError when the file is there and cannot be read."""
        content = read_file(path, MAX_BYTES)
        try:
            marks = msgspec.json.decode(content, type=_Marks) if content is not None else {}
        except msgspec.DecodeError:
            raise HomeError(
                f"{path} is damaged, which says how far this node's key has signed; where ledger.sqlite beside it is "
                "this node's own and no older copy, remove the damaged file, and it is made again"
            ) from None
        return cls(path, author, marks)

    @property
    def known(self) -> bool:
        """Whether the key's mark was ever begun. Without one it is unknown how far the key has signed."""
        return self.author.hex() in self._marks

    def begin(self) -> None:
        """Note that the key has signed nothing yet that is not in the ledger. Raises OSError."""
        if not self.known:
            self._marks[self.author.hex()] = {}
            write_private(self.path, self._encoded(self._marks))

    def head(self, objective: bytes) -> FeedHead | None:
        """How far the key's feed of an objective was signed; None where it was not."""
        signed = self._marks.get(self.author.hex(), {}).get(objective.hex())
        return FeedHead(self.author, signed.records, bytes.fromhex(signed.last)) if signed else None

    def objectives(self) -> list[bytes]:
        """The objectives for which the key has signed records."""
        return [bytes.fromhex(objective) for objective in self._marks.get(self.author.hex(), {})]

    def raise_to(self, heads: Mapping[bytes, FeedHead]) -> None:
        """Take up what the ledger holds beyond the mark, by objective: a crash came between the two. Raises OSError."""
        ahead = {one: head for one, head in heads.items() if head.length > self._length(one)}
        if ahead or not self.known:
            raised = self._raised(ahead)
            write_private(self.path, self._encoded(raised))
            self._marks = raised

    @contextmanager
    def raising(self, objective: bytes, head: FeedHead) -> Iterator[Callable[[], None]]:
        """Have the room on disk for a higher mark; calling what is given sets it. Raises OSError."""
        raised = self._raised({objective: head})
        with drafted(self.path, self._encoded(raised)) as put_in_place:

            def set_mark() -> None:
                put_in_place()
                self._marks = raised

            yield set_mark

    def _length(self, objective: bytes) -> int:
        head = self.head(objective)
        return head.length if head else 0

    def _raised(self, heads: Mapping[bytes, FeedHead]) -> _Marks:
        new = {one.hex(): _Signed(head.length, head.head.hex()) for one, head in heads.items()}
        return {**self._marks, self.author.hex(): self._marks.get(self.author.hex(), {}) | new}

    @staticmethod
    def _encoded(marks: _Marks) -> bytes:
        return msgspec.json.encode(marks, order="deterministic") + b"\n"
