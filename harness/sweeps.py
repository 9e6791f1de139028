"""Sweeps: one arm for each value of a setting, or for each combination of the values of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from harness.armsettings import COMMON, arm_spec, same_arm
from harness.armspec import ArmSpec
from harness.discovery import installed, methods
from harness.errors import UserError
from harness.recipe import Recipe
from harness.settings import Setting, Sweep

SEEDS = ("seeds",)
"""Not swept by arms: every arm is trained and evaluated for each seed anyway."""


def sweeps_of(recipe: Recipe, written: Sequence[str]) -> tuple[Sweep, ...]:
    """The recipe's sweeps and those of the command line, which take the place of the recipe's of the same setting.

    Raises UserError for seeds in a recipe's.
    """
    own = {(sweep.arm, sweep.path): sweep for sweep in (Sweep.of(*item) for item in recipe.sweep.items())}
    typed = list(map(Sweep.parse, written))
    if any(sweep.path == SEEDS for sweep in own.values()):
        raise UserError("seeds stand beside a recipe's sweep, not in it", "write seeds: [0, 1, 2]")
    kept = [sweep for place, sweep in own.items() if place not in {(sweep.arm, sweep.path) for sweep in typed}]
    return (*kept, *(sweep for sweep in typed if sweep.path != SEEDS))


def swept_seeds(written: Sequence[str]) -> list[Setting]:
    """`--sweep seeds=0,1` says what `--seeds 0,1` does.

    Raises UserError for seeds of one arm, and for several lists of them.
    """
    found = [sweep for sweep in map(Sweep.parse, written) if sweep.path == SEEDS]
    if arm := next((sweep.arm for sweep in found if sweep.arm), None):
        raise UserError(f"{arm} cannot have seeds of its own: all arms have the same", "write --sweep seeds=0,1")
    if len(found) > 1:
        raise UserError("seeds are swept twice", "write --sweep seeds=0,1,2")
    return [Setting(None, SEEDS, list(sweep.values)) for sweep in found]


def arms_of(text: str, recipe: Recipe, settings: Sequence[Setting], sweeps: Sequence[Sweep]) -> list[ArmSpec]:
    """The arms of one `--plugins`: as many as the sweeps that concern it have combinations, one without any.

    Raises UserError for a value that will not do, and for two values that are the same one.
    """
    mine = [sweep for sweep in sweeps if _concerns(sweep, text)]
    found: dict[str, ArmSpec] = {}
    for values in product(*(sweep.values for sweep in mine)):
        swept = [Setting(None, sweep.path, value) for sweep, value in zip(mine, values, strict=True)]
        spec = arm_spec(text, recipe, settings, swept)
        if spec.id in found:
            raise UserError(
                f"the sweep of {', '.join(sweep.name for sweep in mine)} names {spec.id} twice", "once is enough"
            )
        found[spec.id] = spec
    return list(found.values())


def check_sweeps(sweeps: Sequence[Sweep], texts: Sequence[str], waiting: Mapping[str, object]) -> None:
    """Raises UserError for a sweep that no arm has; those `waiting`, of a recipe whose arms were replaced, may wait."""
    for sweep in sweeps:
        if not sweep.values:
            raise UserError(f"the sweep of {sweep.name} has no values", f"write --sweep {sweep.name}=1,2,3")
        if sweep.key in waiting or any(_concerns(sweep, text) for text in texts):
            continue
        raise UserError(f"no arm of this run has {sweep.key} of its own", _remedy(sweep, texts))


def _remedy(sweep: Sweep, texts: Sequence[str]) -> str:
    if sweep.arm is None and sweep.path[0] in installed():
        return f"add the method to an arm: --plugins {sweep.path[0]}"
    options = sorted({p.plugin.name for text in texts for p in methods(text) if p.plugin.options})
    of_methods = f", options of {', '.join(options)}" if options else ""
    return f"what can be swept: train.<setting>, data.<role>.fraction, seeds{of_methods}"


def _concerns(sweep: Sweep, text: str) -> bool:
    """Whether the arm of that `--plugins` has the setting, and is the one that the sweep names, if it names one."""
    plugins = methods(text)
    plain = ArmSpec(tuple(p.path or p.plugin.name for p in plugins))
    named = sweep.arm is None or same_arm(sweep.arm, plain.id)
    return named and sweep.path[0] in {*COMMON, *(p.plugin.name for p in plugins)}
