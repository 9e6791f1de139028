"""What a merger looks at besides weights, where there is no run: Fisher information, and losses to choose by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.api import Combination, DataSource, Merged, StageFisher
from harness.arms import bind
from harness.armspec import ArmSpec
from harness.context import Context
from harness.data.resolve import resolve_use
from harness.data.sources import declare
from harness.engines.text import context_length
from harness.errors import UserError
from harness.jobs import EstimateFisher, MixtureItem
from harness.merge.choosing import choose
from harness.merge.stream import Member, Merging
from harness.recipe import SourceUse, is_plugin, plugin_of
from harness.train.fisher import estimate
from harness.train.scoring import conversations


@dataclass(frozen=True)
class Evidence:
    """Data that was named for models: one dataset for all, or one for each in their order."""

    items: tuple[MixtureItem, ...]
    sources: Mapping[str, DataSource]

    @classmethod
    def of(cls, texts: Sequence[str], data_root: Path | None) -> Evidence:
        """Datasets named as in a recipe. Raises UserError for one that cannot be found."""
        uses = [SourceUse(source=text) for text in dict.fromkeys(texts)]
        offered = bind(ArmSpec(("sft",)), [plugin_of(use.source) for use in uses if is_plugin(use.source)]).sources()
        items, sources = {}, {}
        for use in uses:
            name, source, plugin = resolve_use(use, offered)
            sources[name] = source
            items[use.source] = MixtureItem(data=declare(name, source, plugin, data_root=data_root, cache=None))
        return cls(tuple(items[text] for text in texts), sources)

    def fisher(self, wanted: StageFisher, members: Sequence[Member], context: Context, seed: int) -> dict[str, Path]:
        """By member the folder with its Fisher information on its dataset."""
        if len(self.items) not in {1, len(members)}:
            raise UserError(
                f"{len(self.items)} datasets are named for {len(members)} models", "give --data once, or once for each"
            )
        items = self.items if len(self.items) > 1 else self.items * len(members)
        return {
            member.name: self._fisher(wanted, item, _whole(member), context.within(f"fisher-{number}"), seed)
            for number, (member, item) in enumerate(zip(members, items, strict=True))
        }

    def _fisher(self, wanted: StageFisher, item: MixtureItem, model: Path, context: Context, seed: int) -> Path:
        declared = EstimateFisher(
            items=(item,),
            max_length=context_length(model, None),
            examples=wanted.examples,
            labels=wanted.labels,
            seed=seed,
        )
        estimate(declared, self.sources, model, context)
        return context.folder / "model"

    def chosen(self, merging: Merging, context: Context) -> Combination:
        """The combination of those members that it chooses by their loss on all the datasets."""
        reader = _whole(merging.members[0])
        rows = conversations(self.items, self.sources, context_length(reader, None), reader, context)
        return choose(merging, rows, context).combination


def asks(merger: Merged) -> str:
    """What the merger wants data for, in words; empty where it wants none."""
    if not isinstance(merger, Combination):
        return ""
    if merger.fisher is not None:
        return "estimates Fisher information on what the models were trained on"
    return "chooses by the loss on held-out data" if merger.chooses else ""


def _whole(member: Member) -> Path:
    if member.folder is None:
        raise UserError(f"{member.name} is an adapter, and no model to look at data with", "merge it into its base")
    return member.folder
