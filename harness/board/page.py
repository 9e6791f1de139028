"""The board as one self-contained page: no script, nothing fetched, everything escaped."""

from __future__ import annotations

from harness.board import text
from harness.board.board import Board


def page(board: Board) -> str:
    """HTML that a browser opens from disk, on a phone as on a desk."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.board", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(board=board, text=text)
