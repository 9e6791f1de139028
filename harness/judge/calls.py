"""A job's calls of the judge: the judge opened when it is first wanted, the price told before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.api import JudgePrompt, Verdict
from harness.canonical import Json
from harness.errors import UserError
from harness.judge.cost import Cost, counted
from harness.judge.judge import Judge, Judgment
from harness.judge.settings import Judging


class JudgeCalls:
    """The judge of one job; use it in a `with` block, which waits for calls that are paid for.

    What the judge replies is in the store, below `judgments/`, before anybody sees it. `label` is what people call the
    job, and `notice` is called with lines for the user.
    """

    def __init__(
        self,
        judging: Judging | None,
        store: Path,
        label: str,
        notice: Callable[[str], None],
        *,
        coming: bool = False,
    ) -> None:
        self._judging, self._store, self._label, self._notice = judging, store, label, notice
        self._coming = coming
        """Whether more is asked for later, as answers come."""
        self._open = ExitStack()
        self._replies: list[Judgment] = []
        self._expected: Cost | None = None

    def expect(self, prompts: Sequence[JudgePrompt]) -> None:
        """Say what these will cost at most, before any is bought.

        Of several lots only the first is spoken of: the whole bound comes with the bill.
        """
        if not prompts:
            return
        cost = self._judge.estimate(prompts)
        if cost.replies and not (self._expected and self._expected.replies):
            bound = f"for at most {cost.words()}"
            how = f"as answers come, first {bound}" if self._coming else bound
            self._notice(f"the judge {self._judge.settings.model} is asked {how}")
        self._expected = cost if self._expected is None else self._expected + cost

    def submit(self, prompt: JudgePrompt) -> Future[Verdict]:
        """Have it judged: the future has a verdict, or what ended the judging."""
        verdict: Future[Verdict] = Future()

        def settle(judged: Future[Judgment]) -> None:
            if (error := judged.exception()) is not None:
                verdict.set_exception(error)
                return
            self._replies.append(judged.result())
            verdict.set_result(judged.result().verdict)

        self._judge.submit(prompt).add_done_callback(settle)
        return verdict

    def taken(self) -> dict[str, Json]:
        """What it took, under `judge`: replies, tokens and money, those bought now apart; nothing if never asked."""
        if "_judge" not in self.__dict__:
            return {}
        access = self._judge.access
        of_all = counted([usage for judgment in self._replies for usage in judgment.usages], access)
        models = sorted({reply.model for judgment in self._replies for reply in judgment.replies})
        self._notice(f"the judge {self._judge.settings.model} was paid for {self._judge.bought.words()}")
        return {
            "judge": {
                "models": models,
                "expected": self._expected and self._expected.record(),
                "cost": of_all.record(),
                "bought": self._judge.bought.record(),
                "calls": self._judge.calls,
            }
        }

    @cached_property
    def _judge(self) -> Judge:
        if self._judging is None:
            raise UserError(f"{self._label} needs a judge", "--set judge.model=NAME judge.base_url=URL")
        return self._open.enter_context(Judge(self._judging, self._store, notice=self._notice))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
