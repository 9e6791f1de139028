"""Tokens, parts and weights of conversations under real-world template styles, against lists worked out by hand.

In the lists `T`, `P` and `R` say the part of the tokens that follow; `_` is a space. `sft` and `im` are the weights.
"""

import numpy as np
import pytest

from harness.api import Arm, Example, Message, Part
from harness.data.chat import Renderer
from harness.data.templates import TEMPLATES
from harness.discovery import load_plugin
from harness.train.microbatch import MicroBatch

FIVE = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Yes"),
    Message("user", " Why? "),
    Message("assistant", "No!\n"),
)
FOUR = FIVE[1:]
REASONED = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "<think>\nhm\n</think>\nYes"),
)

CASES = {
    "plain": (
        FIVE,
        (
            r"T <s> <|system|> P Be _ brief . T <|user|> P Hi T <|assistant|> R Yes </s> "
            r"T <|user|> P _ Why ? _ T <|assistant|> R No ! \n </s>"
        ),
        "00 0000 0 0 0 11 0 0000 0 1111",
        "00 1111 0 1 0 11 0 1111 0 1111",
    ),
    "tulu": (
        FIVE,
        (
            r"T <s> <|system|> \n P Be _ brief . T \n <|user|> \n P Hi T \n <|assistant|> \n R Yes </s> "
            r"T \n <|user|> \n P Why ? T \n <|assistant|> \n R No ! </s> T \n"
        ),
        "000 0000 000 0 000 11 000 00 000 111 0",
        "000 1111 000 1 000 11 000 11 000 111 0",
    ),
    "vicuna": (
        FIVE,
        (
            r"T <s> P Be _ brief . T _ USER : _ P Hi T _ ASSISTANT : R _ Yes </s> "
            r"T USER : _ P _ Why ? _ T _ ASSISTANT : R _ No ! \n </s>"
        ),
        "0 0000 0000 0 000 111 000 0000 000 11111",
        "0 1111 0000 1 000 111 000 1111 000 11111",
    ),
    "chatml": (
        FIVE,
        (
            r"T <|im_start|> system \n P Be _ brief . T <|im_end|> \n <|im_start|> user \n P Hi "
            r"T <|im_end|> \n <|im_start|> assistant \n R Yes <|im_end|> T \n <|im_start|> user \n P _ Why ? _ "
            r"T <|im_end|> \n <|im_start|> assistant \n R No ! \n <|im_end|> T \n"
        ),
        "000 0000 00000 0 00000 11 0000 0000 00000 1111 0",
        "000 1111 00000 1 00000 11 0000 1111 00000 1111 0",
    ),
    "llama2": (
        FIVE,
        (
            r"T <s> [ INST ] _ < < SYS > > \n P Be _ brief . T \n < < / SYS > > \n \n P Hi T _ [ / INST ] "
            r"R _ Yes _ </s> T <s> [ INST ] _ P Why ? T _ [ / INST ] R _ No ! _ </s>"
        ),
        "00000000000 0000 000000000 0 00000 1111 00000 00 00000 11111",
        "00000000000 1111 000000000 1 00000 1111 00000 11 00000 11111",
    ),
    "llama3": (
        FIVE,
        (
            r"T <s> <|start_header_id|> system <|end_header_id|> \n \n P Be _ brief . "
            r"T <|eot_id|> <|start_header_id|> user <|end_header_id|> \n \n P Hi "
            r"T <|eot_id|> <|start_header_id|> assistant <|end_header_id|> \n \n R Yes <|eot_id|> "
            r"T <|start_header_id|> user <|end_header_id|> \n \n P Why ? "
            r"T <|eot_id|> <|start_header_id|> assistant <|end_header_id|> \n \n R No ! <|eot_id|>"
        ),
        "000000 0000 000000 0 000000 11 00000 00 000000 111",
        "000000 1111 000000 1 000000 11 00000 11 000000 111",
    ),
    "gemma": (
        FOUR,
        (
            r"T <s> <start_of_turn> user \n P Hi T <end_of_turn> \n <start_of_turn> model \n R Yes <end_of_turn> T \n "
            r"T <start_of_turn> user \n P Why ? T <end_of_turn> \n <start_of_turn> model \n R No ! <end_of_turn> T \n"
        ),
        "0000 0 00000 11 0000 00 00000 111 0",
        "0000 1 00000 11 0000 11 00000 111 0",
    ),
    "think": (
        REASONED,
        (
            r"T <|im_start|> system \n P Be _ brief . T <|im_end|> \n <|im_start|> user \n P Hi "
            r"T <|im_end|> \n <|im_start|> assistant \n R < think > \n hm \n < / think > \n Yes <|im_end|> T \n"
        ),
        "000 0000 00000 0 00000 1111111111111 0",
        "000 1111 00000 1 00000 1111111111111 0",
    ),
}
LETTERS = {"T": Part.TEMPLATE, "P": Part.PROMPT, "R": Part.RESPONSE}


def expected(text):
    part, pairs = None, []
    for word in text.split():
        if word in LETTERS:
            part = LETTERS[word]
        else:
            pairs.append((word.replace("_", " ") if word == "_" else word.replace(r"\n", "\n"), part))
    return pairs


def weights(plugin, rendered):
    batch = MicroBatch.of([np.array(rendered.ids, np.int32)], [np.array(rendered.parts, np.uint8)])
    loss = load_plugin(plugin).module.loss_fn(arm=Arm(plugin, (plugin,)))
    return loss.weights(batch)[0].tolist()


def digits(text):
    return [float(digit) for digit in text.replace(" ", "")]


@pytest.mark.parametrize("name", CASES)
def test_parts_and_weights_are_those_worked_out_by_hand(name, word_tokenizer):
    messages, tokens, sft, im = CASES[name]
    tokenizer = word_tokenizer(TEMPLATES[name])
    rendered = Renderer(tokenizer).render(Example("hand", messages))
    found = list(zip(tokenizer.convert_ids_to_tokens(list(rendered.ids)), rendered.parts, strict=True))
    assert found == expected(tokens)
    assert weights("sft", rendered) == digits(sft)
    assert weights("im", rendered) == digits(im)
    assert rendered.special_in_text == 0


def test_every_shipped_template_is_worked_out():
    assert CASES.keys() == TEMPLATES.keys()


@pytest.mark.parametrize("name", CASES)
def test_ids_are_those_of_the_tokenizers_own_rendering(name, word_tokenizer):
    messages = CASES[name][0]
    tokenizer = word_tokenizer(TEMPLATES[name])
    turns = [{"role": message.role, "content": message.content} for message in messages]
    own = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    assert list(Renderer(tokenizer).render(Example("own", messages)).ids) == own


@pytest.mark.parametrize("name", CASES)
def test_the_response_starts_where_the_prompt_for_generation_ends(name, word_tokenizer):
    messages = CASES[name][0]
    renderer = Renderer(word_tokenizer(TEMPLATES[name]))
    rendered = renderer.render(Example("prompt", messages))
    prompt = renderer.prompt(messages[:-1])
    last = len(rendered.parts) - rendered.parts[::-1].index(Part.RESPONSE)
    assert rendered.ids[: len(prompt)] == prompt
    assert set(rendered.parts[len(prompt) : last]) == {Part.RESPONSE}
    assert rendered.parts[len(prompt) - 1] is not Part.RESPONSE
    assert rendered.ids[last - 1] == renderer.end_of_turn
