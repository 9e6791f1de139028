"""The two ways a command can end badly, told apart by their exit codes.

Both carry one line that names the thing and one that names the remedy; the command line prints them
without a traceback unless `--debug` is given.
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping, Sequence
from typing import Any


class HarnessError(Exception):
    """Anything the harness reports in words: `problem` names the thing, `remedy` what to do about it."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} ({remedy})" if remedy else problem)
        self.problem = problem
        self.remedy = remedy

    @property
    def lines(self) -> tuple[str, ...]:
        """What is told, one thing a line."""
        return (str(self),)

    def __reduce__(self) -> tuple[Any, ...]:
        # Otherwise an exception is pickled as a call with its message, which is both lines in one.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class UserError(HarnessError):
    """What was asked for cannot be done as written: a name, an option, a recipe, a data file. Exit code 2."""

    exit_code = 2


class Refused(UserError):  # noqa: N818 (as below: what it is to the user)
    """Several things at once that were asked for and cannot be done; all of them are told, a line each."""

    def __init__(self, errors: Sequence[HarnessError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = tuple(errors)

    @property
    def lines(self) -> tuple[str, ...]:
        """One of each."""
        return tuple(map(str, self.errors))


class Failure(HarnessError):  # noqa: N818 (what it is to the user: nothing was wrong with the request)
    """What was asked for was right, and the machine or a job failed: disk, memory, a crash. Exit code 1."""

    exit_code = 1


class Leaving(BaseException):
    """Whoever started this process wants it to end; what is under way and paid for may still come to its end."""


def told(error: HarnessError) -> dict[str, Any]:
    """The error as JSON, for another process; `retold` makes the error of it."""
    said: dict[str, Any] = {"problem": error.problem, "remedy": error.remedy, "exit_code": error.exit_code}
    return {**said, "each": [told(one) for one in error.errors]} if isinstance(error, Refused) else said


def retold(said: Mapping[str, Any]) -> HarnessError:
    """The error that another process told of."""
    if each := said.get("each"):
        return Refused([retold(one) for one in each])
    kind = UserError if said["exit_code"] == UserError.exit_code else Failure
    return kind(said["problem"], said["remedy"])
