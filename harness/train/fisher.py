"""The `fisher` job: how much each weight of a model matters to what it says of data (arXiv:1612.00796)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer

from harness.api import DataSource, Part
from harness.canonical import Json
from harness.context import Context, Progress
from harness.data.dialect import Dialect
from harness.data.rendering import TOKENS, Renderings
from harness.errors import UserError
from harness.jobs import CORPUS, EstimateFisher
from harness.machine import failures_named
from harness.modelfolder import trusts_code
from harness.train import layouts, network
from harness.train.loss import CausalModel
from harness.train.microbatch import MicroBatch
from harness.train.process import isolated
from harness.train.report import throttled
from harness.train.selection import Selection
from harness.train.world import World


def estimate(declared: EstimateFisher, data: Mapping[str, DataSource], context: Context) -> Json:
    """Leave the diagonal of the Fisher information in `context.folder/model`, in the form of the parent `model`.

    Each weight is the sum over examples of the squared gradient of the example's log-likelihood, divided by the scored
    tokens of all; float32. Raises UserError for data of which nothing is scored.
    """
    started = time.perf_counter()
    start, layout = context.parents["model"] / "model", context.execution.layout
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with isolated(context.runtime.get("threads")), failures_named("estimating the Fisher information", context.folder):
        rows = _selected(declared, data, context, start)
        attention = layouts.attention_for(start, layout, device, torch.float32)
        model = network.load(start, attention).to(device).eval()
        head = layouts.check(model, layout)
        squares = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
        tell, tokens, examples = throttled(context.progress), 0, 0
        for place in range(len(rows)):
            batch = _scored(rows.batch(slice(place, place + 1)), padded=layout != "packed").to(device)
            if len(batch.kept):
                model.zero_grad()
                CausalModel(model, head).token_nll(batch).sum().backward()  # type: ignore[no-untyped-call]
                for name, parameter in model.named_parameters():
                    if parameter.grad is not None:
                        squares[name] += parameter.grad.square()
                tokens, examples = tokens + len(batch.kept), examples + 1
            tell(Progress(place + 1, len(rows), "example"))
        if not tokens:
            raise UserError("the Fisher information has no scored token to be estimated on", "name other data")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(squares[name] / tokens)
        network.save(model, start, context.folder / "model", torch.float32, World())
    result = {"examples": examples, "tokens": tokens}
    return {"result": result, "measured": {"seconds": time.perf_counter() - started}}


def _selected(declared: EstimateFisher, data: Mapping[str, DataSource], context: Context, start: Path) -> Selection:
    tokenizer = AutoTokenizer.from_pretrained(start, trust_remote_code=trusts_code(start))
    cache = Path(context.runtime["cache"]) if context.runtime.get("cache") else None
    renderings = Renderings(
        data,
        Dialect.of(tokenizer),
        (cache or context.folder / CORPUS) / TOKENS,
        data_root=context.data_root,
        facts=cache,
    )
    return Selection.of([renderings.of(item) for item in declared.items], declared.max_length)


def _scored(example: MicroBatch, *, padded: bool) -> MicroBatch:
    """The example with its responses scored, which is all of a text; nothing predicts its first token."""
    parts = example.parts[0].numpy()
    weights = (parts == Part.RESPONSE).astype(np.float32)
    weights[0] = 0.0
    return MicroBatch.of([example.input_ids[0].numpy().astype(np.int32)], [parts], [weights], padded=padded)
