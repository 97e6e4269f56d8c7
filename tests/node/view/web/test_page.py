"""The page in a real browser. Skipped where there is none: it needs a Chromium on the PATH, or the path of one in
CHROMIUM.
"""

from __future__ import annotations

import hashlib
import json
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
from node.view.web import dashboard
from protocol.records import Hypothesis
from tests.node.records_for_tests import OBJECTIVE, experiment
from tests.node.view.conftest import HOSTILE, MANY, Swarm

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.sockets,
    pytest.mark.skipif(CHROMIUM is None, reason="the page in a browser: apt install chromium"),
]

STATIC = Path(dashboard.__file__).parent / "static"
AXE = Path(__file__).parents[3] / "interop" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ("now", "progress", "discoveries", "map", "compare", "swarm", "suggestions", "settings", "objective")
VIOLATIONS = "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + nodes[0].html))"
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
def looking(chromium: Any, home: Path, view: str = "now", **how: Any) -> Iterator[tuple[Any, Seen]]:
    """A view of a home's dashboard, open in a browser, loaded."""
    with served(home) as url:
        context = chromium.new_context(**how)
        page = context.new_page()
        seen = Seen(page, url)
        page.goto(f"{url}#/{view}")
        page.wait_for_selector("#main h1")
        expect(page.locator("#status")).to_contain_text("record")  # waiting for a function takes eval
        yield page, seen
        context.close()


def go(page: Any, view: str) -> None:
    page.evaluate(f"location.hash = '#/{view}'")
    page.wait_for_selector("#main h1")


def open_discovery(page: Any, title: str) -> None:
    page.click(f".discovery a >> text={title}")
    page.wait_for_selector("#main pre")


def test_it_loads_without_a_complaint_and_asks_nobody_else(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home, "discoveries") as (page, seen):
        page.wait_for_selector(".discovery")
        assert "+18.1 % ± 0.8 (2 pairs)" in page.inner_text("#main")
        assert "+17.3 % ± 0.8 (2 pairs) by 1" in page.inner_text("#main")
        open_discovery(page, "Smaller initialisation")
        page.locator("img.picture").evaluate("image => image.decode()")  # fails for what is no picture
        go(page, "swarm")
        page.wait_for_selector(".graph path.edge")
        assert "run again by" in page.inner_text("#main")
        go(page, "suggestions")
        page.wait_for_selector("text=Try a longer context")
        assert seen.trouble == []
        assert seen.outside == []
        assert "token" not in page.url


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_every_view_fits_and_is_accessible(chromium: Any, swarm: Swarm, width: int, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core: npm ci in tests/interop")
    with looking(chromium, swarm.home, viewport={"width": width, "height": 740}, color_scheme=scheme) as (page, seen):
        page.evaluate(AXE.read_text())
        peer = swarm.authors["bob"].identity.peer_id
        for view in (*VIEWS, f"peer/{peer}", f"record/{swarm.ledger.all_records()[0].id.hex()}"):
            go(page, view)
            page.wait_for_timeout(150)  # for what the view asks the server
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view
            assert page.evaluate(VIOLATIONS) == [], view
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(246, 248, 250)", "dark": "rgb(13, 17, 23)"}[scheme]
        assert seen.trouble == []


def test_the_charts_library_is_the_one_that_was_looked_at() -> None:
    """uPlot 1.6.32, dist/uPlot.iife.min.js and uPlot.min.css, as they are published."""
    digests = {
        name: hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:16] for name in ("uplot.js", "uplot.css")
    }
    assert digests == {"uplot.js": "19c8d4c6ad88929a", "uplot.css": "df630c6a8d6f8eea"}
    assert "MIT License" in (STATIC / "uplot-LICENSE.txt").read_text()


def test_a_run_under_way_is_drawn_beside_the_incumbent(chromium: Any, swarm: Swarm) -> None:
    run = {
        "source": "a",
        "role": "idea",
        "title": "Warmup <b>",
        "category": "schedule",
        "reason": "Early steps are noisy.",
        "share": 0.4,
    }
    curve = [[0.1, 5.0], [0.2, 4.5], [0.4, 4.0]]
    more = {
        "proposer": "catalogue",
        "phase": "train",
        "seconds": 12.0,
        "seconds_left": 18.0,
        "loss": 4.0,
        "curve": curve,
    }
    beside = {"role": "incumbent", "curve": [[0.1, 5.1], [0.8, 3.9]]}
    live = {"state": "running", "next": [], "runs": [run | more | {"beside": beside, "discovery": None}]}
    with served(swarm.home) as url:
        page = chromium.new_page()
        seen = Seen(page, url)
        stream = {"content_type": "text/event-stream", "body": f"event: live\ndata: {json.dumps(live)}\n\n"}
        page.route("**/api/events?*", lambda route: route.fulfill(**stream))
        page.goto(url)
        page.wait_for_selector(".chart canvas")
        shown = page.inner_text("#main")
        for text in (
            "Warmup <b>",
            "schedule",
            "Early steps are noisy.",
            "40 %",
            "about 18 s left",
            "the incumbent, same seed",
        ):
            assert text in shown
        assert page.locator("progress").evaluate("bar => bar.value") == 0.4
        assert seen.trouble == []
        page.close()


def test_a_replay_is_drawn_as_lines_with_names(chromium: Any, swarm: Swarm) -> None:
    prices = {"bid": (1.0, 2.0, 1.5), "ask": (3.0, 2.5, 4.0)}
    swarm.ledger.replays.keep(swarm.child, 3.5, {"prices": prices, "lots": {"held": (0.0, 0.0, 0.0)}})
    with looking(chromium, swarm.home, "discoveries") as (page, seen):
        open_discovery(page, "Smaller initialisation")
        lines = page.locator(".replay polyline").evaluate_all("all => all.map(one => one.points.length)")
        assert lines == [3] * 3
        assert "prices, from 1 to 4, 3 steps" in page.inner_text("#main")
        assert seen.trouble == []


def test_a_home_without_records_says_so(chromium: Any, tmp_path: Path) -> None:
    with looking(chromium, Swarm(tmp_path / "new").home, "progress") as (page, seen):
        expect(page.locator(".readout")).to_have_text("Nothing has been measured yet.")
        expect(page.locator("#main")).to_contain_text("No records yet.")
        go(page, "now")
        expect(page.locator("#main")).to_contain_text("autoresearch-node join")
        assert seen.trouble == []


def test_text_of_hostile_records_stays_text(chromium: Any, swarm: Swarm) -> None:
    swarm.write("bob", Hypothesis("javascript:alert(1)//${1}' onclick='", "</script><b>", "&lt;", None, None))
    with looking(chromium, swarm.home, "discoveries") as (page, seen):
        for view in VIEWS:
            go(page, view)
            page.wait_for_timeout(100)
            assert page.locator("main img, main script").count() == 0
        go(page, "discoveries")
        open_discovery(page, HOSTILE)
        assert page.inner_text("#main h1") == HOSTILE
        assert "</pre><script>" in page.inner_text("#main pre")
        assert page.evaluate("window.taken") is None
        assert seen.trouble == []


def test_a_record_shows_at_once_when_it_arrives(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home) as (page, seen):
        assert "4 records" in page.inner_text("#status")
        swarm.write("alice", experiment("Fresh from the node"))
        expect(page.locator("#status")).to_contain_text("5 records", timeout=3000)
        page.wait_for_selector(".news a >> text=Fresh from the node")
        assert seen.trouble == []


def test_a_drag_zooms_in_and_opens_nothing(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home, "progress") as (page, seen):
        page.select_option("select", "")
        box = page.locator(".chart .u-over").bounding_box()
        page.mouse.move(box["x"] + 10, box["y"] + 100)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 100, steps=5)
        page.mouse.up()
        assert page.evaluate("location.hash") == "#/progress"
        page.mouse.dblclick(box["x"] + 300, box["y"] + 5)
        page.focus(".chart")
        for key in ("+", "-", "0", "Home"):
            page.keyboard.press(key)
        assert "Smaller initialisation" in page.inner_text(".readout")
        assert seen.trouble == []


def test_an_address_without_a_page_says_so_and_leads_back(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home, "nonsense") as (page, _):
        expect(page.locator("#main h1")).to_have_text("There is no such page")
        assert page.locator("nav [aria-current]").count() == 0
        page.click("#main a >> text=Now")
        expect(page.locator("#main h1")).to_have_text("Now")
        go(page, "constructor")  # a name that every object of the language has
        expect(page.locator("#main h1")).to_have_text("There is no such page")


def test_the_header_says_at_once_that_research_goes_on(chromium: Any, swarm: Swarm) -> None:
    """The node itself says so in its next status, until which the last one stands."""
    home = Home(swarm.home)
    with home.locked():
        home.write_status({"objective": OBJECTIVE.hex(), "peers": [], "resting": "paused by a person"})
        home.pause(float("inf"))
        with looking(chromium, swarm.home) as (page, _):
            expect(page.locator("#state")).to_have_text("paused")
            page.click("text=Resume research")
            expect(page.locator("#state")).to_have_text("resuming …", timeout=400)
            home.write_status({"objective": OBJECTIVE.hex(), "peers": [], "resting": None})
            expect(page.locator("#state")).to_have_text("idle")


def test_the_pause_button_pauses_and_resumes(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home) as (page, _):
        page.click("text=Pause research")
        page.wait_for_selector("text=Resume research")
        assert Home(swarm.home).paused_until()
        page.click("text=Resume research")
        page.wait_for_selector("text=Pause research")
        assert not Home(swarm.home).paused_until()


def test_a_setting_is_changed_refused_and_set_back(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home, "settings") as (page, seen):
        page.fill("#set-others_cpu_percent", "40")
        page.locator("form", has=page.locator("#set-others_cpu_percent")).get_by_text("Save").click()
        back = page.get_by_role("button", name="Back to 100", exact=True)
        expect(back).to_have_count(1)
        page.fill("#set-hours", "25:00-26:00")
        page.locator("form", has=page.locator("#set-hours")).get_by_text("Save").click()
        expect(page.locator(".answer.refuted")).to_contain_text("25:00")
        back.click()
        expect(back).to_have_count(0)
        assert page.input_value("#set-others_cpu_percent") == "100"
        assert [text for text in seen.trouble if "400" not in text] == []  # the browser notes the refusal


def test_the_strategy_shows_once_the_node_has_one(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home, "map") as (page, seen):
        page.wait_for_selector(".tile-area")
        assert "batch by catalogue" not in page.inner_text("#main")
        machine = Machine("cpu", 20.0, 0.006, 6, {"catalogue": 0.0})
        arms = (Arm("batch", "catalogue"), Arm("attention", "catalogue"))
        snapshot = StrategySnapshot(machine, {"batch": Prior(0.3, 0.03)}, arms, frozenset(arms[1:]))
        swarm.ledger.settings.strategy_snapshot = pack_snapshot(snapshot)
        swarm.write("alice", experiment("Another"))
        expect(page.locator("#main")).to_contain_text("no idea left")
        assert "batch by catalogue is likeliest next" in page.inner_text("#main")
        assert seen.trouble == []


def test_an_idea_can_be_offered_and_its_fate_is_shown(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home, "suggestions") as (page, seen):
        page.fill("#idea", "Try <b>warmup</b>")
        page.click("button >> text=Suggest")
        expect(page.locator("#said")).not_to_be_empty()
        (left,) = Home(swarm.home).suggestions.iterdir()
        assert "Try <b>warmup</b>" in left.read_text()
        page.wait_for_selector(".card >> text=Try <b>warmup</b>")
        assert seen.trouble == []


def test_it_can_be_read_by_keyboard_alone(chromium: Any, swarm: Swarm) -> None:
    with looking(chromium, swarm.home, "progress") as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.focus(".chart")
        page.keyboard.press("ArrowLeft")
        assert "Smaller initialisation" in page.inner_text(".readout")
        page.keyboard.press("Enter")
        page.wait_for_selector("#main pre")
        assert page.evaluate("document.activeElement.id") == "main"


def test_two_records_are_chosen_on_the_page_and_compared(chromium: Any, swarm: Swarm) -> None:
    swarm.write("alice", experiment("Larger batch", parent=swarm.parent, child=swarm.child))
    first, last = (record.id.hex() for record in swarm.authors["alice"].records)
    with looking(chromium, swarm.home, "compare") as (page, seen):
        expect(page.locator("#main")).to_contain_text("Choose two above.")
        for side, words, record in (("a", "SMALLER", first), ("b", "larger initialisation", last)):
            page.fill(f"#find-{side}", words)
            expect(page.locator(f"#pick-{side} option", has_text="·").first).to_be_attached()
            page.select_option(f"#pick-{side}", record)
        page.wait_for_selector("text=Both were made from the same source.")
        assert page.url.endswith(f"#/compare/{first}/{last}")
        page.select_option("#pick-b", first)
        expect(page.locator("#main")).to_contain_text("Both are the same record")
        assert seen.trouble == []


def test_a_record_leads_to_what_it_can_be_compared_with(chromium: Any, swarm: Swarm) -> None:
    claim, report = (swarm.authors[name].records[0].id.hex() for name in ("alice", "bob"))
    with looking(chromium, swarm.home, f"record/{report}") as (page, seen):
        page.click("text=Compare with another")
        expect(page.locator("#pick-a option:checked")).to_contain_text("run again: Smaller initialisation")
        go(page, f"record/{report}")
        page.click("text=Compare with the claim")
        page.wait_for_selector("text=Both were made from the same source.")
        assert page.url.endswith(f"#/compare/{claim}/{report}")
        assert seen.trouble == []


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
        page.wait_for_selector("#main h1")
    page.wait_for_selector("#connection:visible")
    page.close()


@pytest.mark.long
def test_ten_thousand_records_stay_smooth(chromium: Any, crowded: Swarm) -> None:
    with looking(chromium, crowded.home, "progress") as (page, seen):
        page.select_option("select", "")
        painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        page.evaluate(WATCH_LONG_TASKS)
        updates = []
        for number in range(3):
            page.evaluate("window.longest = 0")
            crowded.write("bob", experiment(f"Later {number}", decision="no_gain"))
            expect(page.locator("#status")).to_contain_text(f"{crowded.ledger.count():,} records")
            page.wait_for_timeout(2500)  # the boards follow a moment later; nothing tells of the last long task
            updates.append(page.evaluate("window.longest"))
        print(f"{MANY} records: first paint {painted:.0f} ms, longest task of an update {updates} ms (0: under 50)")
        assert painted < PAINT_MILLISECONDS
        assert min(updates) < UPDATE_MILLISECONDS  # the least: the machine may be doing other things
        assert seen.trouble == []


def test_a_metric_that_a_command_prints_is_in_its_own_units_and_called_self_measured(
    chromium: Any, returns: Path
) -> None:
    with looking(chromium, returns, "progress") as (page, seen):
        assert page.inner_text("#name") == "cartpole · return, self-measured"
        expect(page.locator("#status")).to_contain_text("best gain")
        assert "best gain +0.3500 ± 0.0057 (2 pairs), self-measured" in page.inner_text("#status")
        page.focus(".chart")
        page.keyboard.press("End")
        assert page.inner_text(".readout").startswith(
            "3: Second, 0.1500, gain +0.1500 ± 0.0040 (2 pairs), self-measured, claimed"
        )
        page.keyboard.press("Enter")
        page.wait_for_selector("#main dl")
        assert "+0.1500 ± 0.0040 (2 pairs), self-measured" in page.inner_text("#main")
        assert "Runs and pairs, self-measured" in page.inner_text("#main")
        go(page, "discoveries")
        page.wait_for_selector("text=+0.2000 ± 0.0040 (2 pairs)")
        go(page, "map")
        page.wait_for_selector("text=+0.025")
        assert seen.trouble == []
