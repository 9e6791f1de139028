"""The formats by name, and how an export reaches its file, its folder or the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.board.export.eval_results import as_eval_results
from harness.board.export.every_eval_ever import as_every_eval_ever
from harness.board.export.latex import as_latex
from harness.board.export.model_index import as_model_index
from harness.board.export.selection import Export, Format
from harness.board.export.spreadsheet import as_csv
from harness.board.files import write_atomically
from harness.errors import UserError

FORMATS: Mapping[str, Format] = {
    "csv": as_csv,
    "eval-results": as_eval_results,
    "every-eval-ever": as_every_eval_ever,
    "latex": as_latex,
    "model-index": as_model_index,
}


def one_text(export: Export) -> str:
    """The only file's text. Raises UserError where there are several."""
    if len(export.files) != 1:
        raise UserError(
            f"{len(export.files)} files cannot be printed as one", "name one row with --row, or a folder with --out"
        )
    return next(iter(export.files.values()))


def write_export(export: Export, out: Path) -> list[Path]:
    """Write the only file as `out`, or into the folder `out` where that is one; several make it one.

    Raises UserError where a folder is wanted and a file stands there.
    """
    if len(export.files) == 1 and not out.is_dir():
        write_atomically(out, one_text(export).encode())
        return [out]
    if out.is_file():
        raise UserError(f"{out} is a file, and there are {len(export.files)} to write", "give a folder")
    for name, written in export.files.items():
        write_atomically(out / name, written.encode())
    return [out / name for name in export.files]
