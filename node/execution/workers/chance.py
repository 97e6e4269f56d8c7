"""Chance of a run: mixes the run's own entropy into whatever a source seeds. Part of the workers that run sources.

A source that seeds its generators with a fixed number starts every run alike, and by trying many numbers one could find
a lucky one: better at every seed, and no idea. Here every seed a source gives to torch, numpy or random is replaced by
a hash of it and of the run's entropy. So a fixed number is another draw in every run, while generators seeded alike
stay alike within a run, and a run repeats to the bit.

The states of torch's and random's generators are seeds too: one that was read in this process may be set again, any
other is mixed. A generator that a source computes by hand is out of reach here. It imports nothing of ours.
"""

import ctypes
import gc
import hashlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

SEED_BITS = 63  # torch takes more, but not in every form
LONG_SEED = 1024  # bytes; the state of torch's generator has 5056
NUMPY_WORDS = 4  # of 32 bits: what numpy's own SeedSequence is as good as
NUMPY_SEEDED = ("SeedSequence", "MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64", "RandomState")


class Mixer:
    """A hash of seeds with one run's entropy; and which states and seeds came from generators of this process."""

    def __init__(self, entropy: bytes) -> None:
        self._entropy = entropy
        self._known: set[bytes] = set()

    def number(self, seed: object) -> int:
        """The number that stands for a seed in this run; for one that a generator told, the number itself."""
        if isinstance(seed, int) and self.is_known(seed):
            return seed
        mixed = int.from_bytes(self._digest(seed)[:8], "big") >> (64 - SEED_BITS)
        self.know(mixed)
        return mixed

    def words(self, seed: object) -> list[int]:
        """The same as numpy takes it: numbers of 32 bits."""
        digest = self._digest(seed)
        return [int.from_bytes(digest[4 * i : 4 * i + 4], "big") for i in range(NUMPY_WORDS)]

    def know(self, state: object) -> None:
        self._known.add(hashlib.sha256(_content(state)).digest())

    def is_known(self, state: object) -> bool:
        return hashlib.sha256(_content(state)).digest() in self._known

    def remembered(self) -> bytes:
        return b"".join(sorted(self._known))

    def recall(self, known: bytes) -> None:
        size = hashlib.sha256().digest_size
        self._known |= {known[start : start + size] for start in range(0, len(known), size)}

    def _digest(self, seed: object) -> bytes:
        return hashlib.sha256(self._entropy + _content(seed)).digest()


def _content(seed: object) -> bytes:
    """Bytes that are the same for seeds that mean the same: 5, numpy's 5 and a tensor of 5."""
    if isinstance(seed, torch.Tensor):
        seed = seed.cpu().numpy()
    if isinstance(seed, np.ndarray | np.generic):
        if seed.nbytes > LONG_SEED:  # the state of a generator
            return seed.tobytes()
        seed = seed.tolist()
    return repr(seed).encode()


_mixers: list[Mixer] = []  # of this process: one, once chance was mixed in


def begin(seed: int) -> None:
    """Seed every generator that all of a process share, so that nothing of the fork server's is left in them."""
    torch.manual_seed(seed)
    np.random.seed(seed % (1 << 32))
    random.seed(seed)


def mix_in(entropy: bytes) -> None:
    """From now on, in this process, every seed is mixed with this entropy."""
    mixer = Mixer(entropy)
    _mix_torch(mixer)
    _mix_numpy(mixer)
    _mix_random(mixer)
    _mixers.append(mixer)


def remembered() -> bytes:
    """The states and seeds that came from generators of this process, so that a run that is interrupted can go on."""
    return b"".join(mixer.remembered() for mixer in _mixers)


def recall(known: bytes) -> None:
    """Take these for states and seeds of this process too: an earlier process of the same run remembered them."""
    for mixer in _mixers:
        mixer.recall(known)


def _mix_torch(mixer: Mixer) -> None:
    """torch.manual_seed and all of torch.random come down to these methods of a generator, the default one or any."""
    kind = torch._C.Generator
    seed, get, put = kind.manual_seed, kind.get_state, kind.set_state

    def manual_seed(self: Any, number: Any) -> Any:
        return seed(self, mixer.number(int(number)))

    def get_state(self: Any) -> Any:
        state = get(self)
        mixer.know(state)
        return state

    def set_state(self: Any, state: Any) -> Any:
        return put(self, state) if mixer.is_known(state) else seed(self, mixer.number(_content(state)))

    _replace(kind, "manual_seed", manual_seed)
    _replace(kind, "get_state", get_state)
    _replace(kind, "set_state", set_state)


def _replace(kind: type, name: str, function: Callable[..., Any]) -> None:
    """Put a method in the place of one of a type that is written in C, for every object of it that there is.

    Python refuses to set attributes of such types. The dictionary behind them may be written to all the same, if the
    interpreter is told to forget what it looked up in it (PyType_Modified, in the C API's manual).
    """
    methods = gc.get_referents(kind.__dict__)[0]
    methods[name] = function
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _mix_numpy(mixer: Mixer) -> None:
    def seeded(kind: Any) -> Any:
        """The same class, its instances seeded with a mixed seed; without one they are seeded as ever."""

        class Mixed(kind):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                if args and _is_seed(args[0]):
                    args = (mixer.words(args[0]), *args[1:])
                for name in ("seed", "entropy"):
                    if name in kwargs and _is_seed(kwargs[name]):
                        kwargs[name] = mixer.words(kwargs[name])
                super().__init__(*args, **kwargs)

        Mixed.__name__ = Mixed.__qualname__ = kind.__name__
        return Mixed

    for name in NUMPY_SEEDED:
        setattr(np.random, name, seeded(getattr(np.random, name)))
    default_rng = np.random.default_rng

    def mixed_rng(seed: Any = None) -> Any:
        return default_rng(mixer.words(seed) if _is_seed(seed) else seed)

    np.random.default_rng = mixed_rng
    legacy: Any = np.random.mtrand.RandomState
    method = legacy.seed

    def mixed_seed(self: Any, seed: Any = None) -> None:
        method(self, mixer.words(seed) if _is_seed(seed) else seed)

    _replace(legacy, "seed", mixed_seed)
    np.random.seed = np.random.mtrand._rand.seed  # bound again, to the method that is there now


def _is_seed(seed: object) -> bool:
    """Whether numpy is given a number or numbers to begin with, and not a generator, or nothing."""
    return isinstance(seed, int | float | np.generic | np.ndarray | list | tuple | range)


def _mix_random(mixer: Mixer) -> None:
    kind = random.Random
    seed, get, put = kind.seed, kind.getstate, kind.setstate

    def mixed_seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        seed(self, a if a is None else mixer.number(a), version)

    def getstate(self: random.Random) -> Any:
        state = get(self)
        mixer.know(state)
        return state

    def setstate(self: random.Random, state: Any) -> None:
        if mixer.is_known(state):
            put(self, state)
        else:
            seed(self, mixer.number(state))

    kind.seed, kind.getstate, kind.setstate = mixed_seed, getstate, setstate  # type: ignore[method-assign]
    shared = random._inst
    random.seed, random.getstate, random.setstate = shared.seed, shared.getstate, shared.setstate
