"""What scorers may call on: a judge and a sandbox, each opened when the first item wants it."""

from __future__ import annotations

from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from harness.api import Evaluator, Execute, JudgePrompt
from harness.canonical import Json
from harness.context import Context
from harness.errors import UserError
from harness.jobs import Evaluate


class Tools:
    """The judge and the sandbox of one evaluation; use it in a `with` block."""

    def __init__(self, declared: Evaluate, evaluator: Evaluator, context: Context) -> None:
        self._declared, self._evaluator, self._context = declared, evaluator, context

    def submit(self, call: JudgePrompt | Execute) -> Future[Any]:
        """Have it judged or run."""
        raise UserError(f"{self._evaluator.name} wants a {type(call).__name__}, and nobody does that", "")

    def taken(self) -> dict[str, Json]:
        """What it took: replies, tokens and money of the judge, the sandbox's tier."""
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
