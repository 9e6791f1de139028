"""What judging costs: estimated before, counted after, and never more than the budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from harness.api import JudgePrompt, Message
from harness.canonical import Json
from harness.endpoints.faults import Fault
from harness.endpoints.replies import Usage
from harness.errors import UserError
from harness.judge.prompts import answer_tokens
from harness.judge.settings import JudgeAccess, JudgeSettings, Prices

_BYTES_PER_TOKEN = 4
"""What English prose comes to; the estimate's rule."""
_TOKENS_PER_MESSAGE = 8
"""What a chat template adds to each, on the safe side."""
_MILLION = 1_000_000


@dataclass(frozen=True)
class Cost:
    """Replies, their tokens, and dollars; None where the prices are not known."""

    replies: int
    prompt_tokens: int
    answer_tokens: int
    dollars: float | None
    uncounted: int = 0
    """Replies among them whose tokens the server did not tell."""

    def __add__(self, other: Cost) -> Cost:
        both = None if self.dollars is None or other.dollars is None else self.dollars + other.dollars
        return Cost(
            self.replies + other.replies,
            self.prompt_tokens + other.prompt_tokens,
            self.answer_tokens + other.answer_tokens,
            both,
            self.uncounted + other.uncounted,
        )

    def record(self) -> Json:
        """For a job's manifest."""
        return asdict(self)

    def words(self) -> str:
        """`160 replies, 412,000 tokens in, 98,000 out, $2.05`."""
        dollars = "" if self.dollars is None else f", ${self.dollars:,.2f}"
        untold = f" ({self.uncounted} replies without a count)" if self.uncounted else ""
        noun = "reply" if self.replies == 1 else "replies"
        return f"{self.replies:,} {noun}, {self.prompt_tokens:,} tokens in, {self.answer_tokens:,} out{untold}{dollars}"


def dollars(prompt_tokens: int, answer_tokens: int, prices: Prices) -> float | None:
    """What so many tokens are charged at; None where the prices are not known."""
    if prices.price_in is None or prices.price_out is None:
        return None
    return (prompt_tokens * prices.price_in + answer_tokens * prices.price_out) / _MILLION


def estimate(prompts: Iterable[JudgePrompt], settings: JudgeSettings, prices: Prices) -> Cost:
    """What asking once for each costs at most.

    Tokens of a prompt: one for every 4 bytes of UTF-8, and 8 for every message. Tokens of an answer: its limit.
    """
    asked = list(prompts)
    messages = [message for one in asked for message in one.messages]
    prompt = sum(-(-_bytes(message) // _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE for message in messages)
    answers = sum(answer_tokens(one, settings) for one in asked)
    return Cost(len(asked), prompt, answers, dollars(prompt, answers, prices))


def counted(usages: Iterable[Usage | None], prices: Prices) -> Cost:
    """What replies did cost, as far as the server told."""
    listed = list(usages)
    told = [usage for usage in listed if usage is not None]
    prompt = sum(usage.prompt_tokens for usage in told)
    answers = sum(usage.completion_tokens for usage in told)
    return Cost(len(listed), prompt, answers, dollars(prompt, answers, prices), len(listed) - len(told))


class Budget:
    """What may still be spent. A call is made only when it fits at its dearest, beside all those in flight."""

    def __init__(self, settings: JudgeSettings, access: JudgeAccess, before: Iterable[Usage | None]) -> None:
        self._settings = settings
        self._access = access
        spent = counted(before, access)
        self._calls = spent.replies
        self._spent = spent.dollars or 0.0
        self._reserved = 0.0
        self._in_flight = 0
        self._settled = asyncio.Event()

    @asynccontextmanager
    async def call(self, asked: JudgePrompt) -> AsyncIterator[None]:
        """Hold this around a call, and `charge` its reply within. Raises UserError where it might cost too much.

        A call that may have been charged for and brought nothing counts at its dearest.
        """
        dearest = self._dearest(asked)
        while not self._fits(dearest) and self._in_flight:  # they may turn out cheaper
            self._settled.clear()
            await self._settled.wait()
        self._refuse_excess(dearest)
        self._calls += 1
        self._in_flight += 1
        self._reserved += dearest
        try:
            yield
        except Fault as fault:
            self._spent += dearest if fault.billed else 0.0
            raise
        finally:  # without an await: a reply is on its way to the disk
            self._in_flight -= 1
            self._reserved = self._reserved - dearest if self._in_flight else 0.0
            self._settled.set()

    def charge(self, asked: JudgePrompt, usage: Usage | None) -> None:
        """Count a reply, at its dearest where the server does not tell its tokens."""
        told = None if usage is None else dollars(usage.prompt_tokens, usage.completion_tokens, self._access)
        self._spent += self._dearest(asked) if told is None else told

    def _refuse_excess(self, dearest: float) -> None:
        if not self._fits(dearest):
            raise UserError(
                f"the judge's budget of ${self._access.budget:,.2f} allows no further call: "
                f"${self._spent:,.2f} are spent",
                "everything stored is kept; raise judge.budget and give the same command again",
            )
        if self._access.max_calls is not None and self._calls >= self._access.max_calls:
            raise UserError(
                f"the judge's {self._access.max_calls:,} calls are made",
                "everything stored is kept; raise judge.max_calls and give the same command again",
            )

    def _fits(self, dearest: float) -> bool:
        budget = self._access.budget
        return budget is None or self._spent + self._reserved + dearest <= budget

    def _dearest(self, asked: JudgePrompt) -> float:
        """Dollars, if every byte of the prompt were a token, and the answer as long as it may be."""
        prompt = sum(_bytes(message) + _TOKENS_PER_MESSAGE for message in asked.messages)
        return dollars(prompt, answer_tokens(asked, self._settings), self._access) or 0.0


def _bytes(message: Message) -> int:
    return len(message.content.encode(errors="replace"))
