"""The five hooks. A plug-in implements those it needs; each docstring here is the reference for its hook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pluggy

from harness.api import Arm, DataInfo, DataSource, Evaluator, Loss, Merger, Stage

hookspec = pluggy.HookspecMarker("harness")


@hookspec
def data_source(arm: Arm) -> Mapping[str, DataSource]:  # type: ignore[empty-body]
    """Datasets by name. Many plug-ins may provide some; two that use one name are an error."""


@hookspec(firstresult=True)
def loss_fn(arm: Arm) -> Loss:  # type: ignore[empty-body]
    """The loss of the arm's stages. One provider; wrappers (`hookimpl(wrapper=True)`) stack around it."""


@hookspec(firstresult=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:  # type: ignore[empty-body]
    """The training stages, in order. One provider; it returns a plan and trains nothing.

    Wrappers stack around it. What holds for every stage or for all data, whichever wrapper adds it, is
    `hookimpl(wrapper=True, tryfirst=True)`: it stands around all wrappers that are not.
    """


@hookspec(firstresult=True)
def merger(arm: Arm, stages: Sequence[Stage]) -> Merger:  # type: ignore[empty-body]
    """What becomes of the stages' models. One provider; the default keeps the last stage."""


@hookspec
def evaluator(arm: Arm) -> Sequence[Evaluator]:  # type: ignore[empty-body]
    """Benchmarks. Many plug-ins may provide some; two that use one name are an error."""
