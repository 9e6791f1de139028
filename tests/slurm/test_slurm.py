"""Plans done by a real SLURM cluster: in order, once, through preemption, and told in one line when they fail."""

import os
import signal
import subprocess

import psutil
import pytest

from harness.errors import Failure, UserError
from harness.testing.tiny import tiny_recipe

PREPARE = "make the llama model (seed 0)"
SFT = "sft: train all (seed 0)"
SPECIALIST = "dmt+im: train specialist (seed 0)"
ASKED = "sft: ask playground_arithmetic (seed 0)"
HELD = "slurm.extra={hold: true}"
"""Jobs that SLURM takes and does not start."""

pytestmark = pytest.mark.timeout(240)


def test_jobs_wait_for_their_parents_and_give_the_results_of_a_local_run(on_slurm, queue, expected):
    plan = on_slurm.plan("slurm.cpus=1", only={PREPARE, SFT, SPECIALIST, ASKED})
    on_slurm.follow(plan, detach=True)
    ids = on_slurm.submissions()
    assert sorted(queue("%j")) == sorted([PREPARE, SFT, SPECIALIST, ASKED])
    waiting = dict(line.split() for line in queue("%i %E"))
    assert [waiting[i].removesuffix("(unfulfilled)") for i in ids] == [
        "(null)",
        f"afterok:{ids[0]}",
        f"afterok:{ids[1]}",
        f"afterok:{ids[0]}",
    ]
    on_slurm.follow(plan)
    assert on_slurm.submissions() == ids
    assert (len(on_slurm.told.of("queued")), len(on_slurm.told.of("follows"))) == (4, 4)
    done = on_slurm.told.of("done")
    assert done[0] == PREPARE
    assert done.index(SFT) < done.index(ASKED)
    assert on_slurm.results() == {label: expected[label] for label in (PREPARE, SFT, SPECIALIST, ASKED)}


@pytest.mark.soak
@pytest.mark.usefixtures("prepared")
def test_a_stage_is_trained_on_two_nodes(on_slurm, expected):
    launched = ("train.launcher=torchrun", "train.nodes=2", "train.processes=1")
    plan = on_slurm.plan(*launched, only={SFT})
    [job] = plan.jobs.values()
    on_slurm.follow(plan)
    trained, alone = on_slurm.results()[SFT], expected[SFT]
    assert trained["steps"] == alone["steps"]
    assert trained["final_loss"] == pytest.approx(alone["final_loss"], rel=1e-4)
    output = [path.name for path in on_slurm.store.submission(job.key).glob("*_log.out")]
    assert sorted(name.split("_")[1] for name in output) == ["0", "1"]


# --- jobs that are interrupted ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("prepared")
def test_a_stage_that_is_told_to_end_goes_on_from_where_it_was(on_slurm, queue, long_stage, wait_for):
    settings, label, result = long_stage
    plan = on_slurm.plan(*settings, only={label})
    [job] = plan.jobs.values()
    on_slurm.follow(plan, detach=True)
    [slurm] = on_slurm.submissions()
    wait_for(lambda: on_slurm.steps(job))
    subprocess.run(["scancel", "--signal=USR2", slurm], check=True)
    start_again(slurm, queue, wait_for)
    on_slurm.follow(plan)
    assert on_slurm.submissions() == [slurm]
    first, second = on_slurm.reached(job)
    assert (first, len(second)) == ([], 1)
    assert on_slurm.results()[label] == result


@pytest.mark.soak
@pytest.mark.usefixtures("prepared")
def test_a_stage_that_slurm_requeues_without_a_word_gives_the_same(on_slurm, queue, long_stage, wait_for):
    settings, label, result = long_stage
    plan = on_slurm.plan(*settings, "runtime.checkpoint_seconds=0", only={label})
    [job] = plan.jobs.values()
    on_slurm.follow(plan, detach=True)
    [slurm] = on_slurm.submissions()
    wait_for(lambda: on_slurm.steps(job) > 50)
    subprocess.run(["scontrol", "requeue", slurm], check=True)
    start_again(slurm, queue, wait_for)
    on_slurm.follow(plan)
    first, second = on_slurm.reached(job)
    assert (first, len(second)) == ([], 2)  # the two newest checkpoints are kept
    assert on_slurm.results()[label] == result


def start_again(slurm, queue, wait_for):
    """Have a requeued job start soon; SLURM would wait for two minutes, until its old credentials have expired."""
    wait_for(lambda: f"{slurm} PENDING" in queue("%i %T"))
    subprocess.run(["scontrol", "update", f"JobId={slurm}", "StartTime=now+3"], check=True)


@pytest.mark.soak
@pytest.mark.usefixtures("prepared")
def test_a_killed_worker_fails_its_job_and_the_same_command_goes_on(on_slurm, long_stage, wait_for):
    settings, label, result = long_stage
    plan = on_slurm.plan(*settings, only={label})
    [job] = plan.jobs.values()
    on_slurm.follow(plan, detach=True)
    wait_for(lambda: on_slurm.steps(job))
    [worker] = [process for process in psutil.process_iter() if is_worker_of(process, on_slurm.store)]
    worker.kill()
    with pytest.raises(Failure) as caught:
        on_slurm.follow(plan)
    [slurm] = on_slurm.submissions()
    log = on_slurm.store.submission(job.key) / f"{slurm}_0_log.err"
    assert str(caught.value).startswith(f"{label}: its worker was killed by SIGKILL (")
    assert str(caught.value).endswith(f"its output is in {log})")
    on_slurm.follow(plan)
    assert len(on_slurm.submissions()) == 2
    assert on_slurm.results()[label] == result


def is_worker_of(process, store):
    """Whether it is the worker of an attempt of this store: the child of a process that names its folder."""
    try:
        return "harness.worker" in process.cmdline() and str(store.root) in " ".join(process.parent().cmdline())
    except psutil.Error:
        return False


# --- jobs that fail --------------------------------------------------------------------------------------------------


def test_what_stands_on_a_failed_job_is_cancelled_and_the_user_sees_one_line(on_slurm, queue):
    wrong = PREPARE.replace("llama", "lama")
    plan = on_slurm.plan("model.init.architecture=lama", only={wrong, SFT, ASKED})
    with pytest.raises(UserError) as caught:
        on_slurm.follow(plan)
    assert str(caught.value).startswith("no 'lama' model can be made from this configuration: ")
    assert str(caught.value).endswith("_0_log.err)")
    assert "\n" not in str(caught.value)
    assert on_slurm.told.of("failed") == [f"{wrong}; 2 jobs that stand on it are cancelled"]
    assert len(on_slurm.submissions()) == 3
    assert queue("%i") == []


def test_slurms_refusal_is_told_in_its_own_words(on_slurm):
    with pytest.raises(UserError) as caught:
        on_slurm.follow(on_slurm.plan("slurm.partition=nowhere", only={PREPARE}))
    assert str(caught.value) == (
        f"SLURM refuses {PREPARE}: Batch job submission failed: Invalid partition name specified "
        "(correct slurm: in the recipe)"
    )


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def start(command, tmp_path):
    """Starts `harness run --executor slurm` with the tiny recipe, which has five jobs, and has SLURM hold them."""
    places = ("--store", tmp_path / "store", "--out", tmp_path / "runs" / "tiny")

    def start(*more):
        words = ("run", tiny_recipe(tmp_path), "--executor", "slurm", *places, "--set", HELD, *more)
        return command(*words, cwd=tmp_path)

    return start


@pytest.mark.usefixtures("on_slurm")
def test_ctrl_c_leaves_the_jobs_to_slurm_and_the_same_command_finds_them_again(start, command, queue, tmp_path):
    process = start()
    for line in process.stderr:
        if line.startswith("queued: sft: evaluate playground_chat"):
            break
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    ids = sorted(queue("%i"), key=int)
    assert process.returncode == 130
    assert err.splitlines() == [
        f"SLURM goes on with what it was given; to stop that: scancel {' '.join(ids)}",
        "harness: stopped; what is finished is kept, and the same command goes on from here",
    ]
    out, err = start("--detach").communicate(timeout=60)
    assert "8 jobs are with SLURM" in err
    assert "queued" not in err
    assert sorted(queue("%i"), key=int) == ids
    assert "leaderboard.json" not in out
    out, _ = command("status", tmp_path / "runs", "--store", tmp_path / "store", cwd=tmp_path).communicate(timeout=60)
    assert "8 queued" in out


def test_secrets_reach_no_file(on_slurm, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_never_to_be_written")
    on_slurm.follow(on_slurm.plan(HELD, only={PREPARE}), detach=True)
    written = [path for path in on_slurm.store.root.rglob("*") if path.is_file()]
    assert len(written) > 1
    assert all(b"hf_never_to_be_written" not in path.read_bytes() for path in written)
