"""One party's requests, all known from the start: asked of a model once, and read from the job's file thereafter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from harness.context import Context, Progress
from harness.engines.protocol import Answer, Engine, Request
from harness.engines.session import Asking, Seat, converse
from harness.engines.stored import Responses
from harness.jobs import RESPONSES, EngineSettings


@dataclass(frozen=True)
class Asked:
    """What a model answered."""

    answers: Mapping[str, Answer]
    """By request id."""
    measured: Mapping[str, int]


def ask(requests: Sequence[Request], engine: Engine, settings: EngineSettings, context: Context) -> Asked:
    """Ask the engine, which holds the model of the parent `model`, for what an earlier attempt has not stored.

    Every answer is in the job's responses.jsonl before it is told.
    """
    asking = Asking(requests)
    tell = partial(Progress, total=len(requests), unit="request")
    with Responses(context.folder / RESPONSES, settings=settings, model_key=context.parents["model"].name) as responses:
        seat = Seat(asking, responses)
        for _ in converse(engine, [seat], answered=lambda _: context.progress(tell(len(asking.answers)))):
            pass
    measured = {
        "requests_asked": seat.asked,
        "requests_stored": seat.stored,
        "tokens_generated": responses.tokens_generated,
    }
    return Asked(asking.answers, measured)
