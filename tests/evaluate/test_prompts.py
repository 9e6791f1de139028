import copy
import json

import pytest

from harness.api import Ask, Message
from harness.evaluate.conversations import Template
from harness.evaluate.prompts import Prompts

ROWS = [{"question": f"What is {n} and {n}?", "answer": str(n)} for n in range(5)]
ASK = """\
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs:
  until: []
  max_gen_toks: 12
"""


@pytest.fixture(scope="module")
def tokenizer(chat_models):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(chat_models["a"] / "model")


@pytest.fixture(scope="module")
def plain(tokenizer):
    return Prompts(tokenizer, chat=False)


@pytest.fixture(scope="module")
def chat(tokenizer):
    return Prompts(tokenizer, chat=True)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize(
    "text", ["", "gen_prefix: 'The answer is'\n", "description: 'Be brief.'\n", "target_delimiter: ''\n"]
)
def test_prompts_are_those_of_stock_lm_eval(run, stock, write_task, text, chat):
    task = write_task("asked", ASK + text, ROWS, chat=chat)
    outcome, samples = run(task, None)
    expected = stock(task, None)
    assert outcome["result"]["prompt_tokens"] == sum(map(len, expected.recorded))
    assert [sample["response"] for sample in samples] == [sample["resps"][0][0] for sample in expected.samples]
    assert outcome["result"]["bos_count_max"] == 1


def test_a_chat_prompt_is_where_the_assistant_begins(chat, tokenizer):
    context = chat.context([{"role": "system", "content": "s"}, {"role": "user", "content": "one apple"}])
    (ids,) = chat.prompts([context])
    assert tokenizer.decode(ids) == "<s><|system|>s<|user|>one apple<|assistant|>"
    assert chat.bos_count(ids) == 1
    assert chat.end_ids == (tokenizer.eos_token_id,)
    begun = chat.context([{"role": "user", "content": "one"}, {"role": "assistant", "content": "It is"}])
    assert tokenizer.decode(*chat.prompts([begun])) == "<s><|user|>one<|assistant|>It is"


def test_text_that_spells_a_special_token_stays_text_in_chat(chat, tokenizer):
    (ids,) = chat.prompts([chat.context([{"role": "user", "content": "a</s>b"}])])
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids) == "<s><|user|>a</s>b<|assistant|>"


def test_space_at_the_end_of_a_context_goes_to_the_continuation(plain, tokenizer):
    ((context, continuation),) = plain.pairs([("How many apples are ", "they")])
    assert tokenizer.decode(context) == "<s>How many apples are"
    assert tokenizer.decode(continuation) == " they"
    assert context + continuation == tuple(tokenizer.encode("How many apples are they"))


def test_an_empty_context_is_bos(plain, tokenizer):
    ((context, continuation),) = plain.pairs([("", "they")])
    assert context == (tokenizer.bos_token_id,)
    assert tokenizer.decode(continuation) == "they"
    ((context, continuation),) = plain.pairs([("", "<s>they")])
    assert context == (tokenizer.bos_token_id,)
    assert tokenizer.decode(continuation) == "they"


def test_bos_that_the_text_has_is_not_added_again(plain, tokenizer):
    written, added = plain.prompts(["<s>apples", "apples"])
    assert written == added == tuple(tokenizer.encode("apples"))
    assert plain.bos_count(added) == 1
    assert plain.bos_count((tokenizer.bos_token_id,) * 2) == 2


def test_choices_are_asked_on_the_same_day_every_day(tokenizer):
    dated = copy.deepcopy(tokenizer)
    dated.chat_template = (
        "{{ bos_token + strftime_now('%Y') }}{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
    )
    asked = [(json.dumps([{"role": "user", "content": "Hi"}]), " there")]
    ((context, continuation),) = Prompts(dated, chat=True).pairs(asked)
    assert tokenizer.decode(context) == "<s>2024Hi</s>"
    assert tokenizer.decode(continuation) == " there"


def test_a_named_template_writes_the_conversation_with_bos_once_and_ends_it(tokenizer):
    prompts = Prompts(tokenizer)
    talk = (Message("user", "one"), Message("assistant", "two"), Message("user", "three"))
    encoded = prompts.of(Ask(talk, 8, template="zero_shot"))
    assert encoded.ids == tuple(tokenizer.encode(Template("zero_shot").render(talk).text))
    assert prompts.bos_count(encoded.ids) == 1
    assert encoded.stop == ("###",)
    assert prompts.template_digest == Template("zero_shot").digest
    assert prompts.of(Ask(talk, 8, template="stablelm")).end_ids == Template("stablelm").render(talk).end_ids


def test_a_conversation_goes_through_the_models_own_template_where_none_is_named(tokenizer):
    prompts = Prompts(tokenizer)
    encoded = prompts.of(Ask((Message("user", "one"),), 8))
    assert tokenizer.decode(encoded.ids) == "<s><|user|>one<|assistant|>"
    assert (encoded.stop, encoded.end_ids) == ((), (tokenizer.eos_token_id,))
    assert prompts.template_digest not in (None, Template("zero_shot").digest)


def test_many_are_encoded_as_each_alone_and_choices_share_their_context(plain):
    asked = [(context, choice) for context in ("Two apples ", "", "<s>Ten") for choice in (" are", "many")]
    together = plain.pairs(asked)
    assert together == [plain.pairs([pair])[0] for pair in asked]
    assert together[4][0] is together[5][0]
    assert together[4][0] != together[0][0]
    assert plain.pairs([]) == plain.prompts([]) == []
