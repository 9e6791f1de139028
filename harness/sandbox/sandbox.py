"""The place where generated programs are run, found by trying which walls this machine can put up."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from harness.api import Execute, Execution
from harness.errors import Failure, UserError
from harness.sandbox import cell
from harness.sandbox.selftest import fault
from harness.sandbox.tiers import TIERS, UNSAFE, Tier
from harness.sandbox.view import view


class Sandbox:
    """Runs programs, each in a fresh process, as many side by side as there are cores; use it in a `with` block."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self._view = view()
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    @property
    def name(self) -> str:
        """The tier, as results record it."""
        return self.tier.name

    @property
    def unsafe(self) -> bool:
        """Whether nothing is shut in at all."""
        return self.tier == UNSAFE

    def run(self, program: Execute) -> Execution:
        """Run one program to its end. Raises nothing, whatever the program does."""
        return cell.run(program, self.tier, self._view)

    def submit(self, program: Execute) -> Future[Execution]:
        """Run it as soon as a core is free."""
        return self._pool.submit(self.run, program)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def open_sandbox(*, allow_unsafe: bool = False) -> Sandbox:
    """The first tier that holds on this machine, which is found out by trying to get out of it.

    Raises UserError where none does, unless `allow_unsafe`: then programs have the rights of this user.
    """
    faults = {}
    for tier in TIERS:
        sandbox = Sandbox(tier)
        try:
            tier.prepare()
            found = fault(sandbox.run)
        except Failure as failure:
            found = str(failure)
        if found is None:
            return sandbox
        faults[tier.name] = found
    if allow_unsafe:
        return Sandbox(UNSAFE)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in faults.items())
    raise UserError(
        f"nothing on this machine can shut in generated code ({reasons})",
        "install bubblewrap or use a kernel with Landlock (5.13); on a machine with nothing to lose: --unsafe-code",
    )
