"""A grading sheet: a CSV for spreadsheets, and one page that draws formulas, keeps points and saves them as CSV."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from harness.errors import UserError
from harness.files import explained, write_whole
from harness.grading.latex import with_maths
from harness.grading.ungraded import Answer

COLUMNS = ("question_id", "answer_sha256", "question", "answer", "points")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a program."""


def write_sheet(folder: Path, benchmark: str, answers: Sequence[Answer]) -> tuple[Path, Path]:
    """Write `<benchmark>.csv` and `.html`. Raises UserError where one is there already: it may hold grades."""
    table, page = (folder / f"{benchmark}{suffix}" for suffix in (".csv", ".html"))
    for path in (table, page):
        if path.exists():
            raise UserError(f"{path} is there already, and may hold grades", "give another folder with --to")
    with explained(folder, "--to"):
        write_whole(table, table_of(answers))
        write_whole(page, page_of(benchmark, answers))
    return table, page


def table_of(answers: Sequence[Answer]) -> str:
    """The CSV, with a mark that tells spreadsheets that it is UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for answer in answers:
        writer.writerow([answer.question_id, answer.sha256, _cell(answer.question), _cell(answer.text), ""])
    return "\ufeff" + text.getvalue()


def page_of(benchmark: str, answers: Sequence[Answer]) -> str:
    """The page, self-contained: nothing is fetched, and no script runs but its own."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.grading", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = environment.get_template("sheet.js.jinja").render()
    return environment.get_template("sheet.html.jinja").render(
        benchmark=benchmark,
        answers=len(answers),
        questions=[(list(group)) for _, group in groupby(answers, key=lambda answer: answer.question_id)],
        with_maths=with_maths,
        script=script,
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sheet=hashlib.sha256(table_of(answers).encode()).hexdigest(),
    )


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
