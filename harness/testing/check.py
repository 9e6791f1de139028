"""What a plug-in must hold before it is published: what a run would demand, and what would only show later."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import Any

from harness.api import Batch, DataInfo, DataSource, Files, Generated, Loss, Part
from harness.arms import BoundArm, bind
from harness.armspec import ArmSpec
from harness.canonical import canonical
from harness.discovery import HOOKS, LoadedPlugin, load_plugin
from harness.errors import UserError

EXAMPLE_DATA: Mapping[str, DataInfo] = MappingProxyType(
    {
        "chats": DataInfo("chats", "general", 2000),
        "maths": DataInfo("maths", "specialist", 1000),
        "code": DataInfo("code", "specialist", None),
        "web": DataInfo("web", "pretraining", 5000),
    }
)
"""What a strategy is shown, unless the check is told otherwise: three roles, one size unknown."""

_FIRST_EXAMPLES = 50


def check_plugin(name_or_path: str, data: Mapping[str, DataInfo] = EXAMPLE_DATA) -> None:
    """Check an installed plug-in by its name, or a file by its path; `data` is what its strategy is shown.

    Raises UserError, with the words a run would use, for whatever a run would refuse; and beyond that for missing
    docstrings and summary, options that JSON cannot carry, hooks that do not return the same value twice, and losses
    whose weights are no weights.
    """
    loaded = load_plugin(name_or_path)
    bound = bind(ArmSpec((name_or_path,)))
    _check_words(loaded)
    _check_options(loaded, bound)
    for hook in loaded.slots:
        _check_pure(loaded, bound, hook, data)


def _broken(loaded: LoadedPlugin, what: str, remedy: str) -> UserError:
    return UserError(f"the plug-in {loaded.plugin.name!r} {what}", remedy)


# --- words and options ---------------------------------------------------------------------------------------------


def _check_words(loaded: LoadedPlugin) -> None:
    if not loaded.slots:
        raise _broken(loaded, "implements no hook", f"the hooks are: {', '.join(HOOKS)}")
    if not loaded.plugin.summary.strip():
        raise _broken(loaded, "has no summary", "say in one line what it does: Plugin(summary=...)")
    if not inspect.getdoc(loaded.module):
        raise _broken(loaded, "has no docstring", "say what it does, and whose method it is, at the top of its module")
    for hook in loaded.slots:
        if not getattr(loaded.module, hook).__doc__:
            raise _broken(loaded, f"has no docstring on {hook}", "say what it returns")


def _check_options(loaded: LoadedPlugin, bound: BoundArm) -> None:
    kind = loaded.plugin.options
    if kind is None:
        return
    for name, field in kind.model_fields.items():
        if not field.description:
            raise _broken(loaded, f"does not describe its option {name}", "put a docstring under the field")
    options = bound.options_of(loaded)
    try:
        canonical(options)
        same = kind.model_validate(options) == kind()
    except (TypeError, ValueError) as error:
        raise _broken(
            loaded, f"has options that JSON cannot carry: {error}", "use numbers, strings, lists and Share"
        ) from None
    if not same:
        raise _broken(loaded, "has options that do not survive JSON", "let each validate what it is written as")


# --- hooks ---------------------------------------------------------------------------------------------------------


def _check_pure(loaded: LoadedPlugin, bound: BoundArm, hook: str, data: Mapping[str, DataInfo]) -> None:
    try:
        first, second = _shown(_call(bound, hook, data)), _shown(_call(bound, hook, data))
    except UserError:
        raise
    except Exception as error:
        raise _broken(loaded, f"returns from {hook} what fails: {type(error).__name__}: {error}", "mend it") from error
    if first != second:
        raise _broken(loaded, f"does not return the same value twice from {hook}", "hooks are pure: no state, no clock")


def _call(bound: BoundArm, hook: str, data: Mapping[str, DataInfo]) -> Any:
    if hook == "loss_fn":
        return bound.loss()
    if hook == "strategy":
        return bound.stages(data)
    if hook == "merger":
        return bound.merger(bound.stages(data))
    return bound.sources() if hook == "data_source" else bound.evaluators()


def _shown(value: Any) -> Any:
    """The value with everything that only compares by identity replaced by what it does."""
    if isinstance(value, Loss):
        return _weights(value), value.references, _embedded(value)
    if isinstance(value, DataSource) and isinstance(value.location, Generated):
        made, rest = value.location, replace(value, location=Files(()))
        return rest, made.n, canonical(made.recipe), [*islice(made.make(), _FIRST_EXAMPLES)]
    if isinstance(value, Mapping):
        return {name: _shown(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_shown, value))
    if hasattr(value, "loss") and value.loss is not None:
        return replace(value, loss=None), _shown(value.loss)
    return value


def _conversations() -> Batch:
    """Short packed ones."""
    import numpy as np

    from harness.train.microbatch import MicroBatch

    turns = [Part.TEMPLATE, Part.PROMPT, Part.PROMPT, Part.TEMPLATE, Part.RESPONSE, Part.RESPONSE, Part.RESPONSE]
    rows = [np.array(row, np.uint8) for row in (turns, [*turns, *turns], [*turns, Part.PAD])]
    return MicroBatch.of([np.arange(len(row), dtype=np.int32) for row in rows], rows)


def _embedded(loss: Loss) -> list[float] | None:
    """What becomes of embeddings that are all 1. Raises UserError for what a network could not go on with."""
    import torch

    if loss.embed is None:
        return None
    batch = _conversations()
    ones = torch.ones(*batch.input_ids.shape, 4)
    found = loss.embed(ones.clone(), batch)
    if not isinstance(found, torch.Tensor) or found.shape != ones.shape:
        raise UserError("the loss's embed changes the shape of the embeddings", "return one vector for each token")
    if not torch.equal(found, loss.embed(ones.clone(), batch)):
        raise UserError(
            "the loss's embed draws random numbers of its own, which no other layout or resumed run would draw",
            "use batch.uniform(width)",
        )
    values: list[float] = found.flatten().tolist()
    return values


def _weights(loss: Loss) -> list[list[float]]:
    """The loss's weights on short packed conversations. Raises UserError for what cannot be weights."""
    import torch

    batch = _conversations()
    before = batch.input_ids.clone(), batch.parts.clone()
    weights = loss.weights(batch)
    if not isinstance(weights, torch.Tensor) or weights.shape != batch.input_ids.shape:
        raise UserError("the loss's weights have another shape than the batch", "return one weight for each token")
    if not torch.isfinite(weights).all() or (weights < 0).any():
        raise UserError("the loss's weights are not all finite and at least 0", "mend weights(batch)")
    if not all(map(torch.equal, before, (batch.input_ids, batch.parts))):
        raise UserError("the loss's weights change the batch", "work on a copy")
    if (weights * batch.is_part(Part.PAD)).any():
        raise UserError("the loss weighs padding", "name the parts that count: batch.is_part(Part.RESPONSE)")
    values: list[list[float]] = weights.tolist()
    return values
