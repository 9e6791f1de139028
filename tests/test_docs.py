"""The documentation is true: snippets run, commands exist, links lead somewhere, tables are complete."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- test: (?P<mark>.+?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
TABLE_ROW = re.compile(r"^\| `(?P<key>[^`]+)` \| (?P<default>[^|]+?) \|", re.MULTILINE)


def name(page):
    return str(page.relative_to(ROOT))


def blocks(page):
    return [match.groupdict() for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def has_snippets(page):
    return any(block["language"] == "python" or block["mark"] == "run" for block in blocks(page))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A temporary folder to be in, with this environment's commands on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for variable in ("HARNESS_STORE", "HARNESS_DATA_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def run(arguments, **named):
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, **named)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", [*filter(has_snippets, PAGES)], ids=name)
def test_snippets_run(page, here):
    for number, block in enumerate(blocks(page)):
        if (block["mark"] or "").startswith("file "):
            path = here / block["mark"].removeprefix("file ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["code"], encoding="utf-8")
        elif block["language"] == "python":
            path = here / f"snippet_{number}.py"
            path.write_text(block["code"], encoding="utf-8")
            if re.search(r"^PLUGIN = ", block["code"], re.MULTILINE):
                run([sys.executable, "-c", f"from harness.testing import check_plugin; check_plugin({str(path)!r})"])
            else:
                run([sys.executable, path])
        elif block["mark"] == "run":
            run(["bash", "-euo", "pipefail", "-c", block["code"]])


def commands(page):
    """Every `harness ...` of the page's shell blocks."""
    for block in blocks(page):
        if block["language"] == "bash":
            for line in block["code"].replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                for start, word in enumerate(words):
                    if word.rpartition("/")[2] == "harness":
                        yield words[start + 1 :]


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))], ids=name)
def test_commands_exist(page):
    from typer.main import get_command

    from harness.cli.app import app

    for words in commands(page):
        command, rest = get_command(app), [word for word in words if word != "--debug"]
        while hasattr(command, "resolve_command"):
            context = command.make_context("harness", rest)
            _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        command.make_context("harness", rest)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = page if not target else page.parent / target
        assert file.exists(), f"{link} leads to no file"
        if anchor:
            assert anchor in headings(file), f"{link} leads to no heading"


def headings(page):
    """Anchors as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_page_is_in_the_index(page):
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text("utf-8"))}
    assert page == index or page in linked


def test_recipes_of_the_page_are_recipes(here):
    from harness.recipe import load

    recipes = [
        block["code"]
        for block in blocks(ROOT / "docs" / "recipes.md")
        if block["language"] == "yaml" and block["mark"] is None
    ]
    usual = yaml.safe_load(recipes[0])
    assert len(recipes) > 1
    for number, recipe in enumerate(recipes):
        path = here / f"{number}.yaml"
        path.write_text(yaml.safe_dump({**usual, **yaml.safe_load(recipe)}), encoding="utf-8")
        load(str(path))


def test_suites_of_the_page_are_suites(here):
    from harness.suite import read_suite, resolve

    suites = [block for block in blocks(ROOT / "docs" / "recipes.md") if block["mark"] == "file chat.yaml"]
    for block in suites:
        (here / "chat.yaml").write_text(block["code"], encoding="utf-8")
        assert list(resolve(read_suite("chat.yaml"))) == ["gsm8k", "playground_chat"]
    assert suites


def fields():
    """Key as written in a recipe, and its default as the page words it."""
    from harness.allocation import Slurm
    from harness.endpoints.model import EndpointManner
    from harness.execution import Execution
    from harness.jobs import Declaration, EngineSettings, InitModel, LoraSettings, ModelSettings, TrainSettings
    from harness.judge.settings import Judging
    from harness.recipe import Recipe, SourceUse
    from harness.runtime import Runtime
    from harness.suite import CompositeRule, Suite

    prefixes = {
        "": (Recipe, SourceUse),
        "model.": (ModelSettings,),
        "model.init.": (InitModel,),
        "train.": (TrainSettings, Execution),
        "train.lora.": (LoraSettings,),
        "suite.": (Suite,),
        "suite.composite.": (CompositeRule,),
        "judge.": (Judging,),
        "engine.": (EngineSettings,),
        "runtime.": (Runtime,),
        "runtime.endpoint.": (EndpointManner,),
        "slurm.": (Slurm,),
    }
    for prefix, kinds in prefixes.items():
        for kind in kinds:
            for key, field in kind.model_fields.items():
                default = None if field.is_required() else field.get_default(call_default_factory=True)
                if field.is_required():
                    words = "required"
                elif isinstance(default, Declaration):
                    words = "all defaults"
                elif default is None or default == {}:
                    words = "none"
                else:
                    words = f"`{default if isinstance(default, str) else json.dumps(default)}`"
                yield prefix + key, words


def test_recipes_page_has_every_key_with_its_default():
    written = defaultdict(set)
    for match in TABLE_ROW.finditer((ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")):
        written[match["key"]].add(match["default"])
    assert {key: words for key, words in fields() if words not in written[key]} == {}


def test_readme_lists_every_shipped_plugin():
    import tomllib

    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]["harness"]
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What ships")[2]
    assert [plugin for plugin in shipped if f"`{plugin}`" not in table] == []
