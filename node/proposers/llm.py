"""The language model as a proposer: it is shown what is known, and answers with a hypothesis and an edit.

The model is told once why an answer cannot be used, or what came of its idea when that was tried before; an idea whose
run crashed goes back to it with the last lines of its output, at most twice. It knows the conversation; how a model is
reached and paid is in `endpoint`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import trio

from node.execution.pause_gate import PauseGate
from node.platform.log import Log
from node.proposers.answer import Answer, AnswerError, checked, decode_answer
from node.proposers.elsewhere import Elsewhere
from node.proposers.endpoint import Endpoint
from node.proposers.plateau import is_simpler
from node.proposers.prompt import ResearchBrief, carried_over, correction, crash_report, question, repetition
from node.proposers.proposer import Context, Lesson, Proposal
from node.proposers.repeats import Repeats

REPAIRS = 2  # of one crashing idea; each costs a question and a run
USELESS = 6  # answers in a row that could not be used, after which the model is not asked for a while
REST_SECONDS = 3600.0
ANSWERS = 2  # that one proposal may take: the first, and one after a correction or a repetition
ANSWER_CHARACTERS = 20_000  # of an answer that are shown to the model again

Conversation = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class _OpenProposal:
    """A proposal that may come back for repair: its source and conversation, repairs so far, and its crash if any."""

    proposal: Proposal
    source_id: bytes
    conversation: Conversation
    repairs: int
    crash: str | None = None


class LanguageModel:
    """Proposes a model's ideas. While the node is paused no question is asked; an answer under way is awaited."""

    name = "llm"
    costly = True

    def __init__(
        self,
        endpoint: Endpoint,
        task: ResearchBrief,
        ideas: Callable[[], Sequence[str]],
        repeats: Repeats,
        elsewhere: Elsewhere | None,
        pause_gate: PauseGate,
        log: Log,
    ) -> None:
        self._endpoint = endpoint
        self._task = task
        self.categories = task.categories
        self._ideas = ideas
        self._repeats = repeats
        self._elsewhere = elsewhere
        self._pause_gate = pause_gate
        self._log = log
        self._last: _OpenProposal | None = None
        self._useless = 0  # answers in a row
        self._rests_until = -math.inf

    async def propose(self, context: Context) -> Proposal | None:
        last = self._last
        self._last = None
        if trio.current_time() < self._rests_until:
            return None
        if self._elsewhere is not None:
            context = replace(context, offers=await self._elsewhere.in_words(context, self._task.categories))
        if last is not None and last.crash is not None and last.source_id == context.source_id:
            conversation = _with(last.conversation, "user", last.crash)
            repairs = last.repairs + 1
        else:
            conversation = tuple(question(self._task, context, self._ideas()))
            repairs = 0
        for left in reversed(range(ANSWERS)):
            await self._pause_gate.wait_open()
            text = await self._endpoint.ask(conversation)
            if text is None:
                return None
            conversation = _with(conversation, "assistant", text[:ANSWER_CHARACTERS])
            try:
                answer = await self._decode(text, context)
            except AnswerError as error:
                self._log("answer refused", proposer=self.name, why=str(error))
                self._count_useless()
                conversation = _with(conversation, "user", correction(str(error)))
                continue
            description = answer.description
            tried = await self._repeats.of(context, description.title, answer.source) if not repairs else None
            if tried is not None:
                decision = "asked again" if left else "dropped"
                self._log(
                    "idea repeats", proposer=self.name, title=description.title, tried=tried.title, decision=decision
                )
                self._count_useless()
                conversation = _with(conversation, "user", repetition(tried, self._task.measure))
                continue
            self._useless = 0
            proposal = Proposal(
                description.title,
                description.category,
                description.reason,
                self.name,
                answer.source,
                is_simpler(context, answer.source),
                carried_over(description.offer, context),
            )
            self._last = _OpenProposal(proposal, context.source_id, conversation, repairs)
            return proposal
        return None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        """Keep a crash for the next question, unless the idea has had its repairs."""
        last = self._last
        self._last = None
        if last is None or last.proposal != proposal or last.repairs >= REPAIRS or lesson.failure is None:
            return
        crash = crash_report(lesson.failure, lesson.log_tail)
        self._last = _OpenProposal(proposal, last.source_id, last.conversation, last.repairs, crash)

    def _count_useless(self) -> None:
        """Every answer is paid for: after many in a row that are of no use, the model rests."""
        self._useless += 1
        if self._useless == USELESS:
            self._useless = 0
            self._rests_until = trio.current_time() + REST_SECONDS
            self._log(
                "LLM rests", level="warning", why=f"{USELESS} answers in a row could not be used", seconds=REST_SECONDS
            )

    async def _decode(self, text: str, context: Context) -> Answer:
        answer = decode_answer(text, context.source, self._task.editable, self._task.categories)
        await checked(answer.source, context.parser)
        refusal = await context.refusal(answer.source)
        if refusal is not None:
            raise AnswerError(refusal)
        return answer


def _with(conversation: Conversation, role: str, content: str) -> Conversation:
    return (*conversation, {"role": role, "content": content})
