"""What can go wrong with a call, sorted by what helps: to wait, to leave the request, or to ask the user."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal

from harness.endpoints.replies import scrubbed

_LONGEST = 86_400.0
"""Seconds; a server that asks for more has miscounted."""
_WORDS = 200

_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_OF_THE_REQUEST = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
}
_REFUSALS = ("content_filter", "content_policy_violation", "content policy", "moderation", "flagged")


class Fault(Exception):  # noqa: N818 (what happened)
    """A call that brought nothing and is made again."""

    def __init__(self, reason: str, *, wait: float | None = None, reached: bool = True, billed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        """Seconds that the server asks to be left alone."""
        self.reached = reached
        """Whether the server took the request up, so that the request itself may be to blame."""
        self.billed = billed
        """Whether the server may charge for it."""


class Rejected(Exception):  # noqa: N818 (what became of the request)
    """A request that this server does not answer, however often it is asked; others it does."""

    def __init__(self, reason: str, kind: Literal["refused", "invalid", "unanswered"]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        """`refused`: its content is not wanted; `invalid`: too long, say; `unanswered`: every call for it failed."""


class Closed(Exception):  # noqa: N818 (what the server is to us)
    """A server that answers no request until the user has changed something."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


def check_status(status: int, headers: Mapping[str, str], body: bytes, key: str | None) -> None:
    """Nothing for a reply; else raises Fault, Rejected or Closed, with the server's words, without the key."""
    if 200 <= status < 300:  # noqa: PLR2004 (HTTP's own)
        return
    reason = f"{status}: {said}" if (said := words(body, key)) else f"{status} {_name(status)}"
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        throttled = status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
        raise Fault(reason, wait=retry_after(headers), reached=not throttled)
    if status in _OF_THE_REQUEST:
        refused = any(word in body.decode(errors="replace").lower() for word in _REFUSALS)
        raise Rejected(reason, "refused" if refused else "invalid")
    raise Closed(reason, status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, given as a number or as a date; None where it says nothing usable."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        until = _date(text)
        if until is None:
            return None
        # By the server's own clock, which may not be ours.
        seconds = (until - (_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), _LONGEST) if math.isfinite(seconds) else None


def words(body: bytes, key: str | None) -> str:
    """What the server says of an error: one line, cut, without the key."""
    text = body.decode(errors="replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = text
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and name in said:
            said = said[name]
    line = " ".join(scrubbed(said if isinstance(said, str) else text, key).split())
    return line if len(line) <= _WORDS else f"{line[: _WORDS - 1]}…"


def _name(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "of no known kind"


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
