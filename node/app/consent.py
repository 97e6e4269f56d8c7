"""Consent: whether strangers may find this node, which a person is asked once, on a terminal.

What swarm.toml says counts first; then the answer, which is kept in the home. A node that nobody could be asked about
is not public. A private swarm never is, and is not asked about.
"""

from __future__ import annotations

import sys

from node.platform.config import Config
from node.platform.home import Home

QUESTION = """\
May strangers who research the same find this node?
It then announces this machine's network address under the objective's id, to anybody who looks it up. Without it you
meet those whose invite you use, those you invite, and nodes on your local network. `public` in swarm.toml changes it.
[y/N] """
ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}


def is_public(config: Config, home: Home, objective: bytes) -> bool:
    """Whether this node looks for strangers of an objective's swarm, and lets itself be found."""
    if home.swarm_key(objective) is not None:
        return False
    if config.public is not None:
        return config.public
    answer = home.public_answer()
    if answer is None and sys.stdin.isatty() and sys.stdout.isatty():
        answer = _ask()
        if answer is not None:
            home.keep_public_answer(answer)
    return bool(answer)


def _ask() -> bool | None:
    """The answer of the person at the terminal; None where there was none."""
    try:
        while True:
            answer = ANSWERS.get(input(QUESTION).strip().lower())
            if answer is not None:
                return answer
    except EOFError:
        return None
