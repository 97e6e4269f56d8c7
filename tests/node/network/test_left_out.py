"""What of the network library is left out is not loaded, and says so where somebody needs it after all."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import node.network
import libp2p
names = ("requests", "httpx", "trio_websocket", "aioquic")
loaded = [name for name in names if getattr(sys.modules.get(name), "__file__", None)]
assert not loaded, loaded
from libp2p.transport.quic.transport import QUICTransport
try:
    QUICTransport(None, None)
except RuntimeError as error:
    print(error)
"""


def test_what_is_left_out_is_not_loaded_and_says_so() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "libp2p.transport.quic.transport.QUICTransport is left out" in done.stdout
