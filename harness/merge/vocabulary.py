"""Whether models speak in the same tokens: rows of embeddings can be merged only where they stand for one token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.canonical import Json
from harness.errors import UserError

TOKENIZER = "tokenizer.json"


def check_vocabularies(folders: Mapping[str, Path]) -> None:
    """Raise UserError where two named models, each with a `tokenizer.json`, give one id to two tokens."""
    known = {name: found for name, folder in folders.items() if (found := _tokens(folder)) is not None}
    if not known:
        return
    (one, mine), *others = known.items()
    for two, theirs in others:
        for token_id in sorted(mine.keys() | theirs.keys()):
            here, there = mine.get(token_id), theirs.get(token_id)
            if here != there:
                raise UserError(
                    f"{one} and {two} have other tokenizers: token {token_id} is {here!r} in one and {there!r} in the "
                    "other",
                    "merge models that were trained from the same one",
                )


def _tokens(folder: Path) -> dict[int, str] | None:
    """Token by id; None where the tokenizer is of another kind, or has no list of tokens."""
    path = folder / TOKENIZER
    if not path.is_file():
        return None
    content: Json = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = (content.get("model") or {}).get("vocab")
    if vocabulary is None:
        return None
    pairs = (
        vocabulary.items() if isinstance(vocabulary, dict) else ((piece[0], i) for i, piece in enumerate(vocabulary))
    )
    tokens = {int(token_id): str(token) for token, token_id in pairs}
    return tokens | {int(added["id"]): str(added["content"]) for added in content.get("added_tokens", ())}
