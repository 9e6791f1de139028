"""The `hf` engine: a transformers model, decoded batch by batch on whatever device torch has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.engines.cache import block_cache
from harness.engines.protocol import (
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Lot,
    Request,
    Sampling,
    Tokenizer,
    Waiting,
)
from harness.engines.text import Codec, context_length, fit_pair, fit_prompt
from harness.errors import UserError
from harness.jobs import EngineSettings
from harness.modelfolder import trusts_code

BATCH_SIZE = 64
LOGIT_CELLS = 1 << 27
"""At most so many logits are held at once while scoring: half a GiB in float32."""


@dataclass
class _Row:
    """A request being answered."""

    request: GenerateRequest
    prompt: tuple[int, ...]
    cut: int
    generator: torch.Generator | None
    token_ids: list[int] = field(default_factory=list)


class HfEngine:
    """Greedy and seeded sampling with a key-value cache; a sampled answer does not depend on its neighbours' draws."""

    mixes = False

    def __init__(self, settings: EngineSettings, model_dir: Path, *, batch_size: int = BATCH_SIZE) -> None:
        self._settings = settings
        self._batch_size = batch_size
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.load(model_dir)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        return self._codec.tokenizer

    @property
    def max_length(self) -> int:
        """Context in tokens."""
        return self._max_length

    def why_no_likelihoods(self) -> None:
        """It gives them."""

    def load(self, model_dir: Path) -> None:
        """Take another model; any will do. Raises UserError where weights are missing from its files."""
        from transformers import AutoModelForCausalLM

        self._model: Any = None  # the old weights go before the new ones come
        self._max_length = context_length(model_dir, self._settings.max_length)
        self._codec = Codec.load(model_dir)
        model, report = AutoModelForCausalLM.from_pretrained(
            model_dir,
            dtype=getattr(torch, str(self._settings.dtype)),
            trust_remote_code=trusts_code(model_dir),
            output_loading_info=True,
        )
        if report["missing_keys"]:  # transformers would draw them at random
            raise UserError(f"the weights in {model_dir} lack {min(report['missing_keys'])}", "use a whole model")
        self._model = model.to(self._device).eval()

    def close(self) -> None:
        """Drop the model."""
        self._model = None

    def answer(self, waiting: Waiting) -> Iterator[Lot]:
        """One lot per batch, round after round, the longest requests first: what does not fit in memory fails at once.

        So the lots are the same however much of the first ones was answered before.
        """
        later: list[Request] = []
        while waiting or later:
            while waiting:
                later.append(waiting.popleft())
            now = min(request.round for request in later)
            ready, later = [r for r in later if r.round == now], [r for r in later if r.round != now]
            yield from self._generate([r for r in ready if isinstance(r, GenerateRequest)])
            yield from self._score([r for r in ready if isinstance(r, LoglikelihoodRequest)])

    def _generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Lot]:
        ordered = sorted(requests, key=lambda request: (-len(request.prompt_ids), request.id))
        for start in range(0, len(ordered), self._batch_size):
            yield self._generate_batch(ordered[start : start + self._batch_size])

    def _score(self, requests: Sequence[LoglikelihoodRequest]) -> Iterator[Lot]:
        def length(request: LoglikelihoodRequest) -> int:
            return len(request.context_ids) + len(request.continuation_ids)

        batch: list[LoglikelihoodRequest] = []
        for request in sorted(requests, key=lambda request: (-length(request), request.id)):
            scored = max(len(other.continuation_ids) for other in (*batch, request)) + 1
            too_many = (len(batch) + 1) * scored * self._model.config.get_text_config().vocab_size > LOGIT_CELLS
            if batch and (too_many or len(batch) == self._batch_size):
                yield self._score_batch(batch)
                batch = []
            batch.append(request)
        if batch:
            yield self._score_batch(batch)

    @torch.inference_mode()
    def _generate_batch(self, requests: Sequence[GenerateRequest]) -> list[tuple[str, Generation]]:
        rows = [self._row(request) for request in requests]
        done: list[_Row] = []
        ids, mask = self._left_padded([row.prompt for row in rows])
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = block_cache(self._model.config)
        while True:
            logits = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            for row, token in zip(rows, _choose(logits, rows), strict=True):
                row.token_ids.append(token)
            alive = [i for i, row in enumerate(rows) if not self._codec.ended(row.token_ids, row.request.sampling)]
            if len(alive) < len(rows):
                living = set(alive)
                done += [row for i, row in enumerate(rows) if i not in living]
                if not alive:
                    return [self._answer(row) for row in done]
                rows = [rows[i] for i in alive]
                index = torch.tensor(alive, device=self._device)
                cache.batch_select_indices(index)
                mask, positions = mask[index], positions[index]
            ids = torch.tensor([[row.token_ids[-1]] for row in rows], device=self._device)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            positions = positions[:, -1:] + 1

    @torch.inference_mode()
    def _score_batch(self, requests: Sequence[LoglikelihoodRequest]) -> list[tuple[str, Loglikelihood]]:
        fitted = [fit_pair(request, self._max_length) for request in requests]
        # Padded on the left, so that what is scored stands at the end of every row. The last token predicts nothing.
        ids, mask = self._left_padded([pair[:-1] for pair, _ in fitted])
        scored = max(len(request.continuation_ids) for request in requests)
        logits = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=scored,
        ).logits
        answers = []
        for request, (_, cut), row in zip(requests, fitted, logits, strict=True):
            wanted = torch.tensor(request.continuation_ids, device=self._device)
            tail = row[-len(wanted) :].float()
            logprobs = tail.log_softmax(-1).gather(1, wanted[:, None])
            greedy = bool((tail.argmax(-1) == wanted).all())
            answers.append((request.id, Loglikelihood(float(logprobs.sum()), greedy, cut)))
        return answers

    def _row(self, request: GenerateRequest) -> _Row:
        prompt, cut = fit_prompt(request, self._max_length)
        seed = request.sampling.seed
        return _Row(request, prompt, cut, None if seed is None else torch.Generator().manual_seed(seed))

    def _answer(self, row: _Row) -> tuple[str, Generation]:
        return row.request.id, self._codec.generation(row.token_ids, row.request.sampling, row.cut)

    def _left_padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, [rows, longest]."""
        width = max(map(len, rows))
        ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=self._device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self._device)
        return ids, mask


def _choose(logits: torch.Tensor, rows: Sequence[_Row]) -> list[int]:
    """The next token of each row; `logits` is [rows, vocabulary]."""
    logits = logits.float()
    tokens: list[int] = logits.argmax(-1).tolist()
    for i, row in enumerate(rows):
        if row.request.sampling.temperature > 0:
            assert row.generator is not None
            tokens[i] = _draw(logits[i], row.request.sampling, row.generator)
    return tokens


def _draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One token from the nucleus: the largest of the probabilities, each divided by exponential noise of its own.

    Noise belongs to the token, not to its rank: last digits, which differ with the batch, do not reorder the draw.
    """
    probabilities = (logits / sampling.temperature).double().softmax(-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        probabilities[order[ordered.cumsum(0) - ordered >= sampling.top_p]] = 0
    noise = torch.empty(len(probabilities), dtype=torch.float64).exponential_(generator=generator)
    return int((probabilities / noise.to(probabilities.device)).argmax())
