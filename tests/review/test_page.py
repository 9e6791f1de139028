"""The page on which a person reviews, at a real terminal."""

import json
import signal
import sys

import pytest

from harness.review.candidates import read_candidates
from harness.review.decisions import read_decisions

BETTER = r"""text.replace('answer 0', '"a better\\nanswer"')"""
"""As YAML has it, in quotes."""

pytestmark = pytest.mark.timeout(180)


def verdicts(path, decisions):
    """Row by row what stands."""
    standing = read_decisions(decisions).standing
    return [getattr(standing.get(candidate.id), "verdict", None) for candidate in read_candidates(path)]


def beside(path):
    return path.with_name(f"{path.name}.review.jsonl")


@pytest.fixture
def editor(tmp_path):
    """An editor that does what its Python says with `text`: `editor("text.replace('a', 'b')")`."""

    def make(expression, code=0):
        path = tmp_path / "editor.py"
        path.write_text(
            "import sys\nfrom pathlib import Path\nfile = Path(sys.argv[1])\ntext = file.read_text()\n"
            f"file.write_text({expression})\nsys.exit({code})\n"
        )
        return f"{sys.executable} {path}"

    return make


def test_a_review_from_beginning_to_end(terminal, pairs):
    path = pairs(3, score=4.5)
    person = terminal("data", "review", path)
    page = person.until("1 of 3 · 0 kept · 0 dropped · 3 left", "undecided", "question 0", "answer 0", "score: 4.5")
    assert page[-1].startswith("k keep")
    person.type("k")
    person.until("2 of 3 · 1 kept · 0 dropped · 2 left", "question 1")
    person.type("d")
    person.until("3 of 3 · 1 kept · 1 dropped · 1 left", "question 2")
    person.type("u")
    person.until("2 of 3 · 1 kept · 0 dropped · 2 left", "undecided · taken back", "question 1")
    person.type("kk")  # both, however fast
    person.until("3 of 3 · all decided", "kept")
    person.type("q")
    assert person.ended() == (0, f"3 kept; 0 dropped; 0 left; decisions in {beside(path)}")
    assert verdicts(path, beside(path)) == ["keep", "keep", "keep"]
    assert person.settings() == person.before


def test_every_decision_is_on_disk_at_once_and_a_killed_review_goes_on(terminal, pairs):
    path = pairs(4)
    person = terminal("data", "review", path)
    person.until("1 of 4")
    person.type("kd")
    person.until("3 of 4")
    person.process.kill()
    person.process.wait()
    assert verdicts(path, beside(path)) == ["keep", "drop", None, None]
    with beside(path).open("a") as file:
        file.write('{"row": "cut off by a cra')
    again = terminal("data", "review", path)
    again.until("3 of 4 · 1 kept · 1 dropped · 2 left", "question 2")
    again.type("k")
    again.until("4 of 4")
    again.type("q")
    assert again.ended()[0] == 0
    assert verdicts(path, beside(path)) == ["keep", "drop", "keep", None]


def test_moving_and_changing_ones_mind(terminal, pairs):
    path = pairs(3)
    person = terminal("data", "review", path)
    person.until("1 of 3")
    person.type("\x1b[C\x1b[C\x1b[C")
    person.until("3 of 3", "question 2")
    person.type("\x1b[D")
    person.until("2 of 3", "question 1")
    person.type("d")
    person.until("3 of 3")
    person.type("p")
    person.until("2 of 3", "dropped\n")
    person.type("k")
    person.until("3 of 3", "1 kept · 0 dropped")
    person.type("z")
    person.until("no such key")
    person.type("q")
    assert person.ended()[0] == 0
    assert verdicts(path, beside(path)) == [None, "keep", None]


@pytest.mark.parametrize("size", [(24, 60), (10, 60), (24, 120)])
def test_the_page_fits_and_a_long_row_can_be_scrolled(terminal, candidates, size):
    words = " ".join(f"word{n}" for n in range(400))
    path = candidates([{"input": "a\tquestion", "output": f"{words}\n\nlast words", "source": "x" * 500}])
    person = terminal("data", "review", path, size=size)
    page = person.until("more line", "word0")
    while "last words" not in "\n".join(page):
        assert len(page) <= size[0]
        assert max(map(len, page)) <= size[1]
        before = page
        person.type(" ")
        page = person.when(lambda page, before=before: page != before)


def test_an_edit_is_kept_in_place_of_the_row(terminal, pairs, editor):
    path = pairs(2)
    person = terminal("data", "review", path, EDITOR=editor(BETTER))
    person.until("1 of 2")
    person.type("e")
    person.until("2 of 2 · 1 kept")
    person.type("p")
    person.until("kept as edited", "a better\nanswer")
    person.type("k")  # keeps what is on the page
    person.until("2 of 2 · 1 kept")
    person.type("dq")
    assert person.ended()[1].startswith("1 kept, 1 of them edited; 1 dropped; 0 left")
    standing = read_decisions(beside(path)).standing
    assert standing[read_candidates(path)[0].id].edited == {"input": "question 0", "output": "a better\nanswer"}


def test_an_edit_that_is_no_conversation_is_shown_again_with_what_is_wrong(terminal, pairs, editor):
    path = pairs(1)
    fix = "text.replace('nothing', 'output') if 'Mend it' in text else text.replace('output', 'nothing')"
    person = terminal("data", "review", path, EDITOR=editor(fix))
    person.until("1 of 1")
    person.type("e")
    person.until("nothing was changed")  # mended into what it was
    person.type("q")
    assert person.ended()[0] == 0
    assert verdicts(path, beside(path)) == [None]


@pytest.mark.parametrize(
    ("editors", "said"),
    [("no-such-editor -f", "there is no editor no-such-editor"), (None, "ended with 3 (the row is as it was)")],
)
def test_an_editor_that_fails_changes_nothing(terminal, pairs, editor, editors, said):
    person = terminal("data", "review", pairs(1), size=(24, 120), EDITOR=editors or editor("'gone'", code=3))
    person.until("1 of 1")
    person.type("e")
    person.until(said, "undecided")


def test_what_a_terminal_would_obey_is_spelled_out(terminal, candidates):
    evil = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\x9b2J\u202egnp.exe\u2066"
    path = candidates([{"input": f"{evil} [bold]markup[/bold]", "output": f"$\\text{{{evil}&#x1b;[2J}}$", evil: evil}])
    person = terminal("data", "review", path, size=(40, 120))
    page = "\n".join(person.until(r"\x1b]0;owned\x07\x1b[31mred", r"\x9b2J\u202egnp.exe", "[bold]markup[/bold]"))
    assert page.count(r"\x1b]0;owned") == 4
    for forbidden in ("\x1b]0;", "\x1b[31mred", "\x9b", "\u202e", "\u2066", "\x07"):
        assert forbidden not in person.output


def test_formulas_are_readable(terminal, candidates):
    path = candidates([{"input": r"Solve $\frac{x+1}{2} \le x^2$ for $5 or \(\sqrt{y}\).", "output": "ok"}])
    terminal("data", "review", path).until("Solve ((x + 1)/2) ≤ x² for $5 or √y.")


def test_two_at_one_file_is_refused(terminal, pairs):
    path = pairs(2)
    terminal("data", "review", path).until("1 of 2")
    other = terminal("data", "review", path)
    code, said = other.ended()
    assert code == 2
    assert "is being written by another review" in said
    named = terminal("data", "review", path, "--as", "ann")
    named.until("1 of 2")
    named.type("kq")
    assert named.ended()[0] == 0
    assert verdicts(path, path.with_name(f"{path.name}.ann.review.jsonl")) == ["keep", None]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_review_leaves_the_terminal_as_it_was(terminal, pairs, sent):
    path = pairs(2)
    person = terminal("data", "review", path)
    person.until("1 of 2")
    person.type("k")
    person.until("2 of 2")
    person.process.send_signal(sent)
    code, said = person.ended()
    assert (code, said) == (130, "harness: stopped; what is finished is kept, and the same command goes on from here")
    assert person.settings() == person.before
    assert verdicts(path, beside(path)) == ["keep", None]


def test_without_a_terminal_it_is_refused(command, pairs):
    done = command("data", "review", pairs(1), cwd="/", env={"TERM": "xterm"})
    out, err = done.communicate("k", timeout=60) if done.stdin else done.communicate(timeout=60)
    assert (done.returncode, out) == (2, "")
    assert err == (
        "harness: candidates are reviewed on a terminal, and this is none (--export and --merge need none)\n"
    )


def test_a_dumb_terminal_is_none(terminal, pairs):
    code, said = terminal("data", "review", pairs(1), TERM="dumb").ended()
    assert (code, "reviewed on a terminal" in said) == (2, True)


def test_the_file_of_decisions_is_one_line_each(terminal, pairs):
    path = pairs(1)
    person = terminal("data", "review", path, "--decisions", path.parent / "mine.jsonl")
    person.until("1 of 1")
    person.type("kudq")
    assert person.ended()[0] == 0
    row = read_candidates(path)[0].id
    lines = [json.loads(line) for line in (path.parent / "mine.jsonl").read_text().splitlines()]
    assert lines == [{"row": row, "verdict": verdict} for verdict in ("keep", "undo", "drop")]
