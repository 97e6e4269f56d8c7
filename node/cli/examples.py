"""What `--help` shows: the commands under headings, and below a command's options examples, ready to be typed."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from typing import Any

WIDTH = 100  # columns

HEADINGS = {  # what a person wants to do, and the commands for it
    "running a node": (
        "join",
        "invite",
        "swarm",
        "pause",
        "resume",
        "settings",
        "doctor",
        "peer",
        "service",
        "worker",
        "completion",
    ),
    "keeping a home whole": ("key", "ledger"),
    "seeing what happens": (
        "status",
        "watch",
        "dashboard",
        "log",
        "leaderboard",
        "contribution",
        "progress",
        "map",
        "strategy",
        "show",
        "compare",
        "records",
    ),
    "taking part": ("suggest", "suggestions", "reproduce", "promote", "mcp"),
    "taking results away": ("publish", "report", "export", "plot", "finalize"),
    "researching something of your own": ("objective", "live"),
}

EXAMPLES = {
    "join": """
        autoresearch-node join                            research alone, on what this home researched last
        autoresearch-node join INVITE                     join the swarm that the string names
        autoresearch-node join --for 8h --experiments 50  stops at whichever comes first
        autoresearch-node join --objective ./my-objective --home ~/second-node
    """,
    "invite": """
        autoresearch-node invite                          while a node runs here, in another terminal
        autoresearch-node invite --json                   with the objective and addresses in it
    """,
    "swarm": """
        autoresearch-node swarm new --private             before the first join, on the first machine
        autoresearch-node swarm open                      back to the open one
    """,
    "swarm new": """
        autoresearch-node swarm new --private             before the first join, on the first machine
        autoresearch-node swarm new --private --yes       also where it leaves an open swarm behind
    """,
    "swarm graph": """
        autoresearch-node swarm graph
        autoresearch-node swarm graph --json | jq '.edges[] | [.from, .to, .reports]'
    """,
    "swarm open": """
        autoresearch-node swarm open                      shows who is let in, and asks
    """,
    "peer": """
        autoresearch-node peer check INVITE
    """,
    "peer check": """
        autoresearch-node peer check INVITE               each address in it; exit status 0 if one of them works
        autoresearch-node peer check /ip4/192.0.2.1/tcp/4001/p2p/12D3KooWR2C1QxT2Xs54rBh5cVL2tuYGcJCeVfENnHEiV5grsjAt
        autoresearch-node peer check INVITE --json | jq '.addresses[] | [.address, .fault, .why]'
    """,
    "peer show": """
        autoresearch-node peer show fPk3Yq                the end of a peer id is enough
        autoresearch-node peer show fPk3Yq --json | jq .because
    """,
    "settings": """
        autoresearch-node settings                        each with its value, and where that comes from
        autoresearch-node settings hours 22:00-07:00      a running node takes it up within a second
        autoresearch-node settings --undo                 takes the last change back; --reset all of them
    """,
    "pause": """
        autoresearch-node pause 90m                       goes on by itself after an hour and a half
        autoresearch-node pause 22:00                     until the clock next shows that
        autoresearch-node pause                           until `autoresearch-node resume`
    """,
    "resume": """
        autoresearch-node resume
    """,
    "key": """
        autoresearch-node key show
        autoresearch-node key new
    """,
    "key show": """
        autoresearch-node key show                        the peer id, and how many records it has signed
        autoresearch-node key show --json
    """,
    "key new": """
        autoresearch-node key new                         while no node runs; the former key is kept
    """,
    "ledger": """
        autoresearch-node ledger check
        autoresearch-node ledger repair
        autoresearch-node ledger export records.jsonl
    """,
    "ledger check": """
        autoresearch-node ledger check                    exit status 0 when it is whole, 1 when not
        autoresearch-node ledger check --json | jq .problems
    """,
    "ledger repair": """
        autoresearch-node ledger repair                   while no node runs; the damaged file is kept
    """,
    "ledger export": """
        autoresearch-node ledger export records.jsonl     of every objective that this home has researched
    """,
    "worker": """
        autoresearch-node worker                          speaks to a node over its input and output; ends with them
        autoresearch-node worker --cache /scratch/me/autoresearch --cache-mb 20000
    """,
    "completion": """
        autoresearch-node completion bash > ~/.local/share/bash-completion/completions/autoresearch-node
        autoresearch-node completion zsh > "${fpath[1]}/_autoresearch-node"
        autoresearch-node completion fish > ~/.config/fish/completions/autoresearch-node.fish
    """,
    "status": """
        autoresearch-node status
        autoresearch-node status --json --home ~/second-node
    """,
    "leaderboard": """
        autoresearch-node leaderboard
        autoresearch-node leaderboard --objective 386224c7    of what this home researched before
        autoresearch-node leaderboard --json | jq '.discoveries[].title'
    """,
    "strategy": """
        autoresearch-node strategy                        once the node has tried a first idea
    """,
    "log": """
        autoresearch-node log -f                          as things happen; Ctrl-C ends the printing, not the node
        autoresearch-node log --json | jq 'select(.event == "kept")'
    """,
    "show": """
        autoresearch-node show 386224c7                   the first digits of an id are enough
        autoresearch-node show 386224c7 --json | jq -r .diff
    """,
    "contribution": """
        autoresearch-node contribution
        autoresearch-node contribution --json | jq .found
    """,
    "progress": """
        autoresearch-node progress
        autoresearch-node progress --json | jq '.you[] | [.title, .gain, .se]'
    """,
    "map": """
        autoresearch-node map
        autoresearch-node map --json | jq '.categories[] | [.category, .tried, .gain_text]'
    """,
    "compare": """
        autoresearch-node compare 386224c7 9f01ab52       the first digits of ids are enough
        autoresearch-node compare 386224c7 9f01ab52 --json | jq .difference
    """,
    "records": """
        autoresearch-node records
        autoresearch-node records --json | jq length
    """,
    "watch": """
        autoresearch-node watch                           until q; a node may start or stop meanwhile
        autoresearch-node watch --json                    one frame, as data
    """,
    "dashboard": """
        autoresearch-node dashboard                       prints an address to open; also without a running node
        autoresearch-node dashboard --port 8080
    """,
    "report": """
        autoresearch-node report report.html              one file, with its pictures
        autoresearch-node report report.md                pictures beside it, for a repository
    """,
    "export": """
        autoresearch-node export > records.jsonl
        autoresearch-node export --format csv --output records.csv
        autoresearch-node export --format tensorboard --output events     then: tensorboard --logdir events
        autoresearch-node export --format mlflow --output mlflow.db
        autoresearch-node export --format openmetrics     for the textfile collector of Prometheus
    """,
    "publish": """
        autoresearch-node publish ~/public_html/swarm     run it again to bring it up to date
        autoresearch-node publish site --url https://me.example/swarm/
        autoresearch-node publish site --json | jq .written
    """,
    "plot": """
        autoresearch-node plot progress.svg
        autoresearch-node plot --everybody swarm.svg
    """,
    "suggest": """
        autoresearch-node suggest "Warm the learning rate up: the first steps are the noisiest"
        autoresearch-node suggest "Three times the rate" --edit idea.py
    """,
    "suggestions": """
        autoresearch-node suggestions                     each with its place, what came of it, or why not
        autoresearch-node suggestions up 386224c7         one place; also down, veto, allow and take-back
        autoresearch-node suggestions --json | jq '.suggestions[] | [.title, .state, .why]'
    """,
    "mcp": """
        autoresearch-node mcp                             for the settings of an agent; docs/mcp.md
        autoresearch-node mcp --home ~/second-node
    """,
    "promote": """
        autoresearch-node promote 386224c7                at the smallest of the objective's larger scales
        autoresearch-node promote 386224c7 --scale large  a running node takes it up; else it is run here and now
    """,
    "reproduce": """
        autoresearch-node reproduce 386224c7              exit status 0 when every final value agrees
    """,
    "finalize": """
        autoresearch-node finalize                        branches and patches in the home's workspace/
    """,
    "objective": """
        autoresearch-node objective new my-objective
        autoresearch-node objective import ~/work/autoresearch
        autoresearch-node objective check my-objective
        autoresearch-node objective list
        autoresearch-node objective use my-objective
    """,
    "objective prepare": """
        autoresearch-node objective prepare ./autoresearch    shows the command, and asks before it runs
        autoresearch-node objective prepare 386224c7 --yes    of an objective in this home, without asking
    """,
    "objective show": """
        autoresearch-node objective show                  what this home researches now
        autoresearch-node objective show --json | jq .budget
    """,
    "objective use": """
        autoresearch-node objective use tinylm            the next `join` goes on with it
        autoresearch-node objective use 386224c7          the first digits of an id are enough
        autoresearch-node objective use ./my-objective    a folder; its files are kept in the home
    """,
    "objective new": """
        autoresearch-node objective new my-objective
        autoresearch-node objective new ~/work/poems --name "poems of the north"
    """,
    "objective import": """
        autoresearch-node objective import ~/work/autoresearch    writes its objective.toml, and changes nothing else
        autoresearch-node objective import . --command "python3 bench.py" --metric ms --lower --editable sort.py
        autoresearch-node objective import . --force --json
    """,
    "objective check": """
        autoresearch-node objective check my-objective            checks the files, then makes real runs
        autoresearch-node objective check my-objective --quick    checks the files only
        autoresearch-node objective check my-objective --fix      writes sums and measured noise into objective.toml
        autoresearch-node objective check tinylm --json
    """,
    "objective list": """
        autoresearch-node objective list
        autoresearch-node objective list --json --home ~/second-node
    """,
    "live": """
        autoresearch-node live status ./signup            what was approved, answered, stopped and dropped
        autoresearch-node live approve ./signup one-step  shows it, and asks
        autoresearch-node live serve ./signup --port 8080
    """,
    "live status": """
        autoresearch-node live status ./signup
        autoresearch-node live status ./signup --json | jq '.variants[] | [.name, .ratio, .low, .high]'
    """,
    "live show": """
        autoresearch-node live show ./signup one-step
    """,
    "live approve": """
        autoresearch-node live approve ./signup control
        autoresearch-node live approve ./signup one-step --sha256 386224c7f01b
    """,
    "live withdraw": """
        autoresearch-node live withdraw ./signup one-step
    """,
    "live serve": """
        autoresearch-node live serve ./signup             on this machine alone, at a free port
        autoresearch-node live serve ./signup --host 0.0.0.0 --port 8080
    """,
    "live dashboard": """
        autoresearch-node live dashboard ./signup         prints an address to open
    """,
    "live assign": """
        autoresearch-node live assign ./letter list.csv --recipient email > to-send.csv
    """,
    "live import": """
        autoresearch-node live import ./letter results.csv --recipient email --variant subject
        autoresearch-node live import ./letter results.csv --sent sent --json
    """,
    "live export": """
        autoresearch-node live export ./signup            what this audience answered to, and what was never tried
        autoresearch-node live export ./signup --for-peers > themes.json
    """,
    "service": """
        autoresearch-node service install
        autoresearch-node service status
        autoresearch-node service uninstall
    """,
    "service install": """
        autoresearch-node service install --dry-run       print the unit, install nothing
        autoresearch-node service install                 runs `join` now and at every start of the computer
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
    """Arguments for argparse that make a command's help page: its description, and its examples where it has some."""
    examples = textwrap.indent(textwrap.dedent(EXAMPLES.get(command, "")).strip(), "  ")
    return {
        "description": textwrap.fill(description, WIDTH),
        "epilog": f"examples:\n{examples}" if examples else None,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def overview(listed: Mapping[str, str]) -> str:
    """The commands with their texts, under HEADINGS. listed: the text of every command by its name."""
    width = max(map(len, listed))
    parts = []
    for heading, names in HEADINGS.items():
        lines = [f"  {name:{width}}  {listed[name]}" for name in names]
        parts.append("\n".join([f"{heading}:", *lines]))
    return "\n\n".join([*parts, "`autoresearch-node COMMAND --help` shows the options of a command, with examples."])
