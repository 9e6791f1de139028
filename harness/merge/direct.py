"""Merging models that lie in folders or on the hub, without a run: what `harness merge` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.api import Combination, Merged, Mixture, Stage
from harness.arms import BoundArm, bind
from harness.armspec import ArmSpec
from harness.canonical import Json, file_digest
from harness.context import Context, Progress
from harness.discovery import LoadedPlugin, load_plugin, offering, refuse_unknown
from harness.errors import UserError
from harness.files import explained
from harness.jobs import Merge, ModelSettings
from harness.machine import failures_named
from harness.merge.adapters import is_adapter
from harness.merge.evidence import Evidence, asks
from harness.merge.job import ADAPTER
from harness.merge.members import merge_members
from harness.merge.stream import Member, Merging
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
class Made:
    """What came of a merge."""

    parameters: int
    shares: Mapping[str, Fraction]
    """Weights of the models that were merged."""


@dataclass(frozen=True)
class Told:
    """Who is told of a merge while it goes on, and how its card is written."""

    progress: Callable[[Progress], None]
    card: Callable[[Request, Made], str]


@dataclass(frozen=True)
class Request:
    """Models on their way to becoming one, and how."""

    models: tuple[Given, ...]
    base: Given | None
    bound: BoundArm
    merger: Merged
    declared: Merge
    data: tuple[str, ...] = ()
    """Datasets that the merger looks at."""
    seed: int = 0
    """Of what is drawn."""

    @classmethod
    def of(
        cls,
        models: Sequence[str],
        base: str | None,
        method: str,
        options: Mapping[str, Json],
        *,
        data: Sequence[str] = (),
        seed: int = 0,
    ) -> Request:
        """Find the models, and ask the plug-in `method` what becomes of them.

        Raises UserError for models that are not there or named twice, for a plug-in that does not merge, and for data
        or a base that it lacks.
        """
        if twice := [name for name in models if models.count(name) > 1]:
            raise UserError(f"{twice[0]} is named twice", "let it weigh more: --set average.weights=[2,1]")
        name = load_merger(method).plugin.name
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
        _check_data(name, merger, data)
        found = None if base is None else locate(base)
        if found is not None and found.folder is None:
            raise UserError(f"{base} is an adapter, and the base a whole model", "name what the adapter was put on")
        return cls(given, found, bound, merger, merge.declared, tuple(data), seed)

    @property
    def given(self) -> tuple[Given, ...]:
        """The models, and the base where there is one."""
        return (*self.models, *([self.base] if self.base else []))

    def write(self, out: Path, told: Told, data_root: Path | None = None) -> Made:
        """Leave the merged model in the new folder `out`, whole or not at all.

        Raises UserError where somebody else has made the folder meanwhile.
        """
        with explained(out.parent, "--out"), failures_named("merging", out.parent):
            out.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as place:
                work, written = Path(place, "work"), Path(place, "model")
                work.mkdir()
                written.mkdir()
                made = self._merged(written, Context(work, {}, {"data_root": data_root}, told.progress))
                (written / "README.md").write_text(told.card(self, made), encoding="utf-8")
                if out.exists():
                    raise UserError(f"{out} was made by somebody else meanwhile", "name another folder with --out")
                written.rename(out)
        return made

    def _merged(self, target: Path, context: Context) -> Made:
        merger, base, seed = self.merger, self.base.folder if self.base else None, self.seed
        known = {model.name: Member(model.name, model.folder, model.adapter) for model in self.models}
        known.setdefault(BASE, Member(BASE, base))
        fisher: dict[str, Path] = {}
        if self.data and isinstance(merger, Combination):
            evidence, members = Evidence.of(self.data, context.data_root), [known[stage] for stage in merger.stages]
            if merger.fisher is not None:
                fisher = evidence.fisher(merger.fisher, members, context, seed)
            if merger.chooses:
                merger = evidence.chosen(Merging(merger, tuple(members), base, seed, fisher), context)
        parameters = merge_members(
            merger,
            [known[stage] for stage in merger.stages],
            base,
            target,
            seed=seed,
            fisher=fisher,
            report=lambda done, total: context.progress(Progress(done, total, "tensor")),
        )
        return Made(parameters, dict(zip(merger.stages, merger.shares, strict=True)))


def load_merger(method: str) -> LoadedPlugin:
    """The plug-in of that name or file. Raises UserError for one that does not merge, and as `load_plugin` does."""
    refuse_unknown(method, "merger")
    found = load_plugin(method)
    if not (found.fills("merger") or found.falls_back("merger")):
        raise UserError(f"the plug-in {method!r} does not merge", f"those that do: {', '.join(offering('merger'))}")
    return found


def _check_data(name: str, merger: Merged, data: Sequence[str]) -> None:
    wanted = asks(merger)
    if wanted and not data:
        raise UserError(f"{name} {wanted}", "name it: --data SOURCE")
    if data and not wanted:
        raise UserError(f"{name} looks at no data", "leave --data away")
    if merger.by_examples:
        raise UserError(f"{name} weighs by what stages were trained on, which only a run knows", "name weights")


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
