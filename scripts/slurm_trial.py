"""A node whose runs are made by Slurm jobs, on a cluster that this starts on this machine: what is lost when jobs die.

    .venv/bin/python scripts/slurm_trial.py [--tokens 60000]

It needs Debian's slurm-wlm and munge (it installs nothing, and says what is missing). In a temporary folder it starts
munged, slurmctld and two slurmd that pose as two machines of one processor each, and a node of ours with
`[workers] command = ["srun", ...]`. Then, while runs are under way: a job is killed (scancel); a machine is drained and
its job killed, so that the next worker waits in the queue until the machine is back; slurmctld is restarted. Every run
that was interrupted has to be made again, no record may say that a source failed, and the runs of a record, repeated
without Slurm, have to give the same values to the last digit. At the end no job and no process may be left.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from swarm_here import NodeProcess, ended_afterwards, heard, small_objective

NEEDED = ("munged", "slurmctld", "slurmd", "srun", "scancel", "scontrol", "squeue")
WHERE = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
WORKERS = 2
PATIENCE_SECONDS = 300.0  # for what takes seconds on a machine with nothing else to do
SHOWN = (
    "workers elsewhere", "worker ready", "worker waits", "worker lost", "worker says", "worker refused", "run lost",
    "files sent", "baseline", "result", "kept", "run failed", "work interrupted", "stopped",
)  # fmt: skip

CONFIGURATION = """\
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
# Everything of this cluster is in one folder, and belongs to the user who tries it.
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
# No control groups: a job's processes are those below its step. A real cluster has proctrack/cgroup and task/cgroup.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# Seconds that a job which is to end has after SIGTERM.
KillWait=5
ReturnToService=2
# Two machines that are this one: each slurmd is told its name by -N, and has a port of its own.
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""

SETTINGS = """\
[network]
lan = false
upnp = false

[log]
level = "debug"

[workers]
command = [
    "srun", "--job-name=worker-{{number}}", "--ntasks=1",
    "{python}", "-m", "node", "worker", "--cache", "{cache}",
]
count = {workers}
environment = ["SLURM_CONF"]
"""


class Cluster:
    """A Slurm of two machines in a folder. Only processes that it started are ended, by their id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": WHERE}

    def start(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        (self.folder / "state").mkdir()
        configuration = CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0], user=getpass.getuser(), folder=self.folder, ports=free_ports(3)
        )
        (self.folder / "slurm.conf").write_text(configuration)
        files = [f"--{name}={self.folder / file}" for name, file in (
            ("key-file", "munge.key"), ("socket", "munge.socket"), ("pid-file", "munge.pid"),
            ("log-file", "munge.log"), ("seed-file", "munge.seed"),
        )]  # fmt: skip
        self.run("munged", "munged", "--foreground", "--force", *files)
        until("munged listens", lambda: (self.folder / "munge.socket").exists(), 10)
        self.start_controller()
        for name in ("n1", "n2"):
            self.run(name, "slurmd", "-D", "-N", name)
        until("both machines are idle", lambda: self.ask("sinfo", "-hN", "-o", "%N %T") == "n1 idle\nn2 idle", 60)

    def start_controller(self) -> None:
        self.run("slurmctld", "slurmctld", "-D")
        until("slurmctld answers", lambda: "UP" in self.ask("scontrol", "ping"), 60)

    def run(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=self.environment,
                start_new_session=True,
            )  # fmt: skip

    def end(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def ask(self, *words: str) -> str:
        done = subprocess.run(words, capture_output=True, text=True, env=self.environment, timeout=60)
        return (done.stdout if done.returncode == 0 else done.stderr).strip()

    def jobs(self) -> dict[str, tuple[str, str]]:
        """Machine and number of each running job, by its name."""
        rows = [line.split() for line in self.ask("squeue", "-h", "-t", "R", "-o", "%j %N %i").splitlines()]
        return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}


@contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    """A cluster that does not outlive the block."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        if "slurmctld" in cluster.processes:
            cluster.ask("scancel", "--user", getpass.getuser())
            with suppress(TimeoutError):
                until("all jobs have ended", lambda: not cluster.ask("squeue", "-h"), 30)
        for name in reversed(list(cluster.processes)):
            cluster.end(name)


def free_ports(count: int) -> list[int]:
    opened = [socket.socket() for _ in range(count)]
    for each in opened:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in opened]
    for each in opened:
        each.close()
    return ports


def until(what: str, condition: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience:.0f} s: {what}")
        time.sleep(0.2)


BEGUN = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGUN:6.1f} s  {text}", flush=True)


def count(node: NodeProcess, event: str) -> int:
    return sum(found.get("event") == event for found in node.events())


def running_job(node: NodeProcess, cluster: Cluster, machine: str | None = None) -> tuple[str, str, str]:
    """Name, machine and number of a job whose worker makes a run at this moment."""
    found: list[tuple[str, str, str]] = []

    def look() -> bool:
        now = node.ask("status")["now"] or {}
        busy = {f"worker-{each['number']}" for each in now.get("workers", []) if each["state"] == "running"}
        jobs = cluster.jobs()
        found[:] = [(name, *jobs[name]) for name in sorted(busy & jobs.keys()) if machine in (None, jobs[name][0])]
        return bool(found)

    until("a worker makes a run", look, PATIENCE_SECONDS)
    return found[0]


def wait_for_more(node: NodeProcess, event: str, before: int) -> None:
    until(f"another event {event!r}", lambda: count(node, event) > before, PATIENCE_SECONDS)


def kill_a_job(node: NodeProcess, cluster: Cluster) -> None:
    name, machine, number = running_job(node, cluster)
    lost, ready = count(node, "run lost"), count(node, "worker ready")
    say(f"scancel {number}: the job of {name} on {machine}, which makes a run")
    cluster.ask("scancel", number)
    wait_for_more(node, "run lost", lost)
    say("the node has noticed, and the run is to be made again")
    wait_for_more(node, "worker ready", ready)
    say("a new job has the worker's place")


def drain_a_machine(node: NodeProcess, cluster: Cluster) -> None:
    name, machine, number = running_job(node, cluster)
    waits, ready, lost = count(node, "worker waits"), count(node, "worker ready"), count(node, "run lost")
    say(f"scontrol update nodename={machine} state=drain, and scancel {number}: the job of {name} there")
    cluster.ask("scontrol", "update", f"nodename={machine}", "state=drain", "reason=trial")
    cluster.ask("scancel", number)
    wait_for_more(node, "run lost", lost)
    wait_for_more(node, "worker waits", waits)
    now = node.ask("status")["now"]
    say(f"the next worker waits in the queue: {now['doing']}")
    cluster.ask("scontrol", "update", f"nodename={machine}", "state=resume")
    wait_for_more(node, "worker ready", ready)
    say(f"{machine} is back, and so is the worker")


def restart_the_controller(node: NodeProcess, cluster: Cluster) -> None:
    running_job(node, cluster)
    lost, made = count(node, "worker lost"), count(node, "run")
    say("slurmctld is ended while runs are under way")
    cluster.end("slurmctld")
    wait_for_more(node, "run", made)
    say("a run has ended without it")
    cluster.start_controller()
    wait_for_more(node, "run", made + 1)
    say(f"slurmctld is back; workers lost meanwhile: {count(node, 'worker lost') - lost}")
    assert count(node, "worker lost") == lost


def shown_log(node: NodeProcess) -> list[str]:
    done = subprocess.run(
        [*node.program, "log", "--home", str(node.home)],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return [
        line for line in done.stdout.splitlines() if any(line[10:].strip("! ").startswith(event) for event in SHOWN)
    ]


def check_records(node: NodeProcess) -> None:
    """No source may be blamed, and what a record says must come out again without Slurm."""
    records = [record for record in node.records() if record["kind"] == "experiment"]
    events: list[dict[str, Any]] = node.events()
    blamed = [event for event in events if event["event"] in ("run failed", "work interrupted", "baseline failed")]
    assert not blamed, f"a run counts as failed: {blamed}"
    assert records, "no record was made"
    say(f"{len(records)} experiments, {count(node, 'run lost')} runs interrupted and made again, none lost or blamed")
    rows = node_reproduces(node, records[0]["id"])
    assert rows, "the record reports no runs"
    assert all(row["same"] for row in rows), f"values differ: {rows}"
    say(f"reproduce {records[0]['id'][:8]} on this machine without Slurm: {len(rows)} runs, equal to the last digit")


def node_reproduces(node: NodeProcess, record: str) -> list[dict[str, Any]]:
    words = [*node.program, "reproduce", record, "--json", "--home", str(node.home)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    return list(json.loads(done.stdout))


def workers_left(cache: Path) -> list[int]:
    """Processes of workers of this trial."""
    running = psutil.process_iter(["cmdline"])
    return [process.pid for process in running if str(cache) in (process.info["cmdline"] or [])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=60_000, help="of a run: at most some 20 s of one processor")
    options = parser.parse_args()
    missing = [name for name in NEEDED if shutil.which(name, path=WHERE) is None]
    if missing:
        sys.exit(f"not installed here: {', '.join(missing)}; on Debian and Ubuntu: apt install slurm-wlm munge")
    os.environ["PATH"] = WHERE
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that nothing started here is left
    with tempfile.TemporaryDirectory(prefix="slurm-") as made, cluster_in(Path(made)) as cluster:
        folder = Path(made)
        say(f"{cluster.ask('srun', '--version')}, two machines: {cluster.ask('sinfo', '-h')}".replace("\n", "; "))
        settings = folder / "swarm.toml"
        cache = folder / "cache"
        settings.write_text(SETTINGS.format(python=sys.executable, cache=cache, workers=WORKERS))
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        objective = small_objective(folder, options.tokens)
        node = NodeProcess(folder / "home", ["--config", str(settings), "--objective", str(objective), "--seed", "1"])
        with ended_afterwards(node):
            node.start()
            node.wait_for("baseline", heard("baseline"), PATIENCE_SECONDS)
            say("both workers are there and the baseline is measured")
            kill_a_job(node, cluster)
            drain_a_machine(node, cluster)
            restart_the_controller(node, cluster)
            node.wait_for("record", heard("result"), PATIENCE_SECONDS)
            say(f"the node ends, in {node.end(signal.SIGINT, 60.0):.1f} s")
        until("no job is left", lambda: not cluster.ask("squeue", "-h"), 30)
        until("no process of a worker is left", lambda: not workers_left(cache), 30)
        say("no job and no process of a worker is left")
        for line in shown_log(node):
            print(line)
        check_records(node)


if __name__ == "__main__":
    main()
