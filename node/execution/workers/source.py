"""Loading a source, and what is told of its failure. Part of the workers that run sources; imports nothing of ours."""

import contextlib
import os
import sys
import traceback
import types
from collections.abc import Mapping
from typing import Any

import torch

from node.execution.workers import chance
from node.execution.workers.source_modules import NotPython, SourceModules

TRACEBACK_LINES = 12
NO_MEMORY = ("allocate memory", "out of memory", "ALLOC_FAILED")  # in what torch, CUDA and cuBLAS say


def load(files: Mapping[str, bytes | bytearray], seed: int) -> types.ModuleType:
    """The source as a module. Raises NotPython when it cannot be compiled, and whatever its own top level raises."""
    modules = SourceModules(files)
    chance.begin(seed)
    return modules.load()


def repeats(job: Mapping[str, Any]) -> bool:
    """Whether the run is to give the same bits again. Not where it has seconds of a GPU, since that costs speed."""
    return not ("gpu" in job and "seconds" in job)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the host's or a GPU's. Of the latter torch has an error, and its libraries texts."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)


def print_refusal(error: NotPython) -> None:
    """Print where a source cannot be compiled."""
    print("".join(traceback.format_exception_only(error.__cause__)).strip(), file=sys.stderr)


def print_traceback(error: BaseException) -> None:
    """Print the end of a traceback, without the workers' own frames above those of the source."""
    trace, ours = error.__traceback__, os.path.dirname(__file__)
    while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == ours:
        trace = trace.tb_next
    lines = "".join(traceback.format_exception(type(error), error, trace)).splitlines()
    with contextlib.suppress(Exception):  # the source may have put anything there
        sys.stdout.flush()  # or what it printed before would come after the traceback, and push it out of what is kept
    print("\n".join(lines[-TRACEBACK_LINES:]), file=sys.stderr)
