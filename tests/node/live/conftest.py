"""A live folder as `objective new live` makes it, with approvals where a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.authoring.live import begin_live
from node.live.approval import approve
from node.live.folder import read_folder
from node.live.store import Store


class Test:
    """A folder and its state, changed as a person and an audience would change them."""

    __test__ = False

    def __init__(self, root: Path) -> None:
        self.root = root
        begin_live(root, "Garden")
        self.store = Store(root)

    def set(self, *pairs: tuple[str, str]) -> None:
        """Write other settings into live.toml."""
        path = self.root / "live.toml"
        text = path.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new, 1)
        path.write_text(text)

    def edit(self, variant: str, old: str, new: str) -> None:
        path = self.root / "variants" / f"{variant}.html"
        path.write_text(path.read_text().replace(old, new))

    def approve(self, *names: str) -> list[int]:
        folder = read_folder(self.root)
        return [approve(folder, self.store, name, folder.variants[name].sha256) for name in names]

    def crowd(self, arm: int, visitors: int, answered: int, left: int = 0) -> None:
        """Visitors who saw an arm, of whom the first answered, and the first left."""
        counts = {"signup": answered, "unsubscribe": left}
        rows = [
            (self.store.signer.visitor(f"{arm} {number}"), arm, [name for name in counts if number < counts[name]])
            for number in range(visitors)
        ]
        self.store.add_mailing(rows)


@pytest.fixture
def garden(tmp_path: Path) -> Iterator[Test]:
    test = Test(tmp_path / "garden")
    yield test
    test.store.close()
