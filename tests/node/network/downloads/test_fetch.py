"""A file comes from whichever mirror gives it, goes on where it was interrupted, and is taken only if it is right.

Real servers on loopback, and a real process that is killed.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from node.network.downloads import fetch as fetching
from node.network.downloads.fetch import DownloadError, Source, fetch, why_no_room
from node.network.downloads.store import DownloadStore
from node.network.downloads.transfer import Pace, TransferError, _redirected
from node.objective.schema import Download
from protocol.objective import FileEntry
from tests.node.network.downloads.file_server import FileServer, Served, file_server

pytestmark = pytest.mark.sockets
CONTENT = os.urandom(300_000)
OTHER = os.urandom(300_000)


class Events:
    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **details: Any) -> None:
        self.seen.append((event, details))

    def reasons(self) -> list[str]:
        return [details["why"] for event, details in self.seen if event == "download failed"]


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(fetching, "LONGEST_DELAY_SECONDS", 0.02)


@pytest.fixture
def store(tmp_path: Path) -> DownloadStore:
    return DownloadStore(tmp_path / "downloads")


def entry_of(content: bytes, name: str = "file") -> FileEntry:
    return FileEntry(name, hashlib.sha256(content).digest(), len(content))


def source(server: FileServer, *names: str, content: bytes | None = CONTENT, most: int = 10**6) -> Source:
    """What is wanted from these files of the server, in turn. content: None where nobody knows it yet."""
    urls = tuple(f"{server.url}/{name}" for name in names)
    return Source("file", urls, None if content is None else entry_of(content), most)


def come(store: DownloadStore, content: bytes = CONTENT) -> bool:
    """Whether exactly this content is in the store, and nothing half done beside it."""
    path = store.path(hashlib.sha256(content).digest())
    return path.read_bytes() == content and [each.name for each in store.folder.iterdir()] == [path.name]


async def test_a_file_comes_whole_and_under_its_sum(store: DownloadStore) -> None:
    with file_server(a=Served(CONTENT)) as server:
        assert await fetch(source(server, "a"), store, Events()) == entry_of(CONTENT)
    assert come(store)
    (headers,) = [headers for _, headers in server.requests]
    assert headers["accept-encoding"] == "identity"
    assert not {"authorization", "cookie", "proxy-authorization", "range"} & set(headers)


async def test_a_cut_connection_is_gone_on_with_where_it_ended(store: DownloadStore) -> None:
    with file_server(a=Served(CONTENT, cut=[100_000, 100_000])) as server:
        await fetch(source(server, "a"), store, Events())
    assert come(store)
    begun = server.ranges("/a")
    assert begun[0] == ""
    assert len(begun) == 3
    assert all(0 < int(each.removeprefix("bytes=").removesuffix("-")) <= 200_000 for each in begun[1:])


async def test_what_one_mirror_began_another_ends(store: DownloadStore) -> None:
    with file_server(a=Served(CONTENT, cut=[100_000] * 99), b=Served(CONTENT)) as server:
        await fetch(source(server, "a", "b"), store, Events())
    assert come(store)
    assert server.ranges("/b")[0].startswith("bytes=")


async def test_a_server_that_knows_no_ranges_sends_it_whole_again(store: DownloadStore) -> None:
    with file_server(a=Served(CONTENT, ranges=False, cut=[200_000])) as server:
        await fetch(source(server, "a"), store, Events())
    assert come(store)


async def test_a_mirror_with_another_file_is_not_asked_again_and_the_next_one_is_taken(store: DownloadStore) -> None:
    events = Events()
    with file_server(wrong=Served(OTHER), b=Served(CONTENT)) as server:
        await fetch(source(server, "wrong", "b"), store, events)
    assert come(store)
    assert events.reasons() == ["what came is not the declared file: its sha256 is another"]
    assert len(server.ranges("/wrong")) == 1


async def test_bytes_of_two_mirrors_that_do_not_fit_are_dropped_and_each_asked_for_all(store: DownloadStore) -> None:
    with file_server(wrong=Served(OTHER, cut=[150_000]), b=Served(CONTENT)) as server:
        await fetch(source(server, "wrong", "b"), store, Events())
    assert come(store)
    assert [bool(each) for each in server.ranges("/b")] == [True, False]


@pytest.mark.parametrize(
    ("served", "says"),
    [
        (Served(CONTENT + b"!"), "its file has 300001 bytes, and 300000 are declared"),
        (Served(CONTENT[:-1]), "its file has 299999 bytes, and 300000 are declared"),
        (Served(CONTENT, status=404), "it answers with status 404"),
        (Served(CONTENT, headers={"Content-Encoding": "gzip"}), "it sends the file compressed"),
        (Served(b"", status=302, headers={"Location": "http://192.0.2.1/a"}), "only https is fetched"),
        (Served(b"", status=302, headers={"Location": "/a"}), "redirects more than 5 times"),
        (Served(b"", status=302, headers={"Location": "http://you:secret@127.0.0.1/a"}), "no name or password"),
        (Served(CONTENT, length=400_000), "its file has 400000 bytes"),
    ],
)
async def test_what_is_wrong_with_a_mirror_is_said_once_and_it_is_not_asked_again(
    store: DownloadStore, served: Served, says: str
) -> None:
    events = Events()
    with file_server(a=served) as server, pytest.raises(DownloadError, match=says):
        await fetch(source(server, "a"), store, events)
    (why,) = events.reasons()
    assert says in why
    assert not list(store.folder.glob("*.part"))


async def test_a_redirect_from_elsewhere_never_leads_to_this_machine() -> None:
    answer = httpx2.Response(302, headers={"location": "http://127.0.0.1/admin"})
    with pytest.raises(TransferError, match="this machine itself"):
        _redirected("https://example.org/a", "https://example.org/a", answer)


async def test_a_server_that_is_overloaded_is_asked_again_after_the_time_it_names(store: DownloadStore) -> None:
    busy = Served(b"", status=503, headers={"Retry-After": "1"})
    with file_server(a=busy) as server:

        def better(path: str) -> None:
            if len(server.requests) == 2:
                server.files["/a"] = Served(CONTENT)

        server.on_request = better
        begun = trio.current_time()
        await fetch(source(server, "a"), store, Events())
    assert come(store)
    assert trio.current_time() - begun >= 1


async def test_a_server_that_drips_is_left_for_another_mirror(store: DownloadStore) -> None:
    events = Events()
    with file_server(slow=Served(CONTENT, drip=0.05), b=Served(CONTENT)) as server:
        begun = time.monotonic()
        await fetch(source(server, "slow", "b"), store, events, Pace(answer=0.5, window=0.5, window_bytes=50_000))
    assert come(store)
    assert time.monotonic() - begun < 10
    assert "too slow" in events.reasons()[0]


async def test_a_server_that_says_nothing_is_given_up_in_time(store: DownloadStore) -> None:
    with file_server(mute=Served(CONTENT, drip=60), b=Served(CONTENT)) as server:
        begun = time.monotonic()
        await fetch(source(server, "mute", "b"), store, Events(), Pace(answer=0.5, window=0.5))
    assert come(store)
    assert time.monotonic() - begun < 10


async def test_when_no_mirror_helps_what_came_is_kept_and_the_error_says_so(store: DownloadStore) -> None:
    with file_server(a=Served(CONTENT, cut=[120_000] + [0] * 99)) as server:
        with pytest.raises(DownloadError, match=r"0\.1 MB\) is kept; ask again to go on"):
            await fetch(source(server, "a"), store, Events())
        server.files["/a"].cut.clear()
        await fetch(source(server, "a"), store, Events())
    assert come(store)
    assert server.ranges("/a")[-1] == "bytes=120000-"


async def test_nobody_there_is_said_with_the_address(store: DownloadStore) -> None:
    with file_server() as server:
        pass
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:\d+: nobody answers there"):
        await fetch(source(server, "a"), store, Events())


async def test_where_the_sum_is_not_known_only_one_version_of_one_address_is_put_together(store: DownloadStore) -> None:
    with file_server(a=Served(OTHER, cut=[100_000])) as server:

        def changed(path: str) -> None:
            if len(server.requests) == 2:
                server.files["/a"] = Served(CONTENT)

        server.on_request = changed
        found = await fetch(source(server, "a", content=None), store, Events())
    assert found == entry_of(CONTENT)
    assert come(store)
    with file_server(a=Served(OTHER, cut=[100_000] + [0] * 99), b=Served(CONTENT)) as server:
        await fetch(source(server, "a", "b", content=None), DownloadStore(store.folder / "two"), Events())
    assert server.ranges("/b") == [""]


async def test_where_the_size_is_not_known_a_file_has_at_most_what_there_is_room_for(store: DownloadStore) -> None:
    for served in (Served(CONTENT), Served(CONTENT, length=10**9)):
        with file_server(a=served) as server, pytest.raises(DownloadError, match="larger than 1000 bytes"):
            await fetch(source(server, "a", content=None, most=1000), store, Events())


async def test_a_damaged_part_of_an_earlier_try_costs_one_more_try(store: DownloadStore) -> None:
    with file_server(a=Served(CONTENT)) as server:
        wanted = source(server, "a")
        assert wanted.entry is not None
        store.part(wanted.urls, wanted.entry.sha256).path.write_bytes(OTHER[:50_000])
        await fetch(wanted, store, Events())
    assert come(store)
    assert [bool(each) for each in server.ranges("/a")] == [True, False]


KILLED = """
import hashlib, sys, trio
from pathlib import Path
from node.network.downloads.fetch import Source, fetch
from node.network.downloads.store import DownloadStore
from protocol.objective import FileEntry
url, folder, sha256, size = sys.argv[1:]
entry = FileEntry("file", bytes.fromhex(sha256), int(size))
trio.run(fetch, Source("file", (url,), entry, 0), DownloadStore(Path(folder)), lambda *_, **__: None)
"""


def test_after_kill_minus_nine_it_goes_on_with_what_is_there(store: DownloadStore) -> None:
    with file_server(a=Served(CONTENT, drip=0.0001)) as server:
        entry = entry_of(CONTENT)
        words = [f"{server.url}/a", str(store.folder), entry.sha256.hex(), str(entry.size)]
        process = subprocess.Popen([sys.executable, "-c", KILLED, *words])
        part = store.folder / f"{entry.sha256.hex()}.part"
        end = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > 1000):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = part.stat().st_size
        server.files["/a"] = Served(CONTENT)
        trio.run(fetch, source(server, "a"), store, Events())
    assert come(store)
    assert server.ranges("/a")[-1] == f"bytes={kept}-"


def test_what_there_is_no_room_for_is_said_before_anything_is_fetched(
    store: DownloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Download("large", ("https://example.org/large",), FileEntry("large", bytes(32), 5_000_000))
    monkeypatch.setattr(DownloadStore, "free", lambda self: 4_000_000)
    assert "5 MB are still to be fetched and only 4 MB of disk are free" in why_no_room(store, [large])
    store.part(large.urls, bytes(32)).path.write_bytes(bytes(2_000_000))
    assert why_no_room(store, [large]) == ""
