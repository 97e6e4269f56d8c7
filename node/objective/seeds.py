"""Seeds: which constants of a source do nothing but seed a random generator.

Another seed is another draw, not another idea: it changes a run's result by chance alone. So such constants are no
search space, and an edit of nothing else is not worth a trial. They are found by data flow on the syntax tree, and
none of the code is executed. Every doubt is settled for the constant: one that may reach anything else than a seed is
not called a seed.

Names are not told apart by scope: a name's uses are all its uses in the source, whatever function or file they stand
in. That can hide a seed, and never makes one of a constant that does more. What a generator draws, or tells of its own
seed, is not followed: it is chance.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from node.objective.edits import WORD

# Longer sources are taken to have no seeds: following values takes three times as long as a fingerprint, and each of 50
# hostile suggestions may be of the greatest length. The objectives' own sources have some 5,000 characters.
MAX_FOLLOWED_CHARACTERS = 64 << 10

# Where a value goes on to: the names it is given to, none where it seeds a generator. None: anywhere else.
End = frozenset[str] | None
SEEDED: End = frozenset()

SEED_METHODS = frozenset({"manual_seed", "manual_seed_all", "seed"})  # of torch, of generators, of random and numpy
SEED_CALLS = frozenset(
    {"random.Random"}
    | {
        f"numpy.random.{name}"
        for name in (
            "default_rng", "SeedSequence", "RandomState", "MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64",
        )
    }
)  # fmt: skip
SEED_ARGUMENTS = frozenset({"seed", "random_state", "a", "x", "entropy"})  # of these methods and calls
SEED_KEYWORDS = frozenset({"seed", "random_state"})  # of any call to what the source does not define
# What only computes a value: each part of such an expression goes where the whole one goes.
COMPUTING = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.IfExp, ast.Compare, ast.Tuple, ast.List, ast.Subscript, ast.Slice,
    ast.JoinedStr, ast.FormattedValue,
)  # fmt: skip
COMPUTING_CALLS = frozenset({"abs", "float", "hash", "int", "max", "min", "round", "str", "sum"})
Function = ast.FunctionDef | ast.AsyncFunctionDef
PLACEHOLDER = ast.Constant("a seed")


def seed_names(trees: Sequence[ast.Module], words: Iterable[str] = ()) -> frozenset[str]:
    """The names of a source's files whose every use ends in a seed.

    trees: the normalised syntax trees of its Python files. words: what stands in its other files.
    For example, of SEED = 1, RATE = 2, torch.manual_seed(SEED + 1) and a function that returns RATE, only SEED.
    """
    return _Flow(trees, words).seed_names


def ignores_run_seed(trees: Sequence[ast.Module]) -> bool:
    """Whether a source seeds generators and nowhere reads the run's own seed, `task.seed`."""
    flow = _Flow(trees, ())
    return flow.seeds and not flow.run_seed_reads


def without_seeds(trees: Sequence[ast.Module], words: Iterable[str] = ()) -> list[str]:
    """The normalised syntax trees as texts, with one placeholder for every constant that only seeds."""
    flow = _Flow(trees, words)
    return [ast.dump(_WithoutSeeds(flow).visit(tree), annotate_fields=False) for tree in trees]


class _Signature(NamedTuple):
    """A function's parameters, worked out once: a source may have many, and call it many times."""

    positional: tuple[str, ...]
    names: frozenset[str]


_NO_PARAMETERS = _Signature((), frozenset())


def _signature(arguments: ast.arguments) -> _Signature:
    positional = tuple(parameter.arg for parameter in [*arguments.posonlyargs, *arguments.args])
    return _Signature(positional, frozenset(positional) | {parameter.arg for parameter in arguments.kwonlyargs})


class _WithoutSeeds(ast.NodeTransformer):
    """Puts one placeholder for each literal that only seeds; -1 and 1000 + 3 are literals as well as 7."""

    def __init__(self, flow: _Flow) -> None:
        self._flow = flow

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return PLACEHOLDER if self._flow.only_seeds(node) else node

    def _join(self, node: Any) -> Any:
        self.generic_visit(node)  # the parts first, so that a source takes time in proportion to its length
        parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        return PLACEHOLDER if parts and all(part is PLACEHOLDER for part in parts) else node

    visit_UnaryOp = visit_BinOp = visit_Tuple = visit_List = _join


class _Flow:
    """Where every constant and every name of a source goes on to, in one walk from the top of the syntax tree down.

    seed_names: names whose every use ends in a seed. seeds: whether the source seeds any generator. run_seed_reads: how
    often it reads the run's own seed.
    """

    def __init__(self, trees: Sequence[ast.Module], words: Iterable[str]) -> None:
        self.seeds = False
        self.run_seed_reads = 0
        self._ends: dict[ast.Constant, End] = {}
        self._uses: defaultdict[str, list[End]] = defaultdict(list)  # of each name, where it is read
        self._modules: dict[str, str] = {}  # imported names, with what they stand for
        self._functions: dict[str, _Signature | None] = {}  # by name; None where a decorator or a double is in the way
        self._bound: Counter[str] = Counter()  # names bound by anything but an import
        self._parameters: set[str] = set()
        self._elsewhere: set[str] = set(words)  # names that are read in ways that are not followed
        tree = ast.Module([statement for each in trees for statement in each.body], type_ignores=[])
        for node in ast.walk(tree):
            self._note(node)
            if len(trees) > 1:
                self._note_of_another_file(node)
        self._walk(tree)
        self.seed_names = self._solve()

    def only_seeds(self, constant: ast.Constant) -> bool:
        """Whether a constant ends in seeds and nowhere else."""
        end = self._ends.get(constant)
        return end is not None and end <= self.seed_names

    def _note(self, node: ast.AST) -> None:
        """What names stand for, before anything is followed."""
        match node:
            case ast.Import():
                for name in node.names:
                    known_as = name.asname or name.name.partition(".")[0]
                    self._modules[known_as] = name.name if name.asname else known_as
            case ast.ImportFrom():
                for name in node.names:
                    self._modules[name.asname or name.name] = f"{node.module}.{name.name}"
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                plain = not node.decorator_list and node.name not in self._functions
                self._functions[node.name] = _signature(node.args) if plain else None
                self._bound[node.name] += 1
            case ast.ClassDef():
                self._bound[node.name] += 1
                # A class's own names are read as attributes, and a dataclass's are its parameters too.
                for statement in node.body:
                    if not isinstance(statement, Function | ast.ClassDef):
                        self._elsewhere.update(_stored(statement))
            case ast.arg():
                self._bound[node.arg] += 1
                self._parameters.add(node.arg)
            case ast.Name(ctx=ast.Store()):
                self._bound[node.id] += 1
            case ast.Attribute(attr="seed" | "initial_seed", ctx=ast.Load()):
                self.run_seed_reads += 1
            case ast.Call(func=ast.Attribute(attr="seed")):
                self.run_seed_reads -= 1  # random.seed(1) reads no seed
            case ast.Constant(value=str(text)):
                self._elsewhere.update(WORD.findall(text))  # code may read a variable by its name

    def _note_of_another_file(self, node: ast.AST) -> None:
        """A constant of another file that is read as its attribute, or under another name, is not followed."""
        match node:
            case ast.Attribute() if node.attr.isupper():
                self._elsewhere.add(node.attr)
            case ast.ImportFrom():
                self._elsewhere.update(name.name for name in node.names if name.asname not in (None, name.name))

    def _walk(self, tree: ast.Module) -> None:
        waiting: list[tuple[ast.AST, End]] = [(tree, None)]
        while waiting:
            node, end = waiting.pop()
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self._uses[node.id].append(end)
            elif isinstance(node, ast.Constant):
                self._ends[node] = end
            known = {id(child): to for child, to in self._followed(node, end)}
            for child in ast.iter_child_nodes(node):
                inside = known.get(id(child))
                waiting.append((child.value if isinstance(child, ast.keyword) else child, inside))

    def _followed(self, node: ast.AST, end: End) -> Iterator[tuple[ast.AST, End]]:
        """The parts of a node whose value is followed, each with where it goes on to; all others end elsewhere."""
        match node:
            case ast.Assign():
                yield node.value, _given_to(node.targets)
            case ast.AnnAssign(value=ast.expr() as value):
                yield value, _given_to([node.target])
            case ast.AugAssign():
                yield node.value, _given_to([node.target])
            case ast.arguments():
                positional = [*node.posonlyargs, *node.args]
                defaults = zip(positional[len(positional) - len(node.defaults) :], node.defaults, strict=True)
                for parameter, default in [*defaults, *zip(node.kwonlyargs, node.kw_defaults, strict=True)]:
                    if default is not None:
                        yield default, frozenset({parameter.arg})
            case ast.Call():
                yield from self._arguments(node, end)
            case _ if isinstance(node, COMPUTING):
                for child in ast.iter_child_nodes(node):
                    yield child, end

    def _arguments(self, call: ast.Call, end: End) -> Iterator[tuple[ast.AST, End]]:
        """Where the arguments of a call go: into a seed, into a parameter, or where the call's own value goes."""
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if self._is_seeding(call.func):
            self.seeds = True
            for argument in call.args[:1]:
                yield argument, SEEDED
            for keyword in call.keywords:
                yield keyword, SEEDED if keyword.arg in SEED_ARGUMENTS else None
            return
        if name in COMPUTING_CALLS and not self._bound[name] and name not in self._modules:
            for argument in call.args:
                yield argument, end
            return
        function = (self._functions.get(name) if self._bound[name] == 1 else None) or _NO_PARAMETERS
        if not any(isinstance(argument, ast.Starred) for argument in call.args):
            for argument, parameter in zip(call.args, function.positional, strict=False):
                yield argument, frozenset({parameter})
        for keyword in call.keywords:
            if keyword.arg in function.names:
                yield keyword, frozenset({keyword.arg} if keyword.arg else ())
            elif keyword.arg in SEED_KEYWORDS:
                # A function of the source's own that has such a parameter may be what is called.
                inside = keyword.arg in self._parameters or keyword.arg in self._elsewhere
                yield keyword, frozenset({keyword.arg}) if inside else SEEDED

    def _is_seeding(self, function: ast.expr) -> bool:
        parts: list[str] = []
        while isinstance(function, ast.Attribute):
            parts.append(function.attr)
            function = function.value
        root = function.id if isinstance(function, ast.Name) else ""
        imported = root in self._modules and not self._bound[root]
        dotted = ".".join([self._modules[root], *reversed(parts)]) if imported else ""
        last = parts[0] if parts else dotted.rpartition(".")[2]
        return dotted in SEED_CALLS or (last in SEED_METHODS and (imported or last not in self._functions))

    def _solve(self) -> frozenset[str]:
        """The names whose uses end in seeds: those that end nowhere else, of which some path reaches a seed."""
        givers: defaultdict[str, set[str]] = defaultdict(set)  # by name, those that are given to it
        for name, ends in self._uses.items():
            for end in ends:
                for target in end or ():
                    givers[target].add(name)
        unread = givers.keys() - self._uses.keys()  # whatever reads these does so in a way that is not followed
        read = {name for name, ends in self._uses.items() if None in ends}
        elsewhere = _spread(self._elsewhere | unread | read, givers)
        seeded = _spread({name for name, ends in self._uses.items() if SEEDED in ends} - elsewhere, givers)
        return frozenset(seeded - elsewhere)


def _stored(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement gives a value."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _given_to(targets: list[ast.expr]) -> End:
    """The names that a value is assigned to; None where one of the targets is more than a name."""
    names = frozenset(target.id for target in targets if isinstance(target, ast.Name))
    return names if len(targets) == sum(isinstance(target, ast.Name) for target in targets) else None


def _spread(names: set[str], givers: dict[str, set[str]]) -> set[str]:
    """These names, and all that are given to one of them, over any number of steps."""
    found, waiting = set(names), list(names)
    while waiting:
        for giver in givers.get(waiting.pop(), ()):
            if giver not in found:
                found.add(giver)
                waiting.append(giver)
    return found
