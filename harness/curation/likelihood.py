"""How likely a model finds responses: each assistant turn scored after all that comes before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.api import Example, Part
from harness.context import Context
from harness.data.chat import Renderer
from harness.engines.asking import ask
from harness.engines.pool import Engines
from harness.engines.protocol import Loglikelihood, LoglikelihoodRequest
from harness.engines.text import context_length
from harness.jobs import EngineSettings


@dataclass(frozen=True)
class Likelihoods:
    """What gives them: the model of the job's parent `model`."""

    engines: Engines
    settings: EngineSettings
    context: Context
    measured: Counter[str]
    """Grows by the requests asked, and by those that were stored."""

    def of(self, examples: Sequence[Example]) -> list[tuple[float, int]]:
        """Of each example the summed negative log-likelihood of its response tokens, in nats, and their number.

        An example is cut on the right where the model's context ends, as in training; none of its response may be left.
        """
        folder = self.context.parents["model"] / "model"
        engine = self.engines.open(self.settings, folder, self.context.runtime, self.context.notice)
        renderer, longest = Renderer(engine.tokenizer), context_length(folder, self.settings.max_length)
        turns: list[list[LoglikelihoodRequest]] = []
        for example in examples:
            rendered = renderer.encode(example)
            ids = tuple(rendered.ids[:longest].tolist())
            spans = _runs(rendered.parts[:longest] == Part.RESPONSE)
            turns.append(
                [
                    LoglikelihoodRequest(f"{len(turns)}.{n}", ids[:start], ids[start:end])
                    for n, (start, end) in enumerate(spans)
                ]
            )
        asked = ask([turn for of in turns for turn in of], engine, self.settings, self.context)
        self.measured.update(asked.measured)
        return [
            (-sum(_logprob(asked.answers[turn.id]) for turn in of), sum(len(turn.continuation_ids) for turn in of))
            for of in turns
        ]


def _runs(chosen: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where runs of True begin and end, [start, end). The very first token follows nothing, so nothing scores it."""
    edges = np.flatnonzero(np.diff(chosen[1:].astype(np.int8), prepend=0, append=0)) + 1
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _logprob(answer: object) -> float:
    assert isinstance(answer, Loglikelihood)
    return answer.logprob
