"""Merging in a stream: a shard is put together tensor by tensor and written before the next one begins.

In memory are the shard that is being put together and, for one parameter, a tensor of each model. Models and shards
may be of any number and size.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file

from harness.api import Combination, Parameter
from harness.errors import UserError
from harness.merge import adapters
from harness.merge.adapters import Adapted, Adapter
from harness.merge.tensors import Stored, Tensors, check_alike, check_covered, places_in, unlike
from harness.mergers import BASE
from harness.modelfolder import CONFIG, INDEX, copy_companions, weight_files

Report = Callable[[int, int], None]
"""Told how many tensors are merged, and of how many."""


@dataclass(frozen=True)
class Member:
    """One of the models to merge: whole, or an adapter on the base."""

    name: str
    folder: Path | None = None
    adapter: Path | None = None

    def tensors(self, base: Path | None) -> Tensors:
        """Its weights. Raises UserError for an adapter without a base."""
        if self.folder is not None:
            return Stored.model(self.folder)
        if base is None or self.adapter is None:
            raise UserError(f"{self.name} is an adapter, and its base is not named", "name it: --base MODEL")
        return Adapted.of(Stored.model(base), Adapter.open(self.adapter))


@dataclass(frozen=True)
class Merging:
    """Several models on their way to becoming one; `combination.stages` are the members' names, in their order."""

    combination: Combination
    members: tuple[Member, ...]
    base: Path | None = None
    seed: int = 0
    fisher: Mapping[str, Path] = field(default_factory=dict)
    """By member the model-shaped folder with its Fisher information, where the combination weighs by it."""

    def write(self, target: Path, report: Report = lambda _done, _total: None) -> int:
        """Leave the merged model in `target`, cut into files like the model it takes after; returns its parameters.

        Config, tokenizer and dtype are the first expert's, or the base's where that is an adapter.
        Raises UserError for models whose tensors differ in name, shape or kind.
        """
        source = self._first.folder or self.base
        merged = self._apart() if self.combination.adapters == "apart" else self._whole()
        if source is None:
            raise UserError("the base of the adapters is not named", "name it: --base MODEL")
        parameters = _write(source, target, merged, report)
        for name in (CONFIG, INDEX):
            if (source / name).exists():
                shutil.copyfile(source / name, target / name)
        copy_companions(source, target)
        return parameters

    @property
    def _first(self) -> Member:
        """The first expert; where there is none, the base, which may be merged too."""
        return next((member for member in self.members if member.name != BASE), self.members[0])

    def _whole(self) -> Callable[[str], torch.Tensor]:
        """Reads and combines one tensor of all models."""
        if self.base is None and "base" in self.combination.needs:
            needing = type(self.combination).__name__
            raise UserError(f"{needing} needs the base, and none is named", "name it: --base MODEL")
        opened = {member.name: member.tensors(self.base) for member in self.members}
        base = Stored.model(self.base) if self.base is not None and "base" in self.combination.needs else None
        first = self._first.name, opened[self._first.name]
        for member in self.members:
            check = check_covered if member.name == BASE else check_alike
            check(first, (member.name, opened[member.name]))
        if base is not None:
            check_covered(first, ("the base", base))
        fisher = {name: Stored.model(self.fisher[name]) for name in opened if name in self.fisher}
        copies = _copies(opened, fisher)
        for name, information in fisher.items():
            check_covered(first, (f"the Fisher information of {name}", information), copies.keys())
        combined = _Combined(self.combination, opened, first[1], base, self.seed, tuple(fisher.values()), copies)
        survey = self.combination.survey(combined.parameters)
        return lambda name: combined.tensor(name, survey)

    def _apart(self) -> Callable[[str], torch.Tensor]:
        """Reads a tensor of the base, and adds the product of the combined A and the combined B."""
        if self.base is None:
            raise UserError("adapters are merged apart, and no base is named", "name it: --base MODEL")
        for member in self.members:
            if member.adapter is None or not adapters.is_adapter(member.adapter):
                raise UserError(f"{member.name} brings no adapter to merge apart", "merge whole weights")
        opened = {member.name: Adapter.open(member.adapter) for member in self.members if member.adapter}
        first, *others = opened.items()
        for other in others:
            adapters.check_alike(first, other)
        factors = {name: one.tensors for name, one in opened.items()}
        combined = _Combined(self.combination, factors, first[1].tensors, None, self.seed)
        survey = self.combination.survey(combined.parameters)
        adapter = first[1].reading(lambda name: combined.tensor(name, survey))
        base, expert = Stored.model(self.base), self.members[0].folder
        return Adapted.of(base, adapter, base if expert is None else Stored.model(expert)).read


@dataclass(frozen=True)
class _Combined:
    """The tensors that come of combining those of several models."""

    combination: Combination
    models: Mapping[str, Tensors]
    first: Tensors
    """Those of the models that the merged ones take after in name, shape and dtype."""
    base: Tensors | None
    seed: int
    fisher: tuple[Tensors, ...] = ()
    """In the order of the models."""
    copies: Mapping[str, str] = field(default_factory=dict)
    """Tensors that are others of the model, written down again: what they are merged as, and counted once as."""

    def parameters(self) -> Iterator[Parameter]:
        """All of them in the order of their names; each is read when it is asked for."""
        for name in sorted(self.first.names - self.copies.keys()):
            if self.first.dtype(name).is_floating_point:
                yield self._parameter(name)

    def tensor(self, name: str, survey: object) -> torch.Tensor:
        """One merged tensor in the first model's dtype; one of whole numbers (a buffer) is the models' own."""
        name = self.copies.get(name, name)
        dtype, shape = self.first.dtype(name), self.first.shape(name)
        if not dtype.is_floating_point:
            return self._agreed(name)
        merged = self.combination.combine(self._parameter(name), survey)
        if merged.shape != shape:
            raise UserError(
                f"{type(self.combination).__name__} makes {list(merged.shape)} of {name}, which is {list(shape)}",
                "mend the merger's combine",
            )
        return merged.to(dtype)

    def _parameter(self, name: str) -> Parameter:
        return Parameter(
            name,
            tuple(tensors.read(name).float() for tensors in self.models.values()),
            tuple(map(float, self.combination.shares)),
            None if self.base is None else self.base.read(name).float(),
            tuple(information.read(name).float() for information in self.fisher),
            self._generator(name) if "seed" in self.combination.needs else None,
        )

    def _agreed(self, name: str) -> torch.Tensor:
        (one, first), *others = self.models.items()
        agreed = first.read(name)
        for two, tensors in others:
            if not torch.equal(tensors.read(name), agreed):
                raise unlike(one, two, f"the whole numbers of {name} differ")
        return agreed

    def _generator(self, name: str) -> torch.Generator:
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _copies(models: Mapping[str, Tensors], fisher: Mapping[str, Tensors]) -> dict[str, str]:
    """What has no Fisher information because the network shares it, as tied embeddings, by what it is the same as.

    Files of the hub hold such weights twice.
    """
    if not fisher:
        return {}
    first, known = next(iter(models.values())), next(iter(fisher.values())).names
    found = {}
    for name in first.names - known:
        alike = [other for other in sorted(first.names & known) if first.shape(other) == first.shape(name)]
        for other in alike:
            if all(torch.equal(tensors.read(name), tensors.read(other)) for tensors in models.values()):
                found[name] = other
    return found


def _write(source: Path, target: Path, tensor: Callable[[str], torch.Tensor], report: Report) -> int:
    """The tensors in files like those of `source`, one file in memory at a time; returns their numbers."""
    files = {path.name: list(places_in(path)) for path in weight_files(source)}
    total, done, parameters = sum(map(len, files.values())), 0, 0
    for file, names in files.items():
        shard: dict[str, torch.Tensor] = {}
        for name in names:
            shard[name] = tensor(name).contiguous()
            parameters, done = parameters + shard[name].numel(), done + 1
            report(done, total)
        save_file(shard, target / file, metadata={"format": "pt"})
    return parameters
