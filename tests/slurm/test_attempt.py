"""Attempts on submitit's local executor: the part of a SLURM run that needs no SLURM."""

import os
import signal

import psutil
import pytest

from harness.errors import Failure
from harness.slurm.attempt import news, withhold_keys

PREPARE = "make the llama model (seed 0)"
ASKED = "sft: ask playground_arithmetic (seed 0)"

pytestmark = pytest.mark.timeout(240)


def preempt(folder):
    """Send submitit's signal to the process that it started for this folder."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or ()  # none of a process that has ended
        if "submitit.core._submit" in words and str(folder) in words:
            os.kill(process.pid, signal.SIGUSR2)
            return
    raise AssertionError("no attempt runs")


@pytest.mark.usefixtures("prepared")
def test_a_plan_is_done_in_order_through_a_preemption(on_submitit, long_stage, wait_for):
    settings, label, result = long_stage
    plan = on_submitit.plan(*settings, only={label, ASKED})
    stage, _ = plan.jobs.values()
    on_submitit.follow(plan, detach=True)
    wait_for(lambda: on_submitit.steps(stage))
    preempt(on_submitit.store.submission(stage.key))
    on_submitit.follow(plan)
    assert on_submitit.told.of("done") == [label, ASKED]
    first, second = on_submitit.reached(stage)
    assert (first, len(second)) == ([], 1)
    assert on_submitit.results()[label] == result


def test_attempts_that_get_no_further_end(on_submitit, wait_for):
    plan = on_submitit.plan("slurm.attempts=1", only={PREPARE})
    [job] = plan.jobs.values()
    on_submitit.follow(plan, detach=True)
    wait_for(lambda: news(on_submitit.store.submission(job.key)))
    preempt(on_submitit.store.submission(job.key))
    with pytest.raises(Failure, match=r"make the llama model \(seed 0\) got no further in 1 attempt \("):
        on_submitit.follow(plan)


@pytest.mark.parametrize(
    ("declared", "judge", "left"),
    [
        ({"judge": {"model": "judge-1"}}, {"api_key_env": "JUDGE_KEY"}, "sk-secret"),
        ({"judge": None}, {"api_key_env": "JUDGE_KEY"}, None),
        ({"engine": {"name": "hf"}}, {"api_key_env": "JUDGE_KEY"}, None),
        ({}, {"api_key_env": None}, "sk-secret"),
        ({}, "later", "sk-secret"),
    ],
)
def test_the_judges_key_is_for_jobs_that_judge(declared, judge, left, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    withhold_keys({"declared": declared, "payload": {"recipe": {"judge": judge}}})
    assert os.environ.get("JUDGE_KEY") == left


@pytest.mark.parametrize(("engine", "left"), [("endpoint", "sk-secret"), ("vllm", None)])
def test_a_servers_key_is_for_jobs_that_ask_it(engine, left, monkeypatch):
    monkeypatch.setenv("MODEL_KEY", "sk-secret")
    recipe = {"judge": None, "runtime": {"endpoint": {"api_key_env": "MODEL_KEY"}}}
    withhold_keys({"declared": {"engine": {"name": engine}}, "payload": {"recipe": recipe}})
    assert os.environ.get("MODEL_KEY") == left
