"""The page in a real browser. Skipped where there is none: it needs a Chromium on the PATH, or the path of one in
CHROMIUM.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from node.objective.schema import Prior
from node.platform.home import Home
from node.proposers.beliefs import Arm, Machine
from node.proposers.strategy_snapshot import StrategySnapshot, pack_snapshot
from protocol.records import Hypothesis
from tests.node.records_for_tests import experiment
from tests.node.view.conftest import HOSTILE, MANY, Swarm

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.sockets,
    pytest.mark.skipif(CHROMIUM is None, reason="the page in a browser: apt install chromium"),
]

UPDATE_MILLISECONDS = 100
PAINT_MILLISECONDS = 1000
WATCH_LONG_TASKS = """() => {
    const keep = (list) => list.getEntries().forEach((entry) => {
        window.longest = Math.max(window.longest, entry.duration);
    });
    new PerformanceObserver(keep).observe({ type: "longtask" });
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Seen:
    """What a page did that a person would not see."""

    def __init__(self, page: Any, url: str) -> None:
        self.trouble: list[str] = []
        self.outside: list[str] = []
        own = url.partition("?")[0]
        page.on("console", lambda message: self.trouble.append(message.text))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("request", lambda request: request.url.startswith(own) or self.outside.append(request.url))


@contextmanager
def served(home: Path) -> Iterator[str]:
    """The address of `autoresearch-node dashboard`, run as a person runs it."""
    command = [sys.executable, "-m", "node", "dashboard", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@contextmanager
def looking(chromium: Any, home: Path, **how: Any) -> Iterator[tuple[Any, Seen]]:
    """The dashboard of a home, open in a browser, loaded."""
    with served(home) as url:
        context = chromium.new_context(**how)
        page = context.new_page()
        seen = Seen(page, url)
        page.goto(url)
        page.wait_for_selector("#categories td")
        yield page, seen
        context.close()


def test_it_loads_without_a_complaint_and_asks_nobody_else(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home) as (page, seen):
        page.click("#found button >> text=Smaller initialisation")
        page.wait_for_selector("#detail pre")
        page.locator("#detail img").evaluate("image => image.decode()")  # fails for what is no picture
        assert seen.trouble == []
        assert seen.outside == []
        assert "token" not in page.url
        assert page.locator("#chart canvas").count() == 1
        assert "+18.1 % ± 0.8 (2 pairs)" in page.inner_text("#found")
        assert "+17.3 % ± 0.8 (2 pairs) by 1" in page.inner_text("#found")
        assert "Try a longer context" in page.inner_text("#hypotheses")


def test_a_replay_is_drawn_as_lines_with_names(chromium: Any, swarm: Swarm) -> None:
    prices = {"bid": (1.0, 2.0, 1.5), "ask": (3.0, 2.5, 4.0)}
    swarm.ledger.replays.keep(swarm.child, 3.5, {"prices": prices, "lots": {"held": (0.0, 0.0, 0.0)}})
    with looking(chromium, swarm.home) as (page, seen):
        page.click("#found button >> text=Smaller initialisation")
        page.wait_for_selector("#detail .replay svg")
        assert (
            page.locator("#detail .replay polyline").evaluate_all("all => all.map(one => one.points.length)") == [3] * 3
        )
        assert "prices, from 1 to 4, 3 steps" in page.inner_text("#detail")
        assert seen.trouble == []


def test_a_home_without_records_says_so(chromium: Any, tmp_path: Path) -> None:
    with served(Swarm(tmp_path / "new").home) as url:
        page = chromium.new_page()
        seen = Seen(page, url)
        page.goto(url)
        expect(page.locator("#readout")).to_have_text("Nothing has been measured yet.")
        expect(page.locator("#boards")).to_have_text("No records yet.")
        assert seen.trouble == []
        page.close()


def test_text_of_hostile_records_stays_text(chromium: Any, swarm: Swarm) -> None:
    swarm.write("bob", Hypothesis("javascript:alert(1)//${1}' onclick='", "</script><b>", "&lt;", None, None))
    with looking(chromium, swarm.home) as (page, seen):
        page.click(f"#found button >> text={HOSTILE}")
        page.wait_for_selector("#detail pre")
        assert page.inner_text("#detail-title") == HOSTILE
        assert "</pre><script>" in page.inner_text("#detail pre")
        page.locator("#detail img").evaluate("image => image.decode()")  # fails for what is no picture
        assert page.evaluate("window.taken") is None
        assert page.locator("main img, main script").count() == 0
        assert seen.trouble == []


def test_a_record_shows_at_once_when_it_arrives(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home) as (page, seen):
        assert "4 records" in page.inner_text("#status")
        swarm.write("alice", experiment("Fresh from the node"))
        expect(page.locator("#status")).to_contain_text("5 records", timeout=3000)
        page.wait_for_selector("#found button >> text=Fresh from the node")
        assert seen.trouble == []


def test_a_drag_zooms_in_and_opens_nothing(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home) as (page, seen):
        page.select_option("#whose", "")
        box = page.locator("#chart canvas").bounding_box()
        page.mouse.move(box["x"] + 10, box["y"] + 100)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 100, steps=5)
        page.mouse.up()
        swarm.write("alice", experiment("Meanwhile"))
        expect(page.locator("#status")).to_contain_text("5 records")
        assert page.locator("#detail[open]").count() == 0
        page.mouse.dblclick(box["x"] + 300, box["y"] + 5)
        page.focus("#chart")
        page.keyboard.press("Home")
        assert "Smaller initialisation" in page.inner_text("#readout")
        assert seen.trouble == []


def test_the_pause_button_pauses_and_resumes(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home) as (page, _):
        page.click("text=Pause research")
        page.wait_for_selector("text=Resume research")
        assert Home(swarm.home).paused_until()
        page.click("text=Resume research")
        page.wait_for_selector("text=Pause research")
        assert not Home(swarm.home).paused_until()


def test_the_strategy_shows_once_the_node_has_one(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home) as (page, seen):
        assert not page.is_visible("#strategy")
        machine = Machine("cpu", 20.0, 0.006, 6, {"catalogue": 0.0})
        arms = (Arm("batch", "catalogue"), Arm("attention", "catalogue"))
        snapshot = StrategySnapshot(machine, {"batch": Prior(0.3, 0.03)}, arms, frozenset(arms[1:]))
        swarm.ledger.settings.strategy_snapshot = pack_snapshot(snapshot)
        swarm.write("alice", experiment("Another"))
        expect(page.locator("#arms")).to_contain_text("no idea left")
        assert "batch by catalogue is likeliest next" in page.inner_text("#why")
        assert seen.trouble == []


def test_an_idea_can_be_offered(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home) as (page, seen):
        page.fill("#idea", "Try <b>warmup</b>")
        page.click("text=Suggest")
        expect(page.locator("#said")).to_contain_text("takes it up")
        (left,) = Home(swarm.home).suggestions.iterdir()
        assert "Try <b>warmup</b>" in left.read_text()
        assert seen.trouble == []


def test_it_can_be_read_by_keyboard_alone(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home) as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.focus("#chart")
        page.keyboard.press("ArrowLeft")
        assert "Smaller initialisation" in page.inner_text("#readout")
        page.keyboard.press("Enter")
        page.wait_for_selector("#detail[open] pre")
        page.keyboard.press("Escape")
        page.wait_for_selector("#detail", state="hidden")
        assert page.evaluate("document.activeElement.id") == "chart"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(chromium: Any, swarm: Swarm, scheme: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
    with looking(chromium, swarm.home, **phone) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]


def test_without_the_token_there_is_a_sentence_that_says_what_to_do(chromium: Any, swarm: Swarm) -> None:
    with served(swarm.home) as url:
        page = chromium.new_page()
        assert page.goto(url.partition("?")[0]).status == 403
        assert "autoresearch-node dashboard" in page.inner_text("body")
        page.close()


def test_a_page_whose_dashboard_stopped_says_so(chromium: Any, swarm: Swarm) -> None:
    with served(swarm.home) as url:
        page = chromium.new_page()
        page.goto(url)
        page.wait_for_selector("#categories td")
    page.wait_for_selector("#connection:visible")
    page.close()


@pytest.mark.long
def test_ten_thousand_records_stay_smooth(chromium: Any, crowded: Swarm) -> None:
    with looking(chromium, crowded.home) as (page, seen):
        page.select_option("#whose", "")
        painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        page.evaluate(WATCH_LONG_TASKS)
        updates = []
        for number in range(3):
            page.evaluate("window.longest = 0")
            crowded.write("bob", experiment(f"Later {number}", decision="no_gain"))
            expect(page.locator("#status")).to_contain_text(f"{crowded.ledger.count()} records")
            page.wait_for_timeout(2500)  # the boards follow a moment later; nothing tells of the last long task
            updates.append(page.evaluate("window.longest"))
        print(f"{MANY} records: first paint {painted:.0f} ms, longest task of an update {updates} ms (0: under 50)")
        assert painted < PAINT_MILLISECONDS
        assert min(updates) < UPDATE_MILLISECONDS  # the least: the machine may be doing other things
        assert seen.trouble == []


def test_a_metric_that_a_command_prints_is_in_its_own_units_and_called_self_measured(
    chromium: Any, returns: Path
) -> None:
    with looking(chromium, returns) as (page, seen):
        assert page.inner_text("#name") == "cartpole · return, self-measured"
        page.wait_for_function("document.querySelector('#status').textContent.includes('best gain')")
        assert "best gain +0.3500 ± 0.0057 (2 pairs), self-measured" in page.inner_text("#status")
        assert "+0.2000 ± 0.0040 (2 pairs)" in page.inner_text("#found")
        page.focus("#chart")
        page.keyboard.press("End")
        assert page.inner_text("#readout").startswith(
            "3: Second, 0.1500, gain +0.1500 ± 0.0040 (2 pairs), self-measured, improved"
        )
        page.keyboard.press("Enter")
        page.wait_for_selector("#detail dl")
        assert "+0.1500 ± 0.0040 (2 pairs), self-measured" in page.inner_text("#detail")
        assert "Runs and pairs, self-measured" in page.inner_text("#detail")
        assert "+0.025" in page.inner_text("#arms")
        assert seen.trouble == []
