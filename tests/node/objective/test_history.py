"""Results from before a swarm are read from the files of other tools, and a bad line never stops the rest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.objective.history import MAX_RESULTS, TITLE_CHARACTERS, History, PastResult, Status, read_history

TABLE = (
    "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
    "a1\t0.997900\t44.0\tkeep\tbaseline\n"
    "b2\t1.005000\t44.0\tdiscard\tswitch to GeLU\n"
    "c3\t0.000000\t0.0\tcrash\tdouble the width (out of memory)\n"
)


def read(text: str, metric: str = "val_bpb") -> History:
    return read_history(text.encode(), metric)


def test_the_table_of_autoresearch_is_read_with_values_and_statuses() -> None:
    assert read(TABLE).results == (
        PastResult("baseline", 0.9979, Status.KEPT),
        PastResult("switch to GeLU", 1.005, Status.DISCARDED),
        PastResult("double the width (out of memory)", None, Status.CRASHED),
    )


def test_a_table_without_a_line_of_names_is_read_by_its_usual_order() -> None:
    assert read(TABLE.split("\n", 1)[1]) == read(TABLE)


def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing() -> None:
    assert read("\ufeff" + TABLE.replace("\n", "\r\n")) == read(TABLE)


def test_autokernels_table_takes_what_is_wrong_for_crashed_and_says_of_the_rest_that_it_was_tried() -> None:
    names = "experiment\ttag\tkernel_type\tthroughput_tflops\tlatency_us\tcorrectness\tdescription\n"
    rows = (
        "0\tx\tmatmul\t12.5\t9\tPASS\tbaseline\n1\tx\tmatmul\t99\t1\tFAIL\twrong\n2\tx\tmatmul\t0\t0\tTIMEOUT\thung\n"
    )
    assert read(names + rows, "throughput_tflops").results == (
        PastResult("baseline", 12.5, Status.TRIED),
        PastResult("wrong", None, Status.CRASHED),
        PastResult("hung", None, Status.CRASHED),
    )


def test_the_log_of_pi_is_read_without_the_lines_that_configure_it() -> None:
    log = (
        '{"type":"config","metricName":"ms","bestDirection":"lower"}\n'
        '{"run":1,"metric":3818,"status":"keep","description":"baseline","asi":{"note":"x"}}\n'
        '{"run":2,"metric":0,"status":"crash","description":"split"}\n'
        '{"run":3,"metric":0,"status":"keep","description":"no failures left"}\n'
        '{"run":4,"metric":3700,"status":"checks_failed","description":"wrong answers"}\n'
    )
    assert read(log, "ms").results == (
        PastResult("baseline", 3818.0, Status.KEPT),
        PastResult("split", None, Status.CRASHED),
        PastResult("no failures left", 0.0, Status.KEPT),
        PastResult("wrong answers", None, Status.CRASHED),
    )


def test_lines_that_cannot_be_read_are_counted_and_passed_over() -> None:
    log = (
        '{"run":1,"metric":1.5,"status":"keep","description":"one"}\n{"run":2,"met\nnull\n'
        + "[" * 5000
        + '\n{"run":3,"metric":NaN,"status":"discard","description":"not a number"}\n'
        + '{"run":4,"metric":1'
        + "0" * 5000
        + ',"description":"endless"}\n'
        + '{"run":5,"metric":1e999,"description":"too large"}\n'
    )
    found = read(log, "ms")
    assert found.skipped == 4
    assert [result.value for result in found.results] == [1.5, None, None]
    short = read("commit\tval_bpb\tmemory_gb\tstatus\tdescription\na1\t0.9\n")
    assert short == History((), 1)


def test_numbers_that_only_python_reads_are_none() -> None:
    rows = "".join(
        f"x\t{value}\t0\tdiscard\ttitle\n" for value in ("1_000", "nan", "inf", "0x10", "1e3", "1.5x", "12 %")
    )
    assert [result.value for result in read(rows).results] == [None, None, None, None, 1000.0, 1.5, 12.0]


def test_only_the_latest_results_are_kept_and_titles_are_cut() -> None:
    rows = "".join(f"c\t1.0\t0\tkeep\t{number} {'x' * 500}\n" for number in range(MAX_RESULTS + 5))
    results = read(rows).results
    assert len(results) == MAX_RESULTS
    assert results[-1].title.startswith(f"{MAX_RESULTS + 4} x")
    assert max(len(result.title) for result in results) == TITLE_CHARACTERS


@given(st.binary(max_size=400))
def test_no_bytes_stop_it(data: bytes) -> None:
    for prefix in (b"", b'{"run":1}\n', b"commit\tval\tstatus\tdescription\n"):
        found = read_history(prefix + data, "val")
        assert all(isinstance(result.title, str) for result in found.results)
