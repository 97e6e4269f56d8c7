"""What a chat completion says: the text of its answer, or why there is none, in words that help a person.

Services that speak OpenAI's API differ: some put an error into a response of status 200, some send the content in
parts, some only what the model thought before it ran out of tokens, and each refuses other parameters. It knows bytes
and status codes, and neither connections nor what an answer is for.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LIMITS = ("max_completion_tokens", "max_tokens")  # two names of one parameter; a service knows one or both
AGAIN = (408, 409, 425, 429)  # statuses of what may go well in a moment
MOST_DETAIL = 160  # characters of a service's own words that are shown


@dataclass(frozen=True)
class Completion:
    """One response. text: of the answer; None with the reason in `why`. usage: the service's own count, unchecked."""

    text: str | None
    why: str = ""
    usage: Any = None
    status: int = 200  # of an error in the response; 200 where it has none


def read_completion(body: str, answer_tokens: int) -> Completion:
    """The answer in a response's body, or why there is none. answer_tokens: the most that it was allowed."""
    try:
        fields = json.loads(body.removeprefix("\ufeff"))  # some services put a byte order mark first
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        return Completion(None, "what came back is no chat completion")
    usage = fields.get("usage")
    if fields.get("error"):
        status = _status_of(fields["error"])
        return Completion(None, f"the service answers with an error{_detail(fields['error'])}", usage, status)
    try:
        choice = fields["choices"][0]
        message = choice["message"]
        content = _joined(message["content"]) if message.get("content") is not None else ""
    except (LookupError, TypeError, AttributeError):
        content = None
    if content is None:
        return Completion(None, "what came back is no chat completion", usage)
    reason = choice.get("finish_reason")
    if content.strip():
        # One that was cut off may be whole all the same; whoever reads it sees.
        return Completion(content, "", usage)
    return Completion(None, _why_empty(message, reason, answer_tokens), usage)


def _joined(content: object) -> str | None:
    """A content that comes in parts, as one text; None for what is neither."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type", "text") == "text"]
    return "".join(part for part in parts if isinstance(part, str))


def _why_empty(message: Mapping[str, Any], reason: object, answer_tokens: int) -> str:
    thought = any(message.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
    if reason == "length":
        what = "thought until its tokens were used up" if thought else "was cut off before it said anything"
        return f"the model {what}; raise answer_tokens in [llm], which is {answer_tokens}"
    if reason == "content_filter" or message.get("refusal"):
        return "the model refuses to answer, or its answer was filtered"
    if message.get("tool_calls") or message.get("function_call"):
        return "the model wants to call a tool, and has none here"
    return "the model thought, and gave no answer" if thought else "the answer is empty"


def _status_of(error: object) -> int:
    """The HTTP status that an error in a body stands for; 500, which may go well later, where it says none."""
    code = error.get("code") if isinstance(error, dict) else None
    status = error.get("status") if isinstance(error, dict) else None
    found = next((int(str(word)) for word in (code, status) if str(word).isdecimal() and len(str(word)) == 3), 500)
    return found if 400 <= found <= 599 else 500


def _detail(error: object) -> str:
    text = error.get("message") if isinstance(error, dict) else error
    shown = " ".join("".join(c if c.isprintable() else " " for c in str(text or "")[: 4 * MOST_DETAIL]).split())
    return f": {shown[:MOST_DETAIL]}" if shown else ""


# ---- refusals -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asking:
    """How a service wants to be asked; found out as it refuses. limit: the name of the parameter for answer tokens."""

    limit: str
    system: bool = True  # whether it takes messages of the role "system"

    def messages(self, conversation: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """The conversation, with what the system says put before the first question where there is no such role."""
        if self.system:
            return [dict(message) for message in conversation]
        said = "\n\n".join(message["content"] for message in conversation if message["role"] == "system")
        rest = [dict(message) for message in conversation if message["role"] != "system"]
        if rest:
            rest[0]["content"] = f"{said}\n\n{rest[0]['content']}"
        return rest

    def after_refusal(self, status: int, body: str) -> Asking | None:
        """How to ask instead, if a refusal names what it does not take; None where nothing is left to change."""
        if status not in (400, 404, 415, 422):
            return None
        said = body[:4000].lower()
        other = next(name for name in LIMITS if name != self.limit)
        if self.limit in said.replace(other, ""):
            return Asking(other, self.system)
        if self.system and "system" in said and ("role" in said or "message" in said or "instruction" in said):
            return Asking(self.limit, system=False)
        return None


def is_too_long(body: str) -> bool:
    """Whether a refusal says that the question is longer than the model can read."""
    said = body[:4000].lower()
    return re.search(r"context[_ ](length|window|size)|too many tokens", said) is not None


def is_used_up(body: str) -> bool:
    """Whether a refusal says that what the account may spend is spent: it is told as "too many requests" by many."""
    said = body[:4000].lower()
    return "insufficient_quota" in said or "insufficient_balance" in said or "billing_hard_limit" in said


def retry_after_seconds(text: str | None, now: float, most: float) -> float | None:
    """Retry-After (RFC 9110, 10.2.3) in seconds from now, at most `most`: a number, also with a fraction, or a date.

    now: seconds since 1970, by this machine's clock. None if it is missing or neither.
    """
    if text is None or len(text) > 64:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), most) if math.isfinite(seconds) else None
