from transformers import AutoTokenizer

from harness.data.templates import CHATML, PLAIN
from harness.data.tokenizer import train_tokenizer

TEXTS = ["There are 1234 apples.", "There are 56 pears, and there is a tree."] * 20


def test_equal_texts_give_equal_tokenizers():
    one, other = (train_tokenizer(TEXTS, 300, PLAIN).backend_tokenizer.to_str() for _ in range(2))
    assert one == other


def test_any_text_survives_and_every_digit_stands_alone(tmp_path):
    made = train_tokenizer(TEXTS, 300, PLAIN)
    made.save_pretrained(tmp_path)
    for tokenizer in (made, AutoTokenizer.from_pretrained(tmp_path)):
        for text in ("There are 1234.", "  é\u0000\U0001f600\n\n", "\u3042 12"):
            assert tokenizer.decode(tokenizer(text).input_ids) == text
        assert [token for token in tokenizer.tokenize("are 1234") if token.isdigit()] == ["1", "2", "3", "4"]
        assert tokenizer.chat_template == PLAIN
        assert 256 + 6 < len(tokenizer) <= 300


def test_what_the_template_writes_as_tokens_are_tokens():
    tokenizer = train_tokenizer(TEXTS, 300, CHATML)
    assert len(tokenizer("<|im_start|><|im_end|><|user|><s></s><pad>").input_ids) == 6
