"""The JSON object in what a model says, whatever stands around it and however it is nearly JSON.

Models put what they thought before it, fences and prose around it, commas before a closing bracket, and line ends
inside texts. None of that leaves a doubt, and asking again costs a question. It knows text, and not what an object is
for.
"""

from __future__ import annotations

import json
import re
from typing import Any

THOUGHT = re.compile(r"<(think|thinking|reasoning|thought)>.*?</\1>", re.DOTALL | re.IGNORECASE)
END_OF_THOUGHT = re.compile(r"</(?:think|thinking|reasoning|thought)>", re.IGNORECASE)  # some begin it silently
TEXT_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)
START = re.compile(r"\{(?=\s*[\"}])")
MOST_STARTS = 64  # objects that are tried in one answer
MOST_MENDED = 100_000  # characters of an object with a comma too many


def object_in(text: str, wanted: str) -> dict[str, Any] | None:
    """The last object with the field `wanted`, else the last object; None where there is none.

    The last one, as a model that thinks aloud corrects itself.
    """
    said = _after_thoughts(text)
    found: list[dict[str, Any]] = []
    position, starts = 0, 0
    while (begin := START.search(said, position)) is not None and starts < MOST_STARTS:
        starts += 1
        decoded, position = _decoded(said, begin.start())
        if decoded is not None:
            found.append(decoded)
    return next((one for one in reversed(found) if wanted in one), found[-1] if found else None)


def _after_thoughts(text: str) -> str:
    said = THOUGHT.sub("", text)
    *_, last = END_OF_THOUGHT.split(said)
    return last if "{" in last else said


def _decoded(text: str, begin: int) -> tuple[dict[str, Any] | None, int]:
    """The object that begins here, and where to go on."""
    decoder = json.JSONDecoder(strict=False)  # line ends inside texts
    try:
        decoded, end = decoder.raw_decode(text, begin)
        return decoded, end
    except (ValueError, RecursionError):
        pass
    try:
        decoded, end = decoder.raw_decode(_without_last_commas(text[begin : begin + MOST_MENDED]))
        # What was taken out makes `end` lie a little early, inside the object: nothing begins there that was wanted.
        return decoded, begin + end
    except (ValueError, RecursionError):
        return None, begin + 1


def _without_last_commas(text: str) -> str:
    """The text without commas before a closing bracket, texts in it untouched."""
    return TEXT_OR_COMMA.sub(lambda match: match[0] if match[0][0] == '"' else "", text)
