"""A folder is read whole: nothing outside it, nothing that hangs, and every file that is passed over is named."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from node.authoring.corpus.folder import contents_of
from node.authoring.corpus.reader import open_reader

WORDS = "The quick brown fox jumps over the lazy dog and says nothing of it to anybody. " * 4


def ignore(count: int) -> None:
    """Progress that no test reads."""


def test_every_file_is_a_document_or_is_named_with_why_not(tmp_path: Path) -> None:
    root = tmp_path / "texts"
    (root / "deep" / ".git").mkdir(parents=True)
    outside = tmp_path / "secret.txt"
    outside.write_text(WORDS)
    (root / "good.txt").write_text(WORDS)
    (root / "deep" / "good.md").write_text(f"---\ndate: 9999-01-01\n---\n{WORDS}")
    (root / "deep" / ".git" / "config").write_text(WORDS)
    (root / "empty.txt").touch()
    (root / ".hidden.txt").write_text(WORDS)
    (root / "binary.bin").write_bytes(bytes(1000))
    (root / "link.txt").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.txt")
    os.utime(root / "good.txt", (1e9, 1e9))
    with socket.socket(socket.AF_UNIX) as bound, open_reader() as reader:
        bound.bind(str(root / "socket"))
        found = contents_of(root, reader, ignore)
    assert {document.place: document.dated_by for document in found.documents} == {
        "good.txt": "file",
        "deep/good.md": "file",  # no document is from the future
    }
    assert min(document.date for document in found.documents) == 1e9
    assert {one.place: one.why for one in found.skipped} == {
        "deep/.git": "a hidden folder or a cache",
        "empty.txt": "empty",
        ".hidden.txt": "a hidden file",
        "binary.bin": "no text: it has zero bytes",
        "link.txt": "a symbolic link",
        "folder": "a symbolic link",
        "pipe.txt": "no file, but a pipe, a socket or a device",
        "socket": "no file, but a pipe, a socket or a device",
    }
    assert found.files == len(found.documents) + len(found.skipped)


def test_a_licence_holds_for_the_files_beside_and_below_it(tmp_path: Path) -> None:
    for place in ("LICENSE", "a.txt", "inner/b.txt", "inner/c/copyright", "inner/c/d.txt"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(f"{WORDS}\n{place}")
    (tmp_path / "LICENSE").write_text(f"MIT License\n\n{WORDS}")
    (tmp_path / "inner" / "c" / "copyright").write_text(f"License: GPL-2+\n{WORDS}")
    (tmp_path / "own.txt").write_text(f"SPDX-License-Identifier: CC0-1.0\n{WORDS}")
    with open_reader() as reader:
        found = contents_of(tmp_path, reader, ignore)
    said = {document.place: document.licence for document in found.documents}
    assert said == {
        "LICENSE": "MIT",
        "a.txt": "MIT",
        "inner/b.txt": "MIT",
        "inner/c/copyright": "GPL-2+",
        "inner/c/d.txt": "GPL-2+",
        "own.txt": "CC0-1.0",
    }


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")  # opening it waits for a writer
    (tmp_path / "good.txt").write_text(WORDS)
    with open_reader(1.5) as reader:
        assert reader.read(tmp_path / "good.txt").documents[0].text == WORDS.strip()
        begun = time.monotonic()
        assert reader.read(tmp_path / "never").skipped == "takes longer than 1.5 s to read"
        assert time.monotonic() - begun < 5
    with open_reader() as reader:
        assert reader.read(tmp_path / "good.txt").skipped == ""


@pytest.mark.parametrize("gone", ["gone.txt", "gone.pdf"])
def test_a_file_that_has_gone_is_named(tmp_path: Path, gone: str) -> None:
    with open_reader() as reader:
        assert reader.read(tmp_path / gone).skipped == "cannot be read: No such file or directory"
