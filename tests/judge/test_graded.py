"""Rows of grades and votes, and what of them cannot be compared."""

import pytest

from harness.judge.graded import are_votes, graded, votes


def grade(question, points, model="m", **more):
    return {"model": model, "question_id": question, "points": points, **more}


def test_grades_are_paired_by_model_and_question():
    human = [grade("1", "2", "a"), grade("2", "0.5", "a"), grade("1", "", "b"), grade("2", "3", "b")]
    judged = [grade(2, 1, "b"), grade(1, 1.5, "b"), grade(2, 0.5, "a"), grade(1, None, "a")]
    found = {(g.model, g.question): (g.human, g.judged) for g in graded(human, judged)}
    assert found == {("a", "1"): (2, None), ("a", "2"): (0.5, 0.5), ("b", "1"): (None, 1.5), ("b", "2"): (3, 1)}


def test_one_model_on_each_side_is_the_same_whatever_its_file_is_called():
    (pair,) = graded([grade("1", 2, "by-hand")], [grade("1", 1, "by-judge")])
    assert (pair.model, pair.human, pair.judged) == ("by-hand", 2, 1)


@pytest.mark.parametrize(
    ("human", "judged", "said"),
    [
        ([grade("1", 2)], [grade("2", 2)], "question 1 of m was not graded by the judge"),
        ([grade("1", 2)], [grade("1", 2), grade("2", 2)], "question 2 of m was not graded by people"),
        ([grade("1", 2), grade("1", 1)], [grade("1", 2)], "graded twice"),
        ([grade("1", "two")], [grade("1", 2)], "'two' are no points"),
        ([grade("1", "nan")], [grade("1", 2)], "'nan' are no points"),
        ([grade("1", -1)], [grade("1", 2)], "-1 are no points"),
        ([{"model": "m", "points": 1}], [grade("1", 2)], "row 1 of what people said lacks"),
        ([grade("1", 2, answer="yes")], [grade("1", 2, answer="no")], "different answers"),
    ],
)
def test_what_cannot_be_compared_is_named(human, judged, said, refused):
    assert said in refused(graded, human, judged)


def test_white_space_at_ends_of_lines_makes_no_other_answer():
    assert graded([grade("1", 2, answer="a \r\nb\n")], [grade("1", 2, answer="a\nb")])


def ballot(**changes):
    return {
        "question_id": 81,
        "model_a": "x",
        "model_b": "c",
        "winner": "model_a",
        "judge": "expert_0",
        "turn": 1,
        **changes,
    }


def test_votes_forget_who_stood_first():
    assert are_votes([ballot()])
    assert not are_votes([grade("1", 2)])
    one, other = votes([ballot(), ballot(model_a="c", model_b="x", winner="model_b", judge="p2")])
    assert (one.models, one.winner, other.models, other.winner) == (("c", "x"), "x", ("c", "x"), "x")


@pytest.mark.parametrize("word", ["tie", "tie (inconsistent)"])
def test_ties_are_ties(word):
    assert votes([ballot(winner=word)])[0].winner is None


@pytest.mark.parametrize(
    ("changes", "said"), [({"winner": "x"}, "'x' is no winner"), ({"turn": "first"}, "'first' is no turn")]
)
def test_a_vote_that_cannot_be_read_is_named(changes, said, refused):
    assert said in refused(votes, [ballot(), ballot(**changes)])


def test_a_missing_column_is_named(refused):
    assert "vote 1 has no judge" in refused(votes, [{k: v for k, v in ballot().items() if k != "judge"}])
