"""A session: several parties ask one engine together, in rounds, and each is told its answers as they come.

A party is one job that wants answers: a benchmark, or the prompts of a dataset. Requests of all of them stream into the
engine, so that it stays full until the last one ends. What a party has stored is never asked again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from harness.engines.protocol import Answer, Engine, Request, Told, Unanswered
from harness.engines.stored import Responses
from harness.errors import Failure


class Party(Protocol):
    """Whoever asks."""

    def begin(self) -> Iterable[Request]:
        """The first round; taken lazily, as the engine has room."""
        ...

    def take(self, request: str, answer: Told) -> Iterable[Request]:
        """What came of the request of this id; returns what is to be asked next because of it."""
        ...


@dataclass
class Asking:
    """The simplest party: requests that are all there from the start."""

    requests: Sequence[Request]
    answers: dict[str, Answer] = field(default_factory=dict)

    def begin(self) -> Iterable[Request]:
        """All of them."""
        return self.requests

    def take(self, request: str, answer: Told) -> Iterable[Request]:
        """Keep it; nothing follows. Raises Failure for a request that cannot be answered."""
        if isinstance(answer, Unanswered):
            raise Failure(f"the model does not answer request {request}: {answer.reason}", "ask another one")
        self.answers[request] = answer
        return ()


@dataclass
class Seat:
    """A party in a session, with the file of its answers."""

    party: Party
    responses: Responses
    asked: int = 0
    """Requests that the engine has answered."""
    stored: int = 0
    """Requests answered from the file."""
    open: int = 0
    """Requests in the engine."""
    seconds: float = 0.0
    """Its share of the session: each moment is shared out by the requests under way."""
    begun: bool = False
    """Whether all of its first round has been taken."""
    shared: dict[str, list[str]] = field(default_factory=dict)
    """Key of a request under way to the ids of all requests that wait for its answer."""

    @property
    def done(self) -> bool:
        """Whether nothing of it is left to ask."""
        return self.begun and not self.open


def converse(
    engine: Engine, seats: Sequence[Seat], *, answered: Callable[[Seat], None] = lambda _: None
) -> Iterator[Seat]:
    """Ask all that the parties ask; yields each seat when it is done, which may be long before the last.

    An answer is in the party's file before the party is told. `answered` is called after each lot.
    """
    groups = [list(seats)] if engine.mixes else [[seat] for seat in seats]
    for group in groups:
        left, line, before = list(group), _Line(group), time.perf_counter()
        for lot in engine.answer(line):
            now = time.perf_counter()
            under_way = sum(seat.open for seat in group)
            for seat in group:
                seat.seconds += (now - before) * seat.open / under_way
            before = now
            touched = line.settle(lot)
            for seat in touched:
                answered(seat)
            yield from [seat for seat in left if seat.done]
            left = [seat for seat in left if not seat.done]
        yield from left  # those that were answered from their files alone


class _Line:
    """What waits to be asked: follow-ups first, so that conversations end, then the parties' first rounds in order."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = list(seats)
        self._first = deque((n, iter(seat.party.begin())) for n, seat in enumerate(seats))
        self._ready: deque[Request] = deque()
        self._keys: dict[str, tuple[Seat, str]] = {}

    def __bool__(self) -> bool:
        while not self._ready and self._first:
            n, source = self._first[0]
            request = next(source, None)
            if request is None:
                self._seats[n].begun = True
                self._first.popleft()
            else:
                self._enter(n, request)
        return bool(self._ready)

    def popleft(self) -> Request:
        """The next request, under an id that is unique in the session."""
        if not self:
            raise IndexError("nothing waits")
        return self._ready.popleft()

    def settle(self, lot: Iterable[tuple[str, Told]]) -> list[Seat]:
        """Store a lot, tell the parties and line up what they ask next; returns the seats that had a part in it."""
        parts: dict[int, dict[str, Told]] = {}
        for name, answer in lot:
            n = int(name.partition(":")[0])
            parts.setdefault(n, {})[self._keys.pop(name)[1]] = answer
        for n, answers in parts.items():
            seat = self._seats[n]
            seat.responses.store(answers)
            seat.asked += len(answers)
            for key, answer in answers.items():
                for waiting in seat.shared.pop(key):
                    self._tell(n, waiting, answer)
                seat.open -= 1
        return [self._seats[n] for n in parts]

    def _enter(self, n: int, request: Request) -> None:
        seat = self._seats[n]
        key = seat.responses.key(request)
        known = seat.responses.get(key)
        if known is not None:
            seat.stored += 1
            self._tell(n, request.id, known)
        elif key in seat.shared:
            seat.shared[key].append(request.id)
        else:
            seat.shared[key] = [request.id]
            seat.open += 1
            name = f"{n}:{request.id}"
            self._keys[name] = (seat, key)
            line = self._ready.appendleft if request.round else self._ready.append
            line(replace(request, id=name))

    def _tell(self, n: int, request: str, answer: Told) -> None:
        for following in self._seats[n].party.take(request, answer):
            self._enter(n, following)
