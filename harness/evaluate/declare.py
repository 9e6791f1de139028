"""What an evaluation declares for its key. Planning imports this: nothing heavy here."""

from __future__ import annotations

from pathlib import Path

from harness.api import Evaluator, LmEvalTask
from harness.canonical import digest, file_digest
from harness.data.sources import declare_files
from harness.evaluate.tasks import check_own_files, find_task
from harness.jobs import EngineSettings, Evaluate


def declare(
    evaluator: Evaluator,
    plugin: str,
    engine: EngineSettings,
    *,
    data_root: Path | None,
    cache: Path | None,
    limit: int | None,
    seed: int,
) -> Evaluate:
    """The benchmark as a job declares it; `plugin` is `name version`.

    Raises UserError for a task that no YAML file defines, for its own data files that do not lie beside
    it, and for data that cannot be read.
    """
    task = evaluator.task
    assert isinstance(task, LmEvalTask)
    found = find_task(task)
    check_own_files(task)
    return Evaluate(
        benchmark=evaluator.name,
        protocol=evaluator.protocol,
        plugin=plugin,
        task={
            "name": task.task,
            "metric": task.metric,
            "filter": task.filter,
            "chat": task.chat,
            "shots": task.shots,
            "digest": digest({name: file_digest(path) for name, path in found.files.items()}),
        },
        data=tuple(declare_files(hub.id, hub, plugin, data_root=data_root, cache=cache) for hub in task.data),
        engine=engine,
        limit=limit,
        seed=seed,
    )
