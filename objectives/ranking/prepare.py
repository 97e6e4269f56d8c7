"""Makes the collections of this objective from docstrings that its set-up has installed anyway: nothing is downloaded.

    python prepare.py OUT_DIR

sources.json names the files, by package, with the sha256 of each, so that every machine makes the same bytes, or is
told which file differs. No run needs these packages, and none can read them.

A document is a docstring, cut into pieces: its sentences, and what is none. A run takes one of the sentences that may
be asked away and asks for the document by it. All docstrings of a file are for the same use: for learning ("train"),
for validation or for the holdout, so that no collection says anything of another. A docstring that is much the same as
an earlier one is left out. A sentence is not asked where it occurs twice, or where five of its words stand elsewhere in
its docstring as they stand in it: finding those is no test of anything.
"""

import ast
import hashlib
import json
import re
import sys
import sysconfig
from collections import Counter
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
USES = {"train": range(2), "val": range(2, 6), "holdout": range(6, 10)}  # of ten parts into which files fall by hash
SHORTEST_QUERY, LONGEST_QUERY = 5, 40  # words of a sentence that is asked
SHORTEST = 25  # words of a docstring
LONGEST = 3000  # bytes, so that one long document does not make a run dear
RUN = 5  # words: as many in a row that occur in two texts were copied
MOST_SEEN = 0.4  # of a document's runs of words: a docstring with more of earlier ones is a copy
WORD = re.compile(r"[A-Za-z0-9]+")
PIECE = re.compile(r".+?(?:[.!?](?=\s)|\n *(?=\n)|\Z)\s*", re.DOTALL)  # a sentence, or what ends with a paragraph
SENTENCE = re.compile(r"[A-Z][^={}\[\]<>|]*[.!?]\s*")
CONTROL = re.compile(r"[^\n -~]")


class Unlike(Exception):
    """The installed packages are not those that the objective was made with; the text says which, and what to do."""


def main(folder):
    sources = json.loads((HERE / "sources.json").read_text())
    seen = set()
    documents = [
        {"file": path, "pieces": PIECE.findall(docstring)}
        for path, text in read(sources)
        for docstring in docstrings_of(text)
        if not copied(words(docstring), seen)
    ]
    repeated = Counter(key_of(piece) for document in documents for piece in document["pieces"])
    for document in documents:
        document["asked"] = [
            number for number, piece in enumerate(document["pieces"]) if asked(piece, number, document, repeated)
        ]
    for use, parts in USES.items():
        chosen = [document for document in documents if part_of(document["file"]) in parts]
        (folder / f"{use}.json").write_text(json.dumps(chosen, indent=0))
        size = sum(len(piece) for document in chosen for piece in document["pieces"])
        queries = sum(len(document["asked"]) for document in chosen)
        print(f"{use}: {len(chosen):,} documents of {size:,} bytes, {queries:,} sentences that may be asked")


def asked(piece, number, document, repeated):
    """Whether a piece of a docstring may be asked: a sentence of prose, the only one of its kind."""
    own = words(piece)
    if not SHORTEST_QUERY <= len(own) <= LONGEST_QUERY or not SENTENCE.fullmatch(piece) or repeated[key_of(piece)] > 1:
        return False
    rest = "".join(other for at, other in enumerate(document["pieces"]) if at != number)
    return not runs(own) & runs(words(rest))


def key_of(piece):
    return " ".join(words(piece))


# ---- files -----------------------------------------------------------------------------------------------------------


def read(packages):
    """(path, text) of all files of these packages, in order. Raises Unlike for the first package that differs."""
    roots = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    for package, files in sorted(packages.items()):
        for path, digest in sorted(files.items()):
            found = next((root / path for root in roots if (root / path).is_file()), None)
            content = found.read_bytes() if found is not None else None
            if content is None or hashlib.sha256(content).hexdigest() != digest:
                raise Unlike(complaint(package, path, found))
            yield path, content.decode().replace("\r\n", "\n")


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


def part_of(path):
    return hashlib.sha256(path.encode()).digest()[0] % 10


# ---- docstrings ------------------------------------------------------------------------------------------------------


def docstrings_of(text):
    """The docstrings of a file that are long enough for one of their sentences to be taken away."""
    for node in ast.walk(ast.parse(text)):
        docstring = docstring_of(node)[:LONGEST]
        if len(words(docstring)) >= SHORTEST:
            yield docstring


def docstring_of(node):
    """The docstring of a piece of syntax, without the indentation of its lines; "" where there is none.

    Neither `ast.get_docstring` nor `textwrap.dedent`: what they make of spaces differs with the version of Python.
    """
    inner = getattr(node, "body", None)
    first = inner[0] if isinstance(inner, list) and inner and isinstance(inner[0], ast.Expr) else None
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or first is None:
        return ""
    if not isinstance(first.value, ast.Constant) or not isinstance(first.value.value, str):
        return ""
    lines = [line.rstrip(" ") for line in CONTROL.sub(" ", first.value.value).split("\n")]
    indents = [len(line) - len(line.lstrip(" ")) for line in lines[1:] if line]
    indent = min(indents, default=0)
    return "\n".join([lines[0].strip(" "), *(line[indent:] for line in lines[1:])]).strip("\n")


def words(text):
    return [word.lower() for word in WORD.findall(text)]


def runs(text):
    """The runs of RUN words in a list of words; of a shorter one, the list as a whole."""
    return {tuple(text[at : at + RUN]) for at in range(max(1, len(text) - RUN + 1))}


def copied(text, seen):
    """Whether much of a document was in earlier ones, whose runs are `seen`; where not, its own are added."""
    own = {hash_of(run) for run in runs(text)}
    if len(own & seen) > MOST_SEEN * len(own):
        return True
    seen |= own
    return False


def hash_of(run):
    return hashlib.blake2b(" ".join(run).encode(), digest_size=8).digest()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Unlike as unlike:
        sys.exit(f"prepare.py: {unlike}")
