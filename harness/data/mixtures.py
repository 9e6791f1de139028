"""Mixtures: a dataset's share or amount, chosen alike on every machine, and the examples it comes to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from harness.api import DataSource, Example
from harness.data.sources import load
from harness.errors import UserError
from harness.jobs import DataDeclaration, MixtureItem, Operation


def count(item: MixtureItem) -> int | None:
    """How many examples the item comes to; None while its dataset's size is unknown.

    Raises UserError for an operation that cannot be done.
    """
    n = item.data.n
    for operation in item.ops:
        size, _ = _operation(operation, item.data.name)
        if n is not None:
            n = size(operation, n, item.data.name)
    return n


@dataclass(frozen=True)
class Materialised:
    """A mixture's examples, read."""

    examples: list[tuple[str, Example]]
    """Each with its dataset's name, item after item in the dataset's own order."""
    contents: Mapping[str, str | None]
    """By dataset the digest of the files that were read, which a hub's branch does not promise; None for generated."""


def materialise(
    items: Sequence[MixtureItem], sources: Mapping[str, DataSource], *, data_root: Path | None
) -> Materialised:
    """Read the mixture's datasets and apply each item's operations.

    Raises UserError for a dataset without a source, and for files whose content is no longer what was planned.
    """
    loaded: dict[str, tuple[list[Example], str | None]] = {}
    mixture: list[tuple[str, Example]] = []
    for item in items:
        name = item.data.name
        if name not in loaded:
            loaded[name] = _load(item.data, sources, data_root)
        chosen = loaded[name][0]
        for operation in item.ops:
            _, apply = _operation(operation, name)
            chosen = apply(operation, chosen, name)
        mixture += [(name, example) for example in chosen]
    return Materialised(mixture, {name: content for name, (_, content) in loaded.items()})


def examples_in(n: int, epochs: float) -> int:
    """`floor(n * epochs)`, at least 1, exact for the decimal that was written."""
    return max(1, math.floor(n * Fraction(str(epochs))))


def _load(
    data: DataDeclaration, sources: Mapping[str, DataSource], data_root: Path | None
) -> tuple[list[Example], str | None]:
    if data.name not in sources:
        raise UserError(
            f"the mixture names the dataset {data.name}, which has no source", "add it to the recipe's data"
        )
    examples, content = load(data.name, sources[data.name], data_root=data_root)
    if data.content is not None and content != data.content:
        raise UserError(
            f"the files of the dataset {data.name} have changed since the run was planned",
            "start the command again to plan with what they hold now",
        )
    return examples, content


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


def _sample(operation: Operation, examples: Sequence[Example], name: str) -> list[Example]:
    """The examples whose digest of seed and id is smallest: a prefix of a permutation that the seed alone fixes.

    So a smaller sample lies within a larger one of the same seed, a sample of a sample equals a smaller sample, and
    nothing depends on a library's random numbers. The dataset's order is kept.
    """

    def rank(example: Example) -> bytes:
        return hashlib.sha256(f"{operation.seed}/{example.id}".encode()).digest()

    size = _sample_size(operation, len(examples), name)
    chosen = {example.id for example in sorted(examples, key=rank)[:size]}
    return [example for example in examples if example.id in chosen]


Size = Callable[[Operation, int, str], int]
Apply = Callable[[Operation, Sequence[Example], str], list[Example]]
OPERATIONS: Mapping[str, tuple[Size, Apply]] = {"sample": (_sample_size, _sample)}
"""What `Derived.op` may name: how many examples it leaves of n, and which."""


def _operation(operation: Operation, name: str) -> tuple[Size, Apply]:
    if operation.op not in OPERATIONS:
        raise UserError(
            f"{name}: no operation on data is called {operation.op!r}", f"there are: {', '.join(OPERATIONS)}"
        )
    if (operation.amount is None) == (operation.fraction is None):
        raise UserError(f"{name}: {operation.op} needs a fraction or an amount", "give exactly one of them")
    if operation.fraction is not None and not 0 <= Fraction(operation.fraction) <= 1:
        raise UserError(f"{name}: the fraction {operation.fraction} is not between 0 and 1", "write it as 1/256")
    return OPERATIONS[operation.op]
