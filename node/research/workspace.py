"""The workspace: a git repository that shows a person what was tried and kept, with the tools they know.

Branch `best` is what was kept. Every tried source is a commit on its parent's, under refs/tried/<record id>, so
`git log --all --graph` shows the whole search. Messages carry title, category, effect and record id. `results.tsv`
beside the source is karpathy/autoresearch's table. All of it is derived from the ledger: commits are made of objects,
not by checking anything out, and what a crash left half done is repaired by `reconcile`.

People work here too. What somebody changed by hand, or committed on `best`, is kept on a branch of its own before files
are checked out over it, and a repository that is damaged is moved beside, never deleted. Whatever they do here while
the node runs, research goes on: what cannot be shown now is shown with the next idea, or at the next start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from git import Actor, Commit, InvalidGitRepositoryError, Repo
from git.objects import Tree

from node.ledger.projections.effects import gain_text
from node.ledger.projections.levels import Levels
from node.ledger.projections.steps import leads_on
from node.ledger.settings import Description
from node.objective.trees import TreeError, files_of
from node.platform.environment import git_environment
from node.platform.file_trouble import HomeError, in_words
from node.platform.log import Log
from node.platform.private_files import sync
from node.research.repository import (
    DAMAGE,
    Git,
    Repository,
    first_line,
    is_of_the_machine,
    refuse_without_git,
    tree_of,
)
from protocol.records import Experiment, Record, Replication, metric_of

AUTHOR = Actor("autoresearch-node", "node@localhost")
BEST, TRIED, SET_ASIDE = "refs/heads/best", "refs/tried/", "refs/heads/set-aside/"
ELSEWHERE = "A source from elsewhere\n"
ID_CHARACTERS = 16  # of a record id in a ref's name: 64 bits, so that no two are alike by chance
RESULTS, CRASH = "results.tsv", "crash"
CATCHES_UP = "research goes on, the ledger has all of it, and the workspace gets it with the next idea or start"
RESULTS_HEADER = "commit\t{metric}\tmemory_gb\tstatus\tdescription\n"
# A hook of the person's must not run at every commit, nor a signature be asked for; and no collection of garbage may
# start in the middle of a trial.
SETTINGS = {
    ("core", "hooksPath"): "/dev/null",
    ("commit", "gpgsign"): "false",
    ("gc", "auto"): "0",
}
# Whose commits the node's own are. Not in the repository's settings: there a person's commits would carry it, too.
IDENTITY = {
    f"GIT_{role}_{what}": str(value)
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", AUTHOR.name), ("EMAIL", AUTHOR.email))
}
# What git itself writes is on the disk before it goes on, as far as it knows these settings (since 2.36).
DURABLE = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsync", "GIT_CONFIG_VALUE_0": "all"}
LOCK_SECONDS = 3600.0  # git holds a lock for milliseconds, or while an editor is open; a crash left an older one


@dataclass(frozen=True)
class Entry:
    """A record of this node's own and the source it is about; the peak memory of its runs in bytes."""

    record: Record
    body: Experiment | Replication
    source: str
    memory_bytes: int = 0


# What the ledger has to show: own entries in order, each with its parent's text; the source that the node stands on;
# and the record that made it so, None for the baseline.
History = tuple[Sequence[tuple[Entry, str]], str, bytes | None]


class Workspace:
    """The repository of one home and one objective's editable files."""

    def __init__(
        self,
        path: Path,
        editable: Sequence[str],
        baseline: str,
        title_of: Callable[[bytes], str],
        about: Description,
        log: Log,
    ) -> None:
        self._path = path
        self._editable = editable
        self._baseline = baseline
        self._title_of = title_of
        self._about = about
        self._log = log
        self._levels = Levels()
        self._baseline_level: float | None = None
        self._history: Callable[[], History] | None = None
        self._is_behind = False

    @classmethod
    def open(
        cls,
        path: Path,
        editable: Sequence[str],
        baseline: str,
        title_of: Callable[[bytes], str],
        about: Description,
        log: Log,
    ) -> Workspace:
        """Open or make the repository. Beside a damaged one a new one is made: the ledger has everything of the node's.

        title_of: the title of a discovery by its record id, for the message of an adoption. about: what the metric is
        called, and who measures it. Raises HomeError where neither can be.
        """
        refuse_without_git()
        workspace = cls(path, editable, baseline, title_of, about, log)
        try:
            workspace._load()
        except DAMAGE as error:
            workspace._begin_anew(error)
        return workspace

    def _load(self) -> None:
        if not (self._path / ".git").exists() and any((self._path / name).exists() for name in self._editable):
            raise InvalidGitRepositoryError("there are files in it, and no .git")
        self._repo = (
            Repository(self._path, expand_vars=False) if (self._path / ".git").exists() else self._make(self._path)
        )
        mine = {"GIT_CEILING_DIRECTORIES": str(self._path.parent)}  # never the repository in which the home may lie
        self._repo.git.update_environment(**git_environment(**IDENTITY, **DURABLE, **mine))
        if self._repo.config_reader("repository").get_value("user", "name", default="") == AUTHOR.name:
            with self._repo.config_writer() as config:  # of earlier versions
                config.remove_section("user")
        self._drop_empty_objects()
        self._commits: dict[str, str] = dict(self._tried())  # start of the record id -> commit
        self._by_tree: dict[str, str] = {}  # tree -> the commit that stands for that source
        start = self._start = self._commit(self._tree(self._baseline), "Baseline\n")
        if not (Path(self._repo.git_dir) / "refs" / "heads" / "best").exists() and not self._repo.branches:
            self._set(BEST, start)
        for commit in self._repo.iter_commits(BEST):
            self._by_tree[commit.tree.hexsha] = commit.hexsha

    def _begin_anew(self, error: Exception) -> None:
        """Move a repository that cannot be read beside, with all that a person has in it, and make a new one."""
        if not self._path.exists() or is_of_the_machine(error):
            raise self._unusable(error) from error
        beside = next(place for n in count(1) if not (place := self._path.with_name(f"{self._path.name}.{n}")).exists())
        self._path.rename(beside)
        self._log("workspace set aside", level="warning", kept_in=str(beside), reason=first_line(error))
        try:
            self._load()
        except DAMAGE as again:
            raise self._unusable(again) from again

    def _unusable(self, error: Exception) -> HomeError:
        if isinstance(error, OSError):
            return HomeError(in_words(error, self._path))
        return HomeError(
            f"the workspace {self._path} cannot be read or written ({first_line(error)}); "
            "see whether its disk is whole and has room, and who owns it"
        )

    @staticmethod
    def _make(path: Path) -> Repo:
        path.mkdir(parents=True, exist_ok=True)
        git = Git(path)
        git.update_environment(**git_environment())
        git.init(initial_branch="best", template="")
        repo = Repository(path, expand_vars=False)
        with repo.config_writer() as config:
            for (section, name), value in SETTINGS.items():
                config.set_value(section, name, value)
        (path / ".git" / "info").mkdir(exist_ok=True)
        (path / ".git" / "info" / "exclude").write_text(f"{RESULTS}\n")
        return repo

    # ---- what was tried --------------------------------------------------------------------------------------------

    def add(self, entry: Entry, parent: str) -> None:
        """Commit a tried source; move `best` and the checked-out files when it was kept."""

        def change() -> None:
            self._record(entry, parent)
            if _kept(entry.body):
                self._check_out(self._commits[_name(entry.record.id)])
            self._append_result(entry)

        self._change(change)

    def stand_on(self, best: str, best_record: bytes | None) -> None:
        """Move `best` and the checked-out files to a source; best_record: its own record, None for the baseline."""
        self._change(lambda: self._stand_on(best, best_record))

    def follow(self, history: Callable[[], History]) -> None:
        """Make the repository what the ledger says, now and after whatever befalls it while the node runs."""
        self.reconcile(*history())
        self._history = history

    def _change(self, change: Callable[[], None]) -> None:
        """Make a change; where it fails, all that the ledger has to show instead, now or with the next change."""
        if self._history is None:
            change()
            return
        try:
            if not self._is_behind:
                change()
                return
            if not self._is_in_use():
                self._catch_up(self._history())
        except (*DAMAGE, HomeError) as error:
            try:
                if self._is_in_use():
                    raise
                self._catch_up(self._history())
            except (*DAMAGE, HomeError):
                self._fall_behind(error)

    def _catch_up(self, history: History) -> None:
        """Make the repository what the ledger says, and where it is damaged another one."""
        try:
            self._load()
        except DAMAGE as error:
            self._begin_anew(error)
        self.reconcile(*history)
        if self._is_behind:
            self._log("workspace up to date")
        self._is_behind = False

    def _fall_behind(self, error: Exception) -> None:
        if not self._is_behind:
            why = "a program of git's is at work in it" if self._is_in_use() else first_line(error)
            self._log("workspace behind", level="warning", why=why, hint=CATCHES_UP)
        self._is_behind = True

    def _is_in_use(self) -> bool:
        """Whether somebody's git holds a lock here now."""
        with suppress(OSError):
            return any(abs(time.time() - lock.stat().st_mtime) < LOCK_SECONDS for lock in self._locks())
        return False

    def _locks(self) -> list[Path]:
        git = self._path / ".git"
        return [*git.glob("*.lock"), *(git / "refs").rglob("*.lock")]

    def reconcile(self, entries: Sequence[tuple[Entry, str]], best: str, best_record: bytes | None) -> None:
        """Make the repository what the ledger says: every entry committed, `best` checked out and clean.

        entries: own records in order, each with its parent's source text; best: the source the node stands on;
        best_record: the record that made it so, None for the baseline.
        """
        try:
            self._reconcile(entries, best, best_record)
        except DAMAGE as error:
            self._begin_anew(error)
            try:
                self._reconcile(entries, best, best_record)
            except DAMAGE as again:
                raise self._unusable(again) from again

    def _reconcile(self, entries: Sequence[tuple[Entry, str]], best: str, best_record: bytes | None) -> None:
        for lock in self._locks():
            lock.unlink(missing_ok=True)
        on_best = set(self._by_tree.values())
        for entry, parent in entries:
            known = self._commits.get(_name(entry.record.id))
            if known is None:
                self._record(entry, parent)
            elif known not in on_best and _kept(entry.body):  # `best` had not moved there yet, or has left it
                self._by_tree.setdefault(self._repo.commit(known).tree.hexsha, known)
        self._stand_on(best, best_record)
        self._write_results([entry for entry, _ in entries])

    def _stand_on(self, best: str, best_record: bytes | None) -> None:
        commit = self._commits.get(_name(best_record)) if best_record else None
        self._check_out(commit or self._standing_for(best))

    def _record(self, entry: Entry, parent: str) -> None:
        tree = self._tree(entry.source)
        commit = self._commit(tree, self._message(entry), self._standing_for(parent))
        name = _name(entry.record.id)
        self._set(TRIED + name, commit)
        self._commits[name] = commit
        if _kept(entry.body):
            self._by_tree[tree.hexsha] = commit

    def _standing_for(self, source: str) -> str:
        """The commit that stands for a source; one is made when there is none, as for a peer's source."""
        tree = self._tree(source)
        if tree.hexsha not in self._by_tree:
            best = str(self._repo.git.rev_parse(BEST))
            self._by_tree[tree.hexsha] = self._commit(tree, ELSEWHERE, best)
        return self._by_tree[tree.hexsha]

    def _tried(self) -> list[tuple[str, str]]:
        """(start of the record id, commit) of everything committed so far."""
        listed = self._repo.git.for_each_ref("--format=%(refname) %(objectname)", TRIED)
        return [(ref[len(TRIED) :], commit) for ref, commit in (line.split() for line in listed.splitlines())]

    # ---- git, by objects -------------------------------------------------------------------------------------------

    def _set(self, ref: str, commit: str) -> None:
        self._repo.git.update_ref(ref, commit)

    def _tree(self, source: str) -> Tree:
        try:
            files = files_of(source, self._editable)
        except TreeError:  # a peer's, which failed here: it is shown as it came
            files = {self._editable[0]: source}
        return tree_of(self._repo, files)

    def _commit(self, tree: Tree, message: str, *parents: str) -> str:
        known = [self._repo.commit(parent) for parent in parents]
        commit = Commit.create_from_tree(
            self._repo, tree, message, parent_commits=known, head=False, author=AUTHOR, committer=AUTHOR
        )
        self._put_on_disk(commit)
        return commit.hexsha

    def _put_on_disk(self, commit: Commit) -> None:
        """Sync a commit's objects, which GitPython does not: a power cut would leave empty files, and no repository."""
        objects = Path(self._repo.git_dir) / "objects"
        made, trees = [commit.hexsha], [commit.tree]
        while trees:
            tree = trees.pop()
            made += [tree.hexsha, *(blob.hexsha for blob in tree.blobs)]
            trees += tree.trees
        paths = [path for name in made if (path := objects / name[:2] / name[2:]).exists()]  # or it is in a pack
        for path in paths:
            sync(path)
        for folder in {objects, *(path.parent for path in paths)}:
            sync(folder)

    def _drop_empty_objects(self) -> None:
        """Remove what a power cut left of objects that were being written: git would take them for there, and fail."""
        for path in (Path(self._repo.git_dir) / "objects").glob("??/*"):
            if not path.stat().st_size:
                path.unlink()

    def _check_out(self, commit: str) -> None:
        self._clear_the_way()
        self._keep_work(commit)
        self._repo.git.symbolic_ref("HEAD", BEST)
        self._repo.git.reset("--hard", "--quiet", commit)  # moves `best`, too

    def _clear_the_way(self) -> None:
        """Move beside what lies where the files belong and git keeps on no branch: it would be deleted unseen."""
        for place in (self._path / name for name in self._editable):
            between = [each for each in place.parents if self._path in each.parents]
            in_the_way = [each for each in between if each.is_file()] + ([place] if place.is_dir() else [])
            for each in in_the_way:
                beside = next(to for n in count(1) if not (to := each.with_name(f"{each.name}.{n}")).exists())
                each.rename(beside)
                self._log("work set aside", kept_in=str(beside), what=f"what lay at {each.name}")

    def _keep_work(self, commit: str) -> None:
        """Keep on branches what somebody changed in the files, or committed on `best` or on none, before they go on."""
        edited = self._repo.git.diff("--name-only", "--diff-filter=d", "HEAD")  # what was only deleted, git still has
        changed = self._repo.git.stash("create", "Changed by hand") if edited else ""
        if changed and self._repo.commit(changed).tree.hexsha not in self._by_tree:
            self._keep(changed, "files that were changed")
        self._keep_commits(self._repo.commit(BEST), commit, "commits on best")
        if self._repo.head.is_detached:
            self._keep_commits(self._repo.head.commit, commit, "commits on no branch")

    def _keep_commits(self, tip: Commit, commit: str, what: str) -> None:
        """Keep on a branch what would be on none when `best` has gone to `commit`."""
        kept_elsewhere = self._repo.git.for_each_ref("--format=%(refname)", "--contains", tip.hexsha).split()
        is_lost = set(kept_elsewhere) <= {BEST} and not self._repo.is_ancestor(tip, self._repo.commit(commit))
        if is_lost and tip.message != ELSEWHERE:
            self._keep(tip.hexsha, what)

    def _keep(self, commit: str, what: str) -> None:
        names = {reference.path for reference in self._repo.references}
        branch = next(name for n in count(1) if (name := f"{SET_ASIDE}{n}") not in names)
        self._set(branch, commit)
        self._log("work set aside", branch=branch.removeprefix("refs/heads/"), what=what)

    # ---- messages and results.tsv ----------------------------------------------------------------------------------

    def _message(self, entry: Entry) -> str:
        body = entry.body
        if isinstance(body, Experiment):
            title, category, effect = body.title, body.category, body.effect
        else:
            title, category, effect = f"Adopt: {self._title_of(body.discovery)}", f"by {body.route}", body.adoption
        unproven = ", not proven yet" if isinstance(body, Experiment) and body.is_bet else ""
        gain = f"{gain_text(effect, metric_of(body))}{self._about.measured_suffix}{unproven}"
        return (
            f"{title}\n\nCategory: {category}\nGain: {gain}\n"
            f"Decision: {_status(body)}\nRecord: {entry.record.id.hex()}\n"
        )

    def _header(self) -> str:
        return RESULTS_HEADER.format(metric=" ".join(self._about.metric.split()) or "value")

    def _rows(self, entry: Entry) -> str:
        """The line of an entry, after that of the baseline where this is the first with which it can be compared.

        Values are levels: those of runs at different seeds would not say which source is better.
        """
        body = entry.body
        first = self._baseline_level is None
        levels = self._levels.add(entry.record)
        title = body.title if isinstance(body, Experiment) else f"adopt: {self._title_of(body.discovery)}"
        # The table has 0 for a crash. Where else nothing was measured, 0 would be the best loss of the file.
        level = levels[1] if levels else 0.0 if _status(body) == CRASH else math.nan
        commit = self._commits[_name(entry.record.id)]
        row = _line(commit, level, entry.memory_bytes, _status(body), title)
        if first and levels is not None:
            self._baseline_level = levels[0]
            return _line(self._start, levels[0], 0, "keep", "baseline") + row
        return row

    def _append_result(self, entry: Entry) -> None:
        path = Path(self._repo.working_dir) / RESULTS
        if not path.exists():
            path.write_text(self._header(), "utf-8", newline="\n")
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(self._rows(entry))

    def _write_results(self, entries: Sequence[Entry]) -> None:
        path = Path(self._repo.working_dir) / RESULTS
        draft = path.with_name(".git") / "results.new"
        self._levels, self._baseline_level = Levels(), None
        text = self._header() + "".join(self._rows(entry) for entry in entries)
        draft.write_text(text, "utf-8", newline="\n")
        draft.replace(path)


def _line(commit: str, level: float, memory_bytes: int, status: str, title: str) -> str:
    form = ".6f" if level == 0 or 1e-3 <= abs(level) < 1e9 else ".6g"
    return f"{commit[:7]}\t{level:{form}}\t{memory_bytes / 2**30:.1f}\t{status}\t{title}\n"


def _name(record_id: bytes) -> str:
    return record_id.hex()[:ID_CHARACTERS]


def _kept(body: Experiment | Replication) -> bool:
    if isinstance(body, Replication):
        return body.adopted is not None
    return leads_on(body)


def _status(body: Experiment | Replication) -> str:
    return "keep" if _kept(body) else CRASH if body.decision == "failed" else "discard"
