"""Every hook has its signature in the documentation, a reference in its docstring, and a plug-in that shows it."""

import inspect
import re
from collections.abc import Generator
from pathlib import Path

import pytest

from harness.discovery import HOOKS, installed, load_plugin

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"


def signature(hook):
    """`def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Sequence[Stage]:`, as it stands in harness.spec."""
    return re.search(r"^def .*?\) -> .*?:", inspect.getsource(hook), re.MULTILINE).group()


@pytest.mark.parametrize("name", HOOKS)
def test_the_page_has_every_signature(name):
    assert f"{signature(HOOKS[name])} ...\n" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_a_docstring_and_a_shipped_provider(name):
    assert inspect.getdoc(HOOKS[name])
    assert any(name in load_plugin(plugin).slots for plugin in installed())


@pytest.mark.parametrize("name", installed())
def test_shipped_hooks_are_typed_as_specified(name):
    module = load_plugin(name).module
    for hook in load_plugin(name).slots:
        wanted = inspect.signature(HOOKS[hook], eval_str=True)
        if getattr(module, hook).harness_impl["wrapper"]:  # it is sent what it wraps, and returns what takes its place
            returned = wanted.return_annotation
            wanted = wanted.replace(return_annotation=Generator[None, returned, returned])
        assert inspect.signature(getattr(module, hook), eval_str=True) == wanted
