"""What is known to trip whoever runs somebody else's command and reads its output, each as a small folder.

`tests/node/execution/command/test_command_runner.py` runs them, and `scripts/command_traps.py` shows what came of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.records import Failure

LINES = 'run = "bash bench.sh"'
BLOCK = 'run = "bash bench.sh"\nvalues = "block"'
FILE = 'run = "bash bench.sh"\nvalues = "json"\nfiles = ["result.json"]'
BINARY = "import sys; sys.stdout.buffer.write({})"


@dataclass(frozen=True)
class Trap:
    """A command, and what is to come of it: a value, or a failure whose sentence has `says` in it.

    shell: what bench.sh does. seconds: the wall time that a run may take.
    """

    name: str
    shell: str
    value: float | None = None
    failure: Failure | None = None
    says: str = ""
    command: str = LINES
    rest: str = ""
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    seconds: float = 20
    memory_mb: int = 1000


def _python(code: str) -> str:
    return f"exec python3 - <<'END'\n{code}\nEND"


VALUES = (
    # How a value is said
    Trap(
        "progress rewritten with \\r, and no line end",
        r"printf '1 (50%%)\r2 (99%%)\rscore:  0.5\r'",
        0.5,
        command=BLOCK,
    ),
    Trap("CRLF line ends", r"printf 'METRIC score=1.5\r\nMETRIC other=2\r\n'", 1.5),
    Trap("another encoding: latin-1", r"printf 'f\374nf \265s\nMETRIC score=1.5\n'", 1.5),
    Trap(
        "another encoding: UTF-16 with a mark",
        _python(BINARY.format("'größe\\nMETRIC score=1.5\\n'.encode('utf-16')")),
        1.5,
    ),
    Trap("bytes that are no text", r"printf 'a\377\303\000b\nMETRIC score=1.5\n'", 1.5),
    Trap("colours", r"printf '\033[32mMETRIC score=1.5\033[0m\n'", 1.5),
    Trap("one name twice: the last counts", "echo METRIC score=9; echo METRIC score=1.5", 1.5),
    Trap("a suffix: 1.234x", "echo 'score: 1.234x'", 1.234, command=BLOCK),
    Trap("not a number: nan", "echo METRIC score=nan", failure=Failure.DIVERGED, says="score is nan: it is not finite"),
    Trap("infinite: -inf", "echo METRIC score=-inf", failure=Failure.DIVERGED, says="score is -inf"),
    Trap("hexadecimal: 0x10", "echo METRIC score=0x10", failure=Failure.INVALID, says="must be decimal"),
    Trap("underscores: 1_000", "echo METRIC score=1_000", failure=Failure.INVALID, says="no underscores"),
    Trap("a comma: 1,234", "echo METRIC score=1,234", failure=Failure.INVALID, says="comma"),
    Trap("another unit: 12 s", "echo 'score: 12 s'", failure=Failure.INVALID, says="s is no suffix", command=BLOCK),
    Trap(
        "zero on a logarithmic scale",
        "echo METRIC score=0",
        failure=Failure.INVALID,
        says="has no logarithm",
    ),
    Trap(
        "the metric is not printed", "echo METRIC scroe=1", failure=Failure.EXCEPTION, says="the names there are: scroe"
    ),
    Trap("nothing is printed", "true", failure=Failure.EXCEPTION, says="there is no score; no value was found"),
    Trap(
        "printed in another form",
        "echo 'score: 1.5'",
        failure=Failure.EXCEPTION,
        says='it printed a line `score: NUMBER`: set command.values to "block"',
    ),
    # Result files
    Trap("JSON", """echo '{"public": {"score": 1.5}}' > result.json""", 1.5, command=FILE),
    Trap(
        "JSON: true",
        """echo '{"score": true}' > result.json""",
        failure=Failure.INVALID,
        says="no numbers",
        command=FILE,
    ),
    Trap(
        "JSON: a text",
        """echo '{"score": "1"}' > result.json""",
        failure=Failure.INVALID,
        says="a text",
        command=FILE,
    ),
    Trap(
        "JSON: NaN",
        """echo '{"score": NaN}' > result.json""",
        failure=Failure.DIVERGED,
        says="not finite",
        command=FILE,
    ),
    Trap(
        "JSON: a million digits",
        _python("""open("result.json", "w").write('{"score": ' + "1" * 1_000_000 + "}")"""),
        failure=Failure.DIVERGED,
        says="not finite",
        command=FILE,
    ),
    Trap(
        "JSON: 5 MB",
        _python("""open("result.json", "w").write('{"score": 1, "x": "' + "x" * 5_000_000 + '"}')"""),
        failure=Failure.OUTPUT,
        says="at most 1 MiB",
        command=FILE,
    ),
    Trap(
        "JSON: nested 100,000 deep",
        _python("""open("result.json", "w").write("[" * 100_000)"""),
        failure=Failure.INVALID,
        says="nested too deeply",
        command=FILE,
    ),
    Trap(
        "JSON: half of it",
        "echo '{\"score\": 1' > result.json",
        failure=Failure.INVALID,
        says="not valid",
        command=FILE,
    ),
    Trap(
        "a result file of before",
        "true",
        failure=Failure.EXCEPTION,
        says="the run wrote no result.json",
        command=FILE,
        files={"result.json": '{"score": 0.1}'},
    ),
    Trap(
        "the result file is a link",
        "ln -s objective.toml result.json",
        failure=Failure.EXCEPTION,
        says="the run wrote no result.json",
        command=FILE,
    ),
    Trap(
        "the result file is a folder",
        "mkdir result.json",
        failure=Failure.EXCEPTION,
        says="no regular",
        command=FILE,
    ),
)

PROCESSES = (
    # How a run fails
    Trap("exit status 3 after a value", "echo METRIC score=1; exit 3", failure=Failure.EXCEPTION, says="exit status 3"),
    Trap(
        "FAIL at the end of a \\r line, exit status 0",
        r"printf 'METRIC score=1\nstep 7 | loss nan\rstep 8   FAIL\n'",
        failure=Failure.INVALID,
        says="'FAIL'",
        command=f'{LINES}\nfailed_by = ["FAIL"]',
    ),
    Trap(
        "exit status 0, and a check printed as failed",
        r"printf 'score: 1\ncorrectness: FAIL\n'",
        failure=Failure.INVALID,
        says="correctness is FAIL, and must be PASS",
        command=BLOCK,
        rest='[command.require]\ncorrectness = "PASS"',
    ),
    Trap(
        "exit status 0, and checks that fail",
        "echo METRIC score=1",
        failure=Failure.INVALID,
        says="expected 3 rows\nchecks failed: they ended with exit status 1",
        command=f'{LINES}\nchecks = "echo expected 3 rows; false"',
    ),
    Trap("ended by a signal", "kill -SEGV $$", failure=Failure.EXCEPTION, says="by signal 11"),
    # What does not end
    Trap("a child outlives it and holds the pipe", "sleep 1000 & echo METRIC score=1.5", 1.5),
    Trap("a daemon, in a session of its own", "setsid nohup sleep 1000 > /dev/null & echo METRIC score=1.5", 1.5),
    Trap(
        "SIGTERM is ignored",
        "trap '' TERM INT HUP; echo on; while true; do sleep 1; done",
        failure=Failure.TIMEOUT,
        says="did not end within 1 s",
        seconds=1,
    ),
    Trap("it waits for input", "read line && exit 7; echo METRIC score=1.5", 1.5),
    Trap(
        "a fork bomb",
        _python("import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"),
        failure=Failure.EXCEPTION,
        says="processes",
        memory_mb=8000,
    ),
    Trap("an endless output", "yes METRIC score=1", failure=Failure.OUTPUT, says="printed more than 64 MiB"),
    Trap(
        "too much memory",
        _python("eaten = []\nwhile True: eaten.append(b'x' * (8 << 20))"),
        failure=Failure.MEMORY,
        says="more memory",
        memory_mb=200,
    ),
    # What it may not do
    Trap(
        "it changes what measures it",
        "echo METRIC score=1.5; (echo 'echo METRIC score=0.1' > bench.sh; rm -f bench.sh; mv bench.sh x) 2> /dev/null;"
        " cp objective.toml y; rm -f objective.toml; ls objective.toml > /dev/null",
        1.5,
    ),
    Trap(
        "it asks the network",
        _python("import urllib.request; urllib.request.urlopen('http://127.0.0.1:9', timeout=5)"),
        failure=Failure.EXCEPTION,
        says="not permitted",
    ),
)

TRAPS = VALUES + PROCESSES
