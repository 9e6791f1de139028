"""The wheel holds everything, puts nothing called `plugins` beside us, and works outside the checkout."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "harness": "harness",
    "plugins": "harness/plugins",
    "tasks": "harness/tasks",
    "ds_configs": "harness/ds_configs",
    "recipes": "harness/recipes",
    "suites": "harness/suites",
}
PIP = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout: what belongs in the wheel is not known")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def pip(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of what git knows, built from a copy, so that no leftover of another build gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        if not name.startswith(("tests/", "leaderboards/", ".ci/")):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    pip("wheel", *PIP, "--no-build-isolation", "--wheel-dir", folder / "dist", folder / "source")
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel):
    folder = wheel.parents[1] / "site"
    pip("install", *PIP, "--target", folder, wheel)
    return folder


def test_the_wheel_holds_every_tracked_file_of_the_package(wheel):
    wanted = set()
    for name in tracked():
        top, _, rest = name.partition("/")
        if top in FOLDERS:
            wanted.add(f"{FOLDERS[top]}/{rest}")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert sorted(wanted - held) == []
    assert sorted(held - wanted) == []


def test_nothing_but_harness_is_at_the_top(wheel):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"harness"}


def test_the_wheel_plans_outside_the_checkout(site, command, tmp_path):
    process = command("plan", "--plugins", "im,dmt", cwd=tmp_path, env={"PYTHONPATH": str(site)})
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "dmt+im against sft" in out
    code = "import harness, harness.plugins.im as im; print(harness.__file__, im.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.split() == [str(site / "harness" / "__init__.py"), str(site / "harness" / "plugins" / "im.py")]


def test_keys_of_an_installed_wheel_hold_versions_not_sources(site, command, tmp_path):
    process = command("plan", "--plugins", "im", "--json", cwd=tmp_path, env={"PYTHONPATH": str(site)})
    out, _ = process.communicate(timeout=60)
    assert '"im 1.0"' in out


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_wheel_runs_the_playground(site, command, tmp_path):
    arguments = ("run", "--plugins", "im,dmt", "--seeds", "1")
    process = command(*arguments, cwd=tmp_path, env={"PYTHONPATH": str(site)})
    out, err = process.communicate(timeout=1100)
    assert process.returncode == 0, err
    assert "dmt+im" in out


def test_imports_point_down():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
