import os
import re
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PIECE = r"\w+|\s|[^\w\s]"
SPECIAL = [
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
]
TEXT = (
    "Be brief. Hi Yes Why? No! hm think / < > [ ] | : \n INST SYS USER ASSISTANT system user assistant model s eot_id"
)


@pytest.fixture(scope="session")
def word_tokenizer():
    """A tokenizer whose tokens can be told by eye: a word, one white space, one mark, or a special token."""

    def make(template):
        pieces = dict.fromkeys(["<unk>", *re.findall(PIECE, TEXT)])
        vocabulary = {piece: index for index, piece in enumerate(pieces)}
        backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), "isolated")
        return PreTrainedTokenizerFast(
            tokenizer_object=backend,
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
            extra_special_tokens=SPECIAL,
            chat_template=template,
        )

    return make


@pytest.fixture(scope="session")
def mirror():
    """The local mirror of real datasets; tests that need it skip where there is none."""
    root = Path(os.environ.get("HARNESS_DATA_ROOT") or Path(__file__).parents[3] / "shared" / "datasets")
    if not root.is_dir():
        pytest.skip("no mirror of datasets: set HARNESS_DATA_ROOT")
    return root
