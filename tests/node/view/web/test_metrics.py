"""Metrics, read as Prometheus reads them: over HTTP, and by the parser of its own client library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as older_format

from node.cli.main import main
from node.platform.config import ConfigError, load_config
from node.platform.cpu_share import CpuShare
from node.platform.gpu_types import Gpu, GpuUse
from node.view.files.openmetrics import Machine, OpenMetrics
from node.view.web import metrics
from protocol.identity import peer_id_of
from tests.node.view.conftest import HOSTILE, Swarm

pytestmark = pytest.mark.sockets
RUNNING = {"peers": [{}, {}], "runs_at_once": 1, "waiting_replications": 3, "workers": [], "resting": None}
Values = dict[tuple[str, tuple[str, ...]], float]


def values(text: str) -> Values:
    """Every sample, by its name and the values of its labels."""
    found: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sample.labels.values())] = sample.value
    return found


def test_it_counts_what_the_node_holds_and_does(swarm: Swarm) -> None:
    gpu = Gpu(0, "a GPU", 80 << 30, "nvidia", "", "", ())
    machine = Machine(0.25, [(gpu, GpuUse(60 << 30, 80 << 30, {}, 75, 61))])
    text = OpenMetrics(swarm.ledger).text(RUNNING, False, machine)
    read = values(text)
    assert read["autoresearch_running", ()] == 1
    assert read["autoresearch_paused", ()] == 0
    assert read["autoresearch_peers", ()] == 2
    assert read["autoresearch_queue", ()] == 3
    assert read["autoresearch_records", ("experiment",)] == 2
    assert read["autoresearch_discoveries", ("open",)] == 2
    assert read["autoresearch_own_experiments", ("claimed",)] == 1
    assert read["autoresearch_best_gain", ("own", "ratio")] == pytest.approx(0.181, abs=0.001)
    assert read["autoresearch_cpu_ratio", ()] == 0.25
    assert read["autoresearch_gpu_memory_used_bytes", ("0",)] == 20 << 30
    assert read["autoresearch_gpu_busy_ratio", ("0",)] == 0.75
    assert read["autoresearch_model_tokens_total", ()] == 0
    assert len(list(older_format(text))) > 10  # which the textfile collector reads


def test_there_is_nothing_secret_and_no_strangers_text_in_it(swarm: Swarm) -> None:
    running = RUNNING | {"addresses": ["/ip4/192.0.2.1/tcp/4001"], "title": "An idea"}
    text = OpenMetrics(swarm.ledger).text(running, False, Machine())
    for secret in (HOSTILE, "192.0.2.1", "An idea", peer_id_of(swarm.authors["bob"].key), str(swarm.home)):
        assert secret not in text


def test_a_pause_is_a_persons_or_the_settings(swarm: Swarm) -> None:
    made = OpenMetrics(swarm.ledger)
    assert values(made.text(None, True, Machine()))["autoresearch_paused", ()] == 1
    resting = made.text(RUNNING | {"resting": "on battery"}, False, Machine())
    assert values(resting)["autoresearch_paused", ()] == 1


def test_the_command_prints_it_whole(swarm: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--format", "openmetrics", "--home", str(swarm.home)])
    text = capsys.readouterr().out
    assert text.endswith("# EOF\n")
    assert values(text)["autoresearch_running", ()] == 0


async def test_it_is_served_beside_the_node_and_to_this_machine_alone(swarm: Swarm) -> None:
    events: dict[str, dict[str, Any]] = {}
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                metrics.beside, swarm.home, "127.0.0.1", 0, lambda event, **more: events.update({event: more})
            )
            while "metrics" not in events:
                await trio.sleep(0.01)
            address = events["metrics"]["address"]
            async with httpx2.AsyncClient(trust_env=False) as client:
                answer = await client.get(address)
                assert answer.headers["content-type"].startswith("application/openmetrics-text")
                assert values(answer.text)["autoresearch_records", ("experiment",)] == 2
                assert (await client.get(address, headers={"Host": "rebound.example"})).status_code == 421
                assert (await client.post(address)).status_code == 405
                assert (await client.get(address + "/../api/state")).status_code == 404
            nursery.cancel_scope.cancel()


async def test_a_port_that_is_taken_costs_a_line_in_the_log(swarm: Swarm) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    with trio.fail_after(20):
        await metrics.beside(swarm.home, "127.0.0.1", port, lambda event, **more: events.append((event, more)))
    await listener.aclose()
    assert [event for event, _ in events] == ["metrics not served"]
    assert f"port {port}" in events[0][1]["why"]


@pytest.mark.parametrize("listen", ["9469", "localhost:9469", "127.0.0.1:70000", "300.0.0.1:1", "127.0.0.1"])
def test_an_address_without_ip_or_port_is_refused(tmp_path: Path, listen: str) -> None:
    (tmp_path / "swarm.toml").write_text(f'[metrics]\nlisten = "{listen}"\n')
    with pytest.raises(ConfigError, match=r"\[metrics\] listen"):
        load_config(tmp_path / "swarm.toml", {})


def test_the_share_of_the_processors_is_that_of_the_process_and_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    share = CpuShare(os.getpid())
    assert share.now() == 0.0  # too soon to say
    clock = [share._at + 10.0]
    monkeypatch.setattr("node.platform.cpu_share.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(share, "_cores", 2)
    monkeypatch.setattr(share, "_of_each", lambda: {pid: spent + 5.0 for pid, spent in share._seconds.items()})
    assert share.now() >= 0.25  # 5 s of each process in 10 s of 2 cores
