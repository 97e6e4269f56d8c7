"""Two houses behind NAT, a node in the open between them, and a network that falls apart and heals; in namespaces.

    sudo .venv/bin/python scripts/namespaces.py [--partition-minutes 2] [--only nat|upnp|lan|partition]

Needs root, iproute2 and iptables; upnp also nftables and miniupnpd. All of it is made of network namespaces that have
no way out of this machine, and is taken down at the end. Shows:

    nat        A and B, each behind a gateway that masquerades and lets nobody in, know only R's address: they exchange
               records and a source, and again after R was killed and started anew
    upnp       A, behind a gateway that lets in whom it is asked to by UPnP, is dialled from outside; the port is closed
               when A has gone
    lan        two nodes on one LAN, neither knows an address: they find each other by multicast DNS
    partition  10 + 10 nodes, the cable between them cut for minutes while both sides write, then mended: equal records
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from plain_swarm import PlainNode, equal, wait_for

HALF = 10
OPEN_PORT = 4001
SOURCE_BYTES = 60_000  # ten times what tinylm's train.py takes
GATEWAY_RULES = """
table inet house {
    chain forward {
        type filter hook forward priority 0; policy drop;
        jump asked
        ct state established,related accept
        iifname "lan" oifname "wan" accept
    }
    chain prerouting { type nat hook prerouting priority -100; jump asked_nat; }
    chain postrouting { type nat hook postrouting priority 100; oifname "wan" masquerade; }
    chain asked {}
    chain asked_nat {}
    chain asked_back {}
}
"""
GATEWAY_SETTINGS = """
ext_ifname=wan
listening_ip=lan
enable_upnp=yes
enable_natpmp=no
secure_mode=yes
upnp_table_name=house
upnp_nat_table_name=house
upnp_forward_chain=asked
upnp_nat_chain=asked_nat
upnp_nat_postrouting_chain=asked_back
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class World:
    """Namespaces and cables between them, with names of this process's own."""

    def __init__(self) -> None:
        self._made: list[str] = []
        self._cables = 0

    def space(self, name: str) -> str:
        full = f"arn{os.getpid()}-{name}"
        ip("netns", "add", full)
        self._made.append(full)
        self.inside(full, "ip", "link", "set", "lo", "up")
        return full

    def inside(self, space: str, *words: str) -> None:
        subprocess.run(["ip", "netns", "exec", space, *words], check=True)

    def told(self, space: str, *words: str) -> str:
        """What a program in a namespace prints."""
        return subprocess.run(["ip", "netns", "exec", space, *words], check=True, capture_output=True, text=True).stdout

    def bridge(self, name: str) -> str:
        """A switch: a namespace whose cables all meet."""
        space = self.space(name)
        ip("-n", space, "link", "add", "switch", "type", "bridge")
        ip("-n", space, "link", "set", "switch", "up")
        return space

    def cable(self, switch: str, space: str, interface: str, address: str) -> str:
        """Plug a namespace into a switch; the name of the switch's end."""
        self._cables += 1
        end = f"p{self._cables}"
        ip("-n", switch, "link", "add", end, "type", "veth", "peer", "name", interface, "netns", space)
        ip("-n", switch, "link", "set", end, "master", "switch")
        ip("-n", switch, "link", "set", end, "up")
        ip("-n", space, "address", "add", address, "dev", interface)
        ip("-n", space, "link", "set", interface, "up")
        return end

    def gateway(self, space: str) -> None:
        """Masquerade what leaves by "wan"; let in only what answers."""
        self.inside(space, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        for rule in (
            "-t nat -A POSTROUTING -o wan -j MASQUERADE",
            "-P FORWARD DROP",
            "-A FORWARD -i lan -o wan -j ACCEPT",
            "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        ):
            self.inside(space, "iptables", *rule.split())

    def polite_gateway(self, space: str, folder: Path) -> subprocess.Popen[bytes]:
        """Masquerade, let in only what answers or was asked for by UPnP; the process that is asked."""
        self.inside(space, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        rules, settings = folder / "gateway.nft", folder / "gateway.conf"
        rules.write_text(GATEWAY_RULES)
        settings.write_text(GATEWAY_SETTINGS)
        self.inside(space, "nft", "-f", str(rules))
        asked = ["miniupnpd", "-d", "-f", str(settings), "-P", str(folder / "gateway.pid")]
        return subprocess.Popen(
            ["ip", "netns", "exec", space, *asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def take_down(self) -> None:
        for space in reversed(self._made):
            subprocess.run(["ip", "netns", "del", space], check=False)


@contextmanager
def world() -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.take_down()


def node(stack: ExitStack, folder: Path, space: str, address: str, join: Sequence[str] = (), *more: str) -> PlainNode:
    arguments = ["--listen", f"/ip4/{address}/tcp/{OPEN_PORT}", *more]
    for other in join:
        arguments += ["--join", other]
    made = PlainNode(folder / space, arguments, ["ip", "netns", "exec", space])
    stack.callback(made.stop)
    made.start()
    assert wait_for(lambda: made.of("address"), 60), f"{space} did not start: {made.complaints}"
    return made


def tell(what: str, took: float | None) -> bool:
    print(f"  {what}: {'NO' if took is None else f'yes, after {took:.1f} s'}", flush=True)
    return took is not None


def houses(net: World) -> tuple[str, str, str]:
    """R in the open at 198.51.100.10, A at 192.168.1.10 and B at 192.168.2.10 behind gateways of their own."""
    internet, relay = net.bridge("internet"), net.space("r")
    net.cable(internet, relay, "wan", "198.51.100.10/24")
    inhabitants = []
    for number, name in ((1, "a"), (2, "b")):
        gateway, lan, host = net.space(f"g{name}"), net.bridge(f"lan{name}"), net.space(name)
        net.cable(internet, gateway, "wan", f"198.51.100.{number}/24")
        net.cable(lan, gateway, "lan", f"192.168.{number}.1/24")
        net.cable(lan, host, "eth", f"192.168.{number}.10/24")
        ip("-n", host, "route", "add", "default", "via", f"192.168.{number}.1")
        net.gateway(gateway)
        inhabitants.append(host)
    return relay, inhabitants[0], inhabitants[1]


def behind_nat(folder: Path) -> bool:
    print("two houses behind NAT, one node in the open")
    with world() as net, ExitStack() as stack:
        relay, left, right = houses(net)
        r = node(stack, folder, relay, "198.51.100.10")
        open_address = [r.of("address")]
        a = node(stack, folder, left, "192.168.1.10", open_address)
        b = node(stack, folder, right, "192.168.2.10", open_address)
        nodes = [r, a, b]
        good = tell("A and B are connected to R", wait_for(lambda: a.of("peers") and b.of("peers"), 30))
        a.write(20)
        b.write(10)
        good &= tell("A and B hold each other's 30 records", wait_for(lambda: equal(nodes, 30), 30))
        a.write_source(SOURCE_BYTES)
        fetched = wait_for(lambda: equal(nodes, 31) and not b.of("missing"), 30)
        good &= tell(f"B has fetched a source of {SOURCE_BYTES:,} bytes that A made", fetched)
        print(f"  A says: {a.of('reach')}\n  R says: {r.of('reach')}")
        r.kill()
        a.write(5)
        time.sleep(3)
        r.start()
        b.write(5)
        good &= tell("and 10 more after R was killed and started again", wait_for(lambda: equal(nodes, 41), 90))
    return good


def let_in_by_upnp(folder: Path) -> bool:
    print("a house whose router can be asked")
    with world() as net, ExitStack() as stack:
        internet, outside = net.bridge("internet"), net.space("o")
        gateway, lan, inside = net.space("gu"), net.bridge("lanu"), net.space("u")
        net.cable(internet, outside, "wan", "11.0.0.10/24")
        net.cable(internet, gateway, "wan", "11.0.0.1/24")  # any address that is none of a private network
        net.cable(lan, gateway, "lan", "192.168.9.1/24")
        net.cable(lan, inside, "eth", "192.168.9.10/24")
        ip("-n", inside, "route", "add", "default", "via", "192.168.9.1")
        asked = net.polite_gateway(gateway, folder)
        stack.callback(asked.kill)
        a = node(stack, folder, inside, "192.168.9.10", [], "--upnp")
        opened = wait_for(lambda: str(a.of("outside")).startswith("/ip4/11.0.0.1/"), 30)
        good = tell(f"A has had a port opened, {str(a.of('outside')).partition('/p2p/')[0]}", opened)
        o = node(stack, folder, outside, "11.0.0.10", [a.of("outside")])
        a.write(5)
        good &= tell("dialled from outside, and its records travel", wait_for(lambda: equal([a, o], 5), 30))
        print(f"  A says: {a.of('reach')}")
        a.stop()
        listed = net.told(gateway, "nft", "list", "table", "inet", "house")
        good &= tell("the port is closed after A has gone", None if "192.168.9.10" in listed else 0.0)
        asked.kill()
        asked.wait()
    return good


def on_one_lan(folder: Path) -> bool:
    print("one LAN, nobody knows an address")
    with world() as net, ExitStack() as stack:
        lan = net.bridge("lan")
        nodes = []
        for number in (1, 2):
            space = net.space(f"m{number}")
            net.cable(lan, space, "eth", f"192.168.7.{number}/24")
            ip("-n", space, "route", "add", "224.0.0.0/4", "dev", "eth")
            nodes.append(node(stack, folder, space, f"192.168.7.{number}", [], "--lan"))
        good = tell("found by multicast DNS", wait_for(lambda: all(n.of("peers") for n in nodes), 30))
        nodes[0].write(3)
        return good & tell("and records travel", wait_for(lambda: equal(nodes, 3), 15))


def partition(folder: Path, minutes: float) -> bool:
    print(f"{HALF} + {HALF} nodes, parted for {minutes:g} minutes")
    with world() as net, ExitStack() as stack:
        sides = [net.bridge("east"), net.bridge("west")]
        ip("-n", sides[0], "link", "add", "bridge0", "type", "veth", "peer", "name", "bridge1", "netns", sides[1])
        for number, side in enumerate(sides):
            ip("-n", side, "link", "set", f"bridge{number}", "master", "switch")
            ip("-n", side, "link", "set", f"bridge{number}", "up")
        nodes: list[PlainNode] = []
        for number in range(2 * HALF):
            space, address = net.space(f"n{number}"), f"10.0.0.{number + 1}"
            net.cable(sides[number % 2], space, "eth", f"{address}/24")
            nodes.append(node(stack, folder, space, address, [n.of("address") for n in nodes[-3:]]))
        for each in nodes:
            each.write(5)
        good = tell("all 20 hold 100 records", wait_for(lambda: equal(nodes, 100), 120))
        ip("-n", sides[0], "link", "set", "bridge0", "down")
        for each in nodes:
            each.write(5)
        time.sleep(60 * minutes)
        east, west = nodes[0::2], nodes[1::2]
        print(f"  parted: east holds {east[0].of('records')} (equal: {equal(east)}), west {west[0].of('records')}")
        ip("-n", sides[0], "link", "set", "bridge0", "up")
        healed = wait_for(lambda: equal(nodes, 200), 300)
        good &= tell("healed: all 20 hold the same 200 records", healed)
        running = sum(each.running() for each in nodes)
        most = max(each.of("mib") for each in nodes)
        print(f"  {running} of {2 * HALF} processes still run; memory {most:.0f} MiB at most")
        return good and running == 2 * HALF


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partition-minutes", type=float, default=2.0)
    parser.add_argument("--only", choices=["nat", "upnp", "lan", "partition"])
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("namespaces need root: run this with sudo", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="namespaces-") as name:
        shows = {
            "nat": lambda: behind_nat(Path(name)),
            "upnp": lambda: let_in_by_upnp(Path(name)),
            "lan": lambda: on_one_lan(Path(name)),
            "partition": lambda: partition(Path(name), options.partition_minutes),
        }
        results = [show() for which, show in shows.items() if options.only in (None, which)]
    print("all held" if all(results) else "SOMETHING DID NOT HOLD")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
