"""What services send back, and how a model's answer is read: each row is something that was seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node.proposers.answer import AnswerError, decode_answer
from node.proposers.completion import Asking, is_too_long, read_completion, retry_after_seconds
from node.proposers.json_answer import object_in
from node.proposers.nearest import nearest

NOON = 784_887_151.0  # Tue, 15 Nov 1994 08:12:31 GMT


def response(message: object, finish: str = "stop") -> str:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": {"prompt_tokens": 1}})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            response({"content": None, "reasoning_content": "Hmm."}, "length"),
            "raise answer_tokens in [llm], which is 900",
        ),
        (response({"content": "", "reasoning": "Hmm."}), "thought, and gave no answer"),
        (response({"content": " \n"}), "the answer is empty"),
        (response({"content": ""}, "length"), "cut off before it said anything"),
        (response({"content": None, "refusal": "No."}), "refuses to answer"),
        (response({"content": None}, "content_filter"), "filtered"),
        (response({"content": None, "tool_calls": [{}]}), "wants to call a tool"),
        (response({"content": 3}), "no chat completion"),
        (response("text"), "no chat completion"),
        ("null", "no chat completion"),
        ("[]", "no chat completion"),
        ('{"error": {"message": "overloaded\\u001b[2J"}}', "with an error: overloaded"),
        ('{"error": "quota"}', "with an error: quota"),
    ],
)
def test_a_response_without_an_answer_says_why(body: str, told: str) -> None:
    found = read_completion(body, 900)
    assert found.text is None
    assert told in found.why
    assert "\x1b" not in found.why


def test_an_error_in_a_response_of_status_200_has_the_status_it_names() -> None:
    assert read_completion('{"error": {"code": 429}}', 1).status == 429
    assert read_completion('{"error": {"status": "401"}}', 1).status == 401
    assert read_completion('{"error": {"code": "server_error"}}', 1).status == 500


def test_a_byte_order_mark_before_a_response_is_passed_over() -> None:
    assert read_completion("\ufeff" + response({"content": "a"}), 1).text == "a"


def test_content_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert read_completion(response({"content": parts}), 1).text == "ab"


@pytest.mark.parametrize(
    ("body", "then"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported; use 'max_completion_tokens'",
            Asking("max_completion_tokens"),
        ),
        ("this model does not support messages of the role 'system'", Asking("max_tokens", system=False)),
        ("bad request", None),
    ],
)
def test_what_a_service_refuses_is_left_out(body: str, then: Asking | None) -> None:
    assert Asking("max_tokens").after_refusal(400, body) == then
    assert Asking("max_tokens").after_refusal(401, body) is None


def test_without_the_role_the_system_speaks_first() -> None:
    conversation = [{"role": "system", "content": "Rules."}, {"role": "user", "content": "Well?"}]
    assert Asking("max_tokens", system=False).messages(conversation) == [{"role": "user", "content": "Rules.\n\nWell?"}]
    assert conversation[1]["content"] == "Well?"


def test_a_question_that_is_too_long_is_told_apart() -> None:
    assert is_too_long('{"error": {"code": "context_length_exceeded"}}')
    assert is_too_long("the request exceeds the available context size")
    assert not is_too_long("no")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0), ("0.25", 0.25), ("1e9", 3600.0), ("-3", 0.0), ("nan", None), ("soon", None), (None, None),
        ("Tue, 15 Nov 1994 08:12:41 GMT", 10.0), ("Tue, 15 Nov 1994 08:00:00 GMT", 0.0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 3600.0),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(text, NOON, 3600.0) == seconds


IDEA: dict[str, Any] = {
    "title": "T", "category": "other", "reason": "R", "edits": [{"search": "LR = 1", "replace": "LR = 2"}],
}  # fmt: skip
PLAIN = json.dumps(IDEA)


@pytest.mark.parametrize(
    "answer",
    [
        PLAIN,
        f"```json\n{PLAIN}\n```",
        f'<think>Perhaps {{"edits": 1}}?</think>\n{PLAIN}',
        f"I think {{}} of {{x}}.\n</think>{PLAIN}",
        f"Here: {PLAIN} I hope {{it}} helps }}",
        PLAIN[:-2] + ",],}",
        PLAIN.replace("LR = 2", "LR = 2\nX = 3"),
        f"First {json.dumps({**IDEA, 'title': 'Draft'})}, no: {PLAIN}",
        '{"note": "thinking"}\n' + PLAIN,
    ],
    ids=["plain", "fence", "thought", "silent thought", "prose", "commas", "line end", "corrected", "two"],
)
def test_an_answer_is_found_in_whatever_it_comes_in(answer: str) -> None:
    found = decode_answer(answer, "LR = 1\n", ("train.py",), ("other",))
    assert found.description.title == "T"
    assert found.source.startswith("LR = 2")


def test_commas_in_texts_stay() -> None:
    assert object_in('{"edits": "a,]", "b": [1,],}', "edits") == {"edits": "a,]", "b": [1]}


def test_a_search_that_is_a_space_off_is_shown_what_stands_there() -> None:
    source = "WIDTH = 32\n\tLR = 3e-3\nDEPTH = 2\n"
    edit = {"search": "LR  =  3e-3", "replace": "LR = 1"}
    with pytest.raises(AnswerError, match="line 2 differs only in white space:\n\tLR = 3e-3"):
        decode_answer(json.dumps({**IDEA, "edits": [edit]}), source, ("train.py",), ())
    assert (
        nearest(source, "WIDTH = 33\nLR = 3e-4")
        == "the passage of lines 1 to 2 is most like it:\nWIDTH = 32\n\tLR = 3e-3"
    )
    part = "the passage of lines 1 to 2 has it, but for white space:\nWIDTH = 32\n\tLR = 3e-3"
    assert nearest(source, "= 32\n    LR =") == part
    assert nearest(source, "import numpy as np") is None
    assert nearest(source, "") is None
