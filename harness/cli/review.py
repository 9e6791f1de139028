"""`harness data review`: candidates on a page, two people's decisions together, and the rows that are kept."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from harness.canonical import canonical, utf8
from harness.errors import UserError
from harness.files import explained, write_whole
from harness.review.agreement import merge
from harness.review.candidates import read_candidates
from harness.review.decisions import Decisions, journal, kept, lines_of, read_decisions


@dataclass(frozen=True)
class Review:
    """Candidates, and the file of somebody's decisions on them."""

    file: Path
    decisions: Path

    @classmethod
    def of(cls, file: Path, reviewer: str | None, decisions: Path | None) -> Review:
        """Beside the file, under the reviewer's name if there is one, unless a place is given."""
        if reviewer is not None and (decisions is not None or not reviewer.replace("-", "").isalnum()):
            raise UserError(
                "--as takes a name of letters and digits, and is left away with --decisions", "write --as ann"
            )
        name = f"{file.name}.{reviewer}" if reviewer else file.name
        asked = cls(file, decisions or file.with_name(f"{name}.review.jsonl"))
        if asked.decisions.resolve() == file.resolve():
            raise UserError(f"{file} holds the candidates, and no decisions", "give another path with --decisions")
        return asked


def review(asked: Review) -> None:
    """Show the page, and say how far the review is when it is left. Raises UserError without a terminal."""
    from harness.cli.reviewpage import Page

    candidates = read_candidates(asked.file)
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        raise UserError("candidates are reviewed on a terminal, and this is none", "--export and --merge need none")
    with journal(asked.decisions) as written:
        Page(candidates, written, Console()).run()
        said = _counts(written.decisions, {candidate.id for candidate in candidates})
    typer.echo(f"{said}; decisions in {asked.decisions}")


def export_kept(asked: Review, to: Path) -> None:
    """Write the kept rows. Raises UserError where nothing was decided, and rather than write over what it reads."""
    if to.resolve() in {asked.file.resolve(), asked.decisions.resolve()}:
        raise UserError(f"--export would write over {to}, which it reads", "give another path with --export")
    candidates, decisions = read_candidates(asked.file), read_decisions(asked.decisions)
    standing = decisions.standing
    if not any(candidate.id in standing for candidate in candidates):
        raise UserError(f"{asked.decisions} holds no decision on these rows", f"harness data review {asked.file}")
    if to.suffix != ".jsonl":
        raise UserError(f"--export writes JSONL, and {to} is not called so", "write --export kept.jsonl")
    with explained(to, "--export"):
        write_whole(to, utf8("".join(canonical(row) + "\n" for row in kept(candidates, standing))))
    typer.echo(f"{to}: {_counts(decisions, {candidate.id for candidate in candidates})}")


def merge_reviews(first: Path, second: Path, out: Path) -> None:
    """Write what two people decided alike, or one of them alone, and print how far they agree.

    Raises UserError where they decided on no candidate both, and where `out` is there already.
    """
    for path in (first, second):
        if not path.is_file():
            raise UserError(f"there is no file {path}", "give two files of decisions")
    if out.exists():
        raise UserError(f"{out} is there already, and may hold decisions", "give another path with --out")
    found = merge(*(read_decisions(path).standing for path in (first, second)))
    if not found.both:
        raise UserError(f"{first} and {second} decide on no candidate both", "give two reviews of one file")
    with explained(out, "--out"):
        write_whole(out, utf8(lines_of(found.together)))
    kappa = "not defined: chance explains it" if found.kappa is None else f"{found.kappa:.2f}"
    typer.echo(f"{found.both:,} candidates by both, {found.alone[0]:,} and {found.alone[1]:,} by one alone")
    typer.echo(
        f"kept or dropped alike: {found.agreed:,}, {100 * found.agreed / found.both:.1f} %; Cohen's kappa {kappa}"
    )
    left = f"; {len(found.open):,} are left open: harness data review FILE --decisions {out}" if found.open else ""
    typer.echo(f"{len(found.together):,} decisions in {out}{left}")


def _counts(decisions: Decisions, ids: set[str]) -> str:
    """`8 kept, 2 of them edited; 4 dropped; 3 left`."""
    verdicts = [decision.verdict for row, decision in decisions.standing.items() if row in ids]
    edited, dropped = verdicts.count("edit"), verdicts.count("drop")
    of_them = f", {edited:,} of them edited" if edited else ""
    return f"{len(verdicts) - dropped:,} kept{of_them}; {dropped:,} dropped; {len(ids) - len(verdicts):,} left"
