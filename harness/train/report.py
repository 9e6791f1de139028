"""Telling of progress often enough for a person, and no more often."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from harness.context import Progress

_BETWEEN_REPORTS = 0.5


def throttled(progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """At most two reports a second, and the last one always."""
    last = -math.inf

    def report(now: Progress) -> None:
        nonlocal last
        if now.done >= now.total or time.monotonic() - last >= _BETWEEN_REPORTS:
            last = time.monotonic()
            progress(now)

    return report
