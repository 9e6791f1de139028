"""`harness board`: show, publish and check leaderboards."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.export import export
from harness.cli.options import DEFAULT_STORE, LEADERBOARDS, StoreOption
from harness.cli.publish import publish
from harness.errors import Failure, HarnessError, UserError
from harness.visible import in_one_line, printable_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.board.rows import Row

app = typer.Typer(help="Show, publish and check leaderboards.", no_args_is_help=True)

app.command()(export)
app.command()(publish)
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The output folder of a run.", show_default=False)]
AnyFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A run's output folder, or the published one.")]
Leaderboards = Annotated[Path, typer.Option("--to", metavar="DIR", help="The published leaderboard's folder.")]


@app.command()
def show(folder: AnyFolder = LEADERBOARDS, store: StoreOption = DEFAULT_STORE) -> None:
    """Print a run's leaderboard, or the published ones."""
    from rich.console import Console

    from harness.board.folders import is_published
    from harness.board.ledger import read_published
    from harness.board.publish import read_board
    from harness.board.table import print_board

    _refuse_unfinished(folder, store)
    console = Console()
    published = is_published(folder)
    boards = read_published(folder).boards if published else (read_board(folder),)
    if not boards:
        console.print("nothing is published yet", style="dim")
    for board in boards:
        print_board(board, console, ids=published)


@app.command()
def add(
    folder: RunFolder,
    *,
    row: Annotated[str | None, typer.Option(help="Publish this arm alone.", metavar="ARM")] = None,
    to: Leaderboards = LEADERBOARDS,
    supersede: Annotated[
        str | None, typer.Option(help="The beginning of the id of the published row it replaces; needs --row.")
    ] = None,
    why: Annotated[str, typer.Option(help="Why it replaces that row; it stays in the ledger.")] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Publish a run's rows with their samples. Rows that are published already are left as they are."""
    from harness.board import ledger
    from harness.board.admission import refuse_unpublishable
    from harness.board.check import check_run
    from harness.board.folders import refuse_page, refuse_published
    from harness.board.publish import read_board, read_row, run_samples

    _refuse_unfinished(folder, store)
    refuse_published(folder, f"a run's rows are published there: harness board add RUN --to {folder}")
    refuse_page(to)
    arms = {line.arm: line.row for line in read_board(folder).lines}
    if row is not None and row not in arms:
        raise UserError(f"{folder} has no row of {row!r}", f"it has {', '.join(sorted(arms))}")
    if supersede is not None and row is None:
        raise UserError("--supersede replaces one row", "name the arm with --row ARM")
    if findings := check_run(folder):
        raise Failure(f"{folder} does not agree with itself: {findings[0]}", "run again to write it anew")
    rows = [read_row(folder, arms[row])] if row else [read_row(folder, row_id) for row_id in arms.values()]
    named = {entry.row for entry in ledger.read_ledger(to)}
    fresh = [one for one in rows if one.id not in named]
    if not fresh:
        with _site_follows(to):
            _complete(rows, folder, to)
        return
    for one in fresh:
        refuse_unpublishable(one)
    with _site_follows(to), ledger.writing(to) as writer:
        for one in fresh:
            samples = {
                (name, part.seed): run_samples(folder, one, name, part.seed)
                for name, task in one.result.tasks.items()
                for part in task.seeds
            }
            writer.publish(one, samples, supersedes=supersede, reason=why)
            typer.echo(in_one_line(f"published {one.result.arm} as {one.id[:12]} in {to}"))
    _say_baselines(fresh, to)


@app.command()
def retract(
    row_id: Annotated[
        str, typer.Argument(metavar="ROW", help="The beginning of a published row's id.", show_default=False)
    ],
    why: Annotated[str, typer.Option(help="The reason; it stays in the ledger.", show_default=False)],
    to: Leaderboards = LEADERBOARDS,
) -> None:
    """Take a row off the published leaderboard. Its entry and its files stay."""
    from harness.board import ledger

    with _site_follows(to):
        entry = ledger.retract(row_id, to, why)
        typer.echo(f"retracted {entry.row[:12]} from {to}")


@app.command()
def check(
    folder: AnyFolder = LEADERBOARDS,
    *,
    since: Annotated[
        str | None,
        typer.Option(
            help="Also check that the ledger goes on from this one: an older ledger.jsonl, its folder, or a commit.",
            metavar="FILE_OR_COMMIT",
        ),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="It was sent there by `board publish`: the page in it is not looked at.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Compute every number and hash again from the samples. Exit code 1 where something differs."""
    from harness.board.check import check_leaderboards, check_run
    from harness.board.folders import is_published

    _refuse_unfinished(folder, store)
    published = is_published(folder)
    if since is not None and not published:
        raise UserError(f"{folder} holds no ledger.jsonl", "--since compares published leaderboards")
    findings = check_leaderboards(folder, since, copy=copy) if published else check_run(folder)
    if as_json:
        typer.echo(printable_json(json.dumps({"folder": str(folder), "findings": findings}, indent=1)))
    for finding in findings if not as_json else ():  # whose names a stranger chose
        typer.echo(in_one_line(finding), err=True)
    if findings:
        count = "1 thing" if len(findings) == 1 else f"{len(findings)} things"
        raise Failure(f"{count} in {folder} did not hold", "the lines above name them")
    if not as_json:
        typer.echo(f"{folder}: every number follows from its samples, and every hash agrees")


@app.command()
def build(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The published leaderboard's folder.")
    ] = LEADERBOARDS,
    *,
    site: Annotated[
        Path | None,
        typer.Option(help="Where the page goes; leaderboards-site for leaderboards.", show_default=False),
    ] = None,
) -> None:
    """Write board.json, the schemas and the page anew. They follow from the ledger, the rows and the samples."""
    from harness.board.ledger import refuse_unpublished, write_derived
    from harness.board.schema import renew_schemas
    from harness.board.site.published import beside, write_published_site

    refuse_unpublished(folder)
    write_derived(folder)
    renew_schemas(folder)
    place = site or beside(folder)
    write_published_site(folder, place)
    typer.echo(f"wrote {folder / 'board.json'} and {place / 'index.html'}")


@app.command()
def serve(
    folder: AnyFolder = LEADERBOARDS,
    *,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8000,
) -> None:
    """Show the page of a run or a board on this machine, made anew. Ctrl-C ends it."""
    from tempfile import TemporaryDirectory

    from harness.board.folders import is_published
    from harness.board.publish import write_run_site
    from harness.board.site.published import beside, write_published_site
    from harness.board.site.serve import HOST, server

    with TemporaryDirectory(prefix="harness-site-") as scratch:
        site = Path(scratch)
        if not is_published(folder):
            write_run_site(folder, site)  # the page of a run that somebody sent is theirs
        else:
            site = _writable(beside(folder)) or site
            write_published_site(folder, site)
        with server(site, port) as serving:
            typer.echo(f"http://{HOST}:{serving.server_port}/")
            serving.serve_forever()


def _writable(site: Path) -> Path | None:
    """Where the page goes; None, and a line that says so, where that cannot be written."""
    if os.access(site if site.exists() else site.parent, os.W_OK):
        return site
    typer.echo(f"{site} cannot be written, so the page lasts as long as this command", err=True)
    return None


def _refuse_unfinished(folder: Path, store: Path) -> None:
    """A run that has begun has a plan, and one that has ended a leaderboard."""
    from harness.runfolder import LEADERBOARD, PLAN_FILE
    from harness.store import Store

    plan = folder / PLAN_FILE
    if plan.is_file() and not (folder / LEADERBOARD).exists():
        keys = json.loads(plan.read_text(encoding="utf-8"))["jobs"]
        done = sum(Store(store).has(key) for key in keys)
        raise UserError(
            f"this run is not finished: {done} of {len(keys)} jobs are in {store}",
            "the same harness run goes on with it",
        )


@contextmanager
def _site_follows(to: Path) -> Iterator[None]:
    """What was published or retracted stands on the page beside the board too, if there is one, at the end.

    Also where a row was refused: those before it were published, and a killed command may have left more to show.
    """
    try:
        yield
    except HarnessError:
        _renew_site(to)
        raise
    _renew_site(to)


def _renew_site(to: Path) -> None:
    from harness.board.site.published import renew_beside

    if (site := renew_beside(to)) is not None:
        typer.echo(f"wrote {site / 'index.html'} anew")


def _complete(rows: Sequence[Row], folder: Path, to: Path) -> None:
    """End what a command began that was killed after its last entry. Raises UserError where nothing was left to do."""
    from harness.board import ledger
    from harness.board.admission import refuse_known
    from harness.board.chain import read_chain

    if ledger.refresh(to):
        typer.echo(f"all rows of {folder} were in the ledger; {to / ledger.BOARD} now shows them")
        return
    if len(rows) == 1:
        refuse_known(rows[0], read_chain(to), None, "")
    raise UserError(f"all {len(rows)} rows of {folder} are already published in {to}", "there is nothing to add")


def _say_baselines(rows: Sequence[Row], to: Path) -> None:
    """Name the baselines that the published board lacks, without which it shows no difference."""
    from harness.board.ledger import read_published

    there = {(board.recipe_sha256, line.arm) for board in read_published(to).boards for line in board.lines}
    wanted = {(row.result.recipe_sha256, row.measured.baseline) for row in rows if row.measured.baseline is not None}
    for _, arm in sorted(wanted - there):
        typer.echo(
            in_one_line(f"the baseline {arm} is not published, so the board shows no difference from it"), err=True
        )
