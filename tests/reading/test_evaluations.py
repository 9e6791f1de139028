import shutil
from pathlib import Path

import pytest

from harness.board.ledger import add
from harness.board.publish import read_board, read_row, run_samples
from harness.reading.evaluations import chosen, evaluations, side
from harness.reading.samples import load, with_asked

STORE = Path(".harness")


def test_a_real_run_is_read_from_the_store_with_what_was_asked(tiny_run):
    found = evaluations(tiny_run / "run", tiny_run / "store")
    assert {one.arm for one in found} == {"sft", "dmt+im"}
    one = chosen(found, tasks=["playground_code"], arms=["sft"])[0]
    assert (one.protocol, one.score, one.higher_is_better) == ("exact-1", "exact_match,none", True)
    samples = with_asked(load([one]))
    assert len(samples) == 8
    assert [turn["role"] for turn in samples[0].asked[0][0]["prompt"]] == ["user"]
    assert samples[0].asked[0][0]["prompt"][0]["content"].startswith(("Write ", "Code "))


def test_a_run_whose_jobs_are_gone_is_read_from_its_folder(tiny_run, tmp_path):
    (one, *_) = evaluations(tiny_run / "run", tmp_path / "no-store")
    assert one.samples.is_relative_to(tiny_run / "run" / "samples")
    assert one.asked is None
    assert len(load([one])) == 8


def test_a_published_row_is_read_by_the_beginning_of_its_id(tiny_run, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    run = tiny_run / "run"
    row = read_row(run, read_board(run).lines[0].row)
    monkeypatch.setattr("harness.board.admission.refuse_unpublishable", lambda _: None)  # for it asked eight items only
    add(row, {(name, 0): run_samples(run, row, name, 0) for name in row.result.tasks}, tmp_path / "leaderboards")
    found = evaluations(row.id[:8], tmp_path)
    assert {one.task for one in found} == set(row.result.tasks)
    (sample, *_) = with_asked(load(found[:1]))
    assert sample.asked is None
    assert "no row of leaderboards" in refused(evaluations, "0123abcd", tmp_path)


def test_a_run_is_found_by_its_name_and_suggested_where_it_is_misspelt(written, sums, refused, tmp_path):
    written("first", {("sft", 0): sums("1")})
    assert evaluations("first", STORE) == evaluations(tmp_path / "runs" / "first", STORE)
    assert refused(evaluations, "fist", STORE) == "fist is no run (did you mean 'first'?)"
    shutil.rmtree("runs")
    assert "give a run folder" in refused(evaluations, "first", STORE)


def test_a_plan_of_an_older_version_says_so(written, sums, refused):
    folder = written("first", {("sft", 0): sums("1")})
    (folder / "plan.json").write_text('{"arms": []}')
    assert "the same harness run writes it anew" in refused(evaluations, folder, STORE)


@pytest.mark.parametrize(
    ("narrowed", "said"),
    [
        ({"tasks": ["sum"]}, "the run has no task 'sum' (did you mean 'sums'?)"),
        ({"arms": ["im"]}, "the run has no arm 'im' (there are: dmt, sft)"),
        ({"seeds": [3]}, "the run has no seed '3' (there are: 0, 1)"),
    ],
)
def test_what_a_run_does_not_have_is_said(written, sums, refused, narrowed, said):
    written("first", {("sft", 0): sums("1"), ("sft", 1): sums("1"), ("dmt", 0): sums("1")})
    assert refused(chosen, evaluations("first", STORE), **narrowed) == said


def test_a_side_is_an_arm_another_run_or_an_arm_of_another_run(written, sums, refused):
    written("first", {("sft", 0): sums("1"), ("dmt@dmt.k=1/4", 0): sums("1")})
    written("other", {("base", 0): sums("1")})
    found = evaluations("first", STORE)
    assert [one.arm for one in side("dmt@dmt.k=1/4", found, STORE)] == ["dmt@dmt.k=1/4"]
    assert [(one.run, one.arm) for one in side("other", found, STORE)] == [("other", "base")]
    assert [(one.run, one.arm) for one in side("runs/first:sft", found, STORE)] == [("first", "sft")]
    assert refused(side, "first", found, STORE) == "the run first has 2 arms (name one: first:dmt@dmt.k=1/4)"
    assert (
        refused(side, "sf", found, STORE) == "'sf' is neither an arm of this run nor another run (did you mean 'sft'?)"
    )
    assert refused(side, "other:bas", found, STORE) == "the run has no arm 'bas' (did you mean 'base'?)"
