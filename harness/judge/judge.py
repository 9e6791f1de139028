"""The judge: many requests at once from synchronous code, each answered from the store or bought once."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.api import JudgePrompt, JudgeReply, Verdict
from harness.canonical import Json
from harness.endpoints.availability import Pace
from harness.endpoints.client import CHAT, Client, Request
from harness.endpoints.faults import Rejected
from harness.endpoints.replies import ChatReply, Usage, read_chat
from harness.errors import Failure, Leaving
from harness.judge.cost import Budget, Cost, counted, estimate
from harness.judge.judgments import Judgments, Record
from harness.judge.prompts import as_read, reply_key, request_body
from harness.judge.settings import Judging

_BETWEEN_LOOKS = 0.5
"""Seconds between two looks whether another process still buys."""


@dataclass(frozen=True)
class Judgment:
    """A verdict, and the replies that led to it, first to last: all but the last could not be parsed."""

    verdict: Verdict
    replies: tuple[ChatReply, ...] = ()

    @property
    def usages(self) -> tuple[Usage | None, ...]:
        """What each was charged for, whenever it was bought; `counted` makes a cost of it."""
        return tuple(reply.usage for reply in self.replies)


class Judge:
    """A judge and the store of its replies; use it in a `with` block.

    Calls are made in a thread of its own. `notice` is called there, with a line for the user.
    """

    def __init__(
        self, judging: Judging, store: Path, *, notice: Callable[[str], None], pace: Pace | None = None
    ) -> None:
        self.settings = judging.settings()
        self.asked = 0
        """Judgments asked for so far."""
        self.done = 0
        """Judgments that have come to their end."""
        self.from_store = 0
        """Replies that were there already."""
        self.access = judging.access()
        """How it is reached, and its prices."""
        self._judgments = Judgments(store, self.settings.digest, self.settings.identity)
        self._budget: Budget | None = None
        self._bought: list[Usage | None] = []
        self._buying: dict[str, asyncio.Task[Record]] = {}
        self._notice = notice
        self._alone = asyncio.Lock()
        self._connect = partial(Client, self.access, "the judge", notice, pace)
        self._client: Client | None = None
        self._ended = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)

    # --- asking ----------------------------------------------------------------------------------------------------

    def submit(self, prompt: JudgePrompt) -> Future[Judgment]:
        """Ask, and go on: the future has the judgment, or the UserError or Failure that ended the judging.

        The prompt's `parse` is called in the judge's thread; what it raises ends this future alone.
        """
        self.asked += 1
        return asyncio.run_coroutine_threadsafe(self._judge(prompt), self._loop)

    def ask(self, prompt: JudgePrompt) -> Judgment:
        """Ask, and wait for the judgment."""
        return self.submit(prompt).result()

    def complete(self, prompts: Iterable[tuple[str, JudgePrompt]]) -> Iterator[tuple[str, Judgment]]:
        """Ask all of them at once; ids and judgments as they come."""
        finished: queue.SimpleQueue[tuple[str, Future[Judgment]]] = queue.SimpleQueue()

        def finish(name: str, future: Future[Judgment]) -> None:
            finished.put((name, future))

        waiting = 0
        for name, prompt in prompts:
            self.submit(prompt).add_done_callback(partial(finish, name))
            waiting += 1
        for _ in range(waiting):
            name, future = finished.get()
            yield name, future.result()

    # --- what it costs ---------------------------------------------------------------------------------------------

    def estimate(self, prompts: Iterable[JudgePrompt]) -> Cost:
        """What those that have no stored reply cost at most, each asked once."""
        keyed = {reply_key(prompt, self.settings, 0): prompt for prompt in prompts}
        missing = [prompt for key, prompt in keyed.items() if self._judgments.get(key) is None]
        return estimate(missing, self.settings, self.access)

    @property
    def bought(self) -> Cost:
        """What was bought since the judge was opened."""
        return counted(self._bought, self.access)

    @property
    def calls(self) -> int:
        """Calls made since then, answered or not."""
        return 0 if self._client is None else self._client.calls

    # --- from its beginning to its end -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Calls in flight are paid for: they are waited for and stored, unless the user wants to stop at once."""
        at_once = kind is not None and not issubclass(kind, (Exception, Leaving))
        asyncio.run_coroutine_threadsafe(self._end(at_once=at_once), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._judgments.close()

    async def _end(self, *, at_once: bool) -> None:
        self._ended = True
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if self._client is not None:
            self._client.stop(_over())
        if at_once:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.__aexit__()

    # --- in its own thread -----------------------------------------------------------------------------------------

    async def _judge(self, prompt: JudgePrompt) -> Judgment:
        try:
            return await self._judgment(prompt)
        finally:
            self.done += 1

    async def _judgment(self, prompt: JudgePrompt) -> Judgment:
        replies: tuple[ChatReply, ...] = ()
        said = ""
        for attempt in range(1 + self.settings.reask):
            try:
                record = await self._record(prompt, attempt)
            except Rejected as rejected:
                refused = rejected.kind == "refused"
                return Judgment(Verdict(None, "judge_refused" if refused else "judge_error", rejected.reason), replies)
            chat, read = record.reply, as_read(record.reply, self.settings)
            repeated = chat.text != "" and any(chat.text == earlier.text for earlier in replies)
            replies, said = (*replies, chat), read.text
            if record.outcome == "refused":
                return Judgment(Verdict(None, "judge_refused", chat.refusal or said), replies)
            if (value := _parsed(prompt, read)) is not None:
                return Judgment(Verdict(value, "ok", said), replies)
            if repeated:  # it will say no other
                break
        return Judgment(Verdict(None, "judge_unparsed", said), replies)

    async def _record(self, prompt: JudgePrompt, attempt: int) -> Record:
        """A stored reply, or one bought now; two that ask the same share it."""
        key = reply_key(prompt, self.settings, attempt)
        if (stored := self._judgments.get(key)) is not None:
            self.from_store += 1
            return stored
        if key not in self._buying:
            self._buying[key] = asyncio.create_task(self._buy(key, prompt, attempt))
            self._buying[key].add_done_callback(lambda _: self._buying.pop(key))
        return await asyncio.shield(self._buying[key])

    async def _buy(self, key: str, prompt: JudgePrompt, attempt: int) -> Record:
        budget = await self._open_purse()
        if (stored := self._judgments.get(key)) is not None:  # bought by another process meanwhile
            self.from_store += 1
            return stored
        client = self._open_client()
        begun = 0.0

        @asynccontextmanager
        async def guard() -> AsyncIterator[None]:
            nonlocal begun
            self._judgments.check_room()
            async with budget.call(prompt):
                begun = time.monotonic()
                yield

        async def read(value: Json) -> Record:
            reply = read_chat(value, logprobs=prompt.top_logprobs is not None)
            budget.charge(prompt, reply.usage)
            self._bought.append(reply.usage)
            record = Record(
                key=key,
                revision=prompt.revision,
                repeat=prompt.repeat,
                attempt=attempt,
                outcome="refused" if reply.refused else "answered",
                reply=reply,
                seconds=round(time.monotonic() - begun, 3),
                time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            )
            await asyncio.wrap_future(self._judgments.put(record))
            return record

        return await client.ask(Request(CHAT, request_body(prompt, self.settings), read, guard))

    async def _open_purse(self) -> Budget:
        """What may still be spent, once no other process buys of this judge: what one buys the others need not."""
        async with self._alone:
            told = False
            while self._budget is None:
                if self._ended:
                    raise _over()
                if self._judgments.begin_buying():
                    self._budget = Budget(self.settings, self.access, self._judgments.paid)
                    break
                if not told:
                    self._notice(f"the judge {self.settings.model} is being asked by another process: waits for it")
                    told = True
                await asyncio.sleep(_BETWEEN_LOOKS)
            return self._budget

    def _open_client(self) -> Client:
        """The connection, made when the first reply is to be bought: what is stored needs no key."""
        if self._ended:
            raise _over()
        if self._client is None:
            self._client = self._connect()
            self._client.availability.progress = lambda: f"{self.done:,} of {self.asked:,} done"
        return self._client


def _parsed(prompt: JudgePrompt, reply: JudgeReply) -> Any:
    """None also for a reply nested so deeply that whoever reads it gives up: a judge's nonsense is not the prompt's."""
    try:
        return prompt.parse(reply)
    except RecursionError:
        return None


def _over() -> Failure:
    return Failure("the judging was ended", "the same command goes on with it")
