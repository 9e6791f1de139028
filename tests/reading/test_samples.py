from pathlib import Path

import pytest

from harness.reading.evaluations import evaluations
from harness.reading.samples import Selection, load, with_asked

STORE = Path(".harness")


@pytest.fixture
def samples(written, line):
    essays = [line("essays", "a", 0.9), line("essays", "b", 0.4), line("essays", "c", None)]
    errors = [line("errors", "a", 0.1), line("errors", "b", 0.8)]
    written("run", {("sft", 0): {"essays": essays, "errors": errors}})
    return load(evaluations("run", STORE))


def ids(samples):
    return [f"{sample.evaluation.task}/{sample.id}" for sample in samples]


def test_worse_is_meant_in_the_benchmarks_own_direction_and_missing_is_not_wrong(samples):
    assert ids(Selection(worse_than=0.5).of(samples)) == ["essays/b", "errors/b"]
    assert ids(Selection(worse_than=0.95).of(samples)) == ["essays/a", "essays/b"]


def test_samples_are_chosen_by_outcome_and_id(samples, refused):
    assert ids(Selection(outcomes=("judge_unparsed",)).of(samples)) == ["essays/c"]
    assert ids(Selection(ids=("a", "b"), worse_than=0.5).of(samples)) == ["essays/b", "errors/b"]
    assert refused(Selection(outcomes=("unparsed",)).of, samples) == (
        "no sample ended as 'unparsed' (did you mean 'judge_unparsed'?)"
    )
    assert refused(Selection(ids=("z",)).of, samples) == "no item is called 'z' (there are: a, b, c)"


def test_only_scores_of_0_and_1_are_right_or_wrong(samples, written, sums):
    assert all(sample.graded for sample in samples)
    written("binary", {("sft", 0): sums("01")})
    assert not any(sample.graded for sample in load(evaluations("binary", STORE)))


def test_what_was_asked_is_joined_by_id_in_any_order(samples):
    asked = with_asked([samples[4], samples[1], samples[0]])
    assert [sample.asked[0][0]["prompt"] for sample in asked] == ["question b", "question b", "question a"]


def test_an_evaluation_that_is_not_scored_yet_is_said(written, refused):
    written("begun", {("sft", 0): {"sums": None}})
    assert refused(load, evaluations("begun", STORE)) == (
        "there are no samples of sums, sft, seed 0 (the same harness run goes on with it)"
    )
