"""How fast large content travels: by the blob protocol, beside one plain py-libp2p stream and raw TCP, in one run.

    .venv/bin/python scripts/blob_speed.py [--megabytes 200]

Every sender and receiver is a process of its own, on loopback. The plain stream and raw TCP carry the same bytes and do
nothing else: no hashes, no disk at the receiver. After that: three senders, one of which is killed (-9) when half of it
is there; and a receiver that is killed when half is there, and started again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.ledger.files import BlobFiles
from node.ledger.store import Ledger
from node.network import Network, Settings, open_network
from node.network.host import parse_address
from protocol.identity import Identity

OBJECTIVE = hashlib.sha256(b"an objective of no consequence").digest()
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
PLAIN = "/speed/plain/1.0.0"
BLOCK = 256 << 10
QUOTA = 1 << 40
PATIENCE = 600.0


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def tell_trouble(event: str, level: str = "info", **details: object) -> None:
    if level in ("warning", "error"):
        print(event, details, file=sys.stderr, flush=True)


# ---- what runs in the processes --------------------------------------------------------------------------------------


@asynccontextmanager
async def on_the_network(files: BlobFiles, *bootstrap: str) -> AsyncIterator[Network]:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "ledger.sqlite", OBJECTIVE)
        settings = Settings([LOOPBACK], bootstrap)
        try:
            async with open_network(
                Identity.from_seed(os.urandom(32)), ledger, settings, tell_trouble, files
            ) as network:
                yield network
        finally:
            ledger.close()


async def send(folder: Path, content: Path, content_id: bytes) -> None:
    """Offer the content in three ways until killed."""
    files = BlobFiles(folder, QUOTA)
    files.refer_to({content_id: content.stat().st_size})
    files.offer(content_id, content)
    files.outline(content_id)

    async def plainly(stream: Any) -> None:
        await stream.read(1)
        with content.open("rb") as file:
            while block := file.read(BLOCK):
                await stream.write(block)
        await stream.close()

    async def raw(stream: trio.SocketStream) -> None:
        with content.open("rb") as file:
            while block := file.read(BLOCK):
                await stream.send_all(block)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with on_the_network(files) as network:
        network._host.answer(PLAIN, plainly)
        say(address=network.addresses()[0], port=listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(raw, listeners)


async def receive(folder: Path, size: int, content_id: bytes, *senders: str) -> None:
    """Fetch the content into files from these senders."""
    files = BlobFiles(folder, QUOTA)
    files.refer_to({content_id: size})
    async with on_the_network(files, *senders) as network:
        while len(network.peers()) < len(senders):
            await trio.sleep(0.01)
        began, at_first = time.perf_counter(), list[int]()

        def progress(here: int, total: int) -> None:
            at_first.append(here)
            if here >= total // 2 > at_first[max(0, len(at_first) - 2)]:
                say(half=True)

        trouble = await network.fetch_file(content_id, progress)
        say(seconds=time.perf_counter() - began, trouble=trouble, already_here=at_first[0])


async def receive_plainly(folder: Path, size: int, sender: str) -> None:
    files = BlobFiles(folder, QUOTA)
    async with on_the_network(files, sender) as network:
        peer = parse_address(sender).peer
        while not network._host.connected(peer):
            await trio.sleep(0.01)
        began, got = time.perf_counter(), 0
        stream = await network._host.open_stream(peer, PLAIN)
        await stream.write(b"x")
        while got < size:
            got += len(await stream.read(BLOCK))
        say(seconds=time.perf_counter() - began)


async def receive_raw(size: int, port: int) -> None:
    began, got = time.perf_counter(), 0
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        while got < size:
            got += len(await stream.receive_some(BLOCK))
    say(seconds=time.perf_counter() - began)


# ---- the measurement -------------------------------------------------------------------------------------------------


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """One of the roles above in a process of its own, which does not outlive the block."""
    command = [sys.executable, str(Path(__file__).resolve()), *map(str, arguments)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def heard(started: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next line that a process says."""
    assert started.stdout is not None
    line = started.stdout.readline()
    if not line:
        raise SystemExit("a process ended before it had an answer")
    return dict(json.loads(line))


def answer(*arguments: object) -> dict[str, Any]:
    """The last line of a process that runs to its end."""
    command = [sys.executable, str(Path(__file__).resolve()), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def tell(what: str, size: int, result: dict[str, Any]) -> None:
    moved = size - result.get("already_here", 0)
    rate = moved / result["seconds"] / 1e6
    note = result.get("trouble") or (f"{moved / 1e6:.0f} MB were left to fetch" if moved < size else "")
    print(f"{what:<58}{rate:8.1f} MB/s {result['seconds']:7.1f} s  {note}", flush=True)


def measure(folder: Path, size: int) -> None:
    content = folder / "content"
    digest = hashlib.sha256()
    with content.open("wb") as file:
        for at in range(0, size, BLOCK):
            block = os.urandom(min(BLOCK, size - at))
            digest.update(block)
            file.write(block)
    content_id = digest.hexdigest()
    with (
        process("send", folder / "a", content, content_id) as a,
        process("send", folder / "b", content, content_id) as b,
        process("send", folder / "c", content, content_id) as c,
    ):
        first, *others = (heard(sender) for sender in (a, b, c))
        addresses = [first["address"], *(other["address"] for other in others)]
        tell("raw TCP", size, answer("receive-raw", size, first["port"]))
        tell("one plain py-libp2p stream", size, answer("receive-plainly", folder / "p", size, addresses[0]))
        tell("blob, one sender", size, answer("receive", folder / "1", size, content_id, addresses[0]))
        tell("blob, three senders", size, answer("receive", folder / "3", size, content_id, *addresses))
        with process("receive", folder / "r", size, content_id, addresses[0]) as receiver:
            heard(receiver)
        again = answer("receive", folder / "r", size, content_id, addresses[0])
        tell("blob, receiver killed at half and started again", size, again)
        with process("receive", folder / "k", size, content_id, *addresses) as receiver:
            heard(receiver)
            b.kill()
            tell("blob, three senders, one killed -9 at half", size, heard(receiver))


def main() -> None:
    match sys.argv[1:]:
        case ["send", folder, content, content_id]:
            trio.run(send, Path(folder), Path(content), bytes.fromhex(content_id))
        case ["receive", folder, size, content_id, *senders]:
            trio.run(receive, Path(folder), int(size), bytes.fromhex(content_id), *senders)
        case ["receive-plainly", folder, size, sender]:
            trio.run(receive_plainly, Path(folder), int(size), sender)
        case ["receive-raw", size, port]:
            trio.run(receive_raw, int(size), int(port))
        case arguments:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--megabytes", type=int, default=200)
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder), parser.parse_args(arguments).megabytes * 1_000_000)


if __name__ == "__main__":
    main()
