"""`.github/workflows/submission.yml`: what it installs is enough, and a pull request cannot make it run anything."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FILE = ROOT / ".github" / "workflows" / "submission.yml"

HARNESS_ALONE = """
import sys

allowed = {allowed!r}

class Others:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {packages!r} and top not in allowed:
            raise ModuleNotFoundError(f"{{top}} is not installed")

sys.meta_path.insert(0, Others())
sys.argv = ["harness", *{arguments!r}]
from harness.cli import main
main()
"""


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def steps(workflow):
    (job,) = workflow["jobs"].values()
    return job["steps"]


def installed(workflow):
    """What the workflow names for pip."""
    (command,) = [step["run"] for step in steps(workflow) if "pip install" in step.get("run", "")]
    first = command.replace("\\\n", " ").split("\n", 1)[0]
    return [word for word in first.split() if re.fullmatch(r"[a-z][a-z0-9-]*", word) and word not in {"pip", "install"}]


def with_requirements(names):
    """The distributions, and all that they require."""
    found, todo = set(), [name.lower() for name in names]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            wanted = [Requirement(text) for text in requires(name) or ()]
            todo += [one.name.lower() for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return {name.replace("_", "-") for name in found}


def test_what_it_installs_is_enough_to_check(workflow):
    """The published leaderboard is checked where nothing else can be imported: no torch and no transformers."""
    wanted = with_requirements(installed(workflow)) | {"instruct-harness"}
    packages = packages_distributions()
    allowed = {name for name, of in packages.items() if any(one.lower().replace("_", "-") in wanted for one in of)}
    assert "torch" not in allowed
    assert {"harness", "numpy", "scipy", "pydantic"} <= allowed | {"harness"}
    arguments = ["board", "check", "leaderboards", "--since", "leaderboards", "--json"]
    program = HARNESS_ALONE.format(allowed=allowed | {"harness"}, packages=set(packages), arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"folder": "leaderboards", "findings": []}


def test_it_may_read_and_nothing_else(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow["jobs"].values())
    triggers = workflow[True]  # what YAML makes of `on`
    assert list(triggers) == ["pull_request"]  # which gets no secrets, unlike pull_request_target


def test_nothing_of_the_pull_request_is_run(workflow):
    """The code comes from the base; no expression stands in a shell command; no credentials stay in a checkout."""
    for step in steps(workflow):
        assert "${{" not in step.get("run", "")
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
    code, proposed = (step["with"] for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout"))
    assert (code["path"], code["ref"]) == ("base", "${{ github.event.pull_request.base.sha }}")
    for step in steps(workflow):
        for line in step.get("run", "").split("\n"):
            assert proposed["path"] not in line or line.startswith("harness board check proposed/leaderboards ")


def test_actions_are_pinned_to_versions(workflow):
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+(\.\d+)*", one) for one in used)
