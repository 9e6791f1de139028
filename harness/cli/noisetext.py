"""A noise floor on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.board import text
from harness.board.noise import Floor, Noise
from harness.board.table import LEGEND_WIDTH, spelled


def print_noise(found: Noise, scales: dict[str, float], console: Console) -> None:
    """Print how one method differs from itself; `scales` by benchmark."""
    console.print(spelled(f"{found.arm} against itself, {found.draws} draws", "bold"))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("", overflow="fold")
    table.add_column("compared", no_wrap=True)
    for name in ("times", "spread", "95 % within", "marked"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, floors in (*((text.COMPOSITE, one) for one in [found.composite] if one), *found.cells.items()):
        kinds = {
            "items": floors.over_items,
            "two draws": floors.checkpoints,
            f"{found.seeds_a_side} seeds a side": floors.methods,
        }
        for n, (kind, floor) in enumerate((kind, floor) for kind, floor in kinds.items() if floor):
            scale = scales.get(name, text.WHOLE)
            table.add_row(spelled("" if n else name), kind, f"{floor.comparisons:,}", *_numbers(floor, scale))
    console.print(table)
    for sentence in _legend(found):
        console.print(Text(sentence, style="dim"), width=min(console.width, LEGEND_WIDTH))


def _numbers(floor: Floor, scale: float) -> tuple[str, str, str]:
    marked = "too few" if floor.marked is None else f"{100 * floor.marked:.1f} %"
    return text.number(floor.spread, scale), text.number(floor.largest, scale), marked


def _legend(found: Noise) -> list[str]:
    floors = [*([found.composite] if found.composite else []), *found.cells.values()]
    said = [
        "All differences are noise. spread: their root mean square, in points.",
        "marked: share with p below 5 %, before adjusting.",
    ]
    if any(one.over_items for one in floors):
        said.append(
            "items: two draws' answers to each item dealt to the sides at random; marked should be 5 % or less."
        )
    if any(one.checkpoints for one in floors):
        said.append("two draws: seeds taken for checkpoints; marked is how often one seed each would mislead.")
    if any(one.methods for one in floors):
        said.append(
            "seeds a side: draws split in two and paired, each way once; splits overlap, so their share is rough."
        )
    return said
