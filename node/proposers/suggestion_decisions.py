"""What a person may decide of a suggestion: move it up or down, veto it, allow it again, take it back.

Behind the command `suggestions` and the dashboard. What waits in the home only is taken out of there, and nobody ever
sees it. What is signed stays signed: nothing takes a record out of peers' hands, so taking back means that this node
does not try it any more and shows it to no model, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from node.ledger.projections.conclusions import conclusion
from node.ledger.store import Ledger
from node.platform.log import short_id
from node.proposers.suggested import is_settled, queue, tries
from node.proposers.suggestion_choices import KeptChoices
from node.proposers.suggestion_inbox import REFUSED, SuggestionError
from protocol.records import Experiment, Hypothesis, Record

TAKEN_BACK = ".taken-back"  # what a suggestion's file is called that was taken back before a node took it up
GOES_ON = "a run of it that is under way is finished"
LIST = "`autoresearch-node suggestions` lists them"


@dataclass(frozen=True)
class Decisions:
    """The decisions on the suggestions of one home."""

    ledger: Ledger
    folder: Path
    choices: KeptChoices

    @property
    def by_name(self) -> Mapping[str, Callable[[str], str]]:
        """Each takes the start of a suggestion's id, or its file's name, and returns a sentence. SuggestionError."""
        return {
            "up": lambda which: self._move(which, up=True),
            "down": lambda which: self._move(which, up=False),
            "veto": self._veto,
            "allow": self._allow,
            "take-back": self._take_back,
        }

    def _move(self, which: str, up: bool) -> str:
        record = self._record(which)
        chosen, record_id = self.choices(), record.id.hex()
        waiting = [one.id.hex() for one in queue(self.ledger.all_records(), self.ledger.settings.author, chosen)]
        if record_id not in waiting:
            raise SuggestionError("it does not wait to be tried, so it has no place in the queue")
        moved = chosen.moved(record_id, waiting, up)
        self.choices.keep(moved)
        place = moved.order.index(record_id) + 1
        return f"it is number {place} now" + (", and comes before this node's own ideas" if up else "")

    def _veto(self, which: str) -> str:
        record = self._record(which)
        self._refuse_tried(record)
        self.choices.keep(self.choices().with_veto(record.id.hex()))
        return f"from now on this node never tries it, until you `allow` it; {GOES_ON}"

    def _allow(self, which: str) -> str:
        record = self._record(which)
        self._refuse_tried(record)
        if self.choices().allows(record.id.hex()):
            return "nothing was against it"
        self.choices.keep(self.choices().without_veto(record.id.hex()))
        return "this node may try it again"

    def _take_back(self, which: str) -> str:
        path = self.folder / which
        if path.suffix in (".json", REFUSED) and path.parent == self.folder and path.is_file():
            path.replace(path.with_suffix(TAKEN_BACK))
            return "it was not sent, and nobody will see it"
        record = self._record(which)
        if record.author != self.ledger.settings.author:
            raise SuggestionError("it is another node's, which alone can take it back; `veto` keeps it from this one")
        self._refuse_tried(record)
        self.choices.keep(self.choices().with_taken_back(record.id.hex()))
        return f"this node does not try it any more; it was sent already, so other nodes still may; {GOES_ON}"

    def _refuse_tried(self, record: Record) -> None:
        """Raise SuggestionError where this node has tried a suggestion: it is tried once, and its record stays."""
        author = self.ledger.settings.author
        mine = [one for one in self.ledger.feed(author) if isinstance(one.body, Experiment)]
        tried = tries(mine).get(short_id(record.id), ())
        if is_settled(tried):
            last = tried[-1]
            assert isinstance(last.body, Experiment)
            raise SuggestionError(
                f"this node has tried it already, and it was {conclusion(last.body)} (record {short_id(last.id)}); it "
                "is not tried again, and what was found stays"
            )

    def _record(self, which: str) -> Record:
        found = self.ledger.get(which) if len(which) >= 4 and which.isalnum() else None
        if found is None:
            raise SuggestionError(f"no single suggestion starts with {which[:80]!r}; {LIST}")
        if not isinstance(found.body, Hypothesis):
            raise SuggestionError(f"{which[:80]} is no suggestion; {LIST}")
        return found
