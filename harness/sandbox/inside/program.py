"""The program's process: it runs the code, then answers calls of the function that the code defines."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from harness.sandbox.inside.wire import decode, encode, receive, send

_NAME = "program"
"""The code's `__name__`, so that `if __name__ == "__main__"` is not done."""


def answer(requests: int, replies: int) -> None:
    """Serve until nobody asks. The first request is the code and its function's name, every other one a call."""
    sys.argv = sys.orig_argv = [_NAME]
    module = sys.modules[_NAME] = ModuleType(_NAME)
    request = receive(requests)
    reply, function = _attempt(_load, module, request["code"], request["entry_point"])
    while True:
        send(replies, reply)
        request = receive(requests)
        reply, _ = _attempt(_call, function, request)


def _load(module: ModuleType, code: str, entry_point: str) -> tuple[Any, Any]:
    exec(compile(code, f"<{_NAME}>", "exec"), module.__dict__)  # noqa: S102 - this is what the sandbox is for
    return None, getattr(module, entry_point)


def _call(function: Any, request: Any) -> tuple[Any, Any]:
    return encode(function(*decode(request["arguments"]), **decode(request["keywords"]))), None


def _attempt(step: Any, *arguments: Any) -> tuple[Any, Any]:
    """The reply, and what the step found. Whatever the code raises is an answer."""
    try:
        value, found = step(*arguments)
    except BaseException as error:  # noqa: BLE001 - SystemExit among them
        return {"error": type(error).__name__, "message": _message(error)}, None
    return {"value": value}, found


def _message(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except BaseException:  # noqa: BLE001 - as above
        return ""
