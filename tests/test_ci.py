"""`.ci/run`: it runs the tests wherever it is, and says what it could not install for them."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"


@pytest.fixture
def ci(tmp_path):
    """Runs the script in a folder of its own, where there are these programs and no others but `make`."""

    def run(**programs):
        home, bin_ = tmp_path / "work" / ".ci", tmp_path / "bin"
        for folder in (home, bin_):
            folder.mkdir(parents=True)
        shutil.copy(SCRIPT, home)
        for name, line in {"make": 'echo "made $1"', **programs}.items():
            (bin_ / name).write_text(f"#!/bin/bash\n{line}\n")
            (bin_ / name).chmod(0o755)
        (bin_ / "dirname").symlink_to(shutil.which("dirname"))
        bash = shutil.which("bash")
        return subprocess.run(
            [bash, home / "run"], env={"PATH": str(bin_)}, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize(
    "programs",
    [
        {},
        {"apt-get": "exit 3", "id": "echo 1000"},
        {"apt-get": "exit 3", "id": "echo 0"},
    ],
    ids=["no apt", "not root", "no network"],
)
def test_what_cannot_be_installed_is_named_and_the_tests_run(ci, programs):
    done = ci(**programs)
    assert (done.returncode, done.stdout) == (0, "made test\n")
    assert done.stderr == (
        "could not be installed, and what needs it is skipped or fails: g++ bubblewrap slurm-wlm munge chromium\n"
    )


def test_what_is_there_is_not_installed(ci):
    done = ci(**dict.fromkeys(("g++", "bwrap", "slurmctld", "chromium"), "true"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "made test\n", "")


def test_tests_that_fail_fail(ci):
    assert ci(make="exit 7").returncode == 7
