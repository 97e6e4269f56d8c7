"""An address is believed over a connection from as near, and counted with those that come with it."""

from __future__ import annotations

import pytest

from node.network.groups import Scope, crowd_of, group_of, host_of, may_name, scope_of

INTERNET, ISP, HOUSE, LINK_LOCAL, HERE = (
    f"/ip4/{ip}/tcp/4001" for ip in ("11.0.0.1", "100.64.1.1", "192.168.1.2", "169.254.9.9", "127.0.0.1")
)


@pytest.mark.parametrize(
    ("ip", "scope"),
    [
        ("ip4/11.0.0.1", Scope.INTERNET),
        ("ip6/2a00:1450::1", Scope.INTERNET),
        ("ip4/10.1.2.3", Scope.LOCAL_NETWORK),
        ("ip4/100.64.1.1", Scope.LOCAL_NETWORK),
        ("ip4/169.254.169.254", Scope.LOCAL_NETWORK),
        ("ip6/fe80::1", Scope.LOCAL_NETWORK),
        ("ip6/fd00::1", Scope.LOCAL_NETWORK),
        ("ip6/::ffff:192.168.1.1", Scope.LOCAL_NETWORK),
        ("ip4/127.9.9.9", Scope.MACHINE),
        ("ip6/::1", Scope.MACHINE),
        ("ip6/::ffff:127.0.0.1", Scope.MACHINE),
        ("ip4/0.0.0.0", None),
        ("ip4/224.0.0.251", None),
        ("ip4/255.255.255.255", None),
        ("dns4/example.org", None),
    ],
)
def test_how_far_away_an_address_is_reached_from(ip: str, scope: Scope | None) -> None:
    assert scope_of(f"/{ip}/tcp/1") is scope


@pytest.mark.parametrize(
    ("link", "believed"),
    [
        (INTERNET, [INTERNET]),
        ("", [INTERNET]),
        (HOUSE, [INTERNET, ISP, HOUSE, LINK_LOCAL]),
        (HERE, [INTERNET, ISP, HOUSE, LINK_LOCAL, HERE]),
    ],
)
def test_nobody_from_afar_can_name_what_is_near(link: str, believed: list[str]) -> None:
    assert [a for a in (INTERNET, ISP, HOUSE, LINK_LOCAL, HERE) if may_name(link, a)] == believed


def test_an_ipv6_house_is_one_machine_and_its_provider_one_group() -> None:
    one, other = "/ip6/2a00:1450:1:2::3/tcp/1", "/ip6/2a00:1450:1:2:aaaa::4/tcp/1"
    assert host_of(one) == host_of(other) == "2a00:1450:1:2::/64"
    assert group_of(one) == group_of("/ip6/2a00:1450:ffff::1/tcp/1") == "2a00:1450::/32"


def test_on_a_local_network_machines_are_counted_one_by_one() -> None:
    assert crowd_of(INTERNET) == "11.0.0.0/16"
    assert crowd_of(HOUSE) == "192.168.1.2"
    assert crowd_of("/dns4/example.org/tcp/1") == ""
