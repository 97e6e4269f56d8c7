"""The port of last time is taken again where it can be, and no port is ever shared with another program."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from node.app.service import _listen
from node.network import ListenError
from node.platform import listening
from node.platform.config import ALL_ADDRESSES, Config, load_config
from node.platform.home import Home
from node.platform.listening import obstacle, remedy_of, without_missing_ipv6
from tests.node.network.conftest import Log

pytestmark = pytest.mark.sockets


def config_for(tmp_path: Path, *listen: str) -> Config:
    return load_config(None, {"home": str(tmp_path / "home"), "listen": list(listen)})


def home_with_port(tmp_path: Path, port: int) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    home.remember_port(port)
    return home


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_port_of_last_time_is_taken_again_at_every_address(tmp_path: Path) -> None:
    port, log = free_port(), Log()
    home = home_with_port(tmp_path, port)
    config = config_for(tmp_path, "/ip4/127.0.0.1/tcp/0", "/ip4/0.0.0.0/tcp/0")
    assert _listen(config, home, log) == [f"/ip4/127.0.0.1/tcp/{port}", f"/ip4/0.0.0.0/tcp/{port}"]
    assert not log.lines


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", "ip4"), ("::1", "ip6")])
def test_a_remembered_port_that_is_taken_is_told_and_another_will_do(tmp_path: Path, host: str, kind: str) -> None:
    address, log = f"/{kind}/{host}/tcp/0", Log()
    if obstacle(address) is not None:
        pytest.skip("no IPv6 here")
    family = socket.AF_INET6 if kind == "ip6" else socket.AF_INET
    with socket.create_server((host, 0), family=family, reuse_port=True) as other:
        home = home_with_port(tmp_path, other.getsockname()[1])
        assert _listen(config_for(tmp_path, address), home, log) == [address]
    assert "invite" in log.of("port taken")[0]["hint"]


def test_an_address_that_was_asked_for_is_had_or_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        home = home_with_port(tmp_path, free_port())
        for listen in ([f"/ip4/127.0.0.1/tcp/{port}"], ["/ip4/127.0.0.1/tcp/0", f"/ip4/0.0.0.0/tcp/{port}"]):
            with pytest.raises(ListenError, match=f"tcp/{port} .*another node or program has this port"):
                _listen(config_for(tmp_path, *listen), home, Log())


def test_an_address_of_another_machine_is_not_called_taken() -> None:
    error = obstacle("/ip4/192.0.2.1/tcp/0")
    assert error is not None
    assert "no such address" in remedy_of(error)


def test_both_families_get_one_port_from_the_first_start_on(tmp_path: Path) -> None:
    if obstacle("/ip6/::/tcp/0") is not None:
        pytest.skip("no IPv6 here")
    home = Home(tmp_path / "home")
    home.make()
    config = load_config(None, {"home": str(tmp_path / "home")})
    ports = {address.rsplit("/", 1)[1] for address in _listen(config, home, Log())}
    assert len(ports) == 1
    assert ports != {"0"}


def test_a_machine_without_ipv6_listens_on_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = OSError(errno.EAFNOSUPPORT, "no such family")
    monkeypatch.setattr(listening, "obstacle", lambda address: missing if "/ip6/" in address else None)
    assert without_missing_ipv6(ALL_ADDRESSES) == ["/ip4/0.0.0.0/tcp/0"]
    assert without_missing_ipv6(["/ip6/::/tcp/0"]) == ["/ip6/::/tcp/0"]  # it was asked for: its refusal says why
