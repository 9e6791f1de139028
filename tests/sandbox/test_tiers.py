"""Which tier is taken where the kernel or the machine lacks something, and that a run is refused where all is lacking.

The kernel itself says that it has not what a test takes away: a filter answers the calls.
"""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.api import Execute, Execution
from harness.errors import Failure, UserError
from harness.sandbox import cell
from harness.sandbox import sandbox as sandboxes
from harness.sandbox.sandbox import Sandbox
from harness.sandbox.selftest import fault
from harness.sandbox.tiers import TIERS, UNSAFE, Container
from harness.sandbox.view import view

ORDINARY = 54321
SLEEPER = "import time\ntime.sleep(600)"


@pytest.fixture(params=[0, ORDINARY], ids=["root", "user"])
def user(request):
    return request.param


@pytest.mark.parametrize(
    ("lacking", "tier"),
    [
        ([], "namespaces+landlock"),
        (["landlock_create_ruleset"], "namespaces"),
        (["unshare"], "landlock"),
    ],
)
def test_the_strongest_tier_that_holds_is_taken(keep, user, lacking, tier):
    assert keep(user, "any", *lacking).tier == tier


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap: apt-get install bubblewrap")
def test_bubblewrap_makes_up_for_a_kernel_that_confines_no_process_itself(keep, user):
    keeper = keep(user, "any", "unshare", "landlock_create_ruleset")
    assert keeper.tier == "bubblewrap"
    assert keeper.run("def f(x): return x + 1").outcome == "passed"


def test_where_nothing_isolates_a_run_is_refused(keep, user):
    keeper = keep(user, "any", "unshare", "landlock_create_ruleset", path="/nowhere")
    assert keeper.refused == (
        "nothing on this machine can shut in generated code (namespaces+landlock: unshare: Function not implemented; "
        "namespaces: unshare: Function not implemented; landlock: landlock: Function not implemented; "
        "bubblewrap: bwrap is not installed; docker: docker is not installed; podman: podman is not installed) "
        "(install bubblewrap or use a kernel with Landlock (5.13); on a machine with nothing to lose: --unsafe-code)"
    )


def test_without_a_filter_of_system_calls_no_tier_holds(keep, user):
    assert "seccomp: Function not implemented" in keep(user, "any", "seccomp", path="/nowhere").refused


def test_unsafe_code_is_run_only_where_nothing_isolates(keep, user):
    assert keep(user, "any, or unsafe").tier == "namespaces+landlock"
    keeper = keep(user, "any, or unsafe", "unshare", "landlock_create_ruleset", path="/nowhere")
    assert keeper.tier == "unsafe"
    assert keeper.run("def f(x): return x + 1").outcome == "passed"
    assert keeper.run("def f(x): return x").outcome == "failed"


def test_a_wall_that_stood_at_the_start_and_is_gone_later_fails_the_sandbox_and_not_the_program(keep, user):
    keeper = keep(user, "namespaces+landlock", "landlock_create_ruleset")
    ended = keeper.run("def f(x): return x + 1")
    assert ended == Execution("sandbox_failure", "landlock: Function not implemented")


def test_the_trial_sees_what_gets_out():
    with Sandbox(UNSAFE) as sandbox:
        told = fault(sandbox.run)
    assert told.startswith("AssertionError: could read a file, list a folder, write a file, link to a file, connect by")


@pytest.mark.parametrize("outcome", ["passed", "failed", "timeout"])
def test_the_trial_sees_a_judge_who_always_says_the_same(outcome):
    assert fault(lambda _: Execution(outcome)) is not None


def test_a_container_without_a_daemon_says_so(monkeypatch, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'no daemon is running' >&2\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tier = next(tier for tier in TIERS if tier.name == "docker")
    with pytest.raises(Failure, match=r"^no daemon is running$"):
        tier.prepare()


@pytest.mark.soak
def test_a_container_is_stopped_with_the_command_that_started_it(monkeypatch):
    podman = Container("podman")
    try:
        podman.prepare()
        found = fault(Sandbox(podman).run)
    except Failure as failure:
        found = str(failure)
    if found:
        pytest.skip(f"podman does not work here: {found}")
    minutes = Execute(SLEEPER, "f", "def check(f): pass", timeout=60.0)
    monkeypatch.setattr(cell, "_START_SECONDS", 5.0 - 10 * minutes.timeout)
    with Sandbox(podman) as sandbox:
        assert sandbox.run(minutes).outcome == "timeout"
    running = subprocess.run(["podman", "ps", "--quiet", "--filter", "name=^harness-"], capture_output=True, check=True)
    assert running.stdout == b""


def test_a_refusal_is_one_line(monkeypatch, refused):
    monkeypatch.setattr(sandboxes, "TIERS", ())
    assert "--unsafe-code" in refused(sandboxes.open_sandbox)
    with pytest.raises(UserError):
        sandboxes.open_sandbox(allow_unsafe=False)


@pytest.fixture
def sleeping():
    """A program that sleeps in the strongest tier: the cell's process and the program's own."""

    def is_cells(process):
        with suppress(psutil.Error):
            return "harness.sandbox.inside" in " ".join(process.cmdline())
        return False

    def family():
        return list(filter(is_cells, psutil.Process().children(recursive=True)))

    with sandboxes.open_sandbox() as sandbox:
        ended = sandbox.submit(Execute(SLEEPER, "f", "def check(f): pass", timeout=5.0))
        while len(processes := family()) < 2:
            time.sleep(0.01)
        yield processes, ended
        with suppress(psutil.NoSuchProcess):
            processes[0].kill()


def test_where_memory_runs_out_the_kernel_takes_the_program_first(sleeping):
    family, _ = sleeping
    assert {Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip() for process in family} == {"1000"}


def test_a_cell_that_is_killed_takes_its_program_along(sleeping):
    family, ended = sleeping
    cell, program = family
    cell.kill()
    assert ended.result(timeout=30) == Execution("sandbox_failure", "the cell was killed by SIGKILL")
    program.wait(timeout=10)


def test_a_harness_that_is_killed_takes_all_along(keep):
    keeper = keep(os.geteuid(), "namespaces+landlock")
    keeper.process.stdin.write(
        '{"code": "import time\\ntime.sleep(600)", "entry_point": "f", "checks": "def check(f): pass"}\n'
    )
    keeper.process.stdin.flush()
    process = psutil.Process(keeper.pid)
    while len(family := process.children(recursive=True)) < 2:
        time.sleep(0.01)
    keeper.process.kill()
    keeper.process.wait()
    for one in family:
        one.wait(timeout=10)


@pytest.mark.parametrize("tier", TIERS[:2], ids=lambda tier: tier.name)
def test_what_may_be_read_can_lie_where_the_new_root_is_built(tier, tmp_path):
    package = tmp_path / "lies_in_tmp"
    package.mkdir()
    (package / "__init__.py").write_text("ANSWER = 42\n")
    seen = view()
    seen = replace(seen, readable=(*seen.readable, str(package)), lent={package.name: str(package)})
    asks = Execute(f"import {package.name} as p\ndef f(): return p.ANSWER", "f", "def check(f): assert f() == 42")
    assert cell.run(asks, tier, seen) == Execution("passed")


def test_what_runs_inside_needs_nothing_else_of_the_harness():
    inside = Path(sandboxes.__file__).with_name("inside")
    imports = {
        line.split()[1]
        for path in inside.glob("*.py")
        for line in path.read_text().splitlines()
        if line.startswith("from harness")
    }
    assert all(name.startswith("harness.sandbox.inside") for name in imports)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that it alone reads")
def test_root_is_told_where_programs_cannot_read_its_python():
    closed = any(not folder.stat().st_mode & 0o001 for folder in Path(os.__file__).resolve().parents)
    with Sandbox(next(tier for tier in TIERS if tier.name == "landlock")) as sandbox:
        ended = sandbox.run(Execute("f = abs", "f", "def check(f): assert f(-1) == 1"))
    told = (
        Execution("sandbox_failure", "Python, or numpy, lies where only root can read it")
        if closed
        else Execution("passed")
    )
    assert ended == told
