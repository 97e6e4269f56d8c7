"""A container engine's command for machines that have none: it makes its containers of bubblewrap.

    stand_in_engine.py COMMAND ...          (as tests put it on the PATH under an engine's name)

As an engine does, it starts a container from a process that is no child of the caller, passes no descriptor but its
output, and lets the container live on when the command is killed. It holds containers to their mounts, user, network
and processes; it knows no image and no limits. What it keeps is in the folder XDG_DATA_HOME.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

TAKES_NOTHING = {"--rm", "--read-only", "--read-only-tmpfs=false", "--http-proxy=false", "--no-hosts"}


def main() -> int:
    kept, word, words = Path(os.environ["XDG_DATA_HOME"]), sys.argv[1], sys.argv[2:]
    (kept / "said").open("a").write(" ".join(sys.argv[1:3]) + "\n")
    if (kept / "down").exists():
        print("Cannot connect to the Docker daemon at unix:///none. Is the docker daemon running?", file=sys.stderr)
        return 1
    if word == "info":
        print("rootless=false")
    elif word == "image":
        return 0 if (kept / "image").exists() else 1
    elif word == "import":
        (kept / "image").write_bytes(sys.stdin.buffer.read())
    elif word == "ps":
        print("\n".join(path.name for path in (kept / "containers").iterdir()))
    elif word == "rm":
        for name in words[1:]:
            (kept / "containers" / name).unlink(missing_ok=True)
    elif word == "run":
        return run(kept, words)
    return 0


def run(kept: Path, words: list[str]) -> int:
    options: dict[str, list[str]] = {}
    while words[0].startswith("--"):
        name = words.pop(0)
        if name not in TAKES_NOTHING:
            options.setdefault(name, []).append(words.pop(0))
    container = kept / "containers" / options["--name"][0]
    reads, writes = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        container.touch()
        ended = subprocess.run(bubblewrap(options, words[1:]), env={"PATH": "/usr/bin:/bin"}, check=False)
        container.unlink(missing_ok=True)
        os.write(writes, str(ended.returncode % 256).encode())
        os._exit(0)
    os.close(writes)
    return int(os.read(reads, 10) or 1)


def bubblewrap(options: dict[str, list[str]], program: list[str]) -> list[str]:
    uid, gid = map(int, options["--user"][0].split(":"))
    become = [] if uid == os.getuid() else ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    users = ["--unshare-user"] if uid else []
    words = [*become, "bwrap", *users, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--as-pid-1"]
    words += ["--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]
    mounts = {}
    for line in options["--mount"]:
        fields = dict((*field.split("=", 1), "")[:2] for field in next(csv.reader([line])))
        mounts[fields["dst"]] = ["--ro-bind" if "readonly" in fields else "--bind", fields["src"], fields["dst"]]
    for place in sorted(mounts):
        words += mounts[place]
    return [*words, "--remount-ro", "/", "--chdir", "/", *program]


if __name__ == "__main__":
    sys.exit(main())
