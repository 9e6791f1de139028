"""A row in the user's editor: what comes back is JSON, and an editor that cannot be started is told."""

import sys

import pytest

from harness.cli.editor import edit_row
from harness.review.candidates import read_candidates


@pytest.fixture
def edit(candidates, monkeypatch, tmp_path):
    """Edits a row by what a Python expression makes of its YAML, `text`: `edit("text + 'x: 1'")`."""

    def edit(expression, **row):
        script = tmp_path / "editor.py"
        script.write_text(
            "import sys\nfrom pathlib import Path\nfile = Path(sys.argv[1])\ntext = file.read_text()\n"
            f"file.write_text({expression})\n"
        )
        monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
        (candidate,) = read_candidates(candidates([{"prompt": "q", "completion": "a", **row}]))
        return edit_row(candidate)

    return edit


@pytest.mark.parametrize(
    "value", ["&x [*x]", "{a: &x [{b: *x}]}", ".nan", ".inf", "!!set {a}", "!!binary aGk=", "2024-01-31", "{1: a}"]
)
def test_what_is_no_json_is_shown_again_with_what_is_wrong(edit, value):
    mended = "'prompt: q\\ncompletion: a\\nscore: mended\\n'"
    first = f"text.replace('score: 4', 'score: {value}')"
    found = edit(f"{mended} if 'quote it, if it is text' in text else {first}", score=4)
    assert found == {"prompt": "q", "completion": "a", "score": "mended"}


def test_a_row_of_json_is_kept_as_it_was_written(edit):
    found = edit("text.replace('4', '[1, 2.5, null, {a: [x, yes]}]')", score=4)
    assert found["score"] == [1, 2.5, None, {"a": ["x", True]}]


@pytest.mark.parametrize(
    ("told", "named"), [(" ", "' '"), ('vi "x', "'vi \"x'"), ("no-such-editor -w", "no-such-editor")]
)
def test_an_editor_that_is_none_is_told(candidates, monkeypatch, refused, told, named):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", told)
    (candidate,) = read_candidates(candidates([{"prompt": "q", "completion": "a"}]))
    assert refused(edit_row, candidate).startswith(f"there is no editor {named} (set EDITOR")
