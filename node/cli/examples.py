"""What `--help` shows below a command's options: how people use it, ready to be typed."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

WIDTH = 100

EXAMPLES = {
    "join": """
        autoresearch-node join                            research alone, on the embedded objective
        autoresearch-node join INVITE                     join the swarm that the string names
        autoresearch-node join --for 8h --experiments 50  stop by itself, at whichever comes first
        autoresearch-node join --objective ./my-objective --home ~/second-node
    """,
    "invite": """
        autoresearch-node invite                          while a node runs here, in another terminal
        autoresearch-node invite --json                   what the string says, too
    """,
    "swarm": """
        autoresearch-node swarm new --private             before the first join, on the first machine
    """,
    "pause": """
        autoresearch-node pause 90m                       go on by itself after an hour and a half
        autoresearch-node pause                           until `autoresearch-node resume`
    """,
    "resume": """
        autoresearch-node resume
    """,
    "status": """
        autoresearch-node status
        autoresearch-node status --json --home ~/second-node
    """,
    "leaderboard": """
        autoresearch-node leaderboard
        autoresearch-node leaderboard --json | jq '.discoveries[].title'
    """,
    "strategy": """
        autoresearch-node strategy                        after the first hypothesis was chosen
    """,
    "log": """
        autoresearch-node log -f                          as things happen; Ctrl-C ends the looking, not the node
        autoresearch-node log --json | jq 'select(.event == "kept")'
    """,
    "show": """
        autoresearch-node show 386224c7                   the first digits of an id are enough
        autoresearch-node show 386224c7 --json | jq -r .diff
    """,
    "records": """
        autoresearch-node records
        autoresearch-node records --json | jq length
    """,
    "watch": """
        autoresearch-node watch                           until q; a node may start or end meanwhile
        autoresearch-node watch --json                    what it shows, once, as data
    """,
    "dashboard": """
        autoresearch-node dashboard                       prints an address to open; also without a running node
        autoresearch-node dashboard --port 8080
    """,
    "report": """
        autoresearch-node report report.html              one file, pictures and all
        autoresearch-node report report.md                pictures beside it, for a repository
    """,
    "export": """
        autoresearch-node export > records.jsonl
        autoresearch-node export --format csv --output records.csv
    """,
    "plot": """
        autoresearch-node plot progress.svg
        autoresearch-node plot --everybody swarm.svg
    """,
    "suggest": """
        autoresearch-node suggest "Warm the learning rate up: the first steps are the noisiest"
        autoresearch-node suggest "Three times the rate" --edit idea.py
    """,
    "reproduce": """
        autoresearch-node reproduce 386224c7              exit status 0 when every final value agrees
    """,
    "finalize": """
        autoresearch-node finalize                        branches and patches in the home's workspace/
    """,
    "objective": """
        autoresearch-node objective new my-objective
        autoresearch-node objective check my-objective
        autoresearch-node objective list
    """,
    "objective new": """
        autoresearch-node objective new my-objective
        autoresearch-node objective new ~/work/poems --name "poems of the north"
    """,
    "objective check": """
        autoresearch-node objective check my-objective            looks, then makes three real runs
        autoresearch-node objective check my-objective --quick    only looks
        autoresearch-node objective check tinylm --json
    """,
    "objective list": """
        autoresearch-node objective list
        autoresearch-node objective list --json --home ~/second-node
    """,
    "service": """
        autoresearch-node service install
        autoresearch-node service status
        autoresearch-node service uninstall
    """,
    "service install": """
        autoresearch-node service install --dry-run       look at it first
        autoresearch-node service install                 what `join` would do, at every start
        autoresearch-node service install -- --no-research --listen /ip4/0.0.0.0/tcp/4001
    """,
    "service uninstall": """
        autoresearch-node service uninstall               the home and all it holds stay
    """,
    "service status": """
        autoresearch-node service status
        autoresearch-node service status --home ~/second-node --json
    """,
    "doctor": """
        autoresearch-node doctor
        autoresearch-node doctor --json | jq '.[] | select(.ok != "ok")'
    """,
}


def texts(command: str, description: str) -> dict[str, Any]:
    """What argparse is told of a command's help page: its description, and its examples where it has some."""
    examples = textwrap.indent(textwrap.dedent(EXAMPLES.get(command, "")).strip(), "  ")
    return {
        "description": textwrap.fill(description, WIDTH),
        "epilog": f"examples:\n{examples}" if examples else None,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
