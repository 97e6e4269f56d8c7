"""How an objective arrives at a worker: its manifest first, then those of its files and data that the cache lacks.

Everything that comes is checked against the sha256 by which the manifest calls it, and the whole against the id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from node.execution.remote.worker_cache import Draft, WorkerCache
from node.objective.load import load_objective
from node.objective.schema import Objective, ObjectiveError
from protocol.codec import MalformedError
from protocol.objective import decode_manifest, objective_id


@dataclass
class _Wanted:
    """A content of the objective: its size, and where it belongs."""

    size: int
    targets: list[Path] = field(default_factory=list)


class ObjectiveIntake:
    """An objective on its way into a worker's place."""

    def __init__(self, cache: WorkerCache, manifest_bytes: bytes) -> None:
        """Raises MalformedError where that is no manifest."""
        manifest = decode_manifest(manifest_bytes)
        self._cache = cache
        self._id = objective_id(manifest_bytes)
        self._root, self._data_dir = cache.place / "objective", cache.place / "data"
        self._wanted: dict[bytes, _Wanted] = {}
        for folder, entries in ((self._root, manifest.files), (self._data_dir, manifest.data)):
            for entry in entries:
                wanted = self._wanted.setdefault(entry.sha256, _Wanted(entry.size))
                if wanted.size != entry.size:
                    raise MalformedError("a manifest gives one content two sizes")
                wanted.targets.append(folder / entry.path)
        self.lacks: set[bytes] = set()
        self._drafts: dict[bytes, Draft] = {}

    @property
    def size(self) -> int:
        """Bytes of everything that belongs to the objective."""
        return sum(wanted.size for wanted in self._wanted.values())

    def lacking(self) -> tuple[bytes, ...]:
        """Put in place what the cache has, and return what it has not. Raises OSError."""
        self._data_dir.mkdir(exist_ok=True)
        self.lacks = {content for content in self._wanted if not self._put_in_place(content)}
        return tuple(self.lacks)

    def receive(self, content: bytes, data: bytes, last: bool) -> None:
        """Take the next bytes of a content that is lacking. Raises MalformedError and OSError."""
        if content not in self.lacks:
            raise MalformedError("a content that this worker does not lack")
        draft = self._drafts.get(content)
        if draft is None:
            draft = self._drafts[content] = self._cache.draft(content, self._wanted[content].size)
        try:
            draft.write(data)
            if not last:
                return
            draft.keep()
        except (MalformedError, OSError):
            draft.discard()
            raise
        del self._drafts[content]
        if not self._put_in_place(content):
            raise OSError("a content that has come is gone again")
        self.lacks.discard(content)

    def load(self, scale: str) -> Objective:
        """The objective, of which nothing is lacking, at a scale; "" for its own budget. Raises ObjectiveError."""
        objective = load_objective(self._root, self._data_dir)
        if objective.id != self._id:
            raise ObjectiveError("the node's files make another objective than it named; are the two of one version?")
        self._cache.prune()
        return objective.at_scale(scale) if scale else objective

    def discard(self) -> None:
        """Remove what has come of contents that are not complete."""
        for draft in self._drafts.values():
            draft.discard()

    def _put_in_place(self, content: bytes) -> bool:
        wanted = self._wanted[content]
        return all(self._cache.put_in_place(content, wanted.size, target) for target in wanted.targets)
