"""What asking and scoring a benchmark declare for their keys. Planning imports this: nothing heavy here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.api import Benchmark, Evaluator, Files, Hub, LmEvalTask
from harness.canonical import Json, digest, file_digest
from harness.data.sources import declare_files, declared_fields
from harness.evaluate.tasks import check_own_files, find_task
from harness.jobs import BenchmarkItems, DataDeclaration, EngineSettings, Evaluate, Respond


@dataclass(frozen=True)
class Declarer:
    """Declares the benchmarks of one plug-in, `name version`; reads data files to know their digests."""

    plugin: str
    data_root: Path | None
    cache: Path | None

    def respond(self, task: LmEvalTask | Benchmark, engine: EngineSettings, *, limit: int | None, seed: int) -> Respond:
        """What is asked.

        Raises UserError for a task that no YAML file defines, for its own data files that do not lie beside it, and
        for data that cannot be read.
        """
        items = self.items(task)
        questions = items.questions
        if isinstance(task, LmEvalTask):
            questions = {**questions, "chat": task.chat, "shots": task.shots}
        return Respond(plugin=items.plugin, questions=questions, data=items.data, engine=engine, limit=limit, seed=seed)

    def items(self, task: LmEvalTask | Benchmark) -> BenchmarkItems:
        """What there is to be asked. Raises UserError as `respond` does."""
        if isinstance(task, LmEvalTask):
            check_own_files(task)
            return BenchmarkItems(plugin=self.plugin, questions=_lm_eval(task), data=self._data(task.data))
        questions, data = declared_fields(task.questions), self._data(task.questions.data)
        return BenchmarkItems(plugin=self.plugin, questions=questions, data=data)

    def evaluate(self, evaluator: Evaluator, judge: Json) -> Evaluate:
        """How it is scored; `judge` takes part where the scorer needs one. Raises UserError as `respond` does."""
        task = evaluator.task
        if isinstance(task, LmEvalTask):
            scorer: Json = {**_lm_eval(task), "metric": task.metric, "filter": task.filter}
            data = self._data(task.data)
        else:
            scorer, data = {**declared_fields(task.scorer), "score": task.score}, self._data(task.scorer.data)
        return Evaluate(
            benchmark=evaluator.name,
            protocol=evaluator.protocol,
            plugin=self.plugin,
            scorer=scorer,
            aggregate=declared_fields(evaluator.aggregate),
            data=data,
            judge=judge if evaluator.needs("judge") else None,
        )

    def _data(self, locations: Sequence[Hub | Files]) -> tuple[DataDeclaration, ...]:
        return tuple(
            declare_files(
                "files" if isinstance(location, Files) else location.id,
                location,
                self.plugin,
                data_root=self.data_root,
                cache=self.cache,
            )
            for location in locations
        )


def _lm_eval(task: LmEvalTask) -> dict[str, Json]:
    files = find_task(task).files
    return {"task": task.task, "digest": digest({name: file_digest(path) for name, path in files.items()})}
