"""Which models are merged, where a merger chooses by their loss on held-out data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.api import Average, Combination
from harness.canonical import Json, canonical
from harness.context import Context
from harness.errors import UserError
from harness.files import write_whole
from harness.merge.stream import Merging
from harness.train.scoring import response_loss
from harness.train.selection import Selection

SCORES = "scores.json"
"""Losses of the candidates, in the order in which they were tried."""


@dataclass(frozen=True)
class Choice:
    """What a combination has chosen, and by what."""

    combination: Combination
    losses: Mapping[tuple[str, ...], float]
    """Of every candidate that was tried."""

    def told(self) -> list[Json]:
        """Each candidate's loss, in nats a token, in the order in which they were tried."""
        return [{"stages": list(stages), "loss": loss} for stages, loss in self.losses.items()]


def choose(merging: Merging, rows: Selection, context: Context) -> Choice:
    """The combination of those of its stages that it chooses by the loss on these held-out conversations.

    Raises UserError where nothing of them is scored, and for a candidate whose loss is no number.
    """
    tried = _Candidates(merging, rows, context)
    stages = tuple(merging.combination.members(tried.loss))
    return Choice(of_stages(merging.combination, stages), tried.losses)


def of_stages(combination: Combination, stages: Sequence[str]) -> Combination:
    """The same combination of some of its stages; their weights keep their proportions."""
    if not combination.weights:
        return replace(combination, stages=tuple(stages))
    weights = dict(zip(combination.stages, combination.weights, strict=True))
    total = sum(weights[stage] for stage in stages)
    return replace(combination, stages=tuple(stages), weights=tuple(weights[stage] / total for stage in stages))


@dataclass
class _Candidates:
    """Combinations of some of the stages, each merged and scored once; what was scored is on disk."""

    whole: Merging
    """Of all the stages; candidates differ from it in theirs alone."""
    rows: Selection
    context: Context
    losses: dict[tuple[str, ...], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self._file.exists():
            self.losses = {tuple(one["stages"]): one["loss"] for one in json.loads(self._file.read_text("utf-8"))}

    @property
    def _file(self) -> Path:
        return self.context.folder / SCORES

    def loss(self, stages: Sequence[str]) -> float:
        """Of the stages' combination."""
        key = tuple(stages)
        if key not in self.losses:
            loss = self._scored(key)
            if not math.isfinite(loss):
                raise UserError(
                    f"the loss of {' + '.join(key)} on the held-out data is {loss}",
                    "its training has gone astray: lower train.lr, or leave it out",
                )
            self.losses[key] = loss
            write_whole(self._file, canonical(Choice(self.whole.combination, self.losses).told()))
        return self.losses[key]

    def _scored(self, stages: tuple[str, ...]) -> float:
        combination, named = self.whole.combination, {member.name: member for member in self.whole.members}
        members, note = tuple(named[stage] for stage in stages), " + ".join(stages)
        folder = members[0].folder
        if isinstance(combination, Average) and len(members) == 1 and folder is not None:
            return response_loss(folder, self.rows, self.context, note)
        with TemporaryDirectory(dir=self.context.folder, prefix="candidate-") as place:
            candidate = replace(self.whole, combination=of_stages(combination, stages), members=members)
            candidate.write(Path(place))
            return response_loss(Path(place), self.rows, self.context, note)
