from pathlib import Path

import pytest

from harness.reading.evaluations import evaluations
from harness.reading.pairs import compare, with_prompts

STORE = Path(".harness")


def sides(a, b):
    return evaluations(a, STORE), evaluations(b, STORE)


def test_right_and_wrong_make_four_kinds(written, sums):
    written("a", {("sft", 0): sums("1100")})
    written("b", {("sft", 0): sums("1010")})
    (one,) = compare(*sides("a", "b"))
    assert one.counts() == {"both right": 1, "only A": 1, "only B": 1, "both wrong": 1}
    assert [(pair.a.id, one.kind(pair)) for pair in one.differing()] == [("1", "only A"), ("2", "only B")]


def test_other_numbers_are_higher_lower_or_alike_and_the_largest_differences_come_first(written, line):
    for run, scores in (("a", [0.5, 0.2, 0.9, None]), ("b", [0.6, 0.7, 0.9, 1.0])):
        written(run, {("sft", 0): {"essays": [line("essays", str(n), score) for n, score in enumerate(scores)]}})
    (one,) = compare(*sides("a", "b"))
    assert one.counts() == {"B higher": 2, "alike": 1, "not both scored": 1}
    assert [pair.a.id for pair in one.differing()] == ["1", "0"]
    (one,) = compare(*sides("a", "b"), by=0.2)
    assert one.counts() == {"B higher": 1, "alike": 2, "not both scored": 1}
    assert [pair.a.id for pair in one.differing()] == ["1"]


def test_where_lower_is_better_0_is_right(written, line):
    for run, score in (("a", 0.0), ("b", 1.0)):
        written(run, {("sft", 0): {"errors": [line("errors", "x", score)]}})
    (one,) = compare(*sides("a", "b"))
    assert one.counts()["only A"] == 1


def test_seeds_go_together_and_a_single_one_goes_with_any(written, sums, refused):
    written("two", {("sft", 0): sums("11"), ("sft", 1): sums("10")})
    written("also", {("sft", 1): sums("01"), ("sft", 2): sums("11")})
    (one,) = compare(*sides("two", "also"))
    assert one.counts() == {"both right": 0, "only A": 1, "only B": 1, "both wrong": 0}
    written("single", {("sft", 7): sums("01")})
    (one,) = compare(evaluations("single", STORE), evaluations("two", STORE)[:1])
    assert len(one.pairs) == 2
    assert "no seed of sums in common" in refused(compare, *sides("two", "single"))


def test_what_does_not_belong_together_is_refused(written, sums, line, refused):
    written("a", {("sft", 0): sums("11")})
    written("essays", {("sft", 0): {"essays": [line("essays", "0", 0.5)]}})
    said = refused(compare, *sides("a", "essays"))
    assert said == "the two have no benchmark in common (they have sums, and essays)"
    written("elsewhere", {("sft", 0): {"sums": [line("sums", "0", 1.0, doc_sha256="0" * 64)]}})
    assert refused(compare, *sides("a", "elsewhere")) == (
        "item 0 of sums is not the same question for both (compare runs on the same data)"
    )
    written("others", {("sft", 0): {"sums": [line("sums", "x", 1.0)]}})
    assert "no item of sums in common" in refused(compare, *sides("a", "others"))
    folder = written("loose", {("sft", 0): sums("11")})
    plan = folder / "plan.json"
    plan.write_text(plan.read_text().replace("exact-1", "loose-1"))
    assert "scored by exact-1 for A and by loose-1 for B" in refused(compare, *sides("a", "loose"))


@pytest.mark.parametrize("limit", [1, 2])
def test_pairs_have_what_was_asked_on_both_sides(written, sums, limit):
    written("a", {("sft", 0): sums("10")})
    written("b", {("sft", 0): sums("01")})
    (one,) = compare(*sides("a", "b"))
    found = with_prompts(one.differing()[:limit])
    assert [pair.b.asked[0][0]["prompt"] for pair in found] == ["question 0", "question 1"][:limit]
