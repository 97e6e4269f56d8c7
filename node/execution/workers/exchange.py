"""How the workers read and write their pipes, and load a module that they were given. Imports nothing of ours."""

import importlib.util
import linecache
import os
import struct
import sys
import types

_READ_BYTES = 1 << 20  # in one read


def send(descriptor: int, *parts: bytes | memoryview) -> None:
    """Write all of these bytes, however many a pipe takes at once."""
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> bytearray:
    """One part with its <u64 length> in front. Ends the process when the pipe has ended."""
    (length,) = struct.unpack("<Q", receive_exactly(descriptor, 8))
    return receive_exactly(descriptor, length)


def receive_exactly(descriptor: int, length: int) -> bytearray:
    data = bytearray()
    while len(data) < length:
        more = os.read(descriptor, min(length - len(data), _READ_BYTES))
        if not more:
            sys.exit(0)
        data += more
    return data


def read(file: int | str, most: int = -1) -> bytes:
    """What is in a file, given by its descriptor or its path; of a large one the first `most` bytes."""
    with open(file, "rb") as opened:
        return opened.read(most)


def load_module(file: int | str, name: str) -> types.ModuleType:
    """A module of the objective's, from a descriptor or a path. Raises whatever the module raises."""
    path = file if isinstance(file, str) else f"{name}.py"
    content = read(file)
    text = content.decode("utf-8")
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)  # for tracebacks
    spec = importlib.util.spec_from_loader(name, None, origin=path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = path
    sys.modules[name] = module
    exec(compile(content, path, "exec", dont_inherit=True), module.__dict__)
    return module
