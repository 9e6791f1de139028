"""A merged model beside the mean of the experts that it was merged of, from a finished run.

harness run recipes/playground-dtm.yaml --out runs/dtm
python benchmarks/dtm.py runs/dtm

The run holds `dtm` and each of its experts alone (`dtm:only=0` and so on), under one or several settings of `dtm`; of
`base`, if it is there, the score is the floor. With several seeds the interval is Student's t over the seeds' paired
differences, with one it is over items, drawn again with an expert's mean score on each as its pair.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from harness.board.differences import Difference, method_difference, paired_composite
from harness.board.intervals import pooled
from harness.board.items import ItemScores
from harness.board.publish import read_board, read_row, run_scores
from harness.board.rows import Row


@dataclass
class Dispersion:
    """One setting of `dtm`: the merged model's row, and its experts'."""

    merged: list[Row] = field(default_factory=list)
    experts: list[Row] = field(default_factory=list)


def main() -> None:
    folder = Path(sys.argv[1])
    rows = [read_row(folder, line.row) for line in read_board(folder).lines]
    base = next((row for row in rows if row.result.arm == "base"), None)
    floor = composites(base)[0] if base else 0.0
    for settings, found in dispersions(rows).items():
        if not found.merged or not found.experts:
            sys.exit(f"{settings}: the run holds no merge with its experts; run recipes/playground-dtm.yaml")
        report(folder, settings, found, floor)


def dispersions(rows: Sequence[Row]) -> dict[str, Dispersion]:
    """By the options of `dtm` but `only`."""
    found: dict[str, Dispersion] = defaultdict(Dispersion)
    for row in rows:
        options = next((dict(plugin.options) for plugin in row.result.plugins if plugin.name == "dtm"), None)
        if options is not None:
            alone = options.pop("only", None) is not None
            of = found[json.dumps({"arm": row.result.arm.partition("@")[0], **options}, sort_keys=True)]
            (of.experts if alone else of.merged).append(row)
    return found


def composites(row: Row) -> tuple[float, dict[int, float]]:
    """The mean over seeds, and each seed's."""
    seeds = {seed: score for seed, score in row.result.composite.seeds.items() if score is not None}
    return fmean(seeds.values()), seeds


def difference(folder: Path, merged: Row, experts: Sequence[Row]) -> Difference:
    """The merged model minus the mean of its experts."""
    _, mine = composites(merged)
    theirs = [composites(row)[1] for row in experts]
    over_seeds = method_difference(mine, {seed: fmean(of[seed] for of in theirs) for seed in mine})
    if over_seeds is not None:
        return over_seeds
    seed = min(mine)
    pairs = []
    for benchmark in merged.result.tasks:
        scores = [run_scores(folder, row, benchmark, seed) for row in experts]
        pairs.append((ItemScores.of(run_scores(folder, merged, benchmark, seed)), ItemScores.of(pooled(scores))))
    return paired_composite(pairs)


def report(folder: Path, settings: str, found: Dispersion, floor: float) -> None:
    (merged,) = found.merged
    experts = {row.result.arm: composites(row)[0] for row in sorted(found.experts, key=lambda row: row.result.arm)}
    mean, own = fmean(experts.values()), composites(merged)[0]
    of = difference(folder, merged, found.experts)
    seeds = len(composites(merged)[1])
    print(f"\n{settings}, {seeds} {'seed' if seeds == 1 else 'seeds'}, composite in %")
    print(f"  floor (base)        {100 * floor:6.1f}")
    for arm, score in experts.items():
        print(f"  {arm:<32}{100 * score:6.1f}   {100 * (score - floor):+6.1f} above the floor")
    print(f"  mean of the experts {100 * mean:6.1f}   {100 * (mean - floor):+6.1f} above the floor")
    print(f"  merged              {100 * own:6.1f}")
    assert of.interval is not None
    low, high = 100 * of.interval.low, 100 * of.interval.high
    print(
        f"  merged - mean       {100 * of.value:+6.1f}   [{low:+.1f}, {high:+.1f}] {of.interval.method}, p = {of.p:.3g}"
    )


if __name__ == "__main__":
    main()
