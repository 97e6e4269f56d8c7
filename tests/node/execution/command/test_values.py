"""Values are read from lines, blocks and JSON; what is no plain number is refused in a sentence."""

from __future__ import annotations

import json
import time

import pytest

from node.execution.command.values import (
    MOST_METRICS,
    Measured,
    Refusal,
    in_block,
    in_json,
    in_lines,
    measured,
    merged,
    number,
)
from protocol.records import Failure

KARPATHY = """step 00953 (100.0%) | loss: 2.9 | tok/sec: 1,661,234 | mfu: 39.8%\r
---
val_bpb:          0.997900
training_seconds: 300.1
peak_vram_mb:     45060.2
mfu_percent:      39.80
num_steps:        953
"""


def test_lines_are_those_of_pi_autoresearch() -> None:
    text = (
        "METRIC a=1\r\nMETRIC\tb.c_µ=2 \nMETRIC a=3\rMETRIC d=4\u2028METRIC e=5\u2029"
        " METRIC no=1\nxMETRIC no=1\nMETRIC no=1 2\nMETRIC n-o=1\nMETRIC ñ=1\nMETRIC =1\x85METRIC no=1\nMETRIC f=x=y"
    )
    assert in_lines(text) == {"b.c_µ": "2", "a": "3", "d": "4", "e": "5", "f": "x=y"}


def test_a_block_is_that_of_karpathy_s_autoresearch() -> None:
    found = in_block(KARPATHY)
    assert measured(found, "val_bpb") == Measured(
        0.9979, {"training_seconds": 300.1, "peak_vram_mb": 45060.2, "mfu_percent": 39.8, "num_steps": 953.0}
    )


def test_a_block_may_have_suffixes_and_the_last_of_one_key_counts() -> None:
    found = in_block("speedup: 9x\ncorrectness: PASS\nspeedup: 1.234x\npct_peak: 56.7%\nurl: http://x\nnot a key: 1\n")
    assert measured(found, "speedup", require={"correctness": "PASS"}) == Measured(1.234, {"pct_peak": 56.7})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5), ("-1.", -1.0), (".5", 0.5), ("+3e-4", 3e-4), ("1E3", 1000.0), ("007", 7.0), (" 12 ms ", 12.0),
        ("12ms", 12.0), ("3 x", 3.0), ("41%", 41.0),
    ],
)  # fmt: skip
def test_numbers(text: str, value: float) -> None:
    assert number(text, "ms") == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nan", "not finite"), ("-Infinity", "not finite"), ("NaN", "not finite"), ("0x10", "decimal"),
        ("0b11", "decimal"), ("0o7", "decimal"), ("1_000", "underscores"), ("1e1_0", "underscores"), ("1,234", "comma"),
        ("0,997", "comma"), ("12 s", "s is no suffix that is known here (x, %, the metric's unit ms)"),
        ("1e999", "64 bits"),
        ("1e99999", "no suffix"), ("", "no number"), ("PASS", "no number"), ("١", "no number"), ("1 2", "no suffix"),
        ("--1", "no number"), ("e5", "no number"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_said(text: str, why: str) -> None:
    found = number(text, "ms")
    assert isinstance(found, str)
    assert why in found


def test_the_last_value_of_a_name_counts_even_if_it_is_none() -> None:
    refusal = measured(in_lines("METRIC loss=1\nMETRIC loss=nan\n"), "loss")
    assert refusal == Refusal(Failure.DIVERGED, "loss is nan: it is not finite")


def test_a_missing_metric_names_what_is_there() -> None:
    lines = "".join(f"METRIC name{n:02}=1\n" for n in range(20))
    refusal = measured(in_lines(lines), "loss")
    assert isinstance(refusal, Refusal)
    assert refusal.sentence.startswith("there is no loss; the names there are: name00, name01, ")
    assert refusal.sentence.endswith("name11 and 8 more")


def test_what_must_hold_is_compared_as_text() -> None:
    for document in ({"correct": True, "score": 1}, {"correct": "True", "score": 1.0}):
        assert measured(json_values(document), "score", require={"correct": "true"}) == Measured(1.0, {})
    wrong = {"correct": False, "error": "row 3\ndiffers", "score": 1}
    refusal = measured(json_values(wrong), "score", require={"correct": "true"})
    assert refusal == Refusal(Failure.INVALID, "correct is false, and must be true: row 3 differs")
    absent = measured(json_values({"score": 1}), "score", require={"correct": "true"})
    assert absent == Refusal(Failure.EXCEPTION, "correct must be there, and is not; the names there are: score")


def test_other_numbers_are_kept_up_to_a_limit() -> None:
    found = in_lines("METRIC score=1\n" + "".join(f"METRIC other{n}={n}\nMETRIC bad{n}=x\n" for n in range(100)))
    taken = measured(found, "score")
    assert isinstance(taken, Measured)
    assert len(taken.metrics) == MOST_METRICS
    assert taken.metrics["other0"] == 0


def json_values(document: object) -> dict[str, object]:
    found = in_json("result.json", json.dumps(document).encode())
    assert isinstance(found, dict)
    return found


def test_several_files_are_merged_and_public_and_private_are_flat() -> None:
    correct, metrics = {"correct": True, "error": None}, {"combined_score": 2, "public": {"a": 1}, "private": {"b": 3}}
    found = merged([json_values(correct), json_values(metrics)])
    assert measured(found, "combined_score", require={"correct": "true"}) == Measured(2.0, {"a": 1.0, "b": 3.0})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not valid JSON"), (b"[1]", "no object, but a list"), (b"1", "no object, but a number"),
        (b"null", "but null"), (b'"x"', "but a text"), (b"\xff\xfe\x00", "not valid JSON"),
        (b"{" * 200_000, "not valid"),
        (b'{"a":' * 100_000, "nested too deeply"), (b"[" * 500_000, "nested too deeply"),
        (b" " * 2_000_000, "too long"),
    ],
)  # fmt: skip
def test_what_is_no_result_file_is_refused(data: bytes, why: str) -> None:
    refusal = in_json("result.json", data)
    assert isinstance(refusal, Refusal)
    assert refusal.sentence.startswith("result.json ")
    assert why in refusal.sentence


@pytest.mark.parametrize(
    ("document", "failure", "why"),
    [
        ('{"score": true}', Failure.INVALID, "score is true: true and false are no numbers"),
        ('{"score": "0.5"}', Failure.INVALID, "score is 0.5: it is a text, not a number"),
        ('{"score": "nan"}', Failure.INVALID, "score is nan: it is a text, not a number"),
        ('{"score": null}', Failure.INVALID, "score is null: it is null"),
        ('{"score": [1]}', Failure.EXCEPTION, "there is no score; no value was found"),
        ('{"score": NaN}', Failure.DIVERGED, "score is nan: it is not finite"),
        ('{"score": -Infinity}', Failure.DIVERGED, "score is -inf: it is not finite"),
        ('{"score": ' + "9" * 500_000 + "}", Failure.DIVERGED, "score is inf: it is not finite"),
    ],
)
def test_only_a_finite_number_of_json_is_a_value(document: str, failure: Failure, why: str) -> None:
    found = in_json("result.json", document.encode())
    assert isinstance(found, dict)
    assert measured(found, "score") == Refusal(failure, why)


@pytest.mark.parametrize(
    "text",
    [
        "METRIC a=1\n" * 100_000, "a: 1\n" * 250_000, ("a" + " " * 1990 + "b:\n") * 500, "METRIC " + "x" * 1_000_000,
        "METRIC a=" + "x " * 500_000, "".join(f"METRIC n{n}=1\n" for n in range(80_000)), "\n" * 1_000_000,
        ("key: " + "1" * 1900 + "z\n") * 500,
    ],
)  # fmt: skip
def test_no_text_takes_long_to_read(text: str) -> None:
    begun = time.process_time()
    measured(in_lines(text), "a")
    measured(in_block(text), "a")
    assert time.process_time() - begun < 3


def test_a_name_that_is_no_plain_text_is_passed_over() -> None:
    found = in_json("r.json", rb'{"a": 1, "\ud800": 2, "\u001b[31m": 3, "public": {"\udfff": 4, "b": 5}}')
    assert found == {"a": 1.0, "b": 5.0}
