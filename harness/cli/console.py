"""Where tables are printed."""

from __future__ import annotations

import os
import sys

from rich.console import Console

WIDE = 240


def console() -> Console:
    """As wide as the terminal; where there is none, wide enough that `grep` finds a table's row on one line."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)
