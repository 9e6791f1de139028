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

_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def index_page(content: Json) -> str:
    """The page with its table; `content` is what its scripts read."""
    script, theme, style = _script(), _asset("theme.js"), _style()
    policy = {
        "script-src": f"{_hash(theme)} {_hash(script)}",
        "style-src": _hash(style),
        "img-src": "data:",
        "frame-src": "'self'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return _render("index.html.jinja", policy, script=script, theme=theme, style=style, content=inert(content))


def data_page(content: bytes) -> str:
    """A page that hands `content`, compressed, to the page whose frame it is in."""
    script = _asset("hand-over.js")
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return _render("data.html.jinja", {"script-src": _hash(script)}, script=script, content=packed)


def inert(content: Json) -> str:
    """JSON that no HTML parser takes for markup, whatever strings are in it: `</script>` and `<!--` among them."""
    return canonical(content).translate(_UNSAFE)


def _render(name: str, policy: Mapping[str, str], **parts: str) -> str:
    closed = {"default-src": "'none'", **policy, "base-uri": "'none'", "form-action": "'none'"}
    directives = "; ".join(f"{directive} {sources}" for directive, sources in closed.items())
    return _templates().get_template(name).render(policy=directives, **parts) + "\n"


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
