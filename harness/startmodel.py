"""The model that an arm starts from, as its `prepare` job declares it: a hub's, a folder's, or one made on the spot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.canonical import digest
from harness.data.facts import file_digest_cached
from harness.data.resolve import Dataset
from harness.data.templates import resolve
from harness.endpoints.access import ServerAccess
from harness.errors import UserError
from harness.jobs import ModelSettings, PrepareModel
from harness.modelfolder import model_folder


@dataclass(frozen=True)
class StartModel:
    """What the job declares, and what stays out of its key."""

    label: str
    declared: PrepareModel
    path: Path | None = None
    """Where a folder lies on this machine."""


def start_model(model: ModelSettings, data: Iterable[Dataset], seed: int, cache: Path | None) -> StartModel:
    """The job of a model; `init` takes the recipe's data and the seed.

    Raises UserError where no model is named, and for a chat template of a model that only its server renders for.
    """
    if model.base_url is not None:
        return _served(model)
    if model.chat_template is not None:
        model = model.model_copy(update={"chat_template": resolve(model.chat_template)})
    if model.init is not None:
        declared = PrepareModel(model=model, data=tuple(dataset.item for dataset in data), seed=seed)
        return StartModel(f"make the {model.init.architecture} model (seed {seed})", declared)
    if model.id is None:
        raise UserError("the recipe's model has neither an id nor init", "write --set model=ORG/NAME")
    folder = model_folder(model.id)
    if folder is None:
        return StartModel(f"fetch {model.id}", PrepareModel(model=model))
    # A folder is what its files are, wherever it lies.
    content, nameless = _digest(folder, cache), model.model_copy(update={"id": None})
    return StartModel(f"fetch {model.id}", PrepareModel(model=nameless, content=content), folder.resolve())


def _served(model: ModelSettings) -> StartModel:
    if model.chat_template is not None:
        raise UserError(
            f"{model.id} is behind a server, which renders with its own chat template", "leave model.chat_template away"
        )
    assert model.base_url is not None
    place = ServerAccess(base_url=model.base_url).place
    known = model.model_copy(update={"base_url": None, "server": model.server or place})
    return StartModel(f"take {model.id} at {place}", PrepareModel(model=known))


def _digest(folder: Path, cache: Path | None) -> str:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return digest({path.name: file_digest_cached(path, cache) for path in files})
