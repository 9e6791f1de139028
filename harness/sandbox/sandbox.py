"""The place where generated programs are run, found by trying which walls this machine can put up."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from harness.api import Execute, Execution
from harness.errors import Failure, UserError
from harness.sandbox import cell
from harness.sandbox.selftest import fault
from harness.sandbox.tiers import TIERS, UNSAFE, Tier
from harness.sandbox.view import View, view


@dataclass(frozen=True)
class Sandbox:
    """Runs programs, each in a fresh process. `open_sandbox` finds one that holds."""

    tier: Tier
    view: View = field(default_factory=view)

    @property
    def name(self) -> str:
        """The tier, as results record it."""
        return self.tier.name

    def run(self, program: Execute) -> Execution:
        """Run one program to its end. Raises nothing, whatever the program does. Threads may call it side by side."""
        return cell.run(program, self.tier, self.view)

    def run_all(self, programs: Iterable[Execute], workers: int | None = None) -> Iterator[Execution]:
        """Run them side by side, by default as many as there are cores; executions come in the programs' order."""
        pool = ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)))
        try:
            yield from pool.map(self.run, programs)
        finally:
            pool.shutdown(cancel_futures=True)


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
        "use a kernel with Landlock (5.13) or install bubblewrap; on a machine with nothing to lose: --unsafe-code",
    )
