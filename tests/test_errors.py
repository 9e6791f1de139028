"""Errors told from one process to another."""

import json

import pytest

from harness.errors import Failure, Refused, UserError, retold, told


@pytest.mark.parametrize(
    "error",
    [
        UserError("a name is wrong", "correct it"),
        Failure("the disk is full"),
        Refused([UserError("one", "this"), UserError("two; and more")]),
    ],
)
def test_an_error_is_the_same_in_another_process_line_by_line(error):
    there = retold(json.loads(json.dumps(told(error))))
    assert (type(there), there.lines, there.exit_code) == (type(error), error.lines, error.exit_code)
