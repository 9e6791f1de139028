"""LaTeX that compiles, and bold that means something."""

import re
from dataclasses import replace

import pytest

from harness.board.export.distinguishable import best_rows
from harness.board.export.latex import BOLD, as_latex
from harness.board.export.selection import Told, select
from harness.board.export.tex import escaped
from harness.board.publish import write_run

OBEYED = "a\x1b[2J\x07\x7f\x9b1m\u202eb"
HOSTILE = [r"\input{/etc/passwd}", '100% & more # _x_ {a} ~ ^ $y$ | < > " `', "[1ex]", "*", "a--b---c", "x\ny", OBEYED]


def latex(selection):
    (text,) = as_latex(selection, Told()).files.values()
    return text


def test_scores_intervals_differences_and_marks_are_those_of_the_board(selection):
    text = latex(selection)
    for _, line, row in selection.lines():
        assert escaped(line.arm) in text
        for task in row.result.tasks.values():
            assert f"{100 * task.score:.1f}" in text
        if line.baseline:
            value = 100 * line.composite.comparison.difference.value
            mark = line.composite.comparison.mark.replace("-", "$-$")
            assert f"${value:+.1f}$\\textsuperscript{{{mark}}}" in text
    assert all(name in text for name in selection.boards[0].benchmarks)
    assert "the difference from sft" in text


def test_the_table_compiles(selection, compiled):
    compiled(latex(selection))


def test_names_are_printed_and_not_run(maker, info, tmp_path, compiled):
    arms = [maker.arm(name, {"100%_&": 0.5}, n=4, baseline=HOSTILE[0]) for name in HOSTILE]
    write_run(tmp_path / "run", arms, info)
    text = latex(select(tmp_path / "run"))
    assert r"\input" not in text
    assert not set(OBEYED) - set("ab[2J1m") & set(text)
    compiled(text)


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("dmt_k", r"dmt\_k"),
        ("50 % & $", r"50 \% \& \$"),
        (r"\a{b}", r"\textbackslash{}a\{b\}"),
        ("a--b", "a-{}-b"),
        ("[x]", "{[}x]"),
        ("a\n b", "a b"),
        (
            OBEYED,
            r"a\textbackslash{}x1b{[}2J\textbackslash{}x07\textbackslash{}x7f\textbackslash{}x9b1m\textbackslash{}u202eb",
        ),
    ],
)
def test_signs_that_mean_something_to_latex(words, written):
    assert escaped(words) == written


def test_a_chosen_row_is_explained_by_its_baselines_name(run):
    text = latex(select(run, ["dmt"]))
    assert "the difference from sft" in text
    assert not re.search(r"^sft", text, re.MULTILINE)


def test_the_best_is_bold_only_where_every_other_is_behind_it(maker, info, tmp_path):
    arms = [
        maker.arm("sft", {"clear": 0.2, "close": 0.50}, n=400),
        maker.arm("dmt", {"clear": 0.5, "close": 0.51}, n=400),
        maker.arm("im", {"clear": 0.9, "close": 0.52}, n=400),
    ]
    write_run(tmp_path / "run", arms, info)
    selection = select(tmp_path / "run")
    rows = list(selection.rows.values())
    im = next(row for row in rows if row.result.arm == "im")
    best = best_rows(rows, selection.scores_of)
    assert best["clear"] == im.id
    assert "close" not in best
    text = latex(selection)
    assert rf"\textbf{{{100 * im.result.tasks['clear'].score:.1f}}}" in text
    assert rf"\textbf{{{100 * im.result.tasks['close'].score:.1f}}}" not in text
    assert BOLD.split(":")[0] in text


@pytest.mark.parametrize(
    ("more", "others", "bold"), [(6, 1, True), (5, 1, False), (7, 2, True), (6, 2, False)], ids=str
)
def test_bold_is_adjusted_for_all_pairs(maker, info, tmp_path, *, more, others, bold):
    """A best arm with so many items more (p = 2 / 2^more) than others that are alike, of which there are as many.

    By hand: 6 more give 0.031, of one pair; 7 more 0.016, or 0.047 times the three pairs of three arms; 6 more 0.094.
    """
    arms = []
    for arm, right in [("best", 80 + more), *((f"other {number}", 80) for number in range(others))]:
        scores = [1] * right + [0] * (100 - right)
        made = maker.arm(arm, {"chat": 0.5}, n=1)
        evaluations = {"chat": maker.evaluation(f"{arm} again", "chat", 0, scores)}
        arms.append(replace(made, seeds=(replace(made.seeds[0], evaluations=evaluations),)))
    write_run(tmp_path / "run", arms, info)
    selection = select(tmp_path / "run")
    best = best_rows(list(selection.rows.values()), selection.scores_of)
    assert {selection.rows[row].result.arm for row in best.values()} == ({"best"} if bold else set())


def test_lower_is_better_where_the_benchmark_says_so(maker, info, tmp_path):
    arms = []
    for name, share in (("sft", 0.9), ("im", 0.1)):
        arm = maker.arm(name, {"errors": share}, n=200)
        seeds = tuple(
            replace(
                seed,
                evaluations={key: replace(of, higher_is_better=False) for key, of in seed.evaluations.items()},
            )
            for seed in arm.seeds
        )
        arms.append(replace(arm, seeds=seeds))
    write_run(tmp_path / "run", arms, info)
    selection = select(tmp_path / "run")
    im = next(row for row in selection.rows.values() if row.result.arm == "im")
    assert best_rows(list(selection.rows.values()), selection.scores_of)["errors"] == im.id


def test_an_only_row_and_few_seeds_are_never_bold(maker, info, tmp_path):
    one = [maker.arm("sft", {"chat": 0.9}, n=50)]
    write_run(tmp_path / "one", one, info)
    selection = select(tmp_path / "one")
    assert best_rows(list(selection.rows.values()), selection.scores_of) == {}
    few = [maker.arm(name, {"chat": share}, n=200, seeds=(1, 2, 3)) for name, share in (("sft", 0.1), ("im", 0.9))]
    write_run(tmp_path / "few", few, info)
    selection = select(tmp_path / "few")
    assert best_rows(list(selection.rows.values()), selection.scores_of) == {}


@pytest.mark.parametrize(("dmt", "bold"), [(0.65, {}), (0.3, {"chat": "sft", "composite": "sft"})])
def test_the_best_is_not_bold_where_it_is_worse_on_the_seeds_that_both_have(maker, info, tmp_path, dmt, bold):
    """Over all ten seeds sft has some 72 % and is the best; on the first five, which dmt has too, it has 50 %."""
    early, late = (
        maker.arm("sft", {"chat": share}, seeds=seeds) for share, seeds in ((0.5, range(5)), (0.95, range(5, 10)))
    )
    arms = [replace(early, seeds=early.seeds + late.seeds), maker.arm("dmt", {"chat": dmt}, seeds=range(5))]
    first, second = write_run(tmp_path / "run", arms, info).lines
    assert (first.arm, second.arm) == ("sft", "dmt")
    assert second.cells["chat"].comparison.difference.p < 0.001
    selection = select(tmp_path / "run")
    best = best_rows(list(selection.rows.values()), selection.scores_of)
    assert {name: selection.rows[row].result.arm for name, row in best.items()} == bold
