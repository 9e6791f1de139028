"""From ids to answers, once for all engines: context limits, end-of-sequence tokens, stop texts, special tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engines.protocol import GenerateRequest, Generation, LoglikelihoodRequest, Sampling, Tokenizer
from harness.errors import UserError
from harness.modelfolder import trusts_code

SPARE_TOKENS = 4
"""Looked at beyond a stop text's bytes, since a tokenizer may decode the first token of a window differently."""


@dataclass(frozen=True)
class Codec:
    """What turns a model's ids into text: its tokenizer and the ids that end a sequence."""

    tokenizer: Tokenizer
    end_ids: frozenset[int]

    @classmethod
    def load(cls, model_dir: Path) -> Codec:
        """Of a model folder: its tokenizer, and the end ids of tokenizer and generation config together."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model_dir, trust_remote_code=trusts_code(model_dir))
        ends = {tokenizer.eos_token_id}
        for name in ("config.json", "generation_config.json"):
            found = _read_json(model_dir / name).get("eos_token_id")
            ends.update(found if isinstance(found, list) else [found])
        return cls(tokenizer, frozenset(ends - {None}))

    def ended(self, token_ids: Sequence[int], sampling: Sampling) -> bool:
        """Whether an answer that has just grown by a token ends with it."""
        return len(token_ids) >= sampling.max_new_tokens or self._stops(token_ids, sampling)

    def generation(self, token_ids: Sequence[int], sampling: Sampling, prompt_cut: int) -> Generation:
        """The answer that these ids spell, cut before the first stop text."""
        text = self.tokenizer.decode(token_ids, skip_special_tokens=True)
        stopped = self._stops(token_ids, sampling)
        text = text[: min((at for stop in sampling.stop if (at := text.find(stop)) >= 0), default=len(text))]
        return Generation(text, tuple(token_ids), "stop" if stopped else "length", prompt_cut)

    def _stops(self, token_ids: Sequence[int], sampling: Sampling) -> bool:
        if token_ids[-1] in self.end_ids or token_ids[-1] in sampling.end_ids:
            return True
        if not sampling.stop:
            return False
        window = max(len(stop.encode()) for stop in sampling.stop) + SPARE_TOKENS
        # Special tokens are kept here, so that a stop text may name one.
        tail = self.tokenizer.decode(token_ids[-window:], skip_special_tokens=False)
        return any(stop in tail for stop in sampling.stop)


def context_length(model_dir: Path, wanted: int | None) -> int:
    """Tokens that the model's positions allow, or fewer where `wanted` says so."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_dir, trust_remote_code=trusts_code(model_dir)).get_text_config()
    allowed = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if allowed is None and wanted is None:
        raise UserError(f"{model_dir} does not say how long its context is", "give engine.max_length")
    if allowed is not None and wanted is not None and wanted > allowed:
        raise UserError(f"engine.max_length is {wanted}; the model has {allowed} positions", "lower engine.max_length")
    return int(wanted if wanted is not None else allowed or 0)


def fit_prompt(request: GenerateRequest, max_length: int) -> tuple[tuple[int, ...], int]:
    """The prompt, cut on the left to leave room for the answer, and the number of tokens cut."""
    room = max_length - request.sampling.max_new_tokens
    if room < 1:
        raise UserError(
            f"answers of up to {request.sampling.max_new_tokens} tokens leave no prompt in a context of {max_length}",
            "use a model with a longer context, or a task with a smaller max_gen_toks",
        )
    cut = max(0, len(request.prompt_ids) - room)
    return request.prompt_ids[cut:], cut


def fit_pair(request: LoglikelihoodRequest, max_length: int) -> tuple[tuple[int, ...], int]:
    """Context and continuation in one, the context cut on the left to fit, and the number of tokens cut."""
    ids = request.context_ids + request.continuation_ids
    cut = max(0, len(ids) - max_length)
    if cut >= len(request.context_ids):
        raise UserError(
            f"request {request.id}: a continuation of {len(request.continuation_ids)} tokens leaves no room for its "
            f"context in {max_length}",
            "use a model with a longer context",
        )
    return ids[cut:], cut


def _read_json(path: Path) -> dict[str, object]:
    return dict(json.loads(path.read_text())) if path.exists() else {}
