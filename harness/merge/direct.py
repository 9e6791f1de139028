"""Merging models that lie in folders or on the hub, without a run: what `harness merge` does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.api import Combination, Merged, Mixture, Stage
from harness.arms import BoundArm, bind
from harness.armspec import ArmSpec
from harness.canonical import Json, file_digest
from harness.discovery import installed, load_plugin
from harness.errors import UserError
from harness.files import explained
from harness.jobs import Merge, ModelSettings
from harness.machine import failures_named
from harness.merge.adapters import is_adapter
from harness.merge.job import ADAPTER
from harness.merge.members import merge_members
from harness.merge.stream import Member, Report
from harness.mergers import BASE, declare_merge, needs_base
from harness.modelfolder import CONFIG, weight_files
from harness.recipe import named_model
from harness.train.init import snapshot


@dataclass(frozen=True)
class Given:
    """A model as it was named, and where it was found."""

    name: str
    folder: Path | None
    adapter: Path | None = None
    commit: str | None = None
    """Of a model of the hub."""

    def digests(self) -> dict[str, str]:
        """SHA-256 of its weights, file by file."""
        paths = weight_files(self.folder) if self.folder else sorted((self.adapter or Path()).glob("*.safetensors"))
        return {path.name: file_digest(path) for path in paths}


@dataclass(frozen=True)
class Request:
    """Models on their way to becoming one, and how."""

    models: tuple[Given, ...]
    base: Given | None
    bound: BoundArm
    merger: Merged
    declared: Merge

    @classmethod
    def of(
        cls, models: Sequence[str], base: str | None, method: str, options: Mapping[str, Json], *, seed: int = 0
    ) -> Request:
        """Find the models, and ask the plug-in `method` what becomes of them.

        Raises UserError for models that are not there or named twice, and for a plug-in that does not merge.
        """
        if twice := [name for name in models if models.count(name) > 1]:
            raise UserError(f"{twice[0]} is named twice", "let it weigh more: --set average.weights=[2,1]")
        plugin = load_plugin(method)
        name = plugin.plugin.name
        if not (plugin.fills("merger") or plugin.falls_back("merger")):
            mergers = [other for other in installed() if load_plugin(other).fills("merger")]
            raise UserError(f"the plug-in {name!r} does not merge", f"those that do: {', '.join(mergers)}")
        bound = bind(ArmSpec((method,), {name: options}))
        # Among the stages of an arm, `base` is the model that they start from.
        given = tuple(replace(locate(model), name=f"./{model}" if model == BASE else model) for model in models)
        stages = [Stage(model.name, Mixture.of(), start=BASE) for model in given]
        merger = bound.merger(stages)
        if not isinstance(merger, Merged):
            raise UserError(f"{name} keeps one of the models as it is", "choose another --method")
        merge = declare_merge(bound, stages, (BASE, *(stage.name for stage in stages)), seed)
        assert merge is not None
        if base is None and (BASE in merger.stages or (isinstance(merger, Combination) and needs_base(merger))):
            raise UserError(f"{name} compares with what the models were trained from", "name it: --base MODEL")
        return cls(given, None if base is None else locate(base), bound, merger, merge.declared)

    @property
    def given(self) -> tuple[Given, ...]:
        """The models, and the base where there is one."""
        return (*self.models, *([self.base] if self.base else []))

    def write(self, out: Path, card: str, report: Report) -> int:
        """Leave the merged model in the new folder `out`, whole or not at all; returns its parameters."""
        by_name = {model.name: model for model in self.models}
        base = self.base.folder if self.base else None
        members = [
            Member(name, by_name[name].folder, by_name[name].adapter) if name in by_name else Member(name, base)
            for name in self.merger.stages
        ]
        written = out.with_name(f".{out.name}.writing")
        shutil.rmtree(written, ignore_errors=True)
        with explained(out.parent, "--out"), failures_named("merging", out.parent):
            written.mkdir(parents=True)
            try:
                seed = self.declared.seed or 0
                parameters = merge_members(self.merger, members, base, written, seed=seed, report=report)
                (written / "README.md").write_text(card, encoding="utf-8")
                written.rename(out)
            finally:
                shutil.rmtree(written, ignore_errors=True)
        return parameters


def locate(text: str) -> Given:
    """A model of a folder (as `save_pretrained`, peft or a job of the store leaves it), or of the hub.

    Raises UserError where there is none.
    """
    folder = Path(text).expanduser()
    if folder.is_dir():
        if is_adapter(folder):
            return Given(text, None, folder)
        inner = folder if (folder / CONFIG).is_file() else folder / "model"
        if not (inner / CONFIG).is_file():
            raise UserError(f"{text} holds no model", "name a folder with config.json and safetensors, or a hub id")
        beside = inner.parent / ADAPTER
        return Given(text, inner, beside if is_adapter(beside) else None)
    if text.startswith((".", "/", "~")):
        raise UserError(f"there is no model folder {text}", "name a folder with config.json, or a hub id")
    found = snapshot(ModelSettings.model_validate(named_model(text)))
    return Given(text, found, commit=found.name)
