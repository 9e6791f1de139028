"""The command line: parsing and printing, nothing else. Commands import what they need when they run."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import typer

from harness.errors import HarnessError
from harness.visible import in_one_line

INTERRUPTED = 130

UsageError: Any = typer.BadParameter.__base__
"""Of the parser. Typer brings the class along and gives it no name of its own."""

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM, or a closed terminal. Not KeyboardInterrupt, which typer ends the process on without a word."""


def _interrupt(*_: object) -> None:
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not keep the first from ending the workers
    raise Interrupted


def main() -> None:
    """Run the command line; every error is one line on standard error unless `--debug` asks for more."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        for number in _STOPPING:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, _interrupt)
        _leave(_done(arguments))
    except HarnessError as error:
        if debug:
            raise
        for line in error.lines:
            _say(line)
        _leave(error.exit_code)
    except Interrupted:
        _say("stopped; what is finished is kept, and the same command goes on from here")
        _leave(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(1)
    except Exception as error:  # our own mistake: it must not bury the user in a traceback either
        if debug:
            raise
        _say(f"a bug: {type(error).__name__}: {error} (--debug shows where; please report it)")
        _leave(1)


def _done(arguments: list[str]) -> int:
    """Do what they say, and return the exit code; what the parser does not understand is told in one line as well."""
    from harness.cli.app import app

    try:
        return app(arguments, prog_name="harness", standalone_mode=False) or 0
    except UsageError as error:
        words, context = error.format_message().removesuffix("."), error.ctx
        if context is not None and words == context.get_help().removesuffix("."):
            typer.echo(context.get_help())  # a command of commands, given none
        else:
            _say(f"{words.replace('Value error, ', '')} ({context.command_path if context else 'harness'} --help)")
        return int(error.exit_code)


def _say(text: str) -> None:
    """One line, whatever the text: it may name what stands in somebody's data."""
    typer.echo(f"harness: {in_one_line(text)}", err=True)


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.exit(code)
