"""The command `mcp`: a server of the Model Context Protocol, for an agent that steers the node of this home.

Thin: it reads arguments and calls the part that does the work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from node.platform.config import Config
from node.platform.home import Home
from node.platform.program import installing

Command = Callable[..., argparse.ArgumentParser]


def add_commands(command: Command) -> None:
    """Make the command known."""
    command("mcp", _serve, "let an agent see what was tried and propose ideas, by MCP on stdin and stdout", reads=False)


def _serve(options: argparse.Namespace, config: Config) -> int:
    try:
        from node.app.mcp_server import serve  # with the SDK, which nothing else needs
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "pydantic"):
            raise
        print(f"autoresearch-node: the MCP server needs the official SDK: {installing('mcp')}", file=sys.stderr)
        return 2
    serve(Home(config.home))
    return 0
