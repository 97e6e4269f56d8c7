"""What a start of the program imports: every command pays for it in time, and a node in memory as long as it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

FOR_SOME_COMMANDS = {
    "asyncio", "cryptography", "git", "httpx2", "jinja2", "libp2p", "multiaddr", "nacl", "numpy", "openai",
    "prometheus_client", "pygments", "rich", "shtab", "structlog", "tomlkit", "torch", "trio", "zeroconf",
}  # fmt: skip
FOR_SOME_NODES = {
    "Crypto", "aioquic", "anyio._backends", "cbor2", "coincurve", "dns", "fastecdsa", "greenlet", "httpx", "httpx2",
    "jinja2", "numpy", "openai", "optuna", "prometheus_client", "pycparser", "pydantic", "pygments", "requests", "rich",
    "shtab", "tomlkit", "torch", "trio_websocket", "zeroconf",
}  # fmt: skip
PARSED = "import node.cli.main; node.cli.main._parser()"
STARTED = "import node.cli.main, node.app.joining"


@pytest.mark.parametrize(("program", "unused"), [(PARSED, FOR_SOME_COMMANDS), (STARTED, FOR_SOME_NODES)])
def test_what_only_some_need_is_imported_when_they_need_it(program: str, unused: set[str]) -> None:
    told = f"{program}\nimport sys; print(*(n for n, m in sys.modules.items() if getattr(m, '__file__', None)))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=120, check=True)
    assert unused & set(done.stdout.split()) == set()
