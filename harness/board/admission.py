"""Which rows may be published."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from harness.board.chain import Chain
from harness.board.crosscheck import items_of, other_items, other_weights, weights_of
from harness.board.judges import judge_gaps, judged_benchmarks
from harness.board.measures import other_rule, undeclared, undeclared_suite
from harness.board.rows import Place, Result, Row, SamplesOf
from harness.board.samples import Samples, publishable
from harness.board.seeds import copied_models, copied_seeds
from harness.errors import Failure, UserError

_BESIDE_METHODS = re.compile("[@~]")
"""What comes in an arm's id after its methods: its own settings, and the arm whose budget it has."""

LONGEST_NAME = 500


def unpublishable(row: Row) -> list[str]:
    """Why a row may not be published, whatever the others say."""
    files = [name for name, distribution in row.measured.plugin_distributions.items() if distribution is None]
    reasons = [
        (row.measured.git is not None and row.measured.git.dirty, "it ran from a git tree with uncommitted changes"),
        (bool(files), f"plug-in {', '.join(files)} was loaded from a file and not from an installed distribution"),
        (row.result.limit is not None, f"it asked only the first {row.result.limit} items of each benchmark"),
        (bool(row.result.suite.left_out), f"it leaves out {', '.join(row.result.suite.left_out)}"),
        (row.measured.accepted_source, "it ran with --accept-source, on results that other source code made"),
    ]
    found = (reason for holds, reason in reasons if holds)
    result = row.result
    declared = (*undeclared_suite(result), *undeclared(result))
    return [*found, *misnamed(result), *copied_seeds(result), *declared]


def misnamed(result: Result) -> Iterator[str]:
    """Names that are none, and methods in a trained arm's name that had no part in it.

    One that is not trained has its model's name.
    """
    arm, protocols = result.arm, [task.protocol for task in result.tasks.values()]
    for what, names in (
        ("arm", [arm]),
        ("suite", [result.suite.name]),
        ("benchmarks", result.tasks),
        ("protocols", protocols),
    ):
        if not all(map(is_a_name, names)):
            yield f"its {what} cannot be called so: a name is one printable line of at most {LONGEST_NAME} characters"
    if any(seed.stages for seed in result.seeds):
        made = {plugin.name for plugin in result.plugins}
        foreign = sorted(set(_BESIDE_METHODS.split(arm)[0].split("+")) - made)
        if foreign:
            yield f"it is called {arm}, and no plug-in {', '.join(foreign)} took part in it"


def is_a_name(text: str) -> bool:
    """Whether two that look alike are alike, as far as one can tell."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable() and text == unicodedata.normalize("NFC", text.strip())


def refuse_unpublishable(row: Row) -> None:
    """Raises UserError that says why a row may not be published; every reason at once."""
    if said := "; ".join([*unpublishable(row), *judge_gaps(row.result)]):
        raise UserError(
            f"the row of {row.result.arm} cannot be published: {said}",
            "mend that and run again, with another --store: finished jobs remember what they ran from",
        )


def own_samples(row: Row, samples: Samples) -> dict[str, bytes]:
    """The row's samples as they are published, by digest. Raises Failure where they are not those of the row."""
    files = {}
    for name, task in row.result.tasks.items():
        for part in task.seeds:
            content = publishable(samples[name, part.seed])
            if hashlib.sha256(content).hexdigest() != part.samples_sha256:
                raise Failure(
                    f"the samples of {row.result.arm} on {name}, seed {part.seed}, are not those of its row",
                    "run again to write the folder anew",
                )
            files[part.samples_sha256] = content
    return files


def refuse_known(row: Row, chain: Chain, supersedes: str | None, reason: str) -> None:
    """Raises UserError for a row that the ledger names already, and for one that replaces another without a reason."""
    for entry in chain.entries:
        if entry.row == row.id and entry.kind == "retract":
            raise UserError(f"the row {row.id[:12]} was retracted: {entry.reason}", "publish another result")
    if any(entry.row == row.id for entry in chain.entries):
        raise UserError(
            f"the row {row.id[:12]} of {row.result.arm} is already published", "there is nothing left to do"
        )
    if supersedes is not None and not reason:
        raise UserError(f"the row {supersedes[:12]} is replaced for no reason", "say why with --why")


def refuse_foreign(row: Row, place: Place, replaced: str) -> None:
    """Raises UserError for a row that would take the place of another arm, or of one that was asked another suite."""
    if place[1:] != row.place[1:]:
        raise UserError(
            f"the row of {row.result.arm} cannot replace {replaced[:12]}, which is {place[2]}'s"
            + (", on another suite" if place[1] != row.place[1] else ""),
            "a row replaces one of its own arm on its own suite: publish it beside that, or retract that",
        )


def refuse_twin(row: Row, others: Sequence[Row]) -> None:
    """Raises UserError for a row that says what another on the board says already, or is about the same models."""
    for other in others:
        if other.result.said() == row.result.said():
            raise UserError(
                f"the row {row.id[:12]} of {row.result.arm} says the same as {other.id[:12]}, which is published",
                "there is nothing left to do",
            )
    for copy, said in copied_models([*others, row]):
        if copy is row:
            raise UserError(said, "replace that row with --supersede, or train with other seeds")


def refuse_put_back(row: Row, others: Iterable[Row], reasons: Mapping[str, str]) -> None:
    """Raises UserError for a row that says what another was retracted for."""
    for other in others:
        if other.result.said() == row.result.said():
            raise UserError(
                f"the row {row.id[:12]} of {row.result.arm} says the same as {other.id[:12]}, which was retracted: "
                f"{reasons[other.id]}",
                "publish another result",
            )


def refuse_other_items(row: Row, samples: Samples, other: Row, samples_of: SamplesOf) -> None:
    """Raises UserError for a row that was asked or scored otherwise than another of its suite: nothing would compare.

    That is: other items, other weights of them, or another rule by which they make a number.
    """
    for (benchmark, seed), found in samples.items():
        task, usual = row.result.tasks[benchmark], other.result.tasks[benchmark]
        part, first = row.result.part(benchmark, seed), usual.seeds[0]
        theirs = samples_of(other, benchmark, first.seed)
        why = other_rule(task, usual) or other_items(
            items_of(found), part.n_expected, items_of(theirs), first.n_expected
        )
        if not why and benchmark not in judged_benchmarks(row.result):
            why = other_weights(weights_of(found, task), weights_of(theirs, usual))
        if why:
            raise UserError(
                f"the row of {row.result.arm} cannot be published: {benchmark}, seed {seed}: {why}",
                "evaluate with the same version of the benchmark and its data, or retract what was not",
            )


def standing_row(prefix: str, chain: Chain, leaderboards: Path) -> str:
    """The one row on the board whose id begins so. Raises UserError where there is none, or more than one."""
    found = [row_id for row_id in chain.standing() if row_id.startswith(prefix)] if prefix else []
    if len(found) != 1:
        what = f"{len(found)} rows of {leaderboards} have ids" if found else f"no row of {leaderboards} has an id"
        raise UserError(f"{what} beginning with {prefix!r}", f"harness board show {leaderboards} lists them")
    return found[0]
