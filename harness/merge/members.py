"""Merging several models, by whichever way their merger goes: in our stream, or through mergekit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.api import Combination, MergeKit, Merger
from harness.errors import Failure, UserError
from harness.merge.configs import check_configs, check_numbers
from harness.merge.stream import Member, Merging, Report
from harness.merge.vocabulary import check_vocabularies
from harness.mergers import BASE


def merge_members(
    merger: Merger,
    members: Sequence[Member],
    base: Path | None,
    target: Path,
    *,
    seed: int,
    report: Report,
    fisher: Mapping[str, Path] | None = None,
) -> int:
    """Leave the merged model in the empty folder `target`; returns its parameters.

    `members` are the models of the merger's stages, in their order.
    Raises UserError for models that differ in more than numbers.
    """
    folders = {member.name: member.folder for member in members if member.folder is not None}
    read = folders | ({BASE: base} if base is not None else {})
    for name, folder in read.items():
        check_numbers(name, folder)
    check_configs(read)
    check_vocabularies(read)
    if isinstance(merger, MergeKit):
        from harness.merge.mergekit import merge_by_mergekit

        if loose := [member.name for member in members if member.folder is None]:
            raise UserError(f"{loose[0]} is an adapter, and mergekit is given whole models", "merge it into its base")
        return merge_by_mergekit(merger, folders, base, target, seed)
    if not isinstance(merger, Combination):
        raise Failure(f"nothing here merges by {type(merger).__name__}", "update the harness")
    return Merging(merger, tuple(members), base, seed, fisher or {}).write(target, report)
