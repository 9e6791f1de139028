"""`harness show`: what is read on a terminal, in a pipe and in a file."""

import io
import os
import pty
import select
import subprocess
import sys
import time

import pytest
from rich.console import Console

from harness.cli import sampletext
from harness.cli.sampletext import pair_block, sample_block
from harness.reading.evaluations import evaluations
from harness.reading.pairs import compare, with_prompts
from harness.reading.samples import load, with_asked
from harness.visible import visible

HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07 [bold]markup[/bold] :smile: \u202eright to left\u202c\r\x9b2J"


def text(block, width=60):
    out = io.StringIO()
    Console(file=out, width=width).print(block)
    return out.getvalue()


def labelled(shown):
    """The lines of a block by label, those without one under the label before."""
    found, label = {}, None
    for row in shown.splitlines()[1:]:
        label = row[:9].strip() or label
        found.setdefault(label, []).append(row[11:].rstrip())
    return found


@pytest.fixture
def one(written, tmp_path):
    """The single sample of a run, written and read again."""

    def read(line, asked=None):
        written("run", {("sft", 0): {"sums": [line]}}, asked=asked and (lambda _: asked))
        (sample,) = with_asked(load(evaluations("run", tmp_path / ".harness")))
        return sample

    return read


# --- a sample ------------------------------------------------------------------------------------------------------


def test_a_sample_shows_what_was_asked_answered_and_scored(one, line):
    shown = text(sample_block(one(line("sums", "7", 0.0, response="six\nor seven")), full=False))
    assert shown.splitlines()[0] == "── sums · sft · seed 0 · item 7 · wrong ──"
    assert labelled(shown) == {
        "prompt": ["question 7"],
        "response": ["six", "or seven"],
        "target": ["target of 7"],
        "extracted": ["7"],
        "score": ["0  exact_match,none"],
        "outcome": ["ok", ""],
    }


def test_nothing_that_was_written_is_obeyed_or_read_as_markup(one, line):
    judged = [{"outcome": "ok", "value": None, "text": HOSTILE}]
    answered = line("sums", HOSTILE, 1.0, response=HOSTILE, target=HOSTILE, judgments=judged, detail={"x": HOSTILE})
    shown = text(sample_block(one(answered, [[{"prompt": HOSTILE}]]), full=False), width=400)
    assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e"} & set(shown)
    spelt = r"\x1b[31mred\x1b[0m \x1b]0;title\x07 [bold]markup[/bold] :smile: \u202eright to left\u202c\r\x9b2J"
    assert all(spelt in " ".join(rows) for label, rows in labelled(shown).items() if label not in ("score", "outcome"))
    assert visible("a\tb\n\ud800\u200d").encode() == "a\tb\n\\ud800\u200d".encode()


def test_the_rounds_of_a_conversation_follow_each_other(one, line):
    first = [{"role": "user", "content": "Write."}]
    second = [*first, {"role": "assistant", "content": "Written."}, {"role": "user", "content": "Rewrite."}]
    judged = [
        {"outcome": "ok", "value": 7, "text": "Fair. [[7]]"},
        {"outcome": "judge_unparsed", "value": None, "text": "Well"},
    ]
    answered = line("sums", "1", None, response=["Written.", " "], judgments=judged)
    shown = text(sample_block(one(answered, [[{"prompt": first}], [{"prompt": second}]]), full=False))
    rows = [row.rstrip() for row in shown.splitlines()]
    assert rows[:5] == [
        "── sums · sft · seed 0 · item 1 · no score ──",
        "user       Write.",
        "response   Written.",
        "user       Rewrite.",
        "response   white space",
    ]
    assert labelled(shown)["judge 1"] == ["7, ok", "Fair. [[7]]"]
    assert labelled(shown)["judge 2"] == ["judge_unparsed", "Well", ""]


def test_choices_have_their_log_probabilities_and_the_likeliest_and_the_target_are_told(one, line):
    asked = [[{"prompt": "Capital?", "continuation": name} for name in (" Lyon", " Paris")]]
    answered = line("sums", "1", 1.0, response=[[-2.5, False], [-0.25, True]], target=1, extracted={}, finish=None)
    shown = labelled(text(sample_block(one(answered, asked), full=False)))
    assert shown["prompt"] == ["Capital?"]
    assert [row.split() for row in (*shown["choice"], *shown["likeliest"])] == [
        ["-2.500", "Lyon"],
        ["-0.250", "Paris", "(target)"],
    ]


def test_of_a_long_prompt_the_end_is_shown_unless_all_is_wanted(one, line):
    prompt = "".join(f"Example {n}: {'x' * 60}\n\n" for n in range(50)) + "Question: why?"
    sample = one(line("sums", "1", 1.0), [[{"prompt": prompt}]])
    rows = labelled(text(sample_block(sample, full=False), width=100))["prompt"]
    assert rows[0].endswith("characters before (--full shows them)")
    assert rows[1].startswith("Example 3")
    assert rows[-1] == "Question: why?"
    assert len("\n".join(rows[1:])) <= sampletext.SHOWN
    assert labelled(text(sample_block(sample, full=True), width=100))["prompt"][0].startswith("Example 0")


def test_of_a_long_conversation_the_last_turns_are_shown(one, line):
    shots = [{"role": role, "content": f"{role} {'y' * 200}"} for _ in range(5) for role in ("user", "assistant")]
    question = {"role": "user", "content": "And this?"}
    shown = labelled(
        text(sample_block(one(line("sums", "1", 1.0), [[{"prompt": [*shots, question]}]]), full=False), 400)
    )
    assert shown["prompt"] == ["… 6 turns before (--full shows them)"]
    assert shown["user"][-1] == "And this?"
    assert len(shown["user"]) + len(shown["assistant"]) == 5


def test_what_befell_an_answer_is_told(one, line):
    befell = {"finish": "length", "prompt_cut": 12, "outcome": "scorer_error", "error": "ValueError: x"}
    answered = line("sums", "1", None, response="so it go", **befell)
    shown = labelled(text(sample_block(one(answered), full=False), width=100))
    assert shown["response"] == ["so it go", "cut off by the limit on new tokens"]
    assert shown["outcome"] == ["scorer_error", "12 tokens of the prompt were cut to fit the context"]
    assert shown["error"] == ["ValueError: x", ""]


def test_several_programs_and_how_they_ended_are_numbered(one, line):
    ran = {"executions": ["passed", "failed: AssertionError"]}
    answered = line("sums", "1", 0.5, response=["a", "b"], extracted=["def f():\n    pass", "x"], detail=ran)
    shown = labelled(text(sample_block(one(answered), full=False)))
    assert (shown["answer 1"], shown["answer 2"]) == (["a"], ["b"])
    assert shown["extracted"] == ["1. def f():", "    pass", "2. x"]
    assert shown["detail"] == ["executions:", "1. passed", "2. failed: AssertionError", ""]


@pytest.mark.parametrize("width", [40, 60, 120])
def test_nothing_is_lost_or_overflows_at_any_width(one, line, width):
    words = " ".join(f"word{n}" for n in range(200)) + " " + "z" * 300
    shown = text(sample_block(one(line("sums", "1", 1.0, response=words)), full=False), width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert "".join("".join(labelled(shown)["response"]).split()) == "".join(words.split())


def test_a_pair_shows_the_question_once_and_both_answers(written, line, tmp_path):
    for run, score in (("a", 1.0), ("b", 0.0)):
        written(run, {("sft", 0): {"sums": [line("sums", "1", score, response=f"said {run}")]}})
    (found,) = compare(*(evaluations(run, tmp_path / ".harness") for run in "ab"))
    (pair,) = with_prompts(found.differing())
    shown = text(pair_block(pair, found.kind(pair), ("a", "b:sft"), full=False))
    assert shown.splitlines()[0] == "── sums · seed 0 · item 1 · only A ──"
    assert shown.count("question 1") == 1
    assert labelled(shown)["A"] == ["a: right"]
    assert labelled(shown)["B"] == ["b:sft: wrong"]
    assert labelled(shown)["response"] == ["said a", "said b"]


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def show(command, tmp_path):
    """Runs `harness show` in the folder; returns exit code, output, errors."""

    def run(*arguments, **env):
        process = command("show", *arguments, cwd=tmp_path, env={"COLUMNS": "100", **env})
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return run


def test_without_options_the_samples_are_counted(written, sums, line, show):
    written("run", {("sft", 0): {**sums("101"), "essays": [line("essays", "a", None)]}, ("sft", 1): {"sums": None}})
    code, out, _ = show("run")
    assert code == 0
    assert [row.split() for row in out.splitlines()] == [
        ["task", "arm", "seed", "samples", "wrong", "outcomes"],
        ["sums", "sft", "0", "3", "1", "3", "ok"],
        ["sums", "sft", "1", "-", "-", "not", "scored", "yet"],
        ["essays", "sft", "0", "1", "0", "1", "judge_unparsed"],
        ["--task", "TASK", "shows", "the", "samples,", "--wrong", "those", "that", "are", "wrong"],
    ]


def test_wrong_ones_are_paged_plainly_into_a_pipe(written, sums, show):
    written("run", {("sft", 0): sums("10110")})
    code, out, _ = show("run", "--task", "sums", "--wrong")
    assert (code, out.count("· wrong ──"), out.count("· right ──")) == (0, 2, 0)
    assert "\x1b" not in out
    assert not any(row != row.rstrip() for row in out.splitlines())
    _, out, _ = show("run", "--wrong", "--limit", "1")
    assert "item 1 ·" in out
    assert "item 4 ·" not in out
    assert show("run", "--id", "0", "--wrong")[1] == "no sample is of that kind\n"


def test_two_arms_are_compared(written, sums, show):
    written("run", {("sft", 0): sums("1100"), ("dmt", 0): sums("1010")})
    code, out, _ = show("run", "--diff", "dmt", "sft")
    assert code == 0
    assert out.splitlines()[:3] == [
        "A: dmt",
        "B: sft",
        "sums, 4 answers of each: both right 1, only A 1, only B 1, both wrong 1",
    ]
    assert out.count("── sums") == 2
    code, _, err = show("run", "--diff", "dmt", "sft", "--wrong")
    assert (code, "--diff chooses arms and samples itself" in err) == (2, True), err


def test_samples_and_pairs_are_exported(written, sums, show, tmp_path):
    written("run", {("sft", 0): sums("1100"), ("dmt", 0): sums("1010")})
    assert show("run", "--wrong", "--export", "wrong.csv")[1] == "wrote 4 samples to wrong.csv\n"
    assert show("run", "--diff", "sft", "dmt", "--export", "pairs.jsonl")[1] == "wrote 2 samples to pairs.jsonl\n"
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 2


def test_errors_are_one_line(written, sums, show):
    written("run", {("sft", 0): sums("1")})
    assert show("run", "--task", "sum") == (2, "", "harness: the run has no task 'sum' (did you mean 'sums'?)\n")
    assert show("run", "--diff", "sft", "stf")[2].startswith("harness: 'stf' is neither an arm of this run nor another")


# --- on a terminal -------------------------------------------------------------------------------------------------


def on_a_terminal(arguments, cwd, **env):
    """What a command writes to a terminal, and its exit code."""
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from harness.cli import main; main()", *arguments],
        cwd=cwd,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "60", **env},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    written, end = b"", time.monotonic() + 60
    try:
        while time.monotonic() < end:
            if select.select([main], [], [], 0.2)[0]:
                try:
                    written += os.read(main, 65536)
                except OSError:  # the last process has closed the terminal
                    break
        return process.wait(timeout=60), written.decode()
    finally:
        process.kill()
        process.wait()
        os.close(main)


@pytest.mark.timeout(120)
def test_a_terminal_gets_a_pager_and_colours(written, sums, tmp_path):
    written("run", {("sft", 0): sums("01")})
    code, out = on_a_terminal(["show", "run", "--task", "sums"], tmp_path, PAGER="sed s/^/PAGED/")
    assert code == 0
    assert "\x1b[1;31m · wrong" in out
    assert "\x1b[1;32m · right" in out
    assert out.count("PAGED") == len(out.splitlines())


@pytest.mark.timeout(120)
def test_whoever_leaves_the_pager_is_done(written, sums, tmp_path):
    written("run", {("sft", 0): sums("01" * 3000)})
    code, out = on_a_terminal(["show", "run", "--task", "sums"], tmp_path, PAGER="head -1")
    assert (code, len(out.splitlines())) == (0, 1)
