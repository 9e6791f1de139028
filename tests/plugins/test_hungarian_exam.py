"""The Hungarian exam: how its points are read, for which answers they count, and what a judge is asked."""

from functools import cache

import pytest
from harness.plugins.hungarian_exam.exam import BEST_TWO_OF_THREE, EXAM, ExamQuestions
from harness.plugins.hungarian_exam.grading import HandGraded, JudgeGraded

from harness.api import Files, JudgeReply, Reply, Response, Verdict, answer_digest
from harness.arms import bind
from harness.armspec import ArmSpec
from harness.data.formats import rows
from harness.testing import check_plugin

GRADES, RUBRIC, SHOTS = Files(("grades.csv",)), Files(("rubric.csv",)), Files(("shots.csv",))
HAND = HandGraded(GRADES, None)


def exam(**files):
    """`read` for 33 questions of our own and for the rows of `grades`, `rubric` and `shots`."""
    data = {EXAM: [{"Question": f"What is {n} + {n}?"} for n in range(1, 34)]}
    data |= {Files((f"{name}.csv",)): content for name, content in files.items()}
    return data.__getitem__


def rubric():
    """66 points on questions 1 to 24, and 17 on each of the three problems of which two count."""
    most = dict.fromkeys(range(1, 25), 2) | {1: 11, 2: 11} | dict.fromkeys(range(25, 34), 5)
    most |= {25: 7, 28: 7, 31: 7}
    return [{"question_id": str(n), "max_points": str(most[n]), "criteria": f"{2 * n}: {most[n]}"} for n in most]


def response(n, text):
    item = ExamQuestions("", None, 8).items(exam())[n - 1]
    return Response(item, ((Reply(text, "stop"),),))


def scored(scorer, answer, read):
    return scorer.score(answer, read, None)


def judged(answer, read, reply, grades=None):
    """What the judge was asked, and the scores."""
    scoring = JudgeGraded(RUBRIC, grades).score(answer, read, None)
    (prompt,) = next(scoring)
    value = prompt.parse(reply) if isinstance(reply, JudgeReply) else None
    outcome = "ok" if value is not None else reply if isinstance(reply, str) else "judge_unparsed"
    with pytest.raises(StopIteration) as stop:
        scoring.send([Verdict(value, outcome)])
    return prompt, stop.value.value


def offered(**options):
    bound = bind(ArmSpec(("hungarian_exam",), {"hungarian_exam": options}))
    return {name: evaluator for name, (evaluator, _) in bound.evaluators().items()}


# --- asking ----------------------------------------------------------------------------------------------------------


def test_questions_are_asked_in_the_models_own_format_with_what_the_user_puts_before_them():
    for instruction, text in (("", "What is 3 + 3?"), ("Answer this:", "Answer this:\nWhat is 3 + 3?")):
        questions = ExamQuestions(instruction, None, 512)
        (ask,) = next(questions.ask(questions.items(exam())[2]))
        assert [(message.role, message.content) for message in ask.prompt] == [("user", text)]
        assert (ask.temperature, ask.max_new_tokens) == (0.1, 512)


def test_examples_of_the_user_make_a_text_to_be_gone_on_with(refused):
    questions = ExamQuestions("", SHOTS, 512)
    assert questions.data == (EXAM, SHOTS)
    shots = [{"question": "What is 1 + 1?", "answer": "2"}, {"question": "And 2 + 2?", "answer": "4"}]
    (ask,) = next(questions.ask(questions.items(exam(shots=shots))[4]))
    assert ask.prompt == (
        "Problem:\nWhat is 1 + 1?\n\nSolution:\n2\n\nProblem:\nAnd 2 + 2?\n\nSolution:\n4\n\n"
        "Problem:\nWhat is 5 + 5?\n\nSolution:\n"
    )
    assert ask.stop == ("\nProblem:",)
    assert "lack a column" in refused(questions.items, exam(shots=[{"question": "no answer"}]))


# --- grades of people ------------------------------------------------------------------------------------------------


def test_a_grade_counts_for_the_answer_it_was_given_for():
    grades = [
        {"question_id": "1", "answer": "It is 2.\r\nSurely.\r\n", "points": "2"},  # as a spreadsheet saves it
        {"question_id": "1", "answer": "It is 3.", "points": "0"},
        {"question_id": "2", "answer": "It is 4.", "points": ""},
        {"question_id": " 3 ", "answer": "It is 6.", "points": "1,5"},
    ]
    read = exam(grades=grades)
    assert scored(HAND, response(1, "It is 2.\nSurely."), read).values == {"points": 2}
    assert scored(HAND, response(1, "It is 3."), read).values == {"points": 0}
    assert scored(HAND, response(3, "It is 6."), read).values == {"points": 1.5}
    for n, text in ((1, "It is 4."), (2, "It is 4."), (2, "It is 2.\nSurely."), (4, "It is 8.")):
        scores = scored(HAND, response(n, text), read)
        assert (scores.values, scores.missing) == ({}, "ungraded")


def test_a_sheet_may_name_answers_by_their_digest_alone():
    read = exam(grades=[{"question_id": "7", "answer_sha256": answer_digest("14"), "points": 3}])
    assert scored(HAND, response(7, " 14\n"), read).values == {"points": 3}
    assert scored(HAND, response(7, "15"), read).missing == "ungraded"


def test_without_a_graded_sheet_everything_is_yet_to_be_graded():
    assert HandGraded(None, None).data == ()
    assert scored(HandGraded(None, None), response(1, "2"), exam()).missing == "ungraded"


@pytest.mark.parametrize("points", ["two", "-1", "1.3", "nan", "inf", "11.5"])
def test_grades_that_cannot_be_are_refused(points, refused):
    read = exam(grades=[{"question_id": "1", "answer": "2", "points": points}], rubric=rubric())
    line = f"question 1 has {points!r} points of at most 11 (points are whole or halves)"
    assert refused(scored, HandGraded(GRADES, RUBRIC), response(1, "2"), read) == line


def test_two_grades_of_one_answer_are_refused(refused):
    given = [{"question_id": "1", "answer": answer, "points": points} for answer, points in (("2", "2"), ("2 ", "3"))]
    assert "one answer to question 1 has two grades" in refused(scored, HAND, response(1, "2"), exam(grades=given))


@pytest.mark.parametrize("row", [{"question_id": "1", "points": "2"}, {"question_id": "1", "answer": "2"}])
def test_a_sheet_without_its_columns_is_refused(row, refused):
    assert "a graded sheet has points" in refused(scored, HAND, response(1, "2"), exam(grades=[row]))


def test_graded_answers_of_a_file_come_in_the_exams_order_and_gaps_stay_gaps(refused):
    given = [{"question_id": str(n), "answer": f"It is {2 * n}.", "points": str(n % 3)} for n in (33, 2, 1)]
    found = HAND.given(given, exam())
    assert [answer.item.id for answer, _ in found] == [str(n) for n in range(1, 34)]
    assert [scores.values.get("points") for _, scores in found[:3]] == [1, 2, None]
    assert found[2][1].missing == "ungraded"
    assert found[32][0].replies[0].text == "It is 66."
    assert "has no question 34" in refused(HAND.given, [{**given[0], "question_id": "34"}], exam())
    assert "or several" in refused(HAND.given, [given[0], {**given[0], "answer": "66"}], exam())


def test_the_published_grades_of_deepseek_67b_chat_are_read_in_full(mirror):
    @cache
    def read(hub):
        return [dict(row.values) for row in rows("test.csv", mirror / hub.id / "test.csv")]

    path = mirror / EXAM.id / "human_grades_deepseek-67b-chat.csv"
    found = HAND.given([dict(row.values) for row in rows(path.name, path)], read)
    points = {answer.item.id: scores.values["points"] for answer, scores in found}
    assert len(points) == 33
    lowest = min(sum(points[n] for n in group) for group in BEST_TWO_OF_THREE.drop_lowest_of)
    assert sum(points.values()) - lowest == 58


# --- grades of a judge -----------------------------------------------------------------------------------------------


def test_a_judge_is_shown_question_criteria_maximum_and_answer():
    prompt, scores = judged(response(3, "It is {six}."), exam(rubric=rubric()), JudgeReply("Fine.\n\nPoints: [[1.5]]"))
    assert scores.values == {"points": 1.5}
    text = prompt.messages[-1].content
    for part in ("What is 3 + 3?", "6: 2", "It is {six}.", "from 0 to 2"):
        assert part in text
    assert prompt.temperature == 0


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("Points: [[2]]", 2),
        ("The form [[N]] was asked for. First [[1]], no: Points: [[ 0,5 ]].", 0.5),
        ("Points: [[0]]", 0),
        ("Points: [[3]]", None),  # of 2
        ("Points: [[-1]]", None),
        ("Points: [[1/2]]", None),
        ("Points: [[0.3]]", None),
        ("Points: [[]]", None),
        ("Points: 2", None),
        ("[[2]] it would be. Points: [[N]]", None),
        ("", None),
    ],
)
def test_only_points_that_can_be_given_are_a_verdict(text, points):
    _, scores = judged(response(3, "6"), exam(rubric=rubric()), JudgeReply(text))
    assert scores.values == ({} if points is None else {"points": points})
    assert scores.missing == ("judge_unparsed" if points is None else None)


def test_a_judgment_that_was_cut_off_is_no_verdict():
    _, scores = judged(
        response(3, "6"), exam(rubric=rubric()), JudgeReply("For the sum [[1]], and for", finish="length")
    )
    assert (scores.values, scores.missing) == ({}, "judge_unparsed")


def test_a_judge_that_fails_leaves_the_answer_without_points():
    _, scores = judged(response(3, "6"), exam(rubric=rubric()), "judge_refused")
    assert (scores.values, scores.missing) == ({}, "judge_refused")


def test_where_people_graded_the_answer_the_judge_is_measured_by_them():
    read = exam(rubric=rubric(), grades=[{"question_id": "3", "answer": "It is 6.", "points": "0.5"}])
    _, scores = judged(response(3, "It is 6."), read, JudgeReply("Points: [[2]]"), GRADES)
    assert scores.values == {"points": 2, "off_people": 1.5}
    _, scores = judged(response(3, "It is 7."), read, JudgeReply("Points: [[2]]"), GRADES)
    assert scores.values == {"points": 2}


def test_without_a_rubric_there_is_no_judging(refused):
    line = refused(lambda: offered()["hungarian_exam_judged"].task.scorer.data)
    assert "hungarian_exam.rubric=FILE" in line
    assert "test/solutions.pdf of the hub dataset keirp/hungarian_national_hs_finals_exam" in line


def without(n):
    return [row for row in rubric() if row["question_id"] != n]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ([{**rubric()[0], "max_points": "12"}, *rubric()[1:]], "come to 101"),
        (without("24"), "has not all questions from 1 to 33"),
        ([*without("24"), {**rubric()[23], "question_id": "34"}], "has not all questions from 1 to 33"),
        ([*rubric(), rubric()[0]], "row of question 1 is a second one"),
        ([{**rubric()[0], "criteria": " "}, *rubric()[1:]], "lacks its max_points or criteria"),
        ([{"question_id": "1", "criteria": "a"}], "lacks its max_points or criteria"),
        ([{"max_points": "1", "criteria": "a"}], "a row has no question_id"),
        ([{**rubric()[0], "max_points": "many"}, *rubric()[1:]], "has 'many' points"),
    ],
)
def test_a_rubric_that_does_not_add_up_is_refused(broken, line, refused):
    assert line in refused(judged, response(3, "6"), exam(rubric=broken), JudgeReply("Points: [[1]]"))


# --- what is offered -------------------------------------------------------------------------------------------------


def test_people_and_judges_grade_the_same_answers_under_names_of_their_own():
    both = offered(grades="grades.csv", rubric="rubric.csv")
    assert {name: (one.protocol, one.optional, one.aggregate) for name, one in both.items()} == {
        "hungarian_exam": ("human-1", False, BEST_TWO_OF_THREE),
        "hungarian_exam_judged": ("judge-1", True, BEST_TWO_OF_THREE),
    }
    assert len({one.task.questions for one in both.values()}) == 1
    assert both["hungarian_exam"].task.scorer.data == (GRADES, RUBRIC)
    assert both["hungarian_exam_judged"].task.scorer.data == (RUBRIC, GRADES)


def test_another_way_of_asking_is_another_protocol():
    protocols = [
        offered(**options)["hungarian_exam"].protocol
        for options in ({}, {"instruction": "Answer the following question:"}, {"shots": "shots.csv"})
    ]
    assert protocols == ["human-1", "human-1-instructed", "human-1-shots"]


def test_grades_may_be_in_several_sheets():
    for given, paths in ((["a.csv", "b.csv"], ("a.csv", "b.csv")), ("a.csv", ("a.csv",)), ([], None)):
        grades = offered(grades=given)["hungarian_exam"].task.scorer.grades
        assert (grades and grades.paths) == paths


def test_the_plugin_holds_what_the_kit_asks():
    check_plugin("hungarian_exam")
