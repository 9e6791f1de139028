"""The report as one HTML file: no script, nothing fetched, everything escaped, readable on a screen and on paper."""

from __future__ import annotations

from collections.abc import Sequence

from harness.board.contrasts import Contrasts
from harness.board.report.content import content
from harness.board.report.forest import inline, reach, themed
from harness.board.report.latex import latex
from harness.board.report.methods import methods
from harness.board.rows import Row
from harness.visible import visible


def page(made: Contrasts, rows: Sequence[Row]) -> str:
    """The page of a comparison; `rows` are those of its sides. Raises UserError where matplotlib is not installed."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.board.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found, said = content(made, rows), methods(made, rows)
    scale = reach([one.panel for one in found.comparisons], made.margin)
    figures = [
        Markup(inline(themed(one.panel, made.margin, scale), f"figure{number}", f"Forest plot: {one.title}"))  # noqa: S704
        for number, one in enumerate(found.comparisons)
    ]
    return environment.get_template("report.html.jinja").render(
        report=found,
        methods=said,
        latex=latex(made, said),
        comparisons=zip(found.comparisons, figures, strict=True),
        kinds={"+": "better", "-": "worse", "=": "equal", "?": "unknown"},
    )


def _shown(value: object) -> object:
    """Text without what a page or whoever copies from it would obey; markup of ours as it is."""
    return visible(value) if type(value) is str else value
