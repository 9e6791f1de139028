"""The page of methods, made of the plug-ins themselves: what each fills, its options, its paper, what goes together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.armspec import FALLBACK, shown
from harness.discovery import SINGLE, LoadedPlugin

MADE_BY = "harness plugins --table"

_ARXIV = re.compile(r"(?:https://arxiv\.org/abs/|arXiv:)(?P<id>\d{4}\.\d{4,5})")


def methods_page(plugins: Sequence[LoadedPlugin]) -> str:
    """Markdown, of those of the plug-ins that change an arm."""
    methods = [plugin for plugin in plugins if set(plugin.slots) & set(SINGLE)]
    return "\n".join([
        "# Methods",
        "",
        f"This page is made of the plug-ins, by `{MADE_BY}`. `harness plugins NAME` says what the options mean.",
        "Each is set beside the method's name (`dmt:k=1/4`), by `--set dmt.k=1/4`, or in a [recipe](recipes.md).",
        "",
        "| method | what it is | fills | options | paper |",
        "|---|---|---|---|---|",
        *(_cells(_row(plugin)) for plugin in methods),
        "",
        "## What goes together",
        "",
        "An arm has one provider of each hook, and any number of wrappers around it. Methods of different rows go",
        "together (`im,dmt`), and wrappers go with everything. Two methods of one cell in the second column do not,",
        f"and are compared as two arms. What nobody brings, `{FALLBACK}` does. What hooks are: [plug-ins](plugins.md).",
        "A stage with a loss of its own, as the last of `self_refine`, is trained without the arm's loss and its",
        "wrappers; `harness plan` says where.",
        "",
        "| hook | one of | where none of them is, one of | wrapped by any of |",
        "|---|---|---|---|",
        *(_cells([f"`{hook}`", *_fillers(hook, methods)]) for hook in SINGLE),
        "",
    ])  # fmt: skip


def _row(plugin: LoadedPlugin) -> list[str]:
    about = plugin.plugin
    fills = ", ".join(f"`{hook}`{_manner(plugin, hook)}" for hook in plugin.slots)
    return [f"`{about.name}`", about.summary, fills, _options(plugin), _paper(about.paper)]


def _manner(plugin: LoadedPlugin, hook: str) -> str:
    if hook in SINGLE and plugin.falls_back(hook):
        return " (where nobody else does)"
    return " (wraps)" if plugin.wraps(hook) else ""


def _options(plugin: LoadedPlugin) -> str:
    """`k=1/256`, with the defaults."""
    kind = plugin.plugin.options
    defaults = kind().model_dump(mode="json") if kind else {}
    return ", ".join(f"`{name}={shown(value)}`" for name, value in defaults.items())


def _paper(paper: str) -> str:
    found = _ARXIV.fullmatch(paper)
    return f"[{found['id']}](https://arxiv.org/abs/{found['id']})" if found else paper


def _fillers(hook: str, methods: Sequence[LoadedPlugin]) -> list[str]:
    """Who provides the hook, who does where nobody else does, and who wraps it."""
    groups = (LoadedPlugin.fills, LoadedPlugin.falls_back, LoadedPlugin.wraps)
    names = [[plugin.plugin.name for plugin in methods if of(plugin, hook)] for of in groups]
    return [", ".join(f"`{name}`" for name in group if name != FALLBACK) for group in names]


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
