"""Which tests run, what they may touch, and what was left out: rules that hold for every test.

Markers that follow from a test's folder or fixtures are set here, others stand in the test files. A test without the
marker `sandbox` or `sockets` is kept from what the marker is for, so that the markers stay true.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any, NoReturn

import pytest

from node.execution import fork_servers
from node.execution.sandbox import launch
from node.platform import program
from tests.node.execution.kept_servers import KEPT

# Where tests take longest: of two workers, one that began these last would keep the other waiting.
BEGUN_FIRST = {"swarm", "test_runner.py"}
MARKED_FOLDERS = {"swarm": ("sandbox", "sockets"), "interop": ("sockets",)}
# Fixtures that start a node on loopback, or ask the machine for its tiers by running a program behind each.
MARKED_FIXTURES = {"start": "sockets"} | dict.fromkeys(
    ("machine", "layers", "namespaced", "inproc", "weaker"), "sandbox"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a test that would be skipped fails, and tells its reason")


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        _mark(item)
    asked_for_long = "long" in config.option.markexpr
    left = [item for item in items if item.get_closest_marker("long") and not asked_for_long]
    if left:
        config.hook.pytest_deselected(items=left)
    gone = set(left)
    items[:] = sorted((item for item in items if item not in gone), key=lambda item: not _takes_long(item))


def _takes_long(item: pytest.Item) -> bool:
    return bool({_folder(item), item.path.name} & BEGUN_FIRST)


def _folder(item: pytest.Item) -> str:
    return item.path.parent.name


def _mark(item: pytest.Item) -> None:
    for name in MARKED_FOLDERS.get(_folder(item), ()):
        item.add_marker(name)
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in MARKED_FIXTURES:
            item.add_marker(MARKED_FIXTURES[fixture])


@pytest.fixture(autouse=True)
def _unmarked_tests_touch_nothing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a test without a marker from listening and from starting a sandbox, in this process at least."""

    def refuse(marker: str) -> Any:
        def refused(*_: object, **__: object) -> NoReturn:
            pytest.fail(f"this test needs the marker `{marker}`: see CONTRIBUTING.md")

        return refused

    if request.node.get_closest_marker("sockets") is None:
        monkeypatch.setattr(socket.socket, "listen", refuse("sockets"))
    if request.node.get_closest_marker("sandbox") is None:
        monkeypatch.setattr(launch, "command", refuse("sandbox"))


@pytest.fixture(autouse=True)
def _hints_name_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this program is installed makes no difference to what tests see of hints."""
    monkeypatch.setattr(program, "started_from", lambda: None)


def kept_servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this test have the fork servers of those before; where they are what is tested, a module has its own."""
    if request.node.get_closest_marker("sandbox") is not None:
        monkeypatch.setattr(fork_servers, "start_server", KEPT.start_server)


def pytest_sessionfinish() -> None:
    KEPT.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(collector.config, report)
    return report


def _refuse_skip(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and config.option.no_skips and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"left out, and with --no-skips nothing may be: {_reason(report)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    line = left_out([_reason(report) for report in terminalreporter.stats.get("skipped", [])])
    if line:
        terminalreporter.write_line(line, yellow=True)


def left_out(reasons: Sequence[str]) -> str:
    """What was skipped, in one line: the most frequent reason first. Empty when nothing was."""
    counted = Counter(reasons).most_common()
    return "left out: " + ", ".join(f"{n} ({reason})" for reason, n in counted) if counted else ""


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
