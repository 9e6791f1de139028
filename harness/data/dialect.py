"""What rendering needs of a tokenizer, as plain data: another process can be handed it, and it has a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.canonical import digest
from harness.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Dialect:
    """A fast tokenizer and its chat template."""

    name: str
    backend: str
    """The tokenizer as JSON, as the tokenizers library writes it."""
    template: str
    special_tokens: Mapping[str, str]
    """`bos_token` and the like, as templates name them."""
    special: frozenset[int]
    """Ids of tokens that must not come from the data's text."""
    bos: int | None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> Dialect:
        """Raises UserError for a tokenizer without a chat template or without character offsets."""
        if not tokenizer.is_fast:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path!r} is a slow one, which gives no character offsets",
                "use a model that ships a tokenizer.json",
            )
        if not tokenizer.chat_template:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path!r} has no chat template",
                "name one as `chat_template:` of the model, for example tulu or chatml",
            )
        added = tokenizer.added_tokens_decoder
        special = {id_ for id_, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        # What stands for unknown text may stand anywhere. Byte-level tokenizers know all text, and often let the end of
        # text double as that token: there it stays special.
        unknown = {tokenizer.unk_token_id} - {tokenizer.bos_token_id, tokenizer.eos_token_id}
        return cls(
            name=tokenizer.name_or_path,
            backend=tokenizer.backend_tokenizer.to_str(),
            template=tokenizer.get_chat_template(),
            special_tokens=dict(tokenizer.special_tokens_map),
            special=frozenset(special - unknown),
            bos=tokenizer.bos_token_id,
        )

    @property
    def template_digest(self) -> str:
        """SHA-256 of the chat template's text."""
        return hashlib.sha256(self.template.encode()).hexdigest()

    @cached_property
    def digest(self) -> str:
        """Of all that decides which tokens a conversation becomes; the tokenizer's name does not."""
        return digest({**asdict(self), "name": None, "special": sorted(self.special)})
