"""Parts of py-libp2p that no node uses, or few, and that are not loaded: a quarter of the memory a node would take.

The library imports all of its transports, its certificates by ACME, its relays, its hash table, its exchange of blocks
and its kinds of keys as soon as anything of it is imported, and with them two HTTP clients, a QUIC stack, a DNS client,
three libraries for keys and their friends. Here it is given other modules in their place, before it is imported and
unless somebody has imported them before:

- what no node uses (LEFT_OUT) is empty: the names that others import from it are classes that cannot be made;
- what only some nodes come to need (LOADED_LATER) is loaded when it is first called: the cipher of private swarms, and
  keys other than ours, which servers of the public hash table have;
- of some (STAND_INS) a class of ours is enough.

It knows names of modules of py-libp2p 0.8.1 and nothing else. When the library is upgraded, see whether they are still
there, and whether what a node does use has begun to need them: the tests of the network would fail with NotLoadedError.
What a node takes is in docs/network.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LEFT_OUT = (
    "aioquic",
    "libp2p.bitswap",  # its own exchange of blocks
    "libp2p.crypto.keystore",
    "libp2p.discovery.bootstrap",  # finding peers is done here, in node/network/discovery
    "libp2p.discovery.mdns",
    "libp2p.discovery.random_walk",
    "libp2p.discovery.upnp",
    "libp2p.identity_utils",
    "libp2p.kad_dht.kad_dht",  # so is the hash table, of which its messages (kad_dht.pb) are used
    "libp2p.kad_dht.peer_routing",
    "libp2p.kad_dht.provider_store",
    "libp2p.kad_dht.routing_table",
    "libp2p.kad_dht.utils",
    "libp2p.observability",
    "libp2p.peer.persistent",  # databases of peers
    "libp2p.rcmgr.manager",  # host.py says why there is no resource manager
    "libp2p.relay",
    "libp2p.security.insecure",
    "libp2p.security.secio",
    "libp2p.security.tls",  # with autotls, certificates from a public broker: requests, httpx and rich
    "libp2p.stream_muxer.mplex",
    "libp2p.transport.cmux",
    "libp2p.transport.quic.connection",
    "libp2p.transport.quic.listener",
    "libp2p.transport.quic.security",
    "libp2p.transport.quic.stream",
    "libp2p.transport.quic.transport",
    "libp2p.transport.webrtc",
    "libp2p.transport.websocket",
    "libp2p.transport.webtransport",
)
LOADED_LATER = (
    "libp2p.crypto.rsa",  # with it pycryptodome, cffi's parser of C
    "libp2p.crypto.secp256k1",  # coincurve
    "libp2p.security.pnet.protector",  # of private swarms: pycryptodome again
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


class _Later:
    """Stands for a class or function of a module, or a method of such a class, and loads the module when called."""

    def __init__(self, module: str, path: tuple[str, ...]) -> None:
        self._module, self._path = module, path

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(self._module, (*self._path, name))

    def __instancecheck__(self, instance: object) -> bool:
        """Nothing is of a class that is not loaded yet."""
        return not isinstance(sys.modules[self._module], _LaterModule) and isinstance(instance, self._real())

    def _real(self) -> Any:
        if isinstance(sys.modules[self._module], _LaterModule):
            _load(self._module)
        found: Any = sys.modules[self._module]
        for name in self._path:
            found = getattr(found, name)
        return found


class _LaterModule(ModuleType):
    """A module that is loaded when something of it is first called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(self.__name__, (name,))


class _Resolver:
    """multiaddr's DNSResolver, which is loaded for the first address with a name in it.

    The library makes one of these for every host; it would read /etc/resolv.conf there and then.
    """

    async def resolve(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(sys.modules["multiaddr.resolvers"], _StandIn):
            _load("multiaddr.resolvers")
        return await sys.modules["multiaddr.resolvers"].DNSResolver().resolve(*args, **kwargs)


class _SwarmEvent:
    """What the library would count for Prometheus: it is filled in and then sent nowhere."""


STAND_INS: dict[str, dict[str, Any]] = {
    "libp2p.metrics.swarm": {"SwarmEvent": _SwarmEvent},  # with it prometheus_client and an HTTP server
    "multiaddr.resolvers": {"DNSResolver": _Resolver},  # dnspython
}


class _StandIn(ModuleType):
    """A module of which only what STAND_INS has for it can be had."""


def _load(name: str) -> None:
    """Import the real module of this name, in place of the one that stands for it."""
    _FINDER.passes.add(name)
    del sys.modules[name]
    import_module(name)


class _LeavesOut(MetaPathFinder, Loader):
    """Finds a module of ours for every name in the three tables above; below a name that is left out, too."""

    def __init__(self) -> None:
        self.passes: set[str] = set()  # names that are to be found as others find them

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self.passes:
            return None
        if fullname in LOADED_LATER or fullname in STAND_INS:
            return ModuleSpec(fullname, self)
        if any(fullname == name or fullname.startswith(f"{name}.") for name in LEFT_OUT):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if spec.name in LOADED_LATER:
            return _LaterModule(spec.name)
        return _StandIn(spec.name) if spec.name in STAND_INS else _EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(STAND_INS.get(module.__name__, {}))


_FINDER = _LeavesOut()


def leave_out() -> None:
    """From now on other modules stand for those in the tables, where they are not loaded yet."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


leave_out()
