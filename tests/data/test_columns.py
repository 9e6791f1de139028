import pytest

from harness.api import AlpacaColumns, ChatColumns, Message, PairColumns, TextColumns
from harness.data.columns import conversation, own_id, recognise
from harness.data.formats import Row
from harness.errors import UserError


def row(**values):
    return Row("x.jsonl, line 7", values)


def turns(*pairs, role="role", content="content"):
    return [{role: who, content: what} for who, what in pairs]


QA = (Message("user", "q"), Message("assistant", "a"))


def test_both_spellings_of_a_turn_are_read():
    assert conversation(row(messages=turns(("user", "q"), ("assistant", "a"))), ChatColumns()) == QA
    old = turns(("human", "q"), ("gpt", "a"), role="from", content="value")
    assert conversation(row(conversations=old), ChatColumns("conversations")) == QA
    system = turns(("system", "s"), ("user", "q"), ("assistant", "a"))
    assert conversation(row(messages=system), ChatColumns()) == (Message("system", "s"), *QA)


def test_turns_that_are_texts_are_the_users_and_the_assistants_by_turns():
    assert conversation(row(data=["q", "a"]), ChatColumns("data")) == QA
    assert conversation(row(data=["q", "a", "q", "a"]), ChatColumns("data")) == QA + QA


def test_a_pair_takes_a_system_prompt_where_the_row_has_one():
    columns = PairColumns("prompt", "completion", "system")
    assert conversation(row(prompt="q", completion="a", system=""), columns) == QA
    assert conversation(row(prompt="q", completion="a", system="s"), columns) == (Message("system", "s"), *QA)


def test_alpacas_input_follows_the_instruction_after_a_blank_line():
    assert conversation(row(instruction="q", input="", output="a"), AlpacaColumns()) == QA
    both = conversation(row(instruction="q", input="x", output="a"), AlpacaColumns())
    assert both[0].content == "q\n\nx"


def test_a_text_is_the_only_message_of_its_example():
    assert conversation(row(text="t", meta={}), TextColumns()) == (Message("text", "t"),)
    assert conversation(row(messages=turns(("text", "t"))), ChatColumns()) == (Message("text", "t"),)
    with pytest.raises(UserError, match="kind: text"):
        recognise(("text", "meta"), "x")


REFUSED = {
    "turn 1 is the text's where the user's is due": turns(("text", "t"), ("assistant", "a")),
    "turn 2 is the text's where the assistant's is due": turns(("user", "q"), ("text", "t")),
    "turn 2 is the user's where the assistant's is due": turns(("user", "q"), ("user", "q")),
    "turn 1 is the assistant's where the user's is due": turns(("assistant", "a")),
    "turn 2 is the system's where the assistant's is due": turns(("user", "q"), ("system", "s")),
    "no assistant turn to learn from": turns(("user", "q")),
    "turn 2: unknown role 'tool'": turns(("user", "q"), ("tool", "a")),
    "turn 1: unknown role None": [{"content": "q"}],
    "turn 2: the content is nothing, not text": turns(("user", "q"), ("assistant", None)),
    "turn 2: a str is not a turn": [{"role": "user", "content": "q"}, "a"],
    "the column messages holds a str, not a list": "q",
}


@pytest.mark.parametrize("problem", REFUSED)
def test_turns_that_make_no_conversation_are_refused_with_their_row(problem):
    with pytest.raises(UserError) as caught:
        conversation(row(messages=REFUSED[problem]), ChatColumns())
    assert caught.value.problem.startswith("x.jsonl, line 7")
    assert problem in caught.value.problem
    assert caught.value.remedy


def test_cells_that_are_not_text_are_refused():
    with pytest.raises(UserError, match="line 7: the column completion holds a int, not text"):
        conversation(row(prompt="q", completion=4), PairColumns())
    with pytest.raises(UserError, match="line 7: the column prompt holds nothing, not text"):
        conversation(row(prompt=None, completion="a"), PairColumns())


@pytest.mark.parametrize(
    ("found", "columns"),
    [
        (["id", "messages"], ChatColumns()),
        (["conversations"], ChatColumns("conversations")),
        (["instruction", "input", "output", "text"], AlpacaColumns()),
        (["prompt", "completion"], PairColumns()),
        (["system", "prompt", "response"], PairColumns("prompt", "response", "system")),
        (["question", "answer"], PairColumns("question", "answer")),
        (["input", "output", "meta"], PairColumns("input", "output")),
        (["instruction", "output"], PairColumns("instruction", "output")),
    ],
)
def test_the_usual_columns_are_recognised(found, columns):
    assert recognise(found, "mine") == columns


def test_columns_that_fit_several_forms_or_none_are_refused():
    for found in (["messages", "conversations"], ["prompt", "completion", "response"], ["text"], []):
        with pytest.raises(UserError, match=rf"mine: .* the columns {', '.join(found) or '.none.'}"):
            recognise(found, "mine")


def test_a_rows_own_id_is_text_or_a_whole_number():
    assert [own_id(row(id=id_)) for id_ in ("x", 7, True, 1.5, None)] == ["x", "7", None, None, None]
    assert own_id(row(prompt="q")) is None
