"""Conversations rendered a lot at a time, by as many processes as there are cores, in the order they came."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

from harness.api import Example
from harness.data.chat import Renderer
from harness.data.dialect import Dialect
from harness.errors import Failure
from harness.processes import die_with_parent

LOT = 1 << 18
"""Characters of a lot, at least one conversation."""
SMALL = 8
"""So many lots are sooner rendered here than by processes that have yet to start."""


@dataclass(frozen=True, eq=False)
class Lot:
    """Rendered conversations, one after another."""

    ids: npt.NDArray[np.int32]
    parts: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]
    special: npt.NDArray[np.int32]
    """How often the contents of each spelt a special token."""


def render(examples: Iterable[Example], dialect: Dialect, processes: int) -> Iterator[Lot]:
    """The conversations as tokens; few of them in memory at a time.

    Raises UserError naming the first example that cannot be rendered, Failure where a process is killed.
    """
    lots = _lots(examples)
    first = list(islice(lots, SMALL + 1))
    if processes == 1 or len(first) <= SMALL:
        renderer = Renderer(dialect)
        yield from (_rendered(renderer, lot) for lot in chain(first, lots))
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _start, (dialect, os.getpid()))
    try:
        yield from _in_order(pool, chain(first, lots), ahead=2 * processes + 2)
    except BrokenProcessPool:
        raise Failure(
            "a process that renders conversations was killed", "memory may have run out: lower runtime.threads"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, lots: Iterator[list[Example]], ahead: int) -> Iterator[Lot]:
    waiting: deque[Future[Lot]] = deque()
    for lot in lots:
        waiting.append(pool.submit(_work, lot))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _lots(examples: Iterable[Example]) -> Iterator[list[Example]]:
    lot: list[Example] = []
    size = 0
    for example in examples:
        lot.append(example)
        size += sum(len(message.content) for message in example.messages)
        if size >= LOT:
            yield lot
            lot, size = [], 0
    if lot:
        yield lot


def _rendered(renderer: Renderer, lot: Sequence[Example]) -> Lot:
    found = [renderer.encode(example) for example in lot]
    return Lot(
        ids=np.concatenate([one.ids for one in found]),
        parts=np.concatenate([one.parts for one in found]),
        lengths=np.array([len(one.ids) for one in found], dtype=np.int64),
        special=np.array([one.special_in_text for one in found], dtype=np.int32),
    )


# --- in a process of the pool --------------------------------------------------------------------------------------

_renderers: list[Renderer] = []


def _start(dialect: Dialect, parent: int) -> None:
    die_with_parent(parent)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _renderers.append(Renderer(dialect))


def _work(lot: Sequence[Example]) -> Lot:
    return _rendered(_renderers[0], lot)
