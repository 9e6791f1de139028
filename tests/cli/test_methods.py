"""The page of methods is what the plug-ins say, and what goes together is what can be bound."""

import re
from itertools import combinations
from pathlib import Path

import pytest

from harness.arms import bind
from harness.armspec import FALLBACK, ArmSpec
from harness.cli.methods import MADE_BY, methods_page
from harness.discovery import SINGLE, installed, load_plugin
from harness.errors import UserError

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def shipped():
    return [p for p in map(load_plugin, installed()) if p.distribution == "instruct-harness"]


def rows(page, heading):
    """The cells of the first table below a heading."""
    lines = page.partition(heading)[2].splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def test_the_page_is_the_one_that_the_plugins_make():
    assert PAGE.read_text(encoding="utf-8") == methods_page(shipped()), f"{MADE_BY} > docs/methods.md"


def test_every_method_is_on_the_page_with_its_options():
    listed = {cells[0].strip("`"): cells for cells in rows(methods_page(shipped()), "# Methods") if len(cells) == 5}
    methods = {p.plugin.name: p for p in shipped() if set(p.slots) & set(SINGLE)}
    assert listed.keys() == methods.keys()
    for name, plugin in methods.items():
        options = plugin.plugin.options.model_fields if plugin.plugin.options else {}
        assert re.findall(r"`([a-z_]+)=", listed[name][3]) == list(options)
        assert plugin.plugin.summary.replace("|", "\\|") == listed[name][1]


def test_what_goes_together_on_the_page_is_what_can_be_bound():
    providers = {cells[0].strip("`"): re.findall(r"`(\w+)`", cells[1]) for cells in rows(PAGE.read_text(), "## What")}
    assert list(providers) == list(SINGLE)
    fallbacks = {cells[0].strip("`"): re.findall(r"`(\w+)`", cells[2]) for cells in rows(PAGE.read_text(), "## What")}
    methods = [p.plugin.name for p in shipped() if set(p.slots) & set(SINGLE) and p.plugin.name != FALLBACK]
    for pair in combinations(methods, 2):
        rivals = any(set(pair) <= set(providers[hook]) for hook in SINGLE) or any(
            set(pair) <= set(fallbacks[hook]) for hook in SINGLE
        )
        if rivals:
            with pytest.raises(UserError, match="and an arm has one"):
                bind(ArmSpec(pair))
        else:
            assert bind(ArmSpec(pair)).arm.id == "+".join(sorted(pair))


def test_a_plugin_of_ones_own_is_listed_too(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from harness.api import *\n"
        "PLUGIN = Plugin(name='own', version='1', summary='a | b', paper='arXiv:2401.00001')\n"
        "@hookimpl\ndef merger(arm, stages):\n    return KeepLast()\n"
    )
    page = methods_page([load_plugin(str(path))])
    assert "| `own` | a \\| b | `merger` |  | [2401.00001](https://arxiv.org/abs/2401.00001) |" in page
    assert "| `merger` | `own` |  |  |" in page
