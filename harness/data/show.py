"""What a person is shown of a dataset: what exists, and examples in which every token's part can be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.api import Arm, DataSource, Example, Files, Generated, Hub, Part, Plugin
from harness.data import templates
from harness.data.ids import IdCollector
from harness.data.mirror import mirrored
from harness.data.resolve import meant_alone
from harness.data.sources import declare, from_text, open_dataset
from harness.data.tokenizer import train_tokenizer
from harness.discovery import LoadedPlugin, installed, is_file_plugin, load_plugin, suggestion, unknown_plugin
from harness.errors import UserError
from harness.jobs import DataDeclaration
from harness.recipe import is_plugin, plugin_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from harness.data.chat import Rendered

STYLES = {Part.TEMPLATE: "dim", Part.PROMPT: "cyan", Part.RESPONSE: "bold green"}
MARKS = {Part.TEMPLATE: ("", ""), Part.PROMPT: ("⟨", "⟩"), Part.RESPONSE: ("⟦", "⟧")}
"""What tells the parts apart where there is no colour."""

VOCABULARY = 2048
TOKENIZER_EXAMPLES = 2000


@dataclass(frozen=True)
class Offered:
    """One dataset that can be named, and the plug-in that offers it (None for files and hub ids)."""

    name: str
    source: DataSource
    plugin: Plugin | None

    @property
    def spelling(self) -> str:
        """What a recipe calls it: `gsm8k`, or `playground:playground_code` where the names differ."""
        return self.name if self.plugin is None or self.plugin.name == self.name else f"{self.plugin.name}:{self.name}"


def offered() -> list[Offered]:
    """Every dataset that an installed plug-in offers, by plug-in and name."""
    return [dataset for name in installed() for dataset in _of_plugin(load_plugin(name))]


def find(text: str) -> Offered:
    """The dataset that a recipe would mean by this text. Raises UserError naming the choices."""
    if not is_plugin(text):
        return Offered(text, from_text(text), None)
    name = plugin_of(text)
    if not is_file_plugin(name) and name not in installed():
        raise unknown_plugin(name, "dataset")
    plugin = load_plugin(name)
    choices = {dataset.name: dataset for dataset in _of_plugin(plugin)}
    if not choices:
        raise UserError(f"the plug-in {plugin.plugin.name!r} offers no data", "`harness data list` shows those that do")
    wanted = text.partition(":")[2] or meant_alone(plugin, choices)
    if wanted not in choices:
        raise UserError(f"{text!r} does not say which dataset is meant", suggestion(wanted, tuple(choices)))
    return choices[wanted]


def location(source: DataSource, data_root: Path | None) -> str:
    """Where the rows are, in a few words."""
    match source.location:
        case Generated():
            return "made on the spot"
        case Files(paths):
            return ", ".join(paths)
        case hub:
            found = mirrored(hub, data_root)
            return ", ".join(map(str, found)) if found else f"the hub, {hub.id} at {hub.revision} (not in the mirror)"


def _place(source: DataSource, data_root: Path | None) -> str:
    if isinstance(source.location, Hub):
        return "in the mirror" if mirrored(source.location, data_root) else "on the hub"
    return location(source, data_root)


def listing(datasets: Sequence[Offered], data_root: Path | None) -> Group:
    """Of each dataset its name, its licence and where it is found, and below them what it is."""
    blocks: list[RenderableType] = []
    for dataset in datasets:
        known = ", ".join(filter(None, [dataset.source.licence, _place(dataset.source, data_root)]))
        blocks += [
            Text(dataset.spelling, style="bold") + Text(f"  {known}", style="dim"),
            Padding(Text(dataset.source.summary), (0, 0, 0, 2), expand=False),
        ]
    return Group(*blocks)


def facts(dataset: Offered, declared: DataDeclaration, read: int, data_root: Path | None) -> Table:
    """What exists: rows, columns, licence, content hash and place."""
    columns = [f"{kind}: {', '.join(filter(None, names.values()))}" for kind, names in (declared.columns or {}).items()]
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in {
        "source": dataset.spelling,
        "offered by": f"{dataset.plugin.name} {dataset.plugin.version}" if dataset.plugin else "-",
        "rows": f"{read:,}{_taking_part(dataset.source)}",
        "columns": "; ".join(columns) or "-",
        "licence": dataset.source.licence or "-",
        "SHA-256": declared.content or "-",
        "where": location(dataset.source, data_root),
    }.items():
        table.add_row(Text(label, style="bold"), Text(value))
    return table


def _taking_part(source: DataSource) -> str:
    """Which rows of its files those are, in words."""
    only = [f"whose {column} is {wanted}" for column, wanted in source.only.items()]
    fit = ["that are conversations"] if source.unfit == "drop" else []
    return f": those {' and '.join(only + fit)}" if only or fit else ""


def declared(dataset: Offered, data_root: Path | None) -> DataDeclaration:
    """What can be said of the dataset without reading it as conversations."""
    return declare(dataset.name, dataset.source, None, data_root=data_root, cache=None)


def first(dataset: Offered, number: int, data_root: Path | None) -> tuple[list[Example], int]:
    """The dataset's first conversations, `number` or as many as train a tokenizer, and how many there are.

    All are read, and so checked; the rest is not held. Raises UserError as `sources.read` does.
    """
    collector, held = IdCollector(), list[Example]()
    for own, example in open_dataset(dataset.name, dataset.source, data_root=data_root).conversations():
        collector.add(own)
        if len(held) < max(number, TOKENIZER_EXAMPLES):
            held.append(example)
    ids = collector.ids()
    return [replace(example, id=ids[index]) for index, example in enumerate(held)], len(ids)


def tokenizer_for(model: str | None, template: str | None, examples: Sequence[Example]) -> PreTrainedTokenizerFast:
    """The model's tokenizer, or a small one trained on the examples; with the template, where one is named.

    Raises UserError for a model whose tokenizer cannot be had.
    """
    text = templates.resolve(template) if template else None
    if model is None:
        contents = (turn.content for example in islice(examples, TOKENIZER_EXAMPLES) for turn in example.messages)
        return train_tokenizer(contents, VOCABULARY, text or templates.PLAIN)
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the tokenizer of {model} cannot be had: {reason}", "name a folder or a hub id") from None
    if text:
        tokenizer.chat_template = text
    return tokenizer


def rendered_with(model: str | None, template: str | None) -> str:
    """Which tokenizer and which template `tokenizer_for` takes, in words."""
    tokenizer = f"the tokenizer of {model}" if model else "a small tokenizer trained on these rows"
    own = f"the template of {model}" if model else "the template plain"
    return f"rendered with {tokenizer} and {f'the template {template}' if template else own}"


def coloured(rendered: Rendered, tokenizer: PreTrainedTokenizerFast, *, marks: bool) -> Text:
    """The conversation's text, each stretch of tokens in the style of its part; bracketed too, with `marks`."""
    text = Text()
    for part, ids in _stretches(rendered):
        left, right = MARKS[part] if marks else ("", "")
        words = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        text.append(f"{left}{words}{right}", style=STYLES[part])
    return text


def legend(*, marks: bool) -> Text:
    """What the styles mean."""
    text = Text()
    for part, meaning in (
        (Part.TEMPLATE, "template"),
        (Part.PROMPT, "prompt"),
        (Part.RESPONSE, "response, scored by sft"),
    ):
        left, right = MARKS[part] if marks else ("", "")
        text.append(f"{left}{meaning}{right}", style=STYLES[part]).append("   ")
    return text


def _stretches(rendered: Rendered) -> Iterator[tuple[Part, list[int]]]:
    for part, pairs in groupby(zip(rendered.parts, rendered.ids, strict=True), key=lambda pair: pair[0]):
        yield part, [id_ for _, id_ in pairs]


def _of_plugin(plugin: LoadedPlugin) -> list[Offered]:
    if "data_source" not in plugin.slots:
        return []
    sources = plugin.module.data_source(arm=Arm("data", (plugin.plugin.name,)))
    return [Offered(name, source, plugin.plugin) for name, source in sources.items()]
