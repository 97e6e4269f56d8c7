"""Keeps a library from importing others at its own import which it can do without, and which this program does not use.

Some libraries import whatever they find installed, for features of theirs that nobody asked for. Here that costs memory
in every process. It knows nothing of the libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """While it lasts, these top-level packages seem not to be installed, except those that are imported already."""
    absent = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # with None, `import` raises ImportError
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
