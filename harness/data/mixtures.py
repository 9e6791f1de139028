"""Mixtures: a dataset's share or amount, chosen alike on every machine, and the examples it comes to."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api import DataSource, Example
from harness.api.drawing import lot
from harness.data.ids import Ids
from harness.data.sources import Dataset, open_dataset
from harness.errors import UserError
from harness.jobs import MixtureItem, Operation

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def count(item: MixtureItem) -> int | None:
    """How many examples the item comes to; None while its dataset's size is unknown.

    Raises UserError for an operation that cannot be done.
    """
    n = item.data.n
    if is_beside(item):
        return None
    for operation in item.ops:
        size, _ = _operation(operation, item.data.name)
        if n is not None:
            n = size(operation, n, item.data.name)
    return n


def is_beside(item: MixtureItem) -> bool:
    """Whether the rest of its mixture says how many examples the item comes to."""
    return bool(item.ops) and item.ops[-1].op == BESIDE


def settled(items: Sequence[MixtureItem], size: Callable[[MixtureItem], int | None]) -> tuple[MixtureItem, ...]:
    """The mixture with samples of so many in place of what is `beside` the rest; unchanged while that is unknown."""
    rest = [size(item) for item in items if not is_beside(item)]
    total = None if None in rest else sum(n for n in rest if n is not None)
    return tuple(item if total is None or not is_beside(item) else _sampled(item, total) for item in items)


def _sampled(item: MixtureItem, total: int) -> MixtureItem:
    operation = item.ops[-1]
    amount = int(Fraction(operation.fraction or 0) * total)
    sample = Operation(op="sample", amount=max(amount, 1), seed=operation.seed)
    return item.model_copy(update={"ops": (*item.ops[:-1], sample)})


@dataclass(frozen=True)
class Materialised:
    """A mixture's examples, read."""

    examples: list[tuple[str, Example]]
    """Each with its dataset's name, item after item in the dataset's own order."""
    contents: Mapping[str, str | None]
    """By dataset the digest of the files that were read, which a hub's branch does not promise; None for generated."""


def materialise(
    items: Sequence[MixtureItem], sources: Mapping[str, DataSource], *, data_root: Path | None, meta: bool = False
) -> Materialised:
    """Read the mixture's datasets into memory and apply each item's operations; with `meta` the examples have theirs.

    Raises UserError for a dataset without a source, and for files whose content is no longer what was planned.
    """
    found = {item.data.name: locate(item, sources, data_root=data_root) for item in items}
    loaded = {name: dataset.examples(meta=meta) for name, dataset in found.items()}
    mixture: list[tuple[str, Example]] = []
    for item in items:
        examples = loaded[item.data.name]
        chosen = choose(item, [example.id for example in examples])
        mixture += [(item.data.name, examples[index]) for index in chosen]
    return Materialised(mixture, {name: dataset.content for name, dataset in found.items()})


def evenly(
    items: Sequence[MixtureItem], sources: Mapping[str, DataSource], limit: int, *, data_root: Path | None
) -> list[Example]:
    """At most `limit` of the mixture's examples, evenly spread over it; no others are held.

    Raises UserError as `materialise` does.
    """
    found = {item.data.name: locate(item, sources, data_root=data_root) for item in items}
    ids = {name: dataset.ids() for name, dataset in found.items()}
    chosen = [choose(item, ids[item.data.name]) for item in items]
    ends = list(accumulate(map(len, chosen)))
    total = ends[-1] if ends else 0
    taken = min(limit, total)
    wanted: list[tuple[str, int]] = []
    for place in (i * total // taken for i in range(taken)):
        which = bisect.bisect_right(ends, place)
        wanted.append((items[which].data.name, int(chosen[which][place - ends[which]])))
    needed = set(wanted)
    held = {
        (name, index): example
        for name, dataset in found.items()
        for index, (_, example) in enumerate(dataset.conversations())
        if (name, index) in needed
    }
    return [held[place] for place in wanted]


def locate(
    item: MixtureItem, sources: Mapping[str, DataSource], *, data_root: Path | None, cache: Path | None = None
) -> Dataset:
    """The item's dataset on this machine; `cache` remembers digests.

    Raises UserError for a dataset without a source, and for files whose content is no longer what was planned.
    """
    name, planned = item.data.name, item.data.content
    if name not in sources:
        raise UserError(f"the mixture names the dataset {name}, which has no source", "add it to the recipe's data")
    found = open_dataset(name, sources[name], data_root=data_root, cache=cache)
    if planned is not None and found.content != planned:
        raise UserError(
            f"the files of the dataset {name} have changed since the run was planned",
            "start the command again to plan with what they hold now",
        )
    return found


def choose(item: MixtureItem, ids: Sequence[str] | Ids, *, done: int = 0) -> npt.NDArray[np.int64]:
    """Which of the dataset's examples, by index, the item's operations leave, in the dataset's order.

    `ids` are those that the first `done` operations have left. Raises UserError for what cannot be done.
    """
    import numpy as np

    chosen = np.arange(len(ids))
    for operation in item.ops[done:]:
        _, apply = _operation(operation, item.data.name)
        chosen = apply(operation, chosen, ids, item.data.name)
    return chosen


def examples_in(n: int, epochs: float) -> int:
    """`floor(n * epochs)`, at least 1, exact for the decimal that was written."""
    return max(1, math.floor(n * Fraction(str(epochs))))


def _sample_size(operation: Operation, n: int, name: str) -> int:
    """`floor(fraction * n)`, at least 1 when both are above 0; or the amount, which must not exceed n."""
    if operation.amount is not None:
        if not 0 <= operation.amount <= n:
            raise UserError(
                f"{operation.amount} examples of {name} are wanted, and there are {n}", f"ask for at most {n}"
            )
        return operation.amount
    fraction = Fraction(operation.fraction or 0)
    return max(int(fraction * n), 1) if fraction > 0 and n > 0 else 0


def _sample(
    operation: Operation, chosen: npt.NDArray[np.int64], ids: Sequence[str] | Ids, name: str
) -> npt.NDArray[np.int64]:
    """The examples whose digest of seed and id is smallest: a prefix of a permutation that the seed alone fixes.

    So a smaller sample lies within a larger one of the same seed, a sample of a sample equals a smaller sample, and
    nothing depends on a library's random numbers. The dataset's order is kept.
    """
    import numpy as np

    size = _sample_size(operation, len(chosen), name)
    digests = bytearray()
    for index in chosen:
        digests += lot(operation.seed, ids[index])
    words = np.frombuffer(bytes(digests), dtype=">u8").reshape(len(chosen), 4)
    smallest = np.lexsort(words.T[::-1])[:size]
    return np.sort(chosen[smallest])


def _rest_size(operation: Operation, n: int, name: str) -> int:
    return n - _sample_size(operation, n, name)


def _rest(
    operation: Operation, chosen: npt.NDArray[np.int64], ids: Sequence[str] | Ids, name: str
) -> npt.NDArray[np.int64]:
    """All but the sample of the same size and seed."""
    import numpy as np

    return np.setdiff1d(chosen, _sample(operation, chosen, ids, name), assume_unique=True)


Size = Callable[[Operation, int, str], int]
Apply = Callable[
    [Operation, "npt.NDArray[np.int64]", "Sequence[str] | Ids", str],
    "npt.NDArray[np.int64]",
]
BESIDE = "beside"
"""Of as many examples as the rest of the mixture has: `settled` turns it into a sample."""
OPERATIONS: Mapping[str, tuple[Size, Apply]] = {"sample": (_sample_size, _sample), "rest": (_rest_size, _rest)}
"""What `Derived.op` may name: how many examples it leaves of n, and which."""


def _operation(operation: Operation, name: str) -> tuple[Size, Apply]:
    if operation.op == BESIDE:
        raise UserError(f"{name}: beside() measures by the rest of a mixture", "use it there, and on nothing else")
    if operation.op not in OPERATIONS:
        raise UserError(
            f"{name}: no operation on data is called {operation.op!r}", f"there are: {', '.join(OPERATIONS)}"
        )
    if (operation.amount is None) == (operation.fraction is None):
        raise UserError(f"{name}: {operation.op} needs a fraction or an amount", "give exactly one of them")
    if operation.fraction is not None and not 0 <= Fraction(operation.fraction) <= 1:
        raise UserError(f"{name}: the fraction {operation.fraction} is not between 0 and 1", "write it as 1/256")
    return OPERATIONS[operation.op]
