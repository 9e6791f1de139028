"""Long output, page by page where somebody looks at it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def page(blocks: Iterable[str]) -> None:
    """Write blocks of text as they are made: through `$PAGER` or less on a terminal, else to standard output.

    Whoever leaves the pager stops the making.
    """
    command = _pager() if sys.stdin.isatty() and sys.stdout.isatty() else None
    if command is None:
        for block in blocks:
            sys.stdout.write(block)
        return
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, encoding="utf-8") as pager:
        assert pager.stdin is not None
        # Ctrl-C is the pager's, which stops its search with it; here it would leave the pager without a reader.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with contextlib.suppress(BrokenPipeError):
                for block in blocks:
                    pager.stdin.write(block)
            with contextlib.suppress(BrokenPipeError):
                pager.stdin.close()
            pager.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _pager() -> list[str] | None:
    """The user's own, or less, which ends by itself where all fits the screen."""
    chosen = shlex.split(os.environ.get("PAGER", "")) or ["less"]
    if shutil.which(chosen[0]) is None or os.environ.get("TERM") == "dumb":
        return None
    return [*chosen, "-RFX"] if Path(chosen[0]).name == "less" else chosen
