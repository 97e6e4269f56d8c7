"""What the node says of the time in which it held a worker, and the clock that leaves it out."""

from __future__ import annotations

import os
import struct

from node.execution.workers.pauses import Pauses


def test_the_last_that_was_said_counts() -> None:
    reads, writes = os.pipe()
    pauses = Pauses(reads)
    assert pauses.seconds() == 0.0
    os.write(writes, struct.pack("<dd", 1.5, 4.0))
    assert pauses.seconds() == 4.0
    os.write(writes, struct.pack("<d", 9.25)[:3])
    assert pauses.seconds() == 4.0
    os.write(writes, struct.pack("<d", 9.25)[3:])
    assert pauses.seconds() == 9.25
    os.close(writes)
    assert pauses.seconds() == 9.25
    assert pauses.seconds() == 9.25
    os.close(reads)
