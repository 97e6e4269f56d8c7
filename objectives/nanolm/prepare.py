"""Makes the text of this objective from Python files that its set-up has installed anyway: nothing is downloaded.

    python prepare.py OUT_DIR

sources.json names the files, by package, with the sha256 of each, so that every machine makes the same bytes, or is
told which file differs. A package is for training or for scoring, never for both. What is scored comes from packages
that no run needs, and which runs cannot read. Half of their files are for validation, half for the holdout.

A passage that was seen before is left out, be it a licence or a copied function. The tokens are those of a byte-pair
encoding, learnt here from the text to train on. It begins with the 256 bytes, and the byte 0, which no source has,
stands before each file. Python's own regular expressions on bytes, integers and sorted names: no step depends on the
version of Python, on the number of processors or on the order of a set.
"""

import hashlib
import json
import re
import sys
import sysconfig
from collections import Counter, defaultdict
from heapq import heapify, heappop, heappush
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
VOCABULARY = 8192
FILE_BEGINS = b"\0"
PASSAGE = 200  # bytes: what is shorter may well occur twice
RARE = 2  # a word that occurs so seldom teaches the encoding nothing
# A word with what stands before it, two digits, signs with the end of their line, or a line's end with the indentation
# of the next. As in GPT-4's pattern, but in bytes, as what counts as a letter changes with the version of Python.
WORDS = re.compile(
    rb"\x00|[^\r\n0-9A-Za-z\x80-\xff\x00]?[A-Za-z\x80-\xff]+|[0-9]{1,2}"
    rb"| ?[^\sA-Za-z0-9\x80-\xff\x00]+|[ \t\r]*\n[ \t\r\n]*|[ \t]+(?=[ \t])|\s+"
)


class Unlike(Exception):
    """The installed packages are not those that the objective was made with; the text says which, and what to do."""


# ---- files -----------------------------------------------------------------------------------------------------------


def main(folder):
    sources = json.loads((HERE / "sources.json").read_text())
    seen = set()
    # What is scored first: of a passage that is in both, the text to train on goes without.
    hidden = [(path, passages_once(text, seen)) for path, text in read(sources["hidden"])]
    train = [(path, passages_once(text, seen)) for path, text in read(sources["train"])]
    texts = {
        "train": [text for _, text in train],
        "val": [text for path, text in hidden if half_of(path) == 0],
        "holdout": [text for path, text in hidden if half_of(path) == 1],
    }
    texts = {name: b"".join(FILE_BEGINS + text for text in parts if text) for name, parts in texts.items()}
    encoding = Encoding(Counter(WORDS.findall(texts["train"])))
    lengths = bytes(len(token) for token in encoding.tokens)
    if lengths != (HERE / "token_bytes.u8").read_bytes():
        (folder / "token_bytes.u8").write_bytes(lengths)
        raise Unlike("the tokens' lengths are not those of token_bytes.u8; the folder's files do not belong together")
    for name, text in texts.items():
        tokens = encoding.encode(text)
        (folder / f"{name}.u16").write_bytes(tokens.astype("<u2").tobytes())
        print(f"{name}: {len(text):,} bytes, {len(tokens):,} tokens, {len(text) / len(tokens):.2f} bytes a token")


def read(packages):
    """(path, text) of all files of these packages, in order. Raises Unlike for the first package that differs."""
    roots = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    for package, files in sorted(packages.items()):
        for path, digest in sorted(files.items()):
            found = next((root / path for root in roots if (root / path).is_file()), None)
            content = found.read_bytes() if found is not None else None
            if content is None or hashlib.sha256(content).hexdigest() != digest:
                raise Unlike(complaint(package, path, found))
            yield path, content.replace(b"\r\n", b"\n")


def complaint(package, path, found):
    name, _, version = package.partition("==")
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{package} is not installed, and {path} of it is needed. Install it: {repair(package)}"
    if installed != version:
        return f"{name} {installed} is installed; the text is made of {package}. Install that: {repair(package)}"
    if found is None:
        return f"{path} of {package} is missing. Install it again: {repair(package)}"
    return f"{found} is not as {package} brings it: it was changed. Install it again: {repair(package)}"


def repair(package):
    return f"{sys.executable} -m pip install --force-reinstall --no-deps {package}"


def half_of(path):
    return hashlib.sha256(path.encode()).digest()[0] % 2


def passages_once(text, seen):
    """A text without the passages, between empty lines, that are in `seen`; those it has are added."""
    kept = []
    for passage in text.split(b"\n\n"):
        if len(passage) >= PASSAGE:
            digest = hashlib.blake2b(passage.strip(), digest_size=16).digest()
            if digest in seen:
                continue
            seen.add(digest)
        kept.append(passage)
    return b"\n\n".join(kept)


# ---- tokens ----------------------------------------------------------------------------------------------------------


class Encoding:
    """A byte-pair encoding (Sennrich et al. 2016): the commonest pair of neighbours becomes a token, again and again.

    A token never reaches from one word into the next. Of pairs that are as common, that of smaller numbers is first.
    """

    def __init__(self, counts):
        self.tokens = [bytes([byte]) for byte in range(256)]
        self.ranks = {}
        self.known = {}  # word: its tokens
        words = sorted(word for word, count in counts.items() if count > RARE and len(word) > 1)
        split = [list(word) for word in words]
        self.learn(split, [counts[word] for word in words])
        self.known.update(zip(words, split, strict=True))

    def learn(self, split, counts):
        """Merge pairs until there are enough tokens; `split`, words as lists of tokens, is merged along."""
        total, where = defaultdict(int), defaultdict(set)
        for number, word in enumerate(split):
            for pair in pairwise(word):
                total[pair] += counts[number]
                where[pair].add(number)
        queue = [(-count, pair) for pair, count in total.items()]
        heapify(queue)
        while len(self.tokens) < VOCABULARY:
            count, pair = heappop(queue)
            if -count != total[pair]:  # its count has changed since it was put there, and it stands elsewhere too
                continue
            new = len(self.tokens)
            self.tokens.append(self.tokens[pair[0]] + self.tokens[pair[1]])
            self.ranks[pair] = new
            changed = set()
            for number in where.pop(pair):
                word, times = split[number], counts[number]
                for old in pairwise(word):
                    total[old] -= times
                    changed.add(old)
                merge(word, pair, new)
                for now in pairwise(word):
                    total[now] += times
                    where[now].add(number)
                    changed.add(now)
            for other in changed:
                if total[other] > 0:
                    heappush(queue, (-total[other], other))

    def encode(self, text):
        known = {}
        numbers = [known.setdefault(word, len(known)) for word in WORDS.findall(text)]
        split = [self.tokens_of(word) for word in known]
        lengths = np.array([len(tokens) for tokens in split])
        flat = np.concatenate([np.array(tokens, dtype=np.uint16) for tokens in split])
        begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        numbers = np.array(numbers)
        each = lengths[numbers]
        ends = np.cumsum(each)
        return flat[np.repeat(begins[numbers] - (ends - each), each) + np.arange(ends[-1])]

    def tokens_of(self, word):
        """The merges in the order in which they were learnt."""
        tokens = self.known.get(word)
        if tokens is None:
            tokens = list(word)
            while len(tokens) > 1:
                pair = min(pairwise(tokens), key=lambda pair: self.ranks.get(pair, VOCABULARY))
                if pair not in self.ranks:
                    break
                merge(tokens, pair, self.ranks[pair])
        return tokens


def merge(word, pair, new):
    """Put `new` in the place of each `pair` in the list `word`, from left to right."""
    first, second = pair
    at = 0
    while at < len(word) - 1:
        if word[at] == first and word[at + 1] == second:
            word[at : at + 2] = [new]
        at += 1


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Unlike as unlike:
        sys.exit(f"prepare.py: {unlike}")
