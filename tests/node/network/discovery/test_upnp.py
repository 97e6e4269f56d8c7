"""A port of the router is opened where the router can be asked, kept open, and closed at the end.

The router is a stand-in; a real one, in namespaces, is in scripts/namespaces.py --only upnp.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock

from node.network.discovery import upnp
from node.network.discovery.upnp import PortMapping
from node.network.parameters import UPNP_LEASE_SECONDS


class Gateway:
    """What the library offers of a gateway."""

    present = True
    outside = "11.0.0.1"
    others: frozenset[int] = frozenset()
    for_good_only = False
    opened: ClassVar[dict[int, tuple[str, int, int]]] = {}  # outside: (address, port, seconds)

    discoverdelay = 0
    lanaddr = "192.168.1.10"

    def discover(self) -> int:
        raise Exception("Success")  # as the library does on some systems

    def selectigd(self) -> str:
        if not self.present:
            raise Exception("No UPnP device discovered")
        return "http://192.168.1.1/"

    def externalipaddress(self) -> str:
        return self.outside

    def addportmapping(self, *order: Any) -> bool:
        outside, _, address, port, _, _, seconds = order
        if outside in self.others:
            raise Exception("ConflictInMappingEntry")
        if self.for_good_only and seconds:
            raise Exception("OnlyPermanentLeasesSupported")
        self.opened[outside] = (address, port, seconds)
        return True

    def deleteportmapping(self, outside: int, protocol: str) -> bool:
        del self.opened[outside]
        return True


@pytest.fixture
def clock() -> MockClock:
    """Time passes when nothing happens; the threshold leaves the thread that asks the router its time."""
    return MockClock(autojump_threshold=0.1)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> type[Gateway]:
    class Present(Gateway):
        opened: ClassVar[dict[int, tuple[str, int, int]]] = {}

    monkeypatch.setattr(upnp.miniupnpc, "UPnP", Present)
    return Present


async def opened_by(port: int, gateway: type[Gateway]) -> tuple[str | None, dict[int, tuple[str, int, int]]]:
    """What a router said when it was asked, and what was open then; at the end nothing of ours is."""
    said: list[str | None] = []
    known = trio.Event()

    def told(place: str | None) -> None:
        said.append(place)
        known.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(PortMapping(port, told).run)
        with trio.move_on_after(1.0):
            await known.wait()
        then = dict(gateway.opened)
        nursery.cancel_scope.cancel()
    assert gateway.opened == {}
    return (said[0] if said else None), then


async def test_the_port_is_open_for_as_long_as_the_node_runs(gateway: type[Gateway]) -> None:
    place, then = await opened_by(4001, gateway)
    assert place == "/ip4/11.0.0.1/tcp/4001"
    assert then == {4001: ("192.168.1.10", 4001, UPNP_LEASE_SECONDS)}


async def test_another_port_is_opened_when_somebody_else_in_the_house_has_ours(gateway: type[Gateway]) -> None:
    gateway.others = frozenset({4001})
    place, then = await opened_by(4001, gateway)
    ((outside, (_, inside, _)),) = then.items()
    assert outside != 4001
    assert inside == 4001
    assert place == f"/ip4/11.0.0.1/tcp/{outside}"


async def test_a_router_that_opens_ports_for_good_only_is_asked_for_that(gateway: type[Gateway]) -> None:
    gateway.for_good_only = True
    place, then = await opened_by(4001, gateway)
    assert place is not None
    assert then[4001][2] == 0


@pytest.mark.parametrize("outside", ["192.168.0.7", "100.64.1.1", "", "no address"])
async def test_a_router_behind_another_one_is_of_no_use(gateway: type[Gateway], clock: MockClock, outside: str) -> None:
    gateway.outside = outside
    assert await opened_by(4001, gateway) == (None, {})


async def test_without_a_router_that_can_be_asked_nothing_happens(gateway: type[Gateway], clock: MockClock) -> None:
    gateway.present = False
    assert await opened_by(4001, gateway) == (None, {})
