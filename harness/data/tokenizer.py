"""A small byte-level BPE tokenizer made on the spot, for models that start from nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
_MARKS = re.compile(r"<\|\w+\|>|<\w+_of_turn>")
"""What chat templates write as single tokens, such as `<|im_end|>`."""


def train_tokenizer(texts: Iterable[str], vocab_size: int, template: str) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocab_size` entries, equal for equal texts, with `template` (Jinja) as chat template.

    What the template writes as `<|name|>` or `<name_of_turn>` is a special token, beside those of the roles.
    Every digit is a token of its own, so that numbers are spelt alike wherever they stand; all 256 bytes are in the
    alphabet, so that any text can be encoded and decoded back.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    marks = tuple(dict.fromkeys([*ROLES, *_MARKS.findall(template)]))
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[PAD, BOS, EOS, *marks],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        extra_special_tokens=list(marks),
        chat_template=template,
    )
