"""Parts of py-libp2p that no node uses, and that are not loaded: a fifth of a node's memory.

The library imports all of its transports, its certificates by ACME, its block exchange and its own multicast DNS as
soon as anything of it is imported, and with them an HTTP client or two, a QUIC stack and their friends. Here these
modules are replaced by empty ones before the library is imported, unless somebody has imported them before; the names
that others import from them are classes that cannot be made. Measured on Linux x86-64 with Python 3.11: a plain node
has 91 MiB with all of them and 78 MiB without.

It knows names of modules of py-libp2p 0.8.1 and nothing else. When the library is upgraded, see whether they are still
there, and whether what a node does use has begun to need them: the tests of the network would fail with NotLoadedError.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LEFT_OUT = (
    "aioquic",
    "libp2p.bitswap",  # its own exchange of blocks
    "libp2p.discovery.mdns",  # this program has its own, which uses the same library better
    "libp2p.observability",
    "libp2p.security.tls.autotls",  # certificates from a public broker; with it requests, httpx and rich
    "libp2p.transport.quic.connection",
    "libp2p.transport.quic.listener",
    "libp2p.transport.quic.security",
    "libp2p.transport.quic.stream",
    "libp2p.transport.quic.transport",
    "libp2p.transport.webrtc",
    "libp2p.transport.websocket",
    "libp2p.transport.webtransport",
)


class NotLoadedError(RuntimeError):
    """Something was to be made of a class whose module is left out."""


def _refuse(cls: type, *_: object, **__: object) -> Any:
    raise NotLoadedError(f"{cls.__module__}.{cls.__name__} is left out of this program (node/network/left_out.py)")


class _EmptyModule(ModuleType):
    """A module in which every name is a class of its own that cannot be made."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # An exception class, as the library also names some of these in `except` clauses.
        made = type(name, (Exception,), {"__module__": self.__name__, "__new__": _refuse})
        setattr(self, name, made)
        return made


class _LeavesOut(MetaPathFinder, Loader):
    """Finds an empty module for every name in LEFT_OUT and below it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if any(fullname == name or fullname.startswith(f"{name}.") for name in LEFT_OUT):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""


def leave_out() -> None:
    """From now on the modules in LEFT_OUT are empty, where they are not loaded yet."""
    if not any(isinstance(finder, _LeavesOut) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LeavesOut())


leave_out()
