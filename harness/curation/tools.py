"""What a curation may call on, each opened when it is first wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.api import Curation, Example, Files, Hub, Item, JudgePrompt, Read, Rows, Verdict
from harness.canonical import Json
from harness.context import Context, Progress
from harness.curation.embed import embed
from harness.data.hubrows import reader
from harness.errors import Failure
from harness.jobs import PrepareData
from harness.judge.calls import JudgeCalls

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from harness.engines.pool import Engines


@dataclass
class Tools:
    """The tools of one curation job, as `harness.api.CurationTools` describes them."""

    curation: Curation
    declared: PrepareData
    judge: JudgeCalls
    engines: Engines
    context: Context
    benchmark: Callable[[str], Sequence[Item]] | None = None
    """Gives all items of a benchmark that is declared."""
    told: dict[str, Json] = field(default_factory=dict)
    """What the curation had to say."""
    measured: Counter[str] = field(default_factory=Counter)
    """Requests that the engine was asked, and those that were stored."""

    @property
    def seed(self) -> int:
        """The stage's."""
        return self.declared.seed

    def embed(self, texts: Sequence[str], model: str) -> npt.NDArray[np.float32]:
        """Vectors of the texts. Raises Failure for a model that the curation does not name."""
        self._declares(model == self.curation.embedder, f"embeddings of {model}", "embedder")
        self.context.progress(Progress(0, 1, "embedding", f"{len(texts):,} texts"))
        return embed(texts, model, self.seed)

    def likelihood(self, examples: Sequence[Example]) -> Sequence[tuple[float, int]]:
        """Negative log-likelihoods of the responses, and their tokens."""
        self._declares("model" in self.curation.needs, "likelihoods", "needs")
        from harness.curation.likelihood import Likelihoods

        assert self.declared.engine is not None
        return Likelihoods(self.engines, self.declared.engine, self.context, self.measured).of(examples)

    def ask(self, prompts: Sequence[JudgePrompt]) -> Sequence[Verdict]:
        """Verdicts, once all of them are there."""
        self._declares("judge" in self.curation.needs, "verdicts", "needs")
        self.judge.expect(prompts)
        verdicts = []
        for submitted in [self.judge.submit(prompt) for prompt in prompts]:
            verdicts.append(submitted.result())
            self.context.progress(Progress(len(verdicts), len(prompts), "judgment"))
        return verdicts

    def read(self, location: Hub | Files) -> Rows:
        """Rows of a dataset that the curation declares."""
        return self._read(location)

    def benchmarks(self) -> Mapping[str, Sequence[Item]]:
        """All items of the run's benchmarks."""
        self._declares("benchmarks" in self.curation.needs, "benchmarks", "needs")
        assert self.benchmark is not None
        return {name: self.benchmark(name) for name in self.declared.benchmarks}

    def tell(self, name: str, value: Any) -> None:
        """Keep it with the result."""
        self.told[name] = value

    @cached_property
    def _read(self) -> Read:
        return reader(self.curation.data, self.declared.data, self.context.data_root)

    def _declares(self, said: object, what: str, where: str) -> None:
        if not said:
            raise Failure(f"{self.declared.curator} asks for {what} undeclared", f"name it in its `{where}`")
