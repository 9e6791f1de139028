"""Whether a server answers at all: after many failures in a row calls pause, but for one probe at a time."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from harness.errors import Failure

IN_A_ROW = 16
"""Failures, over all calls, that make an outage: where half of all calls fail, one in 65,000 such rows is chance."""
_WORTH_TELLING = 60.0
"""Seconds."""


@dataclass(frozen=True)
class Pace:
    """Seconds between the calls of one request, and between the probes of an outage: doubled each time, jittered."""

    first: float = 0.5
    longest: float = 20.0
    first_probe: float = 1.0
    longest_probe: float = 60.0

    def between_calls(self, failures: int) -> float:
        """After so many failures of one request."""
        return _jittered(min(self.longest, self.first * 2.0 ** min(failures - 1, 30)))

    def between_probes(self, probes: int) -> float:
        """After so many probes."""
        return _jittered(min(self.longest_probe, self.first_probe * 2.0 ** min(probes, 30)))


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 (spreads calls, protects nothing)


class Availability:
    """The failures of one server, over all calls. `notice` is told when an outage begins and when it ends."""

    def __init__(self, server: str, pace: Pace, patience: float | None, notice: Callable[[str], None]) -> None:
        self.server = server
        self.pace = pace
        self.answers = 0
        """Replies so far, of any kind that shows the server at work."""
        self.progress: Callable[[], str] = lambda: ""
        """`412 of 800 done`, for the notice."""
        self._notice = notice
        self._patience = math.inf if patience is None else patience
        self._failures = 0
        self._since = 0.0
        self._probes = 0
        self._told_until = -math.inf
        self._probing = asyncio.Lock()

    @property
    def paused(self) -> bool:
        """Whether there is an outage."""
        return self._failures >= IN_A_ROW

    def answered(self) -> None:
        """Take note of a reply."""
        if self.paused:
            self._notice(f"{self.server} answers again after {time.monotonic() - self._since:.0f} s")
        self.answers += 1
        self._failures = self._probes = 0

    def failed(self, reason: str) -> None:
        """Take note of a call that brought nothing."""
        self._failures += 1
        if self._failures == 1:
            self._since = time.monotonic()
        if self._failures == IN_A_ROW:
            begun = datetime.fromtimestamp(time.time() - (time.monotonic() - self._since)).astimezone()
            how_far = f", {done}" if (done := self.progress()) else ""
            self._notice(
                f"{self.server} has not answered since {begun:%H:%M:%S} ({reason}): paused{how_far}, "
                "goes on by itself; Ctrl-C keeps everything"
            )

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold this around a call: it begins at once or, in an outage, alone and after a wait that grows."""
        if self.paused:
            async with self._probing:
                if self.paused:
                    await self.rest(self.pace.between_probes(self._probes))
                    self._probes += 1
                    yield
                    return
        yield

    async def rest(self, seconds: float, asked: float = 0.0) -> None:
        """Wait, at least as long as the server asked. Raises Failure when patience ends before there is a reply."""
        end = time.monotonic() + max(seconds, asked)
        if asked >= _WORTH_TELLING and end > self._told_until + _WORTH_TELLING:
            self._told_until = end
            self._notice(f"{self.server} asks to wait for {asked:.0f} s")
        while (left := end - time.monotonic()) > 0:
            if self._patience_left() <= 0:
                raise Failure(
                    f"{self.server} has not answered for {self._patience:g} s",
                    "everything stored is kept; the same command goes on when it answers again",
                )
            await asyncio.sleep(min(left, self._patience_left()))

    def _patience_left(self) -> float:
        return self._since + self._patience - time.monotonic() if self._failures else math.inf
