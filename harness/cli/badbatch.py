"""What a person is shown of a batch that ended a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from harness.api import Part
from harness.data.show import MARKS, STYLES, legend

Line = Mapping[str, Any]
"""One example, as `harness.train.badbatch` wrote it."""


def explained(why: Mapping[str, Any], examples: Sequence[Line], *, marks: bool) -> Group:
    """What happened, how many examples there are, and what the styles mean."""
    measured = ", ".join(f"{name.replace('_', ' ')} {_short(why[name])}" for name in ("loss", "grad_norm", "lr"))
    numbers = f"step {why['step']}, {measured}"
    bad = sum(bool(example["not_finite"]) for example in examples)
    held = f"{len(examples)} examples of step {why['batch_of_step']}, {bad} with a loss that is no number"
    return Group(
        Text(f"{why['job']}: {why['problem']}" if why["job"] else why["problem"], style="bold red"),
        Text(numbers),
        Text(held),
        legend(marks=marks),
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def told(example: Line, *, marks: bool) -> Text:
    """Where the example comes from, its losses, and its text."""
    head = f"{example['dataset']} {example['id']}, {example['tokens']} tokens, {example['scored_tokens']} scored"
    text = Text(f"{head}, {_losses(example)}, rank {example['rank']}\n", style="bold")
    for name, words in example["stretches"]:
        part = Part[name.upper()]
        left, right = MARKS[part] if marks else ("", "")
        text.append(f"{left}{words}{right}", style=STYLES[part])
    return text


def _losses(example: Line) -> str:
    """The mean of the scored tokens' losses; which are no number, where there are any."""
    if example["losses"] is None:
        return "losses not computed"
    if example["not_finite"]:
        first = example["not_finite"][0]
        piece = example["pieces"][first]
        return f"{example['losses'][first]} at token {first} ({piece!r})"
    scored = [loss for loss, weight in zip(example["losses"], example["weights"], strict=True) if weight]
    return f"mean loss {sum(scored) / len(scored):.3f}" if scored else "nothing scored"
