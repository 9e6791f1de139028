"""What scorers may call on: a judge and a sandbox, each opened when the first item wants it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.api import Execute, JudgePrompt
from harness.canonical import Json
from harness.context import Context
from harness.judge.calls import JudgeCalls
from harness.judge.settings import Judging
from harness.sandbox.sandbox import Sandbox, open_sandbox


class Tools:
    """The judge and the sandbox of one evaluation; its `with` block ends once calls that are paid for have.

    `coming`: the model still answers.
    """

    def __init__(self, judging: Judging | None, context: Context, *, coming: bool = False) -> None:
        self._context = context
        self._open = ExitStack()
        store = Path(context.runtime["store"])
        calls = JudgeCalls(judging, store, context.label, context.notice, coming=coming)
        self._judge = self._open.enter_context(calls)
        self._programs = 0

    def expect(self, calls: Sequence[JudgePrompt | Execute]) -> None:
        """Say what the first judgments of a lot of items will cost at most, before any is bought."""
        self._judge.expect([call for call in calls if isinstance(call, JudgePrompt)])

    def submit(self, call: JudgePrompt | Execute) -> Future[Any]:
        """Have it judged or run: the future has a `Verdict` or an `Execution`, or what ended the judging."""
        if isinstance(call, Execute):
            self._programs += 1
            return self._sandbox.submit(call)
        return self._judge.submit(call)

    def taken(self) -> dict[str, Json]:
        """What it took: the judge's replies, tokens and money, those bought now apart; the sandbox's tier."""
        found = self._judge.taken()
        if self._programs:
            found["sandbox"] = {"tier": self._sandbox.name, "programs": self._programs}
        return found

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
