"""The `prepare` job: the model every arm starts from, made on the spot or linked from the hub or a folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from harness.api import DataSource
from harness.canonical import Json
from harness.context import Context
from harness.data.mixtures import evenly
from harness.data.templates import resolve
from harness.data.tokenizer import train_tokenizer
from harness.errors import Failure, UserError
from harness.jobs import InitModel, ModelSettings, PrepareModel
from harness.machine import failures_named
from harness.modelfolder import CONFIG, INDEX, weight_files
from harness.train.process import isolated

DEFAULT_TEMPLATE = "tulu"
"""Chat template of a model made on the spot, where the recipe names none."""

_WANTED = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
_UNUSED = ["*/*", "consolidated*"]
"""The same weights once more, as their authors' own code reads them."""
_REMEDY = "--set model.chat_template=tulu"


def prepare_model(declared: PrepareModel, data: Mapping[str, DataSource], context: Context) -> Json:
    """Leave a model with tokenizer, chat template and generation settings in `context.folder/model`.

    Raises UserError for models that cannot be found, are pickled or have no chat template.
    """
    target = context.folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with isolated(context.runtime.get("threads")), failures_named("preparing the model", context.folder):
        if declared.model.init is not None:
            network, tokenizer = _make(declared.model.init, declared, data, context)
            network.save_pretrained(target)
            parameters, origin = network.num_parameters(), dict[str, Json]()
        else:
            folder, origin = _origin(declared.model)
            tokenizer = _link(declared.model, folder, target)
            parameters = _parameters(target)
        tokenizer.save_pretrained(target)
    template = tokenizer.chat_template
    return {
        "result": {
            **origin,
            "parameters": parameters,
            "vocabulary": len(tokenizer),
            "template_digest": hashlib.sha256(template.encode()).hexdigest(),
        },
        "measured": {},
    }


# --- init ----------------------------------------------------------------------------------------------------------


def _make(init: InitModel, declared: PrepareModel, data: Mapping[str, DataSource], context: Context) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM

    template = resolve(declared.model.chat_template or DEFAULT_TEMPLATE)
    tokenizer = train_tokenizer(_texts(init, declared, data, context), init.vocab_size, template)
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    try:
        config = AutoConfig.for_model(init.architecture, **{**init.config, **special, "vocab_size": len(tokenizer)})
        torch.manual_seed(declared.seed)
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"no {init.architecture!r} model can be made from this configuration: {_first_line(error)}",
            "correct model.init.architecture or model.init.config",
        ) from error
    return network, tokenizer


def _texts(init: InitModel, declared: PrepareModel, data: Mapping[str, DataSource], context: Context) -> Iterator[str]:
    """Contents of the conversations that train the tokenizer: evenly spread over the mixture, so of every dataset.

    Contents and not renderings, so that the template's role tokens stay whole.
    """
    for example in evenly(declared.data, data, init.tokenizer_examples, data_root=context.data_root):
        yield from (message.content for message in example.messages)


# --- hub and folders -----------------------------------------------------------------------------------------------


def _origin(model: ModelSettings) -> tuple[Path, dict[str, Json]]:
    """Where the model's files are; of a hub model the commit too, since its revision may be a branch that moves on."""
    assert model.id is not None
    if Path(model.id).is_dir():
        return Path(model.id), {}
    folder = snapshot(model)
    return folder, {"commit": folder.name}


def _link(model: ModelSettings, folder: Path, target: Path) -> Any:
    """Link the files of a model that exists already; its tokenizer, with the chat template that was chosen."""
    from transformers import AutoConfig, AutoTokenizer

    weights = weight_files(folder)
    try:
        AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
    except (ValueError, OSError) as error:
        raise UserError(f"the model {model.id} cannot be read: {_first_line(error)}", _code_remedy(error)) from error
    if model.chat_template is not None:
        tokenizer.chat_template = resolve(model.chat_template)
    if not isinstance(tokenizer.chat_template, str):
        problem = "several chat templates" if tokenizer.chat_template else "no chat template"
        raise UserError(f"the model {model.id} has {problem}", f"name one: {_REMEDY}")
    for path in sorted(folder.iterdir()):
        if path in weights or (path.is_file() and _belongs(path, trusted=model.trust_remote_code)):
            (target / path.name).symlink_to(path.resolve())
    return tokenizer


def _belongs(path: Path, *, trusted: bool) -> bool:
    """Settings and code; the tokenizer is written afresh, so none of its files may be a link to the original."""
    if path.suffix == ".py":
        return trusted
    return path.name in {CONFIG, INDEX, "generation_config.json"}


def snapshot(model: ModelSettings) -> Path:
    """The files of a hub model, downloaded or from the cache; hub errors become one line."""
    from huggingface_hub import errors, snapshot_download

    assert model.id is not None
    name = model.id if model.revision is None else f"{model.id} at {model.revision}"
    wanted = [*_WANTED, "*.py"] if model.trust_remote_code else list(_WANTED)
    try:
        return Path(
            snapshot_download(model.id, revision=model.revision, allow_patterns=wanted, ignore_patterns=_UNUSED)
        )
    except errors.GatedRepoError as error:
        raise UserError(f"the model {name} is gated", "accept its licence on the hub, then set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"the model {model.id} has no revision {model.revision}", "correct model.revision") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise UserError(
            f"there is no model {name} on the hub, and no folder of that name",
            "correct model.id, or set HF_TOKEN for a private model",
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise Failure(
            f"the hub cannot be reached, and the model {name} is not in the local cache",
            "connect, or name a local folder",
        ) from error
    except errors.HfHubHTTPError as error:
        raise Failure(f"the hub refused {name}: {_first_line(error)}", "try again later") from error


def _parameters(folder: Path) -> int:
    """Numbers in the weights, read from the files' headers."""
    from safetensors import safe_open

    total = 0
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 -- not a mapping
                size = 1
                for extent in file.get_slice(name).get_shape():
                    size *= extent
                total += size
    return total


def _code_remedy(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "if you trust the model's own code, --set model.trust_remote_code=true"
    return "use a model that transformers knows and that ships its tokenizer"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
