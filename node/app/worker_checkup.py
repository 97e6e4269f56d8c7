"""What `doctor` says of workers elsewhere: what came back from the command of `[workers]`, which it tries once."""

from __future__ import annotations

import trio

from node.platform.config import FILE_NAME, Config
from node.view.model.findings import Finding

GIB = 1 << 30


def worker_findings(config: Config) -> list[Finding]:
    """What comes back from the command of `[workers]`, tried once; nothing where runs are made here."""
    if not config.worker_command:
        return []
    from node.execution.remote.command_trial import try_command  # with what makes runs, which is needed only here
    from node.execution.remote.remote_runs import command_environment, numbered
    from node.execution.remote.worker_link import Command
    from node.execution.remote.worker_protocol import VERSION

    words = numbered(config.worker_command, 0)
    tried = trio.run(try_command, Command(words, command_environment(config.worker_environment)))
    hello = tried.hello
    if hello is None and tried.waits:
        return [Finding("workers", "warn", tried.why, "look into the queue; the node waits for workers by itself")]
    if hello is None:
        remedy = f"correct [workers] command in {FILE_NAME}; docs/sites.md has recipes: `{' '.join(words)[:200]}`"
        return [Finding("workers", "missing", tried.why, remedy)]
    gpus = ", ".join(gpu.name for gpu in hello.gpus) or "no GPU that runs may use"
    machine = f"{hello.device}, {hello.cores} cores, {hello.memory_bytes / GIB:.1f} GiB, {gpus}"
    found = f"{hello.host}: {machine}, {hello.platform}, "
    if hello.protocol != VERSION:
        remedy = (
            f"install the same version there; it has {hello.program}, with protocol {hello.protocol}, not {VERSION}"
        )
        return [Finding("workers", "missing", f"{found}another version", remedy)]
    if not hello.sandbox:
        remedy = "no run is made there without one: `autoresearch-node doctor` says there what is missing"
        return [Finding("workers", "missing", f"{found}no sandbox", remedy)]
    return [Finding("workers", "ok", f"{found}sandbox {hello.sandbox}", "")]
