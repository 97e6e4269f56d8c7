#!/usr/bin/env python3
"""A stand-in for a coding agent, under the agent's name on the PATH: it is strict about how it is started, asks its
model as the agent would, and edits the source. It imports nothing of ours."""

import ctypes
import json
import os
import sys
import urllib.request
from pathlib import Path

NAME = Path(__file__).name
GIVEN = sys.argv[1:]


def expect(*words):
    """These arguments, one after the other, are among those given."""
    places = range(len(GIVEN) - len(words) + 1)
    assert any(GIVEN[place : place + len(words)] == list(words) for place in places), f"{NAME} expects {words}: {GIVEN}"


def post(url, body, **headers):
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return answer.read().decode()


def claude():
    assert GIVEN[0] == "--print"
    for words in (["--output-format", "json"], ["--max-turns", "7"], ["--permission-mode", "acceptEdits"]):
        expect(*words)
    url = os.environ["ANTHROPIC_BASE_URL"]
    body = {"model": "m", "max_tokens": 100, "stream": True, "messages": []}
    return post(f"{url}/v1/messages?beta=true", body, **{"x-api-key": os.environ["ANTHROPIC_API_KEY"]})


def codex():
    assert GIVEN[0] == "exec"
    expect("--skip-git-repo-check")
    expect("--dangerously-bypass-approvals-and-sandbox")
    expect("--json")
    assert ctypes.CDLL(None).prctl(1, 15) == 0, "what it starts is to die with it"  # PR_SET_PDEATHSIG, SIGTERM
    settings = dict(one.split("=", 1) for one in GIVEN if one.startswith("model_provider"))
    assert settings["model_providers.node.wire_api"] == '"responses"'
    key = os.environ[json.loads(settings["model_providers.node.env_key"])]
    url = json.loads(settings["model_providers.node.base_url"])
    return post(f"{url}/responses", {"model": "m", "stream": True, "input": []}, Authorization=f"Bearer {key}")


def gemini():
    for words in (["--output-format", "json"], ["--approval-mode", "yolo"]):
        expect(*words)
    assert json.loads((Path.home() / ".gemini/settings.json").read_text())["model"]["maxSessionTurns"] == 7
    url = os.environ["GOOGLE_GEMINI_BASE_URL"]
    question = {"contents": [], "stream": True}
    key = {"x-goog-api-key": os.environ["GEMINI_API_KEY"]}
    return post(f"{url}/v1beta/models/m:streamGenerateContent?alt=sse&key=of-mine", question, **key)


def opencode():
    assert GIVEN[0] == "run"
    expect("--format", "json")
    expect("--model", "anthropic/a-model")
    settings = json.loads(os.environ["OPENCODE_CONFIG_CONTENT"])
    assert settings["agent"]["build"]["steps"] == 7
    options = settings["provider"]["anthropic"]["options"]
    body = {"model": "a-model", "max_tokens": 100, "messages": []}
    return post(f"{options['baseURL']}/messages", body, **{"x-api-key": options["apiKey"]})


def aider():
    for words in (["--model", "openai/a-model"], ["--file", "train.py"], ["--read", "brief.md"], ["--yes-always"]):
        expect(*words)
    expect("--no-git")
    key = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    return post(f"{os.environ['OPENAI_API_BASE']}/chat/completions", {"model": "a-model", "messages": []}, **key)


assert "Try the optimizer." in Path("brief.md").read_text()
print({"claude": claude, "codex": codex, "gemini": gemini, "opencode": opencode, "aider": aider}[NAME]())
Path("train.py").write_text("LR = 2\nDEPTH = 2\n")
Path("hypothesis.json").write_text(json.dumps({"title": f"By {NAME}", "category": "optimizer", "reason": "r"}))
