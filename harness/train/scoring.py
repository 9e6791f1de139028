"""A model's loss on data that is not trained on: responses scored after all that comes before them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer

from harness.api import DataSource, Part
from harness.context import Context, Progress
from harness.data.dialect import Dialect
from harness.data.rendering import TOKENS, Renderings
from harness.errors import UserError
from harness.jobs import CORPUS, MixtureItem
from harness.modelfolder import trusts_code
from harness.train import layouts, network
from harness.train.loss import CausalModel
from harness.train.microbatch import MicroBatch
from harness.train.process import isolated
from harness.train.report import throttled
from harness.train.selection import Selection


def conversations(
    items: Sequence[MixtureItem], data: Mapping[str, DataSource], max_length: int, start: Path, context: Context
) -> Selection:
    """The items' conversations as the model in `start` reads them, cut on the right at `max_length` tokens."""
    tokenizer = AutoTokenizer.from_pretrained(start, trust_remote_code=trusts_code(start))
    cache = Path(context.runtime["cache"]) if context.runtime.get("cache") else None
    renderings = Renderings(
        data,
        Dialect.of(tokenizer),
        (cache or context.folder / CORPUS) / TOKENS,
        data_root=context.data_root,
        facts=cache,
    )
    return Selection.of([renderings.of(item) for item in items], max_length)


def scored(rows: Selection, place: int, *, padded: bool) -> MicroBatch:
    """One conversation, its responses scored, which is all of a text; nothing predicts its first token."""
    example = rows.batch(slice(place, place + 1))
    parts = example.parts[0].numpy()
    weights = (parts == Part.RESPONSE).astype(np.float32)
    weights[0] = 0.0
    return MicroBatch.of([example.input_ids[0].numpy().astype(np.int32)], [parts], [weights], padded=padded)


def response_loss(folder: Path, rows: Selection, context: Context, note: str = "") -> float:
    """The mean negative log-likelihood of the response tokens, in nats, under the model in `folder`.

    NaN for a model with weights that are no numbers, as a training that went astray leaves it.
    Raises UserError for data of which nothing is scored.
    """
    layout, tell = context.execution.layout, throttled(context.progress)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    total, tokens = 0.0, 0
    with isolated(context.runtime.get("threads")), torch.no_grad():
        attention = layouts.attention_for(folder, layout, device, torch.float32)
        model = network.load(folder, attention).to(device).eval()
        if not all(parameter.isfinite().all() for parameter in model.parameters()):
            return math.nan
        with torch.enable_grad():
            head = layouts.check(model, layout)
        for place in range(len(rows)):
            batch = scored(rows, place, padded=layout != "packed")
            if len(batch.kept):
                total += float(CausalModel(model, head).token_nll(batch.to(device)).double().sum())
                tokens += len(batch.kept)
            tell(Progress(place + 1, len(rows), "example", note))
    if not tokens:
        raise UserError("the held-out data has no response to score", "hold out more, or other data")
    return total / tokens
