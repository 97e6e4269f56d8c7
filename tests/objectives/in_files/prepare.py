"""Make the data: lines of sums such as "37+5=42", the same bytes on every machine.

    python prepare.py OUT_DIR        writes the files that objective.toml lists as [[data]]

It runs in the sandbox: no network, and nothing but OUT_DIR can be written. Whatever it does must give the same bytes
everywhere, for objective.toml says their sha256: so only integers decide here, and no library's random numbers.
"""

import sys
from pathlib import Path

SPLITS = (("train", 200_000), ("val", 32_768), ("holdout", 32_768))
MASK = (1 << 64) - 1


def numbers(state):
    """Endless numbers under 2**31: Knuth's linear congruential generator (MMIX), its high bits."""
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        yield state >> 33


def sums(seed, size):
    """The first `size` bytes of a split's endless lines."""
    dice = numbers(seed)
    lines, length = [], 0
    while length < size:
        left, right = next(dice) % 100, next(dice) % 10
        lines.append(f"{left}+{right}={left + right}\n")
        length += len(lines[-1])
    return "".join(lines).encode("ascii")[:size]


def main():
    out = Path(sys.argv[1])
    for seed, (name, size) in enumerate(SPLITS, start=1):
        (out / f"{name}.bin").write_bytes(sums(seed, size))


if __name__ == "__main__":
    main()
