"""The `fisher` job: how much each weight of a model matters to what it says of data (arXiv:1612.00796)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F  # noqa: N812 -- the field's name for it

from harness.api import DataSource
from harness.canonical import Json
from harness.context import Context, Progress
from harness.errors import UserError
from harness.jobs import EstimateFisher
from harness.machine import failures_named
from harness.train import layouts, network
from harness.train.loss import CausalModel
from harness.train.microbatch import MicroBatch
from harness.train.process import isolated
from harness.train.report import throttled
from harness.train.scoring import conversations, scored
from harness.train.world import World


def estimate(declared: EstimateFisher, data: Mapping[str, DataSource], start: Path, context: Context) -> Json:
    """Leave the diagonal of the Fisher information in `context.folder/model`, in the form of the model in `start`.

    Each weight is the sum over examples of the squared gradient of the example's log-likelihood, divided by the scored
    tokens of all; float32. Raises UserError for data of which nothing is scored.
    """
    started = time.perf_counter()
    layout = context.execution.layout
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with isolated(context.runtime.get("threads")), failures_named("estimating the Fisher information", context.folder):
        rows = conversations(declared.items, data, declared.max_length, start, context)
        places, generator = _drawn(len(rows), declared), torch.Generator().manual_seed(declared.seed)
        attention = layouts.attention_for(start, layout, device, torch.float32)
        model = network.load(start, attention).to(device).eval()
        head = layouts.check(model, layout)
        squares = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
        tell, tokens, examples = throttled(context.progress), 0, 0
        for done, place in enumerate(places.tolist(), start=1):
            batch = scored(rows, place, padded=layout != "packed").to(device)
            if len(batch.kept):
                model.zero_grad()
                nll = _nll(CausalModel(model, head), batch, declared.labels, generator)
                nll.backward()  # type: ignore[no-untyped-call]
                for name, parameter in model.named_parameters():
                    if parameter.grad is not None:
                        squares[name] += parameter.grad.square()
                tokens, examples = tokens + len(batch.kept), examples + 1
            tell(Progress(done, len(places), "example"))
        if not tokens:
            raise UserError("the Fisher information has no scored token to be estimated on", "name other data")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(squares[name] / tokens)
        network.save(model, start, context.folder / "model", torch.float32, World())
    result = {"examples": examples, "tokens": tokens}
    return {"result": result, "measured": {"seconds": time.perf_counter() - started}}


def _drawn(n: int, declared: EstimateFisher) -> npt.NDArray[np.int64]:
    """Which of n conversations are looked at, in their order."""
    drawn = np.random.Generator(np.random.PCG64(declared.seed)).permutation(n)
    return np.sort(drawn[: declared.examples])


def _nll(model: CausalModel, batch: MicroBatch, labels: str, generator: torch.Generator) -> torch.Tensor:
    """The negative log-likelihood of the scored tokens, or of others drawn in their place; a scalar."""
    if labels == "data":
        return model.token_nll(batch).sum()
    logits = model.logits(batch)[0].index_select(0, batch.kept)
    expected = logits.detach().softmax(dim=-1).cpu()
    others = expected.multinomial(1, generator=generator)[:, 0].to(logits.device)
    return F.cross_entropy(logits, others, reduction="sum")
