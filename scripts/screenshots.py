"""Make the pictures of docs/ from a real home: what `watch` shows in a terminal, and the dashboard in a browser.

    .venv/bin/python scripts/screenshots.py --home DIR [--text | --browser]

docs/watch.svg is a frame as a terminal would show it; --text prints one instead. --browser takes docs/dashboard.png and
other views of it, in the dark and at a phone's width too, with playwright and a Chromium on the PATH or in CHROMIUM,
and prints when each page was first painted. The node of that home may be running (then its run is in the pictures).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from node.platform.home import Home
from node.view.terminal.watch import Watcher
from node.view.terminal.watch_frame import frame

DOCS = Path(__file__).resolve().parent.parent / "docs"
COLUMNS, LINES = 100, 30
LAPTOP, SCREEN, PHONE = (1280, 860), (1920, 1080), (390, 844)
PICTURES = {  # by name: which view, at which size, in which colours
    "dashboard": ("progress", LAPTOP, "light"),
    "dashboard-run": ("now", LAPTOP, "light"),
    "dashboard-discovery": (None, LAPTOP, "light"),  # the one that most others ran again; none where there is none
    "dashboard-map": ("map", LAPTOP, "light"),
    "dashboard-dark": ("swarm", SCREEN, "dark"),
    "dashboard-phone": ("now", PHONE, "light"),
}
AN_IDEA_HALF_WAY = """document.querySelectorAll('#main .columns .legend:first-child li').length > 1
    && document.querySelector('#main progress').value > 0.45 && document.querySelector('#main progress').value < 0.99"""
RUN_LOOKS, LOOK_MILLISECONDS = 150, 300  # how long a run may take until it is some way on
DRAWN_MILLISECONDS = 1500  # for what a view asks the server, and for the lines of the run under way
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # they would be fetched from elsewhere; any monospace does


def browse(home: Path) -> None:
    """Take the pictures of the dashboard, served as a person would have it served."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "node", "dashboard", "--home", str(home)]
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served, sync_playwright() as driver:
        try:
            assert served.stdout is not None
            url = served.stdout.readline().split()[-1]
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name, (view, (width, height), scheme) in PICTURES.items():
                look = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
                page = browser.new_context(**look).new_page()
                page.goto(f"{url}#/{view or 'discoveries'}")
                page.wait_for_timeout(DRAWN_MILLISECONDS)
                if view == "now":
                    wait_for_a_run(page)
                if view is None:
                    if not page.locator(".discovery").count():
                        print(f"{name}: nothing was discovered in {home} yet")
                        continue
                    page.select_option("label:has-text('order') select", "most re-runs")
                    page.click(".discovery a")
                    page.wait_for_timeout(DRAWN_MILLISECONDS)
                page.screenshot(path=DOCS / f"{name}.png")
                painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
                print(f"{name}: first paint after {painted:.0f} ms")
            browser.close()
        finally:
            served.terminate()


def wait_for_a_run(page: Any) -> None:
    """Until an idea's run is some way on, so that its loss beside the incumbent's is in the picture; or for so long."""
    for _ in range(RUN_LOOKS):
        if page.evaluate(AN_IDEA_HALF_WAY):
            return
        page.wait_for_timeout(LOOK_MILLISECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, metavar="DIR", help="a node's home")
    parser.add_argument("--text", action="store_true", help="print the frame, in 80 columns, and write nothing")
    parser.add_argument("--browser", action="store_true", help="take pictures of the dashboard instead")
    options = parser.parse_args()
    if options.browser:
        browse(options.home)
        return
    seen = Watcher(Home(options.home.absolute())).read()
    clock = datetime.now().strftime("%H:%M:%S")
    if options.text:
        print("\n".join(line.rstrip() for line in frame(seen, 80, 24, clock).plain.splitlines()))
        return
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, file=nowhere, force_terminal=True, width=COLUMNS, height=LINES)
        console.print(frame(seen, COLUMNS, LINES, clock))
        picture = console.export_svg(title="autoresearch-node watch")
    (DOCS / "watch.svg").write_text(FONTS.sub("", picture))


if __name__ == "__main__":
    main()
