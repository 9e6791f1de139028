"""Calls to one server, made again until each is answered, as many at once as the server bears.

The transport is httpx2, which is here through huggingface_hub. The `openai` client would add what must be switched off
(its own retries, its reading of a dozen variables of the environment) and take away what is needed: it checks nothing
of a reply's fields, and its time limit begins anew with each byte.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, Self, TypeVar

import httpx2

from harness.canonical import Json, utf8
from harness.endpoints.access import ServerAccess
from harness.endpoints.availability import Availability, Pace
from harness.endpoints.faults import Closed, Fault, Rejected, check_status
from harness.endpoints.replies import Malformed, parse, scrubbed
from harness.errors import HarnessError, UserError

Answer = TypeVar("Answer")

CHAT = "chat/completions"
COMPLETIONS = "completions"

_CONNECT_SECONDS = 10.0
_STRIKES = 100
"""Failures of one request, while others are answered, after which it counts as one that the server cannot answer."""
_REJECTED_ROUNDS = 2
"""So many times as many requests as are asked at once, all rejected and none answered: the settings are to blame."""


@dataclass(frozen=True)
class Request(Generic[Answer]):
    """What is asked, and what is done with the reply."""

    path: str
    """`CHAT` or `COMPLETIONS`."""
    body: Mapping[str, Json]
    read: Callable[[Json], Awaitable[Answer]]
    """Makes the answer of a reply's JSON, or raises Malformed. Until it is done the call is in flight: what is kept
    there is kept before the next call begins."""
    guard: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    """Held around each single call: it may wait, or raise to make no more calls."""


class Client:
    """An open connection to a server, used within one event loop. `who` is what the user calls it: `the judge`."""

    def __init__(self, access: ServerAccess, who: str, notice: Callable[[str], None], pace: Pace | None = None) -> None:
        self.name = f"{who} at {access.base_url}"
        self.availability = Availability(self.name, pace or Pace(), access.patience, notice)
        self.calls = 0
        """Made so far, answered or not."""
        self._access = access
        self._key = access.read_key()
        # They would log a line for each call, and headers, in which the key may come back.
        for library in ("httpx2", "httpcore2"):
            logging.getLogger(library).setLevel(logging.WARNING)
        self._places = asyncio.Semaphore(access.concurrency)
        try:
            address = httpx2.URL(access.base_url)
        except httpx2.InvalidURL as error:
            raise UserError(f"{self.name} has no address: {error}", "mend base_url") from None
        self._http = httpx2.AsyncClient(
            base_url=address,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            follow_redirects=False,  # the key would follow
            trust_env=not access.is_local,
            timeout=httpx2.Timeout(None, connect=min(_CONNECT_SECONDS, access.timeout)),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=access.concurrency),
        )
        self._asking: set[asyncio.Task[Any]] = set()
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._rejected = 0
        self._answered = False
        self._stopped: HarnessError | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, request: Request[Answer]) -> Answer:
        """The answer to one request, however many calls it takes.

        Raises Rejected where this request alone cannot be answered; UserError where none can, Failure where patience
        ended, and whatever error of the harness `read` and `guard` raise: all other requests that wait end with it
        too, and calls in flight are brought to their end.
        """
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            async with self._places:
                return await self._until_answered(request, task)
        except HarnessError as error:
            self.stop(error)
            raise
        except asyncio.CancelledError:
            if self._stopped is None:
                raise
            task.uncancel()
            raise copy.copy(self._stopped) from None
        finally:
            self._asking.discard(task)

    def stop(self, error: HarnessError) -> None:
        """Make no more calls: requests that wait end with `error`; calls in flight come to their end."""
        if self._stopped is None:
            self._stopped = error
            for task in self._asking - self._in_flight - {_current()}:
                task.cancel()

    async def _until_answered(self, request: Request[Answer], task: asyncio.Task[Any]) -> Answer:
        known, failures, strikes = self.availability.answers, 0, 0
        while True:
            if self._stopped is not None:
                raise copy.copy(self._stopped)
            try:
                async with self.availability.turn(), request.guard():
                    self._in_flight.add(task)
                    try:
                        return await self._call(request)
                    finally:
                        self._in_flight.discard(task)
            except Fault as error:
                fault = error
            failures += 1
            strikes += fault.reached and self.availability.answers > known
            if strikes >= _STRIKES:
                raise Rejected(f"{strikes} calls brought nothing, the last: {fault.reason}", "unanswered")
            await self.availability.rest(self.availability.pace.between_calls(failures), asked=fault.wait or 0.0)

    async def _call(self, request: Request[Answer]) -> Answer:
        """One call. Raises Fault, Rejected or UserError."""
        self.calls += 1
        try:
            answer = await self._answer(request)
        except Fault as fault:
            self.availability.failed(fault.reason)
            raise
        except Rejected as rejected:
            self.availability.answered()
            self._rejected += 1
            if self._rejected >= _REJECTED_ROUNDS * self._access.concurrency and not self._answered:
                raise UserError(
                    f"{self.name} rejects every request: {rejected.reason}", "change its settings"
                ) from None
            raise
        except Closed as closed:
            raise self._words(closed, str(request.body.get("model"))) from None
        self.availability.answered()
        self._answered = True
        return answer

    async def _answer(self, request: Request[Answer]) -> Answer:
        try:
            async with asyncio.timeout(self._access.timeout):
                response = await self._http.post(
                    request.path,
                    content=utf8(json.dumps(request.body, ensure_ascii=False, allow_nan=False)),
                    headers={"Content-Type": "application/json", "Accept": "application/json"},
                )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise Fault(f"no connection: {self._reason(error)}", reached=False) from None
        except TimeoutError:
            raise Fault(f"no whole reply within {self._access.timeout:g} s", billed=True) from None
        except httpx2.RequestError as error:
            raise Fault(self._reason(error), billed=True) from None
        check_status(response.status_code, response.headers, response.content, self._key)
        try:
            return await request.read(parse(response.content, self._key))
        except Malformed as error:
            raise Fault(str(error), billed=True) from None

    def _reason(self, error: Exception) -> str:
        text = " ".join(scrubbed(str(error), self._key).split())
        return text or type(error).__name__

    def _words(self, closed: Closed, model: str) -> UserError:
        variable = self._access.api_key_env
        if closed.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            remedy = (
                f"see to the key in {variable}" if variable else "name the variable that holds its key in api_key_env"
            )
        elif closed.status == HTTPStatus.NOT_FOUND:
            remedy = f"it may have no model {model}, or another base_url"
        elif closed.status == HTTPStatus.PAYMENT_REQUIRED:
            remedy = "pay; the same command then goes on"
        elif 300 <= closed.status < 400:  # noqa: PLR2004 (HTTP's own)
            return UserError(
                f"{self.name} leads elsewhere ({closed.status})", "give the address it leads to as base_url"
            )
        else:
            remedy = "see to its settings"
        return UserError(f"{self.name} refuses: {closed.reason}", f"{remedy}; everything stored is kept")


def _current() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # outside the loop
        return None
