"""What scorers may call on: a judge and a sandbox, each opened when the first item wants it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.api import Execute, JudgePrompt, Verdict
from harness.canonical import Json
from harness.context import Context
from harness.errors import UserError
from harness.judge.cost import Cost, counted
from harness.judge.judge import Judge, Judgment
from harness.judge.settings import Judging
from harness.sandbox.sandbox import Sandbox, open_sandbox


class Tools:
    """The judge and the sandbox of one evaluation; use it in a `with` block, which waits for calls that are paid for.

    What the judge replies is in the store, below `judgments/`, before anybody sees it.
    """

    def __init__(self, judging: Judging | None, context: Context, *, coming: bool = False) -> None:
        self._judging, self._context = judging, context
        self._coming = coming
        """Whether the model still answers."""
        self._open = ExitStack()
        self._replies: list[Judgment] = []
        self._expected: Cost | None = None
        self._programs = 0

    def expect(self, calls: Sequence[JudgePrompt | Execute]) -> None:
        """Say what the first judgments of a lot of items will cost at most, before any is bought.

        Of answers that are judged as they come, only the first lot is spoken of: the whole bound comes with the bill.
        """
        prompts = [call for call in calls if isinstance(call, JudgePrompt)]
        if not prompts:
            return
        cost = self._judge.estimate(prompts)
        if cost.replies and not (self._expected and self._expected.replies):
            bound = f"for at most {cost.words()}"
            how = f"as answers come, first {bound}" if self._coming else bound
            self._context.notice(f"the judge {self._judge.settings.model} is asked {how}")
        self._expected = cost if self._expected is None else self._expected + cost

    def submit(self, call: JudgePrompt | Execute) -> Future[Any]:
        """Have it judged or run: the future has a `Verdict` or an `Execution`, or what ended the judging."""
        if isinstance(call, Execute):
            self._programs += 1
            return self._sandbox.submit(call)
        verdict: Future[Verdict] = Future()

        def settle(judged: Future[Judgment]) -> None:
            if (error := judged.exception()) is not None:
                verdict.set_exception(error)
                return
            self._replies.append(judged.result())
            verdict.set_result(judged.result().verdict)

        self._judge.submit(call).add_done_callback(settle)
        return verdict

    def taken(self) -> dict[str, Json]:
        """What it took: the judge's replies, tokens and money, those bought now apart; the sandbox's tier."""
        found: dict[str, Json] = {}
        if "_judge" in self.__dict__:
            access = self._judge.access
            of_all = counted([usage for judgment in self._replies for usage in judgment.usages], access)
            models = sorted({reply.model for judgment in self._replies for reply in judgment.replies})
            found["judge"] = {
                "models": models,
                "expected": self._expected and self._expected.record(),
                "cost": of_all.record(),
                "bought": self._judge.bought.record(),
                "calls": self._judge.calls,
            }
            self._context.notice(f"the judge {self._judge.settings.model} was paid for {self._judge.bought.words()}")
        if self._programs:
            found["sandbox"] = {"tier": self._sandbox.name, "programs": self._programs}
        return found

    @cached_property
    def _judge(self) -> Judge:
        if self._judging is None:
            raise UserError(f"{self._context.label} needs a judge", "--set judge.model=NAME judge.base_url=URL")
        store = Path(self._context.runtime["store"])
        return self._open.enter_context(Judge(self._judging, store, notice=self._context.notice))

    @cached_property
    def _sandbox(self) -> Sandbox:
        sandbox = open_sandbox(allow_unsafe=self._context.runtime.get("unsafe_code", False))
        if sandbox.unsafe:
            self._context.notice(f"{self._context.label} runs generated programs with your rights (--unsafe-code)")
        return self._open.enter_context(sandbox)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
