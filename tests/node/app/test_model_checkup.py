"""What `doctor` says of models and agents, before real servers on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from node.app.model_checkup import agent_findings, model_findings
from node.platform.config import Config, load_config
from node.proposers import model_services
from tests.node.proposers.known_agents import HERE, put_on_path

pytestmark = pytest.mark.sockets

KEY = "sk-the-key"


@contextmanager
def service(body: object, status: int = 200, **headers: str) -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
    """A server that answers every question alike: its port, and (path, key) of what it was asked."""
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["authorization"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        server.server_close()


def listing(*names: str, owner: str = "library") -> dict[str, object]:
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner} for name in names]}


def config(folder: Path, text: str) -> Config:
    file = folder / "swarm.toml"
    file.write_text(text)
    return load_config(file, {"home": str(folder / "home")})


def asks(folder: Path, port: int, model: str = "qwen3:8b") -> Config:
    return config(folder, f'[llm]\nmodel = "{model}"\nbase_url = "http://127.0.0.1:{port}/v1"\n')


def test_servers_of_this_machine_are_offered_with_the_lines_for_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with (
        service(listing("qwen3:8b", "odd name", "llama3")) as (ollama, asked),
        service(listing("m.gguf", owner="llamacpp")) as (llama_cpp, _),
        service(b"<html>a page</html>") as (page, _),
    ):
        ports = {ollama: "one", llama_cpp: "another", page: "a third", 9: "nobody"}
        monkeypatch.setattr(model_services, "USUAL_PORTS", ports)
        first, second = model_findings(config(tmp_path, ""))
    assert first.found == f"none is asked; Ollama answers at http://127.0.0.1:{ollama}/v1 with qwen3:8b, llama3"
    assert first.remedy.splitlines()[1:] == [
        "[llm]",
        'model = "qwen3:8b"',
        f'base_url = "http://127.0.0.1:{ollama}/v1"',
    ]
    assert "llama.cpp answers" in second.found
    assert asked == [("/v1/models", None)]


def test_where_there_is_neither_model_nor_agent_it_says_what_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_services, "USUAL_PORTS", {9: "Ollama"})  # where nobody answers
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    (model,) = model_findings(config(tmp_path, ""))
    (agent,) = agent_findings(config(tmp_path, ""), None)
    assert (model.ok, agent.ok) == ("ok", "ok")
    assert model.found == "none is asked; none found on this machine: looked for Ollama at their usual ports"
    assert agent.found == "none is run; none found on the PATH: looked for claude, codex, opencode, gemini, aider"


def test_a_model_that_the_service_has_is_fine_and_the_key_goes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with service(listing("qwen3:latest", "qwen3:8b")) as (port, asked):
        assert [finding.ok for finding in model_findings(asks(tmp_path, port))] == ["ok"]
        assert [finding.ok for finding in model_findings(asks(tmp_path, port, "qwen3"))] == ["ok"]
    assert {key for _, key in asked} == {f"Bearer {KEY}"}


TROUBLE = [
    (listing("llama3"), 200, "the service has no such model", "it has llama3"),
    (b"", 401, "it refuses the key (status 401)", "see key_env"),
    (b"", 500, "it answers with status 500", "correct base_url"),
    (b"<html>", 200, "does not speak OpenAI's API", "it mostly ends in /v1"),
]


@pytest.mark.parametrize(("body", "status", "found", "remedy"), TROUBLE)
def test_what_is_wrong_is_said_with_the_remedy(
    body: object, status: int, found: str, remedy: str, tmp_path: Path
) -> None:
    with service(body, status) as (port, _):
        (finding,) = model_findings(asks(tmp_path, port))
    assert finding.ok == "missing"
    assert found in finding.found
    assert remedy in finding.remedy


def test_a_redirect_is_not_followed_with_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with service(listing("qwen3:8b")) as (other, asked), service(b"", 302, location=f"http://127.0.0.1:{other}/") as (
        port, _,
    ):  # fmt: skip
        (finding,) = model_findings(asks(tmp_path, port))
    assert "it sends one elsewhere" in finding.found
    assert asked == []


def test_a_service_or_a_proxy_that_nobody_answers_at_is_one_sentence(tmp_path: Path) -> None:
    (finding,) = model_findings(asks(tmp_path, 9))
    assert (finding.ok, finding.remedy) == ("missing", "start it, or correct base_url or `proxy` in [llm]")
    text = '[llm]\nmodel = "m"\nbase_url = "http://service.invalid/v1"\nproxy = "http://127.0.0.1:9"\n'
    (finding,) = model_findings(config(tmp_path, text))
    assert "through the proxy http://127.0.0.1:9" in finding.found or "the proxy http://127.0.0.1:9" in finding.found


def test_agents_on_the_path_are_offered_and_what_a_chosen_one_lacks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("codex", "aider"):
        put_on_path(tmp_path, name, HERE / "agent_stand_in.py")
    (finding,) = agent_findings(config(tmp_path, ""), "bwrap")
    assert finding.found == "none is run; on the PATH: codex, aider"
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    chosen = config(tmp_path, '[agent]\nuse = "codex"\n')
    (finding,) = agent_findings(chosen, "bwrap")
    assert (finding.ok, finding.remedy) == ("missing", "set it and start again")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (finding,) = agent_findings(chosen, "bwrap")
    assert (finding.ok, finding.found.rpartition(", ")[2]) == ("ok", "which asks https://api.openai.com/v1")
    (finding,) = agent_findings(chosen, "inproc")
    assert finding.ok == "missing"
    assert "needs the sandbox bwrap" in finding.found
