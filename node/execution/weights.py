"""What is kept of recent runs on disk: their weights, and the losses per target that their judge handed out.

With the weights a run can be scored on other data without training again. The losses are given to the judge of a child
of the same source, which checks where the child gains over it. Both are opaque bytes by name. Losing them costs a
holdout score, or makes some of the judge's probes less likely to hit a look ahead; nothing else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

WEIGHTS_KEPT_BYTES = 200 << 20  # some 380 runs of the embedded objective, each 0.55 MB


class WeightsStore:
    """Final weights and losses of recent runs on disk; the least recently used go first beyond a limit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def key(source: str, seed: int) -> str:
        """The name of a run's weights."""
        return f"{hashlib.sha256(source.encode()).hexdigest()[:32]}-{seed}"

    @staticmethod
    def losses_key(source: str, seed: int, split: str) -> str:
        """The name of a run's losses on a split."""
        return f"{WeightsStore.key(source, seed)}-{split}"

    def get(self, key: str) -> bytes | None:
        path = self._folder / key
        try:
            data = path.read_bytes()
            path.touch()
        except OSError:
            return None
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes if the disk allows; a run is not lost without them."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = self._folder / f".{key}"
            draft.write_bytes(data)
            draft.replace(self._folder / key)
            self._forget_oldest()
        except OSError:
            return

    def _forget_oldest(self) -> None:
        files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.iterdir())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= WEIGHTS_KEPT_BYTES:
                return
            path.unlink(missing_ok=True)
            total -= size
