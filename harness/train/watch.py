"""When a stage's checkpoints are due, and its kept models."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from harness.train.world import World

_SHARE = 10
"""Training between two checkpoints takes at least so many times as long as writing one."""


@dataclass(frozen=True)
class Watch:
    """When to write a checkpoint, and what else to do after a step."""

    seconds: float = 60.0
    steps: int | None = None
    keep: Callable[[int], None] = lambda _step: None
    """Called after every step, to save models that are to be kept."""
    wanted: Callable[[], bool] = lambda: False
    """Whether somebody wants a checkpoint now."""


class Watcher(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint when one is due; the last step needs none, for the finished model follows it."""

    def __init__(self, watch: Watch, world: World) -> None:
        self._watch = watch
        self._world = world
        self._wait = watch.seconds
        self._last = self._asked = time.monotonic()

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
        """A step is done."""
        self._watch.keep(state.global_step)
        self._asked = time.monotonic()
        # Clocks differ, and a checkpoint is written by all or by none.
        due = self._world.decided(self._asked - self._last >= self._wait or self._watch.wanted())
        due = due or (self._watch.steps is not None and state.global_step % self._watch.steps == 0)
        control.should_save = due and state.global_step < state.max_steps
        return control

    def on_save(self, _args: Any, _state: Any, control: Any, **_: Any) -> Any:
        """A checkpoint is written."""
        self._last = time.monotonic()
        # That of a large model takes minutes to write and seal.
        self._wait = max(self._watch.seconds, _SHARE * (self._last - self._asked))
        return control
