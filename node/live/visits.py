"""What a visitor is shown and which answers count: the rules between a request and the store. It knows no socket.

A first visit is sent once round to the same page with a cookie, and is counted when the cookie comes back. Whoever
brings none back sees the control and is not counted, like bots and those beyond a limit: nobody is turned away.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass

from node.live.approval import arms_of_round
from node.live.assignment import Answerer, Signer
from node.live.bots import Crowd
from node.live.constraints import PLACEHOLDER
from node.live.folder import Settings
from node.live.store import Arm, Store

UNCOUNTED = "-"  # in the place of a token, on pages that are not counted
STILL_SHOWN = ("edited", "replaced")  # a control that ended so goes on being shown, uncounted


@dataclass(frozen=True)
class Shown:
    """A page for one visitor."""

    content: bytes
    content_type: str
    arm: Arm
    counted: bool


class Visits:
    """What happens at the door of one live folder."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.settings = settings
        self._store = store
        self._crowd = Crowd(settings.traffic.new_visitors_an_address)
        self._dropped: Counter[str] = Counter()
        self._contents: dict[int, bytes] = {}
        self._arms: list[Arm] = []
        self._seen_changes: tuple[int, int] | None = None

    @property
    def signer(self) -> Signer:
        return self._store.signer

    def drop(self, reason: str) -> None:
        """Count something that is not counted as a visit or an answer."""
        self._dropped[reason] += 1

    def write_dropped(self) -> None:
        """Put the counts of what was dropped into the store."""
        if self._dropped:
            counts, self._dropped = dict(self._dropped), Counter()
            self._store.drop(counts)

    def page(self, identifier: str, address: str) -> Shown | None:
        """What a person is shown, who is counted if nothing is against it. None where nothing is approved."""
        running = self._running()
        control = next((arm for arm in running if arm.is_control), None)
        visitor = self.signer.visitor(identifier)
        if control is None or len(running) < 2 or not self.signer.takes_part(visitor, self.settings.traffic.share):
            return self.control()
        before = self._store.shown(visitor)
        if before is not None:
            arm = next((arm for arm in running if arm.id == before[0]), None)
            return self._rendered(arm, visitor) if arm else self.control()
        if not self._crowd.admits(address):
            self.drop("too many from one network")
            return self.control()
        number = self.signer.arm(visitor, [arm.id for arm in running])
        if not self._store.add_visitor(visitor, number):
            self.drop("no room for more visitors")
            return self.control()
        return self._rendered(next(arm for arm in running if arm.id == number), visitor)

    def control(self) -> Shown | None:
        """The control without counting anybody; None where no person ever approved one."""
        controls = [arm for arm in self._all() if arm.is_control and (arm.running or arm.reason in STILL_SHOWN)]
        return self._rendered(controls[-1], None) if controls else None

    def answer(self, name: str, token: str, identifier: str | None) -> None:
        """Count the answer of a signed link, or why it was dropped. identifier: of the cookie, where there is one."""
        answerer = self.signer.in_token(token) if token != UNCOUNTED else None
        if answerer is None:
            self.drop("not counted as a visitor" if token == UNCOUNTED else "forged link")
        elif identifier is not None and self.signer.visitor(identifier) != answerer.visitor:
            self.drop("cookie of another visitor")
        else:
            self.count_answer(name, answerer.visitor, answerer)

    def count_answer(self, name: str, visitor: bytes, claimed: Answerer | None) -> bool:
        """Count an answer of a visitor who was shown something. claimed: what a link says of it."""
        shown = self._store.shown(visitor)
        arms = {arm.id: arm for arm in self._running()}
        if shown is None or (claimed is not None and claimed.arm != shown[0]):
            self.drop("never shown to this visitor")
        elif shown[0] not in arms:
            self.drop("variant out of traffic")
        elif time.time() - shown[1] < self.settings.traffic.too_fast_seconds:
            self.drop("too fast")
        elif not self._store.add_answer(visitor, name, *shown):
            self.drop("repeat")
        else:
            return True
        return False

    def _all(self) -> list[Arm]:
        changes = self._store.changes()
        if changes != self._seen_changes:
            self._arms, self._seen_changes = self._store.arms(), changes
        return self._arms

    def _running(self) -> list[Arm]:
        return [arm for arm in arms_of_round(self._all()) if arm.running]

    def _rendered(self, arm: Arm, visitor: bytes | None) -> Shown:
        if arm.id not in self._contents:
            self._contents = {arm.id: self._store.content(arm.id) for arm in [*self._running(), arm]}
        token = UNCOUNTED if visitor is None else self.signer.token(Answerer(visitor, arm.id))
        text = self._contents[arm.id].decode("utf-8")

        def filled(found: re.Match[str]) -> str:
            return token if found[1] == "token" else f"/go/{found[1].removeprefix('go ')}/{token}"

        return Shown(PLACEHOLDER.sub(filled, text).encode(), arm.content_type, arm, visitor is not None)
