"""Write docs/watch.svg: a frame of `autoresearch-node watch` of a real home, as a terminal would show it.

    .venv/bin/python scripts/screenshots.py --home DIR [--text]

The node of that home may be running (then its run is in the picture) or not. --text prints the frame instead.
"""

from __future__ import annotations

import argparse
import os
import re
from datetime import datetime
from pathlib import Path

from rich.console import Console

from node.home import Home
from node.view.scene import frame
from node.view.watch import Watcher

DOCS = Path(__file__).resolve().parent.parent / "docs"
COLUMNS, LINES = 100, 30
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # they would be fetched from elsewhere; any monospace does


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, metavar="DIR", help="a node's home")
    parser.add_argument("--text", action="store_true", help="print the frame, in 80 columns, and write nothing")
    options = parser.parse_args()
    seen = Watcher(Home(options.home.absolute())).look()
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
