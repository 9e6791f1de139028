"""Every number of a board computed again from its samples, and every hash compared.

Each finding is one line in words. A board without findings follows from its samples; whether the samples follow from
the model is what running the recipe again would tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from harness.board import ledger
from harness.board.admission import unpublishable
from harness.board.board import build_board
from harness.board.chain import GENESIS, LEDGER, RESTORE, Chain, read_chain
from harness.board.crosscheck import AskedItems, otherwise_measured, put_back, twins, unnamed_judges, usurped
from harness.board.filecheck import altered, links, unaccounted
from harness.board.history import contradictions, rewritten
from harness.board.numbers import composite, seed_result, suite, task_result
from harness.board.publish import read_board, read_row, run_samples, run_scores
from harness.board.rows import Row, SamplesOf
from harness.board.samples import Sample
from harness.board.seeds import copied_models
from harness.board.versions import VERSION
from harness.canonical import digest
from harness.errors import Failure, HarnessError, UserError

EXACT = 1e-8
"""Tolerance of scores, p-values and closed-form intervals."""
RESAMPLED = 5e-3
"""Tolerance of the ends of resampled intervals: another numpy may draw other items."""


def check_run(folder: Path) -> list[str]:
    """What is wrong with a run's output folder."""
    board = read_board(folder)
    rows, findings = _rows(folder, [line.row for line in board.lines])
    for row in rows:
        findings += check_row(row, lambda row, name, seed: run_samples(folder, row, name, seed))
    if not findings:
        again = build_board(rows, lambda row, name, seed: run_scores(folder, row, name, seed))
        findings += [f"leaderboard.json: {one}" for one in differences(board, again)]
    return findings


def check_leaderboards(folder: Path, since: str | None = None, *, copy: bool = False) -> list[str]:
    """What is wrong with the published leaderboard: ledger, files, every row, superseded ones too, and the board.

    With `since`, an older ledger or a commit, also where the ledger does not go on from that one. A `copy`, as
    `harness board publish` makes, has its page in it, which is not looked at. Nobody may write to the folder meanwhile.
    Raises UserError where something is newer than this code, or `since` is nothing of the kind.
    """
    if linked := list(links(folder)):
        return linked
    earlier = [] if since is None else list(rewritten(folder, since))
    try:
        chain = read_chain(folder)
    except Failure as error:
        return [*earlier, str(error)]
    rows, unreadable = _rows(folder, list(dict.fromkeys(entry.row for entry in chain.entries)))
    standing, asked = set(chain.standing()), AskedItems()

    def samples_of(row: Row, benchmark: str, seed: int) -> Sequence[Sample]:
        samples = ledger.published_samples(folder, row, benchmark, seed)
        if row.id in standing:
            asked.note(row, benchmark, seed, samples)
        return samples

    findings = [*earlier, *contradictions(chain.entries), *unreadable, *altered(folder, chain, rows)]
    if chain.torn:
        findings.append(
            f"{LEDGER} ends in an entry that was not written to its end (the next add or retract removes it)"
        )
    for row in rows:
        findings += check_row(row, samples_of)
        findings += [f"{row.title}: {why}" for why in unpublishable(row)]
    findings += otherwise_measured(rows)
    findings += unnamed_judges(rows)
    findings += usurped(chain.entries, rows)
    findings += twins(row for row in rows if row.id in standing)
    findings += put_back(chain, rows)
    findings += [said for _, said in copied_models(row for row in rows if row.id in standing)]
    findings += asked.findings()
    if not unreadable:  # whose samples would be nobody's
        findings += unaccounted(folder, chain, rows, copy=copy)
    findings += _board_pointer(folder, chain)
    return findings or list(_board_numbers(folder))


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
        except (HarnessError, pydantic.ValidationError, RecursionError) as error:
            findings.append(f"{name}: {error}")
            continue
        again = task_result(task, seeds, samples, one_model=result.one_model)
        findings += [f"{name}: {one}" for one in differences(task, again)]
    findings += [f"measured.{one}" for one in differences(row.measured, row.measured.model_copy(update=row.spent()))]
    averaged = composite(result.tasks, result.suite, one_model=result.one_model)
    findings += [f"composite: {one}" for one in differences(result.composite, averaged)]
    return [f"{row.title}: {finding}" for finding in findings]


def differences(found: pydantic.BaseModel, again: pydantic.BaseModel) -> list[str]:
    """`path is X, and should be Y`, for every value in which two models differ."""
    return list(_differences(found.model_dump(mode="json"), again.model_dump(mode="json"), ""))


def _differences(found: Any, again: Any, path: str, tolerance: float = EXACT, *, older: bool = False) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(again, dict):
        yield from _differing_fields(found, again, path, older=older)
    elif isinstance(found, list) and isinstance(again, list):
        if len(found) != len(again):
            yield f"{path} has {len(found)} entries, and should have {len(again)}"
        for index, (one, other) in enumerate(zip(found, again, strict=False)):
            yield from _differences(one, other, f"{path}[{index}]", older=older)
    elif isinstance(found, float) and isinstance(again, float):
        if not math.isclose(found, again, rel_tol=0, abs_tol=tolerance):
            yield f"{path} is {found}, and should be {again}"
    elif found != again:
        yield f"{path} is {found}, and should be {again}"


def _differing_fields(found: Mapping[str, Any], again: Mapping[str, Any], path: str, *, older: bool) -> Iterator[str]:
    """Of what an `older` version wrote, all that it knew."""
    written, current = found.get(VERSION), again.get(VERSION)
    older = older or (isinstance(written, int) and isinstance(current, int) and written < current)
    for name in dict.fromkeys([*found, *again]):
        inner = f"{path}.{name}" if path else name
        if name not in again:
            yield f"{inner} should not be there"
        elif name in found and not (older and name == VERSION):
            drawn = name in {"low", "high"} and "bootstrap" in str(again.get("method"))
            tolerance = RESAMPLED if drawn else EXACT
            yield from _differences(found[name], again[name], inner, tolerance, older=older)
        elif name not in found and not older:
            yield f"{inner} is missing, and should be {again[name]}"


def _rows(folder: Path, ids: Sequence[str]) -> tuple[list[Row], list[str]]:
    rows, findings = [], []
    for row_id in ids:
        try:
            row = read_row(folder, row_id)
        except UserError as error:
            findings.append(str(error))
            continue
        if row.id != row_id:
            findings.append(f"rows/{row_id}.json holds another row, {row.id[:12]}")
        rows.append(row)
    return rows, findings


def _board_pointer(folder: Path, chain: Chain) -> Iterator[str]:
    """Where the board was not made from the last entry; one that the ledger does not hold has been taken away."""
    try:
        board = ledger.read_published(folder)
    except UserError as error:
        yield str(error)
        return
    if board.ledger not in {GENESIS, *chain.digests}:
        yield f"{ledger.BOARD} was made from the entry {board.ledger[:12]}, which the ledger does not hold ({RESTORE})"
    elif behind := chain.behind(board.ledger):
        count = "1 entry" if behind == 1 else f"{behind} entries"
        yield f"{ledger.BOARD} is {count} behind the ledger (harness board build {folder})"


def _board_numbers(folder: Path) -> Iterator[str]:
    found = ledger.read_published(folder).model_dump(mode="json", exclude_unset=True)
    for one in _differences(found, ledger.derive(folder).model_dump(mode="json"), ""):
        yield f"{ledger.BOARD}: {one}"
