"""`harness store`: finished jobs, why they are what they are, and how to be rid of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DEFAULT_STORE, StoreOption
from harness.visible import printable_json

if TYPE_CHECKING:
    from harness.store import Store

app = typer.Typer(no_args_is_help=True)

_KIB = 1024


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < _KIB:
            return f"{size:.0f} {unit}"
        size /= _KIB
    return f"{size:.1f} GiB"


@app.command()
def ls(store: StoreOption = DEFAULT_STORE) -> None:
    """List finished jobs, oldest first."""
    from rich.table import Table
    from rich.text import Text

    from harness.cli.console import console
    from harness.store import SHORT, Store

    entries = Store(store).entries()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column, width in (("key", SHORT), ("finished", 11), ("time", 6), ("size", 8), ("job", None)):
        table.add_column(column, no_wrap=column != "job", min_width=width, overflow="fold")
    for entry in entries:
        manifest = entry.manifest
        seconds = f"{manifest['measured']['job_seconds']:.0f} s"
        finished = manifest["finished"][5:16].replace("T", " ")
        table.add_row(entry.key[:SHORT], finished, seconds, _size(entry.size), Text(manifest["label"]))
    console().print(table)
    jobs, cache = _size(sum(entry.size for entry in entries)), _size(Store(store).cached)
    typer.echo(f"{len(entries)} jobs, {jobs} in {store}, and {cache} of cache")


@app.command()
def why(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The beginning of a key.")],
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="Another; the most similar job if left out.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Say what made two jobs different. Every declared value in which they differ."""
    from rich.table import Table
    from rich.text import Text

    from harness.cli.console import console
    from harness.store import SHORT, Store, differences

    kept = Store(store)
    one = kept.resolve(key)
    mine = _declared(kept, one)
    if other is not None:
        theirs_key = kept.resolve(other)
    else:
        twins = [e for e in kept.entries() if e.key != one and e.manifest["kind"] == mine["kind"]]
        if not twins:
            typer.echo(printable_json(json.dumps(mine, indent=1)))
            typer.echo(f"{one[:SHORT]} is the only {mine['kind']} job")
            return
        theirs_key = min((twin.key for twin in twins), key=lambda key: _unlikeness(kept, one, key))
    theirs = _declared(kept, theirs_key)
    table = Table(box=None, pad_edge=False)
    for column in ("what", one[:SHORT], theirs_key[:SHORT]):
        table.add_column(column, overflow="fold", min_width=min(SHORT, len(column)))
    for place, here, there in differences(mine, theirs):
        keys = place.startswith("parents.")
        values = (str(here)[:SHORT], str(there)[:SHORT]) if keys else _short(here, there)
        table.add_row(Text(place), *map(Text, values))
    console().print(table)


def _unlikeness(store: Store, one: str, other: str) -> tuple[bool, bool, int]:
    """Another label, another seed, so many declared differences: a job is done again where its settings changed."""
    from harness.store import differences

    labels = [(store.manifest(key) or {}).get("label", "") for key in (one, other)]
    seeds = [label.rpartition(" (seed ")[2] for label in labels]
    return (
        labels[0] != labels[1],
        seeds[0] != seeds[1],
        len(differences(_declared(store, one), _declared(store, other))),
    )


def _declared(store: Store, key: str) -> dict[str, object]:
    manifest = store.manifest(key) or {}
    return {name: manifest[name] for name in ("kind", "declared", "parents")}


def _short(here: object, there: object) -> tuple[str, str]:
    """Both as JSON; of long ones the stretch in which they begin to differ."""
    texts = [json.dumps(value, ensure_ascii=False) for value in (here, there)]
    limit, context = 70, 20
    if max(map(len, texts)) <= limit:
        return texts[0], texts[1]
    pairs = enumerate(zip(*texts, strict=False))
    start = max(0, next((at for at, (a, b) in pairs if a != b), min(map(len, texts))) - context)
    end = start + limit
    here_cut, there_cut = (f"{'…' * (start > 0)}{text[start:end]}{'…' * (len(text) > end)}" for text in texts)
    return here_cut, there_cut


@app.command()
def rm(
    keys: Annotated[list[str], typer.Argument(metavar="KEY", help="Beginnings of keys.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Remove finished jobs. The next run that needs one does it again."""
    from harness.store import Store

    kept = Store(store)
    chosen = {kept.resolve(key) for key in keys}
    typer.echo(f"removed {len(chosen)} jobs, {_size(kept.remove(chosen))} freed")


@app.command()
def gc(
    store: StoreOption = DEFAULT_STORE,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="Clear the cache too; it fills again as it is needed.")
    ] = False,
) -> None:
    """Remove what no run folder stands on, and abandoned work."""
    from harness.store import SHORT, Store

    kept = Store(store)
    jobs, partials = kept.garbage()
    what = f"{len(jobs)} finished and {len(partials)} unfinished jobs" + (" and the cache" if cache else "")
    if dry_run:
        named = {entry.key: entry for entry in kept.entries()}
        for key in jobs:
            typer.echo(f"{key[:SHORT]}  {named[key].manifest['label'] if key in named else 'damaged'}")
        typer.echo(f"would remove {what}")
    else:
        freed = kept.collect() + (kept.clear_cache() if cache else 0)
        typer.echo(f"removed {what}, {_size(freed)} freed")
