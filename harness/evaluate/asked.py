"""What a benchmark asked about each item, kept beside the answers for people to read.

One line an item, in the benchmark's order: `id`, and `rounds` of requests with `prompt` (a text or messages) and, of a
continuation that was scored, `continuation`. A request without `prompt` has that of the request before it, as the
choices of one question do. Few-shot examples repeat from item to item, so the file is compressed.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.canonical import Json, canonical

Rounds = Sequence[Sequence[Json]]


def write_asked(path: Path, items: Iterable[tuple[str, Rounds]]) -> None:
    """Write items, id and rounds. Equal items give equal files."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:
        for name, rounds in items:
            record = {"id": name, "rounds": [list(_brief(requests)) for requests in rounds]}
            compressed.write((canonical(record) + "\n").encode())


def read_asked(path: Path) -> Iterator[tuple[str, Rounds]]:
    """The items again, every request with its prompt."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            record = json.loads(line)
            yield record["id"], [list(_full(requests)) for requests in record["rounds"]]


def _brief(requests: Iterable[Json]) -> Iterator[Json]:
    before = None
    for request in requests:
        same = before is not None and request["prompt"] == before
        yield {name: value for name, value in request.items() if not (same and name == "prompt")}
        before = request["prompt"]


def _full(requests: Iterable[Json]) -> Iterator[Json]:
    prompt = None
    for request in requests:
        prompt = request.get("prompt", prompt)
        yield {**request, "prompt": prompt}
