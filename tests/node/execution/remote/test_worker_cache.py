"""What workers keep: contents that several of them share, whole or not at all, and a place that each has for itself."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.execution.remote.worker_cache import CacheError, WorkerCache
from protocol.codec import MalformedError

OBJECTIVE = "f00d"


def add(cache: WorkerCache, data: bytes) -> bytes:
    content = hashlib.sha256(data).digest()
    draft = cache.draft(content, len(data))
    draft.write(data)
    draft.keep()
    return content


def test_a_content_that_one_worker_got_is_there_for_all_of_them(tmp_path: Path) -> None:
    with WorkerCache(tmp_path, 1 << 20) as one, WorkerCache(tmp_path, 1 << 20) as other:
        assert one.place != other.place
        content = add(one, b"some data")
        assert other.put_in_place(content, 9, other.place / "data" / "file")
        assert (other.place / "data" / "file").read_bytes() == b"some data"
        assert not other.put_in_place(hashlib.sha256(b"else").digest(), 4, other.place / "data" / "else")


@pytest.mark.parametrize("data", [b"short", b"other data", b"much more data"])
def test_a_content_that_is_not_what_its_id_says_is_never_kept(tmp_path: Path, data: bytes) -> None:
    with WorkerCache(tmp_path, 1 << 20) as cache:
        draft = cache.draft(hashlib.sha256(b"right data").digest(), 10)

        def take() -> None:
            draft.write(data)
            draft.keep()

        with pytest.raises(MalformedError):
            take()
        draft.discard()
        assert list((tmp_path / "content").iterdir()) == []


def test_a_content_that_was_damaged_is_fetched_again(tmp_path: Path) -> None:
    with WorkerCache(tmp_path, 1 << 20) as cache:
        content = add(cache, b"some data")
        (tmp_path / "content" / content.hex()).write_bytes(b"torn")
        assert not cache.put_in_place(content, 9, cache.place / "data" / "file")
        add(cache, b"some data")
        assert cache.put_in_place(content, 9, cache.place / "data" / "file")


def test_what_was_used_least_recently_goes_first_and_what_is_in_place_stays(tmp_path: Path) -> None:
    with WorkerCache(tmp_path, 2500) as cache:
        old, used, new = (add(cache, bytes([number]) * 1000) for number in range(3))
        for age, content in ((300, old), (200, used), (100, new)):
            path = tmp_path / "content" / content.hex()
            os.utime(path, (path.stat().st_mtime - age,) * 2)
        assert cache.put_in_place(old, 1000, cache.place / "data" / "old")  # which is a use
        cache.prune()
        kept = {path.name for path in (tmp_path / "content").iterdir()}
        assert kept == {old.hex(), new.hex()}
        assert (cache.place / "data" / "old").stat().st_size == 1000


def test_weights_of_a_worker_that_is_gone_are_found_by_the_others_and_by_the_next_in_its_place(tmp_path: Path) -> None:
    with WorkerCache(tmp_path, 1 << 20) as one:
        (one.weights_dir(OBJECTIVE) / "run-1").write_bytes(b"weights")
        with WorkerCache(tmp_path, 1 << 20) as other:
            other.borrow(OBJECTIVE, ["run-1", "run-2"])
            assert [path.name for path in other.weights_dir(OBJECTIVE).iterdir()] == ["run-1"]
            store = one.store
    with WorkerCache(tmp_path, 1 << 20) as again:
        assert again.store == store
        assert (again.weights_dir(OBJECTIVE) / "run-1").read_bytes() == b"weights"
        assert list(again.weights_dir("beef").iterdir()) == []
        assert list(again.weights_dir(OBJECTIVE).iterdir()) == []  # another objective has had the place


def test_an_unfinished_run_of_a_worker_that_is_gone_goes_to_the_one_that_makes_it_again(tmp_path: Path) -> None:
    def unfinished(cache: WorkerCache, run: str) -> Path:
        return cache.weights_dir(OBJECTIVE) / "unfinished" / run / "snapshots"

    with WorkerCache(tmp_path, 1 << 20) as living, WorkerCache(tmp_path, 1 << 20) as beside:
        with WorkerCache(tmp_path, 1 << 20) as killed:
            for cache, run in ((killed, "one"), (beside, "two")):
                unfinished(cache, run).parent.mkdir(parents=True)
                unfinished(cache, run).write_bytes(b"half way")
        living.take_over(OBJECTIVE, "unfinished")
        assert unfinished(living, "one").read_bytes() == b"half way"
        assert not unfinished(living, "two").exists()  # its worker is under way


def test_weights_of_places_without_a_worker_count_and_those_of_workers_under_way_do_not(tmp_path: Path) -> None:
    with WorkerCache(tmp_path, 100) as one:
        (one.weights_dir(OBJECTIVE) / "run").write_bytes(bytes(1000))
        with WorkerCache(tmp_path, 100) as other:
            other.prune()
            assert (one.weights_dir(OBJECTIVE) / "run").exists()
    with WorkerCache(tmp_path, 100) as first, WorkerCache(tmp_path, 100):
        assert (first.weights_dir(OBJECTIVE) / "run").exists()
    with WorkerCache(tmp_path / "elsewhere", 100):
        pass
    with WorkerCache(tmp_path, 100), WorkerCache(tmp_path, 100) as second:
        (second.weights_dir(OBJECTIVE) / "run").write_bytes(bytes(1000))
    with WorkerCache(tmp_path, 100) as last:
        last.prune()
    assert not (tmp_path / "places" / "1" / f"weights-{OBJECTIVE}" / "run").exists()


def test_a_worker_that_is_killed_gives_its_place_back(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from node.execution.remote.worker_cache import WorkerCache\n"
        "cache = WorkerCache(pathlib.Path(sys.argv[1]), 1000); print(cache.place.name, flush=True); sys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdin is not None
    assert worker.stdout.readline() == "0\n"
    with WorkerCache(tmp_path, 1000) as beside:
        assert beside.place.name == "1"
    worker.kill()
    worker.wait()
    worker.stdout.close()
    worker.stdin.close()
    with WorkerCache(tmp_path, 1000) as after:
        assert after.place.name == "0"


def test_a_folder_that_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="give one with --cache"):
        WorkerCache(tmp_path / "file", 1000)
