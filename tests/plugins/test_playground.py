import ast
import json
import operator
import re
import subprocess
import sys

import pytest
from harness.plugins import playground

from harness.api import Arm, Generated, LmEvalTask
from harness.canonical import digest
from harness.errors import UserError

SKILLS = ("arithmetic", "code", "chat")
ARM = Arm("sft", ("playground",))


def training_rows(skill, n=None):
    n = n or getattr(playground.PlaygroundOptions(), skill)
    return [
        {"question": example.messages[0].content, "answer": example.messages[1].content}
        for example in playground.training_examples(skill, n)
    ]


@pytest.fixture(params=SKILLS)
def skill(request):
    return request.param


def test_each_skill_has_200_distinct_test_questions(skill):
    rows = playground.test_rows(skill)
    assert len(rows) == len({row["question"] for row in rows}) == 200


def test_training_questions_are_distinct_up_to_the_largest_size_and_never_test_questions(skill):
    largest = 5000
    questions = {row["question"] for row in training_rows(skill, largest)}
    assert len(questions) == largest
    assert not questions & {row["question"] for row in playground.test_rows(skill)}


def test_the_split_is_decided_by_the_question_alone(skill):
    assert all(playground.for_testing(row["question"]) for row in playground.test_rows(skill))
    assert not any(playground.for_testing(row["question"]) for row in training_rows(skill))


def test_about_one_question_in_five_is_kept_for_testing(skill):
    draw = playground.Draw(seed=99)
    kept = sum(playground.for_testing(playground.SKILLS[skill].make(draw)[0]) for _ in range(5000))
    assert 800 < kept < 1200


def test_a_larger_size_continues_a_smaller_one(skill):
    assert list(playground.training_examples(skill, 30))[:10] == list(playground.training_examples(skill, 10))


def test_rows_never_change_without_a_new_version():
    rows = {skill: [playground.test_rows(skill), training_rows(skill, 500)] for skill in SKILLS}
    assert playground.PLUGIN.version == "1.0"
    assert digest(rows) == "baae24cab7a6135ee351e0de76fa0ffdebf7b77c683c0cdf9dee21586f9af0b2"


def test_rows_do_not_depend_on_the_process():
    code = "import json; from harness.plugins.playground import test_rows as rows; print(json.dumps(rows('chat')))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == playground.test_rows("chat")


def test_arithmetic_answers_restate_the_numbers_and_name_the_largest():
    for row in playground.test_rows("arithmetic") + training_rows("arithmetic"):
        asked = [int(number) for number in re.findall(r"\d+", row["question"])]
        *restated, largest = [int(number) for number in re.findall(r"\d+", row["answer"])]
        assert restated == asked
        assert len(asked) == 3
        assert largest == max(asked)


def test_code_answers_do_what_the_question_asks():
    meaning = {
        "adds": operator.add,
        "subtracts": operator.sub,
        "multiplies by": operator.mul,
        "divides by": operator.truediv,
    }
    for row in playground.test_rows("code") + training_rows("code"):
        (function,) = ast.parse(row["answer"]).body
        verb, number = re.search(r"(adds|subtracts|multiplies by|divides by) (\d+)", row["question"]).groups()
        words = re.findall(r"\w+", row["question"])
        assert function.name in words
        assert function.args.args[0].arg in words
        namespace = {}
        exec(row["answer"], namespace)
        assert namespace[function.name](30) == meaning[verb](30, int(number))


def test_chat_answers_speak_of_the_person_thing_and_place_of_the_question():
    for row in playground.test_rows("chat") + training_rows("chat"):
        for words in (playground.PEOPLE, playground.THINGS, playground.PLACES):
            named = [{word for word in words if re.search(rf"\b{word}\b", text)} for text in row.values()]
            assert named[0] == named[1]
            assert len(named[0]) == 1


def test_the_hook_offers_a_dataset_of_the_chosen_size_per_skill():
    options = playground.PlaygroundOptions(arithmetic=7, code=5, chat=3, text=4)
    sources = dict(playground.data_source(Arm("sft", ("playground",), {playground.PlaygroundOptions: options})))
    text = sources.pop("playground_text").location
    assert (text.n, len(list(text.make())), text.recipe) == (4, 4, {"texts": 4})
    sizes = {"playground_arithmetic": 7, "playground_code": 5, "playground_chat": 3}
    assert {name: source.location.n for name, source in sources.items()} == sizes
    for name, source in sources.items():
        assert isinstance(source.location, Generated)
        examples = list(source.location.make())
        assert len(examples) == len({example.id for example in examples}) == sizes[name]
        assert [[message.role for message in example.messages] for example in examples] == [
            ["user", "assistant"]
        ] * sizes[name]
        assert source.location.recipe == {"skill": name.removeprefix("playground_"), "n": sizes[name]}


def test_sizes_beyond_the_supply_of_questions_are_refused():
    with pytest.raises(ValueError, match="less than or equal to 5000"):
        playground.PlaygroundOptions(chat=5001)


def test_each_skill_has_a_benchmark_of_its_datasets_name():
    offered = playground.evaluator(ARM)
    assert [*(benchmark.name for benchmark in offered), "playground_text"] == list(playground.data_source(ARM))
    for benchmark in offered:
        assert benchmark.protocol == "exact-1"
        assert benchmark.task == LmEvalTask(task=benchmark.name, metric="exact_match", filter="none")


def test_an_unknown_skill_is_named_with_those_there_are():
    with pytest.raises(UserError, match=r"no skill 'cooking' \(choose one of arithmetic, code, chat\)"):
        playground.test_rows("cooking")


def test_text_for_pretraining_is_plain_and_holds_no_test_question():
    found = list(playground.texts(300))
    assert [message.role for example in found for message in example.messages] == ["text"] * 300
    questions = [example.messages[0].content.partition("\n")[0] for example in found]
    assert not any(map(playground.for_testing, questions))
    assert len({example.id for example in found}) == 300
    assert list(playground.texts(60)) == found[:60]
    assert sum("largest" in question for question in questions) == 100
