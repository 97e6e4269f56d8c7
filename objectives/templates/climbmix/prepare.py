"""Makes the text of this objective from shards of ClimbMix, English text of the web in a drawn order.

    python prepare.py OUT_DIR NAME=PATH ...

Each argument is a shard, a parquet file with a column "text", in the order of [[downloads]] in objective.toml. The last
shard is for scoring, half of its documents for validation and half for the holdout; all before it are to train on. As
karpathy/autoresearch has it, the last shard of the whole collection is the one that is scored.

Of each split so much is read as stands below, a batch of documents at a time. Tokens are nanolm's: a byte-pair encoding
learnt from the beginning of the text to train on, with the byte 0 before each document. It writes train.u16, val.u16,
holdout.u16, and token_bytes.u8, how many bytes each token stands for.
"""

import hashlib
import re
import sys
from collections import Counter
from itertools import chain, islice
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from nanolm_prepare import FILE_BEGINS, WORDS, Encoding, passages_once

PYARROW = "pyarrow==26.0.1"  # what reads parquet files
TRAIN_BYTES = 240_000_000  # at most
SCORED_BYTES = 12_000_000  # for each of validation and holdout: judge.py asks about 2,048 windows of 1,024 tokens
LEARNT_CHUNKS = 6  # from which the encoding is learnt
CHUNK_BYTES = 8_000_000  # that are cut into tokens at once
BATCH = 64  # documents
# The time to cut a word grows with the square of its length. A document with one like this (letters, signs or spaces
# without end) is left out; so no token is longer than a byte can tell.
ENDLESS_WORD = re.compile(rb"[A-Za-z\x80-\xff]{100}|[^\sA-Za-z0-9\x80-\xff]{100}|\s{100}")


class Unusable(Exception):
    """The shards cannot be made into this objective's text; the message says why, and what to do."""


def main(folder, shards):
    """shards: (name, path) of each."""
    if len(shards) < 2:
        raise Unusable("objective.toml must name two shards at least under [[downloads]]: the last is for scoring")
    seen = set()
    # What is scored first: of a passage that is in both, the text to train on goes without.
    scored = {name: b"".join(parts) for name, parts in scored_documents(*shards[-1], seen).items()}
    chunks = chunked(documents(shards[:-1], seen), TRAIN_BYTES)
    first = list(islice(chunks, LEARNT_CHUNKS))
    counts = Counter()
    for chunk in first:
        counts.update(WORDS.findall(chunk))
    try:
        encoding = Encoding(counts)
    except IndexError:
        raise Unusable("the shards to train on have too few words to learn an encoding from; name others") from None
    write(folder, "train", encoding, chain(first, chunks))
    for name, text in scored.items():
        write(folder, name, encoding, [text])
    (folder / "token_bytes.u8").write_bytes(bytes(len(token) for token in encoding.tokens))


def write(folder, name, encoding, texts):
    size = count = 0
    with (folder / f"{name}.u16").open("wb") as file:
        for text in texts:
            tokens = encoding.encode(text)
            file.write(tokens.astype("<u2").tobytes())
            size, count = size + len(text), count + len(tokens)
    print(f"{name}: {size:,} bytes, {count:,} tokens, {size / max(count, 1):.2f} bytes a token", flush=True)


def scored_documents(name, path, seen):
    """The documents for validation and for the holdout, by split. A document's own bytes say to which it belongs."""
    found, sizes = {"val": [], "holdout": []}, {"val": 0, "holdout": 0}
    for document in documents([(name, path)], seen):
        split = ("val", "holdout")[hashlib.sha256(document).digest()[0] % 2]
        if sizes[split] < SCORED_BYTES:
            found[split].append(document)
            sizes[split] += len(document)
        elif min(sizes.values()) >= SCORED_BYTES:
            return found
    if min(sizes.values()) < SCORED_BYTES:
        raise Unusable(f"{name} has {sum(sizes.values()):,} bytes of text, and {2 * SCORED_BYTES:,} are to be scored")
    return found


def chunked(parts, most):
    """The parts put together into chunks, until so many bytes are there."""
    chunk, size, total = [], 0, 0
    for part in parts:
        chunk.append(part)
        size, total = size + len(part), total + len(part)
        if size >= CHUNK_BYTES or total >= most:
            yield b"".join(chunk)
            chunk, size = [], 0
        if total >= most:
            return
    if chunk:
        yield b"".join(chunk)


def documents(shards, seen):
    """The documents of these shards in their order, each with its beginning, without passages seen before."""
    for name, path in shards:
        for text in texts_of(name, path):
            text = text.encode("utf-8", "ignore").replace(b"\r\n", b"\n").replace(FILE_BEGINS, b"")
            text = b"" if ENDLESS_WORD.search(text) else passages_once(text, seen)
            if text.strip():
                yield FILE_BEGINS + text


def texts_of(name, path):
    """The column "text" of a parquet file, a batch of rows at a time."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Unusable(
            f"ClimbMix is in parquet files, which pyarrow reads, and it is not installed. Install it: {sys.executable} "
            f"-m pip install {PYARROW}"
        ) from None
    pyarrow.set_cpu_count(1)  # the sandbox lets only a few threads be
    pyarrow.set_io_thread_count(1)
    try:
        with parquet.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
            if "text" not in file.schema_arrow.names:
                raise Unusable(f'{name} has no column "text"; name shards of ClimbMix under [[downloads]]')
            for batch in file.iter_batches(BATCH, columns=["text"], use_threads=False):
                yield from (text for text in batch.column(0).to_pylist() if text)
    except (pyarrow.ArrowException, OSError) as error:
        raise Unusable(f"{name} cannot be read as a parquet file: {error}") from None


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), [tuple(argument.split("=", 1)) for argument in sys.argv[2:]])
    except Unusable as unusable:
        sys.exit(f"prepare.py: {unusable}")
