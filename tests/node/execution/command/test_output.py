"""What a command prints is kept in part, in any encoding, and shown as a terminal would have."""

from __future__ import annotations

import pytest

from node.execution.command import values
from node.execution.command.output import KEPT_BYTES, Output


def printed(*parts: bytes, failed_by: tuple[str, ...] = ()) -> Output:
    output = Output(failed_by)
    for part in parts:
        output.add(part)
    return output


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_text_is_read_in_the_encoding_it_is_in(encoding: str) -> None:
    text = "größe\nMETRIC µs=1.5\n"
    assert printed(*(bytes([byte]) for byte in text.encode(encoding))).text() == text


def test_a_line_in_another_encoding_leaves_the_others_as_they_are() -> None:
    assert printed("µ\n".encode(), "µ\n".encode("latin-1"), b"\xff\n").text() == "µ\nµ\nÿ\n"


def test_a_tail_is_what_a_terminal_shows() -> None:
    output = printed(b"begin\r\nstep 1\rstep 2\rstep 3   FAIL\n\x1b[31mred\x1b[0m\x07\n\nlast\r")
    assert output.tail(2000) == "begin\nstep 3   FAIL\nred\n\nlast"
    assert output.tail(9) == "red\n\nlast"


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", None),
        ("step 12\n", None),
        ("step 00123 (41.0%) | loss 3.2 | mfu: 39.8%\r", 0.41),
        (" 10%|#\r 20%|##\r", 0.2),
        ("90%\nnow something else\n", None),
        ("120%", 1.0),
        ("version 1.2.34% of 99999%", None),
    ],
)
def test_how_much_is_done_is_the_first_percentage_of_the_last_line(text: str, share: float | None) -> None:
    assert printed(text.encode()).share() == share


def test_how_much_is_done_is_seen_in_wide_characters_too() -> None:
    text = "\ufeff" + "line\n" * 1000
    for more in range(4):
        assert printed((text + "x" * more + "\n 41%|###\r").encode("utf-16-le")).share() == 0.41


def test_of_a_long_output_the_end_is_kept_in_whole_lines() -> None:
    output = printed(b"METRIC first=1\n", *[b"xMETRIC cut=2\n" * 1000] * 200, b"METRIC last=3\n")
    text = output.text()
    assert KEPT_BYTES / 2 < len(text) < 2 * KEPT_BYTES
    assert values.in_lines(text) == {"last": "3"}
    wide = printed(*["\ufeffMETRIC last=3\n".encode("utf-16-le"), *["größe\n".encode("utf-16-le") * 1001] * 200])
    assert set(wide.text().split("\n")) == {"größe", ""}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_text_is_found_wherever_it_was_printed(encoding: str) -> None:
    data = ("x" * 1000 + "FAILED: größe" + "x" * 1000).encode(encoding)
    parts = [data[at : at + 3] for at in range(0, len(data), 3)]
    assert printed(*parts, *[b"y" * 65536] * 40, failed_by=("no", "größe")).found == "größe"
    assert printed(*parts, failed_by=("other",)).found is None
