"""The command `finalize`: one clean git branch and one patch for each kept idea, from the baseline to the best source.

All of it is made from the ledger, in the workspace's repository, beside branch `best`, which stays as it is. Made
again, it gives the same commits.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from git import Repo

from node.ledger.projections.discoveries import Discovery, discoveries, is_conclusive
from node.ledger.projections.effects import bare_gain_text, gain_text
from node.ledger.projections.steps import Step, proven, steps_of
from node.ledger.store import Ledger
from node.objective.trees import TreeError, files_of
from node.platform.environment import git_environment
from node.platform.log import short_id
from node.research.repository import DAMAGE, Repository, first_line, refuse_without_git, tree_of
from protocol.identity import short
from protocol.records import Experiment, Record, Replication, metric_of

COMMITTING = ("AUTHOR", "COMMITTER")
COMMIT_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in COMMITTING
    for what, value in (("NAME", "autoresearch-node"), ("EMAIL", "node@localhost"))
}
BRANCHES = "kept/"
PATCHES = "patches"
MADE_HERE = "[0-9][0-9][0-9][0-9]-*.patch"  # git's names of patches
SLUG_CHARACTERS = 40


class FinalizeError(Exception):
    """The branches cannot be made; the text says why."""


@dataclass(frozen=True)
class Finalized:
    """A branch that was made, the discovery behind it, and the file with its patch."""

    branch: str
    title: str
    record: str
    patch: str


def finalize(ledger: Ledger, author: bytes, workspace: Path) -> list[Finalized]:
    """Make the branches and patches of an author's best source. Raises FinalizeError when nothing was kept."""
    steps = proven(steps_of(ledger.feed(author)))
    if not steps:
        raise FinalizeError("nothing has been claimed yet, so there is nothing to finalize")
    if not (workspace / ".git").exists():
        raise FinalizeError(f"there is no workspace at {workspace}; start the node once in this home")
    refuse_without_git()
    try:
        return _branches_and_patches(steps, ledger, author, workspace)
    except DAMAGE as error:
        raise FinalizeError(
            f"the workspace {workspace} cannot be used ({first_line(error)}); start the node once in this home, which "
            "makes another beside one that is damaged"
        ) from error


def _branches_and_patches(steps: Sequence[Step], ledger: Ledger, author: bytes, workspace: Path) -> list[Finalized]:
    known = {found.record.id: found for found in discoveries(ledger.all_records(), ledger.weights(author))}
    repo = Repository(workspace, expand_vars=False)
    repo.git.update_environment(**git_environment())
    commit = _commit(repo, _files(ledger, ledger.settings.baseline), "The baseline\n", None, steps[0].record.time)
    baseline = commit
    made: list[tuple[str, str, str]] = []
    bets = {record.id: record for record in ledger.feed(author)}
    for step in steps:
        whole = _title_and_message(step, known, ledger.settings.description.measured_suffix)
        for source, title, message, record in _edits(step, *whole, bets):
            commit = _commit(repo, _files(ledger, source), message, commit, record.time)
            branch = f"{BRANCHES}{len(made) + 1:02}-{_slug(title)}"
            repo.git.update_ref(f"refs/heads/{branch}", commit)
            made.append((branch, title, record.id.hex()))
    folder = workspace / PATCHES
    folder.mkdir(exist_ok=True)
    for old in folder.glob(MADE_HERE):  # a person may keep others there
        old.unlink()
    written = repo.git.format_patch(f"{baseline}..{commit}", "--output-directory", str(folder), "--zero-commit")
    files = [Path(line).name for line in written.splitlines()]
    return [Finalized(*about, patch) for about, patch in zip(made, files, strict=True)]


def _edits(step: Step, title: str, message: str, bets: Mapping[bytes, Record]) -> list[tuple[bytes, str, str, Record]]:
    """(source, title, commit message, record) of each edit of a step: of a chain, those that it was made of.

    Each is a commit of its own, as it was tried. The evidence is with the last, since they were proven together.
    """
    body = step.record.body
    found = []
    for part in body.chain if isinstance(body, Experiment) else ():
        bet = bets.get(part.record)
        if bet is None or not isinstance(bet.body, Experiment):
            return [(step.source, title, message, step.record)]
        metric = metric_of(bet.body)
        gain = f"{bare_gain_text(part.mean, metric)} of the chain; alone {gain_text(bet.body.effect, metric)}"
        about = f"{bet.body.reason}\n\nCategory: {bet.body.category}\nBelieved gain: {gain}\nRecord: {bet.id.hex()}\n"
        found.append((bet.body.child, bet.body.title, f"{bet.body.title}\n\n{about}", bet))
    if not found:
        return [(step.source, title, message, step.record)]
    source, last, about, _ = found[-1]
    together = "" if len(found) == 1 else "Proven together with the edits before it:\n\n"
    return [*found[:-1], (source, last, f"{about}\n{together}{message}", step.record)]


def _title_and_message(step: Step, known: dict[bytes, Discovery], measured: str) -> tuple[str, str]:
    """Title and commit message of a step, with the evidence behind it: claimed and replicated apart.

    measured: what stands behind a gain where the objective measures itself.
    """
    body = step.record.body
    if isinstance(body, Replication):
        found = known.get(body.discovery)
        adopted = f"Re-run and adopted here: {gain_text(body.adoption, metric_of(body))}{measured}\n"
    else:
        found = known.get(step.record.id)
        adopted = ""
    if found is None:
        return "A discovery", f"A discovery\n\n{adopted}Record: {step.record.id.hex()}\n"
    claim: Experiment = found.claim
    metric = metric_of(claim)
    others = [
        f"  {short(record.author)}, {report.compute_class}: {gain_text(report.effect, metric)}, {report.decision}\n"
        for record in found.replications
        if isinstance(report := record.body, Replication) and is_conclusive(record)
    ]
    standing = found.standing
    replicated = f"{gain_text(standing.effect, metric)}{measured}, by {standing.reports}"
    if standing.unchecked is not None:
        replicated = f"{gain_text(standing.unchecked, metric)}{measured}, by {standing.keys}, not checked here"
    seeds = ", ".join(str(pair.seed) for pair in claim.pairs)
    return claim.title, (
        f"{claim.title}\n\n{claim.reason}\n\n"
        f"Category: {claim.category}\n"
        f"Claimed gain: {gain_text(claim.effect, metric)}{measured}\n"
        f"On {claim.compute_class}, seeds {seeds}\n"
        f"Holdout gain: {gain_text(claim.holdout, metric)}{measured if claim.holdout else ''}\n"
        f"Replicated: {replicated}: {found.standing.verdict}\n"
        f"{''.join(others)}{adopted}Record: {step.record.id.hex()}\n"
    )


def _commit(repo: Repo, files: Mapping[str, str], message: str, parent: str | None, time: int) -> str:
    """A commit of a source's files, with the time of its record (ms), so that the same history has the same ids."""
    tree = tree_of(repo, files).hexsha
    parents = ["-p", parent] if parent else []
    dates = {f"GIT_{who}_DATE": f"@{time // 1000} +0000" for who in COMMITTING}
    with repo.git.custom_environment(**COMMIT_IDENTITY, **dates):
        return _git(repo, message, "commit-tree", tree, *parents)


def _git(repo: Repo, text: str, *command: str) -> str:
    """The output of a git command that gets a text on its standard input."""
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        return str(repo.git.execute(["git", *command], istream=file))


def _files(ledger: Ledger, source: bytes) -> dict[str, str]:
    """The files of a source by their paths. Raises FinalizeError."""
    data = ledger.get_blob(source)
    if data is None:
        raise FinalizeError(f"source {short_id(source)} is not here yet; let the node fetch it from its peers first")
    try:
        return files_of(data.decode("utf-8", errors="replace"), ledger.settings.editable)
    except TreeError as error:
        raise FinalizeError(f"source {short_id(source)} cannot be written as files: {error}") from None


def _slug(title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return words[:SLUG_CHARACTERS].strip("-") or "idea"
