"""Hugging Face evaluation results: what goes into the folder `.eval_results/` of a model's repository.

An entry names a dataset that is registered as a benchmark on the hub, and a task in its `eval.yaml`. No row knows
these: benchmarks that were not told them are left out, and so is the composite. Scores stand on their benchmark's
scale.
"""

from __future__ import annotations

from harness.board.export.selection import Export, Selection, Told, file_name, interval_in_words, seeds_in_words, shown
from harness.board.numbers import TaskResult
from harness.board.rows import Row
from harness.errors import UserError


def as_eval_results(selection: Selection, told: Told) -> Export:
    """A YAML file for every row. Raises UserError where no benchmark has a hub dataset and a task there."""
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    files, left_out = {}, set()
    for _, line, row in selection.lines():
        entries = []
        for name, task in row.result.tasks.items():
            dataset = told.datasets.get(name)
            if dataset is None or dataset.task is None:
                left_out.add(f"{name} is left out: no --dataset {name}=OWNER/NAME:TASK says what it is on the hub")
            elif task.score is None:
                left_out.add(f"{name} of {row.result.arm} is left out: it has no score")
            else:
                entries.append(
                    EvalResultEntry(
                        dataset_id=dataset.id,
                        task_id=dataset.task,
                        dataset_revision=dataset.revision,
                        value=shown(task.score, task.out_of),
                        source_url=told.source,
                        source_name="instruct-harness" if told.source else None,
                        notes=_notes(task, row),
                    )
                )
        if entries:
            written = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
            files[file_name(line, ".yaml")] = written
    if not files:
        raise UserError("; ".join(sorted(left_out)), "name at least one benchmark's dataset and task")
    return Export(files, tuple(sorted(left_out)))


def _notes(task: TaskResult, row: Row) -> str:
    between = interval_in_words(task.interval, task.out_of)
    return "; ".join([f"{task.score_name}, {task.protocol}", between, seeds_in_words(row), f"row {row.id}"])
