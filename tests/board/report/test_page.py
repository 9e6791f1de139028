"""The report as a file: self-contained, escaped, the same for equal comparisons."""

import re
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from harness.board.report.latex import latex
from harness.board.report.methods import methods
from harness.board.report.page import page
from harness.cli.app import app
from harness.errors import UserError

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><svg onload=alert(1)>",
    "{{ 7*7 }}",
    "javascript:alert(1)",
    "' onmouseover='alert(1)",
]


class Elements(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self):
        super().__init__()
        self.elements = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def parsed(html):
    found = Elements()
    found.feed(html)
    return found.elements, "".join(found.text)


def test_nothing_is_fetched_and_nothing_runs(seeds):
    elements, _ = parsed(page(seeds.made, seeds.rows))
    policy = next(attributes["content"] for tag, attributes in elements if "http-equiv" in attributes)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert not {tag for tag, _ in elements} & {"script", "img", "link", "iframe", "object", "base", "form"}
    for _, attributes in elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert all((attributes.get(name) or "#").startswith("#") for name in ("href", "src", "xlink:href"))


def test_equal_comparisons_give_equal_pages(seeds):
    assert page(seeds.made, seeds.rows) == page(seeds.made, seeds.rows)


def test_every_part_is_there(checkpoints):
    elements, text = parsed(page(checkpoints.made, checkpoints.rows))
    for heading in ("What was compared", "Scores", "Differences", "Methods", "Outcomes", "Provenance", "LaTeX"):
        assert heading in text
    assert sum(tag == "svg" for tag, _ in elements) == len(checkpoints.made.contrasts)
    assert " ".join(methods(checkpoints.made, checkpoints.rows)) in re.sub(r"\s+", " ", text)
    assert all(row.id in text for row in checkpoints.rows)
    assert latex(checkpoints.made, methods(checkpoints.made, checkpoints.rows)) in text


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text(maker, compared, name):
    arms = [maker.arm(arm, {name: share}, n=30, baseline=name) for arm, share in ((name, 0.3), ("dmt", 0.9))]
    found = compared(arms)
    elements, text = parsed(page(found.made, found.rows))
    assert name in text
    assert not {tag for tag, _ in elements} & {"script", "img"}
    assert not [key for _, attributes in elements for key in attributes if key.startswith("on")]


def test_control_characters_are_spelled_out_in_it(maker, compared):
    name = "\x1b]0;owned\x07\x9b1m\u202efirst"
    arms = [maker.arm(arm, {name: share}, n=30, baseline=name) for arm, share in ((name, 0.3), ("dmt", 0.9))]
    found = compared(arms)
    html = page(found.made, found.rows)
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(html)
    assert "\\x1b]0;owned\\x07\\x9b1m\\u202efirst" in parsed(html)[1]


def test_the_latex_compiles(checkpoints, compiled):
    compiled(latex(checkpoints.made, methods(checkpoints.made, checkpoints.rows)))


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in ("report", *arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_command_writes_the_page_and_the_figures(checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(checkpoints.folder).stdout == "wrote report.html\n"
    assert "dmt+im against sft" in (tmp_path / "report.html").read_text()
    said = run("sft", "dmt", "--run", checkpoints.folder, "--png", "a.png", "--svg", "a.svg").stdout
    assert said == "wrote a.png\nwrote a.svg\n"
    assert b"dmt+im" not in (tmp_path / "a.svg").read_bytes()
    assert run("sft", "dmt", "--run", checkpoints.folder, "--out", "a.html").stdout == "wrote a.html\n"
    html = (tmp_path / "a.html").read_text()
    assert "dmt against sft" in html
    assert "dmt+im against sft" not in html


def test_what_cannot_be_compared_or_written_is_refused(checkpoints, tmp_path):
    with pytest.raises(UserError, match=r"no arm is named .write harness report"):
        run()
    with pytest.raises(UserError, match="is a folder"):
        run(checkpoints.folder, "--out", tmp_path)
    with pytest.raises(UserError, match="one arm is no comparison"):
        run("sft", "--run", checkpoints.folder, "--out", tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
