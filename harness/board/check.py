"""Every number of a board computed again from its samples, and every hash compared.

Each finding is one line in words. A board without findings follows from its samples; whether the samples follow from
the model is what running the recipe again would tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pydantic

from harness.board import ledger
from harness.board.board import build_board
from harness.board.numbers import composite, seed_result, suite, task_result
from harness.board.publish import read_board, read_row, run_samples, run_scores
from harness.board.rows import Row, row_path
from harness.board.samples import Sample
from harness.canonical import digest, file_digest
from harness.errors import HarnessError

EXACT = 1e-8
"""Tolerance of scores and closed-form intervals."""
RESAMPLED = 5e-3
"""Tolerance of a board's resampled intervals: another numpy may draw other items."""

SamplesOf = Callable[[Row, str, int], Sequence[Sample]]


def check_run(folder: Path) -> list[str]:
    """What is wrong with a run's output folder."""
    board = read_board(folder)
    rows, findings = _rows(folder, [line.row for line in board.lines])
    for row in rows:
        findings += check_row(row, lambda row, name, seed: run_samples(folder, row, name, seed))
    if not findings:
        again = build_board(rows, lambda row, name, seed: run_scores(folder, row, name, seed))
        findings += [f"leaderboard.json: {one}" for one in differences(board, again, RESAMPLED)]
    return findings


def check_leaderboards(folder: Path) -> list[str]:
    """What is wrong with the published leaderboard: chain, hashes, every row, superseded ones too, and the board."""
    try:
        entries = ledger.read_ledger(folder)
    except HarnessError as error:
        return [error.problem]
    findings = [
        f"rows/{entry.row}.json is not the file that the ledger names"
        for entry in entries
        if not row_path(folder, entry.row).exists() or file_digest(row_path(folder, entry.row)) != entry.row_sha256
    ]
    rows, unreadable = _rows(folder, list(dict.fromkeys(entry.row for entry in entries)))
    findings += unreadable
    for row in rows:
        findings += check_row(row, lambda row, name, seed: ledger.published_samples(folder, row, name, seed))
        findings += _altered_samples(folder, row)
    findings += _unnamed(folder, rows)
    return findings or _stale_board(folder)


def check_row(row: Row, samples_of: SamplesOf) -> list[str]:
    """Where a row's numbers do not follow from its samples, or its digests from its contents."""
    result, findings = row.result, []
    if digest(result.recipe) != result.recipe_sha256:
        findings.append("recipe_sha256 is not the recipe's digest")
    if suite(result.suite, result.tasks) != result.suite:
        findings.append("suite.sha256 is not the digest of its benchmarks")
    for name, task in result.tasks.items():
        try:
            samples = [samples_of(row, name, part.seed) for part in task.seeds]
            seeds = [
                seed_result(part.seed, found, task, part.n_expected)
                for part, found in zip(task.seeds, samples, strict=True)
            ]
        except (HarnessError, pydantic.ValidationError) as error:
            findings.append(f"{name}: {error}")
            continue
        again = task_result(task, seeds, samples, one_model=result.one_model)
        findings += [f"{name}: {one}" for one in differences(task, again, EXACT)]
    averaged = composite(result.tasks, result.suite, one_model=result.one_model)
    findings += [f"composite: {one}" for one in differences(result.composite, averaged, EXACT)]
    return [f"row {row.id[:12]} ({result.arm}): {finding}" for finding in findings]


def differences(found: pydantic.BaseModel, again: pydantic.BaseModel, tolerance: float) -> list[str]:
    """`path is X, and should be Y`, for every value in which two models differ."""
    return list(_differences(found.model_dump(mode="json"), again.model_dump(mode="json"), "", tolerance))


def _differences(found: Any, again: Any, path: str, tolerance: float) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(again, dict) and found.keys() == again.keys():
        for name in found:
            yield from _differences(found[name], again[name], f"{path}.{name}" if path else name, tolerance)
    elif isinstance(found, list) and isinstance(again, list) and len(found) == len(again):
        for index, (one, other) in enumerate(zip(found, again, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]", tolerance)
    elif isinstance(found, float) and isinstance(again, float):
        if not math.isclose(found, again, rel_tol=0, abs_tol=tolerance):
            yield f"{path} is {found}, and should be {again}"
    elif found != again:
        yield f"{path} is {found}, and should be {again}"


def _rows(folder: Path, ids: Sequence[str]) -> tuple[list[Row], list[str]]:
    rows, findings = [], []
    for row_id in ids:
        try:
            row = read_row(folder, row_id)
        except HarnessError as error:
            findings.append(error.problem)
            continue
        if row.id != row_id:
            findings.append(f"rows/{row_id}.json holds another row, {row.id[:12]}")
        rows.append(row)
    return rows, findings


def _sample_hashes(row: Row) -> set[str]:
    return {part.samples_sha256 for task in row.result.tasks.values() for part in task.seeds}


def _altered_samples(folder: Path, row: Row) -> list[str]:
    """A file whose bytes are not what its name says: changed, or holding more than what is ours to publish."""
    paths = [folder / "samples" / f"{sha256}.jsonl" for sha256 in sorted(_sample_hashes(row))]
    return [
        f"samples/{path.name} has other bytes than its name says"
        for path in paths
        if path.exists() and file_digest(path) != path.stem
    ]


def _unnamed(folder: Path, rows: Sequence[Row]) -> list[str]:
    """Files that no entry of the ledger accounts for."""
    named = {f"{row.id}.json" for row in rows} | {f"{sha256}.jsonl" for row in rows for sha256 in _sample_hashes(row)}
    files = [*folder.glob("rows/*"), *folder.glob("samples/*")]
    return [
        f"{file.relative_to(folder)} is named by no entry of the ledger"
        for file in sorted(files)
        if file.name not in named
    ]


def _stale_board(folder: Path) -> list[str]:
    again = ledger.derive(folder)
    try:
        board = ledger.read_published(folder)
    except HarnessError as error:
        return [error.problem]
    return [f"board.json: {one}" for one in differences(board, again, RESAMPLED)]
