"""What is left out of the network library is not loaded; what few nodes need is loaded when they come to need it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PLAIN_NODE = """
import os, sys
import trio
from pathlib import Path
from node.ledger.store import Ledger
from node.network import Settings, open_network
from protocol.identity import Identity

async def meet():
    async with opened("a") as a, opened("b", *a.addresses()) as b:
        while not (a.peers() and b.peers()):
            await trio.sleep(0.05)

def opened(name, *bootstrap):
    ledger = Ledger.open(Path(name), bytes(32))
    settings = Settings(["/ip4/127.0.0.1/tcp/0"], bootstrap)
    return open_network(Identity.from_seed(os.urandom(32)), ledger, settings, lambda *_, **__: None)

trio.run(meet)
names = (
    "Crypto", "aioquic", "cbor2", "coincurve", "dns", "fastecdsa", "git", "greenlet", "httpx", "httpx2", "jinja2",
    "numpy", "openai", "prometheus_client", "pycparser", "pygments", "requests", "rich", "torch", "trio_websocket",
    "zeroconf",
)
print(*(name for name in names if getattr(sys.modules.get(name), "__file__", None)))
"""
REFUSED = """
import node.network
from libp2p.transport.quic.transport import QUICTransport
try:
    QUICTransport(None, None)
except RuntimeError as error:
    print(error)
"""
LATER = """
import sys
import trio
import node.network
from libp2p.crypto import rsa, secp256k1
from libp2p.crypto.serialization import deserialize_public_key
from multiaddr import Multiaddr
from multiaddr.resolvers import DNSResolver

assert not {"Crypto", "coincurve"} & set(sys.modules)
for pair in (rsa.create_new_key_pair(1024), secp256k1.create_new_key_pair()):
    public = deserialize_public_key(pair.public_key.serialize())
    assert type(public) is type(pair.public_key)
    assert public.verify(b"message", pair.private_key.sign(b"message"))
assert {"Crypto", "coincurve"} <= set(sys.modules)

resolver, without_name = DNSResolver(), Multiaddr("/ip4/192.0.2.1/tcp/4001")
assert "dns" not in sys.modules
for _ in range(2):
    assert trio.run(resolver.resolve, without_name) == [without_name]
assert "dns.asyncresolver" in sys.modules
"""


def printed(program: str, folder: object) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd=folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


@pytest.mark.sockets
def test_two_nodes_meet_without_what_is_left_out(tmp_path: object) -> None:
    assert printed(PLAIN_NODE, tmp_path) == ""


def test_what_is_left_out_says_so_where_somebody_needs_it_after_all(tmp_path: object) -> None:
    assert "libp2p.transport.quic.transport.QUICTransport is left out" in printed(REFUSED, tmp_path)


def test_other_kinds_of_keys_and_names_in_addresses_are_understood_when_one_comes(tmp_path: object) -> None:
    printed(LATER, tmp_path)
