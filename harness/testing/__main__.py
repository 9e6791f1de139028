"""`python -m harness.testing PLUGIN...`: check plug-ins, by name or file, and say what a run would refuse."""

from __future__ import annotations

import sys

import typer

from harness.errors import HarnessError, UserError
from harness.testing.check import check_plugin
from harness.visible import in_one_line


def main(names: list[str]) -> int:
    """Check them one after another, and return the exit code; what is wrong is one line on standard error."""
    try:
        if not names:
            raise UserError("no plug-in is named", "write python -m harness.testing my_method.py")
        for name in names:
            check_plugin(name)
            typer.echo(f"{name} keeps the rules")
    except HarnessError as error:
        for line in error.lines:
            typer.echo(f"harness: {in_one_line(line)}", err=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
