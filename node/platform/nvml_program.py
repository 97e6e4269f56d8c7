"""A program that asks NVIDIA's driver, one question a line on its input and one answer a line on its output, as JSON.

It is a process of its own because the driver's library can hang and crash, and the node must do neither. It ends when
its input does. Knows NVML (docs.nvidia.com/deploy/nvml-api) and nothing of ours.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pynvml

_DRAWS_MUCH = 10  # percent of the GPU's time
_DRAWING_SECONDS = 3.0  # over which it is looked at
# What a GPU or a user is answered for whom there is nothing to tell.
_NO_ANSWER = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_NOT_FOUND)


def main() -> None:
    for line in sys.stdin:
        try:
            request = json.loads(line)
            pynvml.nvmlInit()  # again is free, and a driver that was not loaded at first may be now
            answer = _gpus() if request["ask"] == "gpus" else _use(request["uuid"])
        except pynvml.NVMLError as problem:
            answer = {"error": str(problem)}
        print(json.dumps(answer), flush=True)


def _gpus() -> dict[str, Any]:
    rows = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            rows.append(_gpu(index))
        except pynvml.NVMLError:
            continue  # one that has fallen off the bus, or that this user may not use
    return {"gpus": rows, "driver": _text(_or("", pynvml.nvmlSystemGetDriverVersion))}


def _gpu(index: int) -> dict[str, Any]:
    gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
    # A GPU that shares its memory with the processor has none of its own to tell of.
    memory = _or(None, pynvml.nvmlDeviceGetMemoryInfo, gpu)
    return {
        "index": index,
        "name": _text(_or("", pynvml.nvmlDeviceGetName, gpu)),
        "memory": memory.total if memory else 0,
        "uuid": _text(_or("", pynvml.nvmlDeviceGetUUID, gpu)),
        "minor": _or(-1, pynvml.nvmlDeviceGetMinorNumber, gpu),
        "mig": bool(_or((0, 0), pynvml.nvmlDeviceGetMigMode, gpu)[0]),
    }


def _use(uuid: str) -> dict[str, Any]:
    gpu = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    memory = _or(None, pynvml.nvmlDeviceGetMemoryInfo, gpu)
    rates = _or(None, pynvml.nvmlDeviceGetUtilizationRates, gpu)
    computing = {one.pid: one.usedGpuMemory or 0 for one in _or([], pynvml.nvmlDeviceGetComputeRunningProcesses, gpu)}
    # A desktop always draws. What draws much is a game, or as busy as one.
    since = int(1e6 * (time.time() - _DRAWING_SECONDS))
    samples = _or([], pynvml.nvmlDeviceGetProcessUtilization, gpu, since)
    much = {sample.pid for sample in samples if sample.smUtil >= _DRAWS_MUCH}
    drawing = _or([], pynvml.nvmlDeviceGetGraphicsRunningProcesses, gpu)
    processes = {one.pid: one.usedGpuMemory or 0 for one in drawing if one.pid in much} | computing
    return {
        "free": memory.free if memory else 0,
        "total": memory.total if memory else 0,
        "processes": list(processes.items()),
        "busy": rates.gpu if rates else None,
        "celsius": _or(None, pynvml.nvmlDeviceGetTemperature, gpu, pynvml.NVML_TEMPERATURE_GPU),
    }


def _or(otherwise: Any, ask: Callable[..., Any], *of: Any) -> Any:
    """The answer, or what stands for one that this GPU cannot give."""
    try:
        return ask(*of)
    except pynvml.NVMLError as problem:
        # What a GPU does not offer is no fault of the driver. Anything else is: it must not look like an idle GPU.
        if problem.value in _NO_ANSWER:
            return otherwise
        raise


def _text(name: str | bytes) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


if __name__ == "__main__":
    main()
