"""The program's worker: runs one source, which answers arrays with arrays. In a sandbox: a fork without any files, or
where it has a GPU a process of its own (gpu_room.py).

    program.py JOBS_FD QUESTIONS_FD ANSWERS_FD [NAME=DATA_FD...]

On JOBS_FD comes the job, as parts of <u64 length> and bytes: JSON {seed, chance, files, threads, repeats} and perhaps
{scale, gpu}, and the files: the source's, then those of the objective that these import. The judge, and nobody else,
then sends messages of arrays (arrays.py) on QUESTIONS_FD: one to prepare with, then questions. Each is answered on
ANSWERS_FD: the first, when the source's `prepare(task)` has returned, with no arrays; a question with what
`answer(task, inputs)` returns. The process ends when the judge asks no more, or when the source fails: its exit status
then says how (exchange.py), and standard error why. It imports nothing of ours.

Nothing that this process sends is trusted: the source runs in it and could send anything.
"""

import json
import os
import sys
import types
from typing import Any

import torch

from node.execution.workers import arrays, chance
from node.execution.workers.exchange import STATUS_OF_FAILURE, read, receive
from node.execution.workers.source import load, out_of_memory, print_refusal, print_traceback
from node.execution.workers.source_modules import NotPython


class Task:
    """What a source is given. It stays the same object from question to question, so a source may keep state in it."""

    def __init__(self, job: dict[str, Any], data: dict[str, bytes]) -> None:
        self.seed: int = job["seed"]
        self.scale: str = job.get("scale", "")  # the name of the objective's scale; "" is its own budget
        self.threads: int = job["threads"]
        self.device = torch.device(job.get("gpu", "cpu"))
        self.data = data  # the objective's own files for a source, by name
        self.arrays: dict[str, arrays.Array] = {}  # what the judge gave to prepare with, by name


def main() -> None:
    jobs, questions, answers = (int(number) for number in sys.argv[1:4])
    data = {name: read(int(file)) for name, _, file in (word.rpartition("=") for word in sys.argv[4:])}
    job = json.loads(receive(jobs))
    files = {path: receive(jobs) for path in job["files"]}
    os.close(jobs)
    torch.set_num_threads(job["threads"])
    torch.use_deterministic_algorithms(job["repeats"])
    chance.mix_in(bytes.fromhex(job["chance"]))
    failure = "exception"
    try:
        serve(load(files, job["seed"]), Task(job, data), questions, answers)
    except arrays.Ended:
        return
    except NotPython as error:
        failure = "syntax"
        print_refusal(error)
    except SystemExit as error:
        print(f"the source ended the run: {error.code}", file=sys.stderr)
    except BaseException as error:
        failure = "memory" if out_of_memory(error) else "exception"
        print_traceback(error)
    sys.exit(STATUS_OF_FAILURE[failure])


def serve(module: types.ModuleType, task: Task, questions: int, answers: int) -> None:
    """Answer until the judge is gone, which raises Ended. Raises whatever the source raises."""
    chance.begin(task.seed)
    while True:
        tag, given = arrays.receive(questions)
        if tag == arrays.PREPARE:
            task.arrays = given if isinstance(given, dict) else {}
            if hasattr(module, "prepare"):
                module.prepare(task)
            arrays.write(answers, arrays.packed(arrays.ANSWER, {}))
        else:
            arrays.write(answers, arrays.packed(arrays.ANSWER, module.answer(task, given)))


if __name__ == "__main__":
    main()
