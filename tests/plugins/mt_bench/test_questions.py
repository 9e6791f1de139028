import json

import pytest
from harness.plugins.mt_bench.questions import QUESTIONS, TEMPERATURES, TwoTurns

from harness.api import Message, Reply


def rounds(questions, item, *texts):
    """What is asked in each round, when the model replies with these texts."""
    asking = questions.ask(item)
    asked = [next(asking), *(asking.send([Reply(text, "stop")]) for text in texts[:-1])]
    with pytest.raises(StopIteration):
        asking.send([Reply(texts[-1], "stop")])
    return asked


def test_the_second_turn_follows_upon_the_models_own_first_reply(bench):
    (first,), (second,) = rounds(TwoTurns(), bench.item("writing"), "  this.\n", "that.")
    assert first.prompt == (Message("user", "what?"),)
    assert second.prompt == (Message("user", "what?"), Message("assistant", "this."), Message("user", "and why?"))
    assert {(ask.max_new_tokens, ask.temperature, ask.template) for ask in (first, second)} == {(1024, 0.7, None)}


def test_both_rounds_are_asked_in_the_template_that_is_named(bench):
    asked = rounds(TwoTurns("vicuna_v1.1"), bench.item("writing"), "one", "two")
    assert [ask.template for (ask,) in asked] == ["vicuna_v1.1"] * 2


@pytest.mark.parametrize(
    ("category", "temperature"),
    [*TEMPERATURES.items(), ("something new", 0.7)],
)
def test_the_category_decides_the_temperature(bench, category, temperature):
    assert [ask.temperature for (ask,) in rounds(TwoTurns(), bench.item(category), "one", "two")] == [temperature] * 2


@pytest.mark.parametrize("required", [0.0, 0.3, 1.0])
def test_a_temperature_that_the_question_requires_wins(bench, required):
    asked = rounds(TwoTurns(), bench.item("writing", required_temperature=required), "one", "two")
    assert [ask.temperature for (ask,) in asked] == [required] * 2


def test_temperatures_are_fastchats(fastchat):
    assert {name: fastchat.temperature_config[name] for name in TEMPERATURES} == TEMPERATURES


def test_there_are_80_questions_of_two_turns_ten_in_each_category(real):
    items = TwoTurns().items(real.__getitem__)
    assert [item.id for item in items] == [str(number) for number in range(81, 161)]
    assert all(len(item.content["turns"]) == 2 for item in items)
    categories = [item.content["category"] for item in items]
    assert {category: categories.count(category) for category in TEMPERATURES} == dict.fromkeys(TEMPERATURES, 10)
    assert json.loads(json.dumps(items[0].content)) == items[0].content


def test_only_the_questions_are_read_to_ask():
    assert TwoTurns().data == (QUESTIONS,)
