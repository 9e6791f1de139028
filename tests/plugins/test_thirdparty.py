"""A distribution of somebody else's, installed by pip, is found, checked, planned with and run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.testing.tiny import tiny_recipe

SOURCE = Path(__file__).parents[1] / "thirdparty"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the example distribution is installed."""
    folder = tmp_path_factory.mktemp("thirdparty")
    shutil.copytree(SOURCE, folder / "source")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site", folder / "source"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "site"


@pytest.fixture
def harness(site, command, tmp_path):
    def run(*arguments, installed=True, place=site):
        env = {"PYTHONPATH": str(place)} if installed else {}
        process = command(*arguments, cwd=tmp_path, env=env)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run


def test_it_is_listed_with_its_distribution(harness):
    code, out, _ = harness("plugins", "smallest_first", "--json")
    assert code == 0
    (found,) = json.loads(out)
    assert (found["name"], found["version"]) == ("smallest_first", "1.1")
    assert (found["distribution"], found["distribution_version"]) == ("harness-example", "0.3")
    assert found["slots"] == ["strategy"]
    assert found["options"] == [{"name": "reverse", "default": False, "description": "Begin with the largest dataset."}]


def test_it_is_not_there_unless_installed(harness):
    code, _, err = harness("plan", "gsm8k-mini", "--plugins", "smallest_first", installed=False)
    assert code == 2
    assert err.startswith("harness: no method is called 'smallest_first' (there are: ")


def test_it_passes_the_kits_check(site):
    for name in ("smallest_first", "colours"):
        code = f"from harness.testing import check_plugin; check_plugin({name!r})"
        env = {**os.environ, "PYTHONPATH": str(site)}
        subprocess.run([sys.executable, "-c", code], env=env, check=True)


def test_it_composes_and_its_stamp_is_its_version(harness, tmp_path):
    recipe = tiny_recipe(tmp_path)
    arguments = ("plan", recipe, "--json", "--plugins", "im,smallest_first:reverse=true", "--set", "data.own=colours")
    code, out, err = harness(*arguments)
    assert code == 0, err
    plan = json.loads(out)
    arm = plan["arms"][1]
    assert arm["id"] == "im+smallest_first@smallest_first.reverse=true"
    assert [stage["name"] for stage in arm["seeds"][0]["stages"]][-1] == "colours"
    colours = plan["jobs"][arm["seeds"][0]["stages"][-1]["key"]]["declared"]["mixture"][0]["data"]
    assert colours["plugin"] == "colours 1.0"  # installed for good: its version stands for it


def test_it_runs_and_must_not_change_under_its_version(harness, site, tmp_path):
    recipe, mine = tiny_recipe(tmp_path), tmp_path / "site"
    shutil.copytree(site, mine)
    settings = ("--set", "data={own: colours}", "--set", "limit=2", "--no-baseline")
    run = ("run", recipe, "--plugins", "smallest_first", *settings, "--out", tmp_path / "run")
    code, _, err = harness(*run, place=mine)
    assert code == 0, err
    board = json.loads((tmp_path / "run" / "leaderboard.json").read_text())
    assert [line["arm"] for line in board["lines"]] == ["smallest_first"]
    assert board["lines"][0]["examples"] == 5

    source = mine / "harness_example" / "colours.py"
    source.write_text(source.read_text() + "\n# edited\n")
    code, _, err = harness(*run, place=mine)
    assert code == 2
    assert re.fullmatch(
        r"harness: the source of colours 1\.0 has changed since job \w{12} was done \(raise its version, "
        r"or use the results as they are with --accept-source \(not publishable\)\)\n",
        err,
    )
    assert harness(*run, "--accept-source", place=mine)[0] == 0
