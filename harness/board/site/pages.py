"""The HTML of the site, each page with a policy under which nothing runs but the scripts it came with.

The policy allows scripts by their hashes alone, no style attribute, no request but for the pages of data, and no text
to become markup (trusted types). What a page shows is JSON beside the script, and reaches the document as text nodes.

A page of data is loaded in a frame and hands its content to the page around it. From `file:` there is no other way to
read a file later: `fetch` is blocked there, and a script would make code of data.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from harness.canonical import Json, canonical

if TYPE_CHECKING:
    import jinja2

SCRIPTS = (
    "dom.js",
    "format.js",
    "data.js",
    "state.js",
    "columns.js",
    "filters.js",
    "table.js",
    "row.js",
    "samples.js",
    "ledger.js",
    "axes.js",
    "chart.js",
    "frontier.js",
    "curves.js",
    "charts.js",
    "themebutton.js",
    "main.js",
)
"""One module in so many files, in this order."""

STYLES = ("style.css", "charts.css")

THEME, HAND_OVER = "theme.js", "hand-over.js"
"""Scripts of their own: one before the first paint, one in each page of data."""

_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def index_page(content: Json) -> str:
    """The page with its table; `content` is what its scripts read."""
    return _render(
        "index.html.jinja",
        policy=index_policy(),
        script=_script(),
        theme=_asset(THEME),
        style=_style(),
        content=inert(content),
    )


def index_policy() -> str:
    """What the page with the table may do."""
    return _policy(
        {
            "script-src": f"{_hash(_asset(THEME))} {_hash(_script())}",
            "style-src": _hash(_style()),
            "img-src": "data:",
            "frame-src": "'self'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "'none'",
        }
    )


def data_page(content: bytes) -> str:
    """A page that hands `content`, compressed, to the page whose frame it is in."""
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return _render("data.html.jinja", policy=data_policy(), script=_asset(HAND_OVER), content=packed)


def data_policy() -> str:
    """What a page of data may do."""
    return _policy({"script-src": _hash(_asset(HAND_OVER))})


def inert(content: Json) -> str:
    """JSON that no HTML parser takes for markup, whatever strings are in it: `</script>` and `<!--` among them."""
    return canonical(content).translate(_UNSAFE)


def _policy(allowed: Mapping[str, str]) -> str:
    closed = {"default-src": "'none'", **allowed, "base-uri": "'none'", "form-action": "'none'"}
    return "; ".join(f"{directive} {sources}" for directive, sources in closed.items())


def _render(name: str, **parts: str) -> str:
    return _templates().get_template(name).render(**parts) + "\n"


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("harness.board.site", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )


@cache
def _script() -> str:
    return "\n".join(_asset(name) for name in SCRIPTS)


@cache
def _style() -> str:
    return "\n".join(_asset(name) for name in STYLES)


@cache
def _asset(name: str) -> str:
    return files("harness.board.site").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
