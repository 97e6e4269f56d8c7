"""The drawing worker: draws one text of one run, with the objective's own module. It knows a seed, and no source.

    draw.py JOBS_FD TEXT_FD MODULE_FD

A fork inside a sandbox, since an objective may come from a stranger; imports nothing of ours. On JOBS_FD comes one line
of JSON, {seed, name, most}, and scale where the run is not at the objective's own. The module's `draw(seed, name)`, or
`draw(seed, name, scale)` of one that draws longer texts for larger scales, returns the text as bytes, at most `most` of
them. On TEXT_FD goes <u64 length>, little-endian, and the text. The process ends with a status other than 0 when there
is no such text; standard error says why.

A text is drawn by a process of its own, so that it depends on nothing but the seed and its name.
"""

import inspect
import json
import os
import struct
import sys

from node.execution.workers.exchange import load_module


def main() -> None:
    jobs, out, module = (int(number) for number in sys.argv[1:])
    with os.fdopen(jobs, "rb") as pipe:
        line = pipe.readline()
    if not line:
        return  # the node needs this text no more
    job = json.loads(line)
    text = draw(module, job["seed"], job["name"], job.get("scale", ""))
    if len(text) > job["most"]:
        sys.exit(f"draw({job['name']!r}) made {len(text)} bytes; {job['most']} at most are taken here")
    with os.fdopen(out, "wb") as pipe:
        pipe.write(struct.pack("<Q", len(text)) + text)


def draw(file: int | str, seed: int, name: str, scale: str = "") -> bytes:
    """What the module in this file draws. Raises whatever it raises."""
    function = load_module(file, "objective_draw").draw
    by_scale = len(inspect.signature(function).parameters) > len(("seed", "name"))
    text = function(seed, name, scale) if by_scale else function(seed, name)
    if not isinstance(text, bytes) or not text:
        sys.exit(f"draw({name!r}) must return bytes, and at least one; it returned {type(text).__name__}")
    return text


if __name__ == "__main__":
    main()
