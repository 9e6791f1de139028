"""Runs with real jobs: done once, gone on with after every kind of end, and told in one line when they fail."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import psutil
import pytest

from harness.errors import UserError
from harness.store import Store
from harness.testing import run_tiny
from harness.testing.tiny import tiny_recipe

ARMS = ["im,dmt"]
CHAT_DROPS_THE_USER = "{% for m in messages if m.role == 'assistant' %}{{ m.content }}{{ eos_token }}{% endfor %}"


def results(root):
    """Every result in the store by key: all that must be equal, whatever happened on the way."""
    return {entry.key: entry.manifest["result"] for entry in Store(root).entries()}


def logs(folder):
    return sorted(path.name for path in (folder / "run" / "logs").glob("*"))


@pytest.fixture
def start(command, tmp_path):
    """Starts the tiny run of `tiny_run` in this test's folder, as a command."""

    def begin(*more):
        recipe = tiny_recipe(tmp_path)
        places = ("--store", tmp_path / "store", "--out", tmp_path / "run")
        return command("run", recipe, "--plugins", *ARMS, *places, *more, cwd=tmp_path)

    return begin


def finish(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def workers(process):
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.02)


def ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # ended, and nobody has asked how
    except psutil.NoSuchProcess:
        return True


# --- a run that nothing happens to ---------------------------------------------------------------------------------


def test_a_run_ends_in_a_leaderboard(tiny_run):
    board = json.loads((tiny_run / "run" / "leaderboard.json").read_text())
    assert sorted(line["arm"] for line in board["lines"]) == ["dmt+im", "sft"]
    assert set(board["benchmarks"]) == {"playground_arithmetic", "playground_code", "playground_chat"}
    kinds = sorted(entry.manifest["kind"] for entry in Store(tiny_run / "store").entries())
    assert kinds == ["evaluate"] * 6 + ["prepare"] + ["respond"] * 6 + ["train"] * 3


def test_a_finished_job_holds_nothing_that_it_went_on_from(tiny_run):
    trained = [entry for entry in Store(tiny_run / "store").entries() if entry.manifest["kind"] == "train"]
    for entry in trained:
        left = {path.name for path in Store(tiny_run / "store").folder(entry.key).iterdir()}
        assert not left & {"checkpoints", "corpus"}
    assert not list((tiny_run / "store" / "bin").glob("*"))


def test_a_row_tells_what_it_took(tiny_run):
    rows = [json.loads(path.read_text())["measured"] for path in (tiny_run / "run" / "rows").iterdir()]
    assert all(row["seconds"] > 0 and row["peak_bytes"] > 0 for row in rows)


def test_dmt_trained_on_what_it_declares(tiny_run):
    trained = {
        entry.manifest["label"]: entry.manifest["result"]["datasets"]
        for entry in Store(tiny_run / "store").entries()
        if entry.manifest["kind"] == "train"
    }
    examples = {label: {name: n["examples"] for name, n in datasets.items()} for label, datasets in trained.items()}
    skills = ("playground_arithmetic", "playground_code", "playground_chat")
    assert examples == {
        "sft: train all (seed 0)": dict.fromkeys(skills, 40),
        "dmt+im: train specialist (seed 0)": dict.fromkeys(skills[:2], 40),
        "dmt+im: train general (seed 0)": dict(zip(skills, (10, 10, 40), strict=True)),
    }


def test_instruction_modelling_scores_the_prompts(tiny_run):
    scored = {
        entry.manifest["label"]: entry.manifest["result"]["scored_tokens"] / entry.manifest["result"]["tokens"]
        for entry in Store(tiny_run / "store").entries()
        if entry.manifest["kind"] == "train"
    }
    assert scored["sft: train all (seed 0)"] < 0.7 < scored["dmt+im: train general (seed 0)"] < 1


def test_the_second_run_starts_no_worker(tiny_run):
    before = logs(tiny_run), results(tiny_run / "store")
    leaderboard = tiny_run / "run" / "leaderboard.json"
    text, stamp = leaderboard.read_text(), leaderboard.stat().st_mtime_ns
    assert run_tiny(ARMS, tiny_run) == json.loads(text)
    assert (logs(tiny_run), results(tiny_run / "store")) == before
    assert leaderboard.read_text() == text
    assert leaderboard.stat().st_mtime_ns >= stamp


def test_the_second_command_does_nothing_and_shows_the_same(tiny_run, command):
    places = ("--store", tiny_run / "store", "--out", tiny_run / "run")
    before = {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*") if path.is_file()}
    code, out, err = finish(command("run", tiny_run / "tiny.yaml", "--plugins", *ARMS, *places, cwd=tiny_run))
    assert (code, err) == (0, "")
    assert "16 jobs, 16 in the store" in out
    assert {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*") if path.is_file()} == before


def test_a_row_says_what_its_jobs_ran_from_whenever_it_is_written(tiny_run, tmp_path):
    shutil.copytree(tiny_run / "store", tmp_path / "store")
    path = next((tmp_path / "store" / "jobs").iterdir()) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["measured"]["git"] = {"commit": "f" * 40, "dirty": True}
    manifest["measured"]["hardware"]["cpu"] = "another"
    path.write_text(json.dumps(manifest))
    run_tiny(ARMS, tmp_path)
    for row in (tmp_path / "run" / "rows").iterdir():
        measured = json.loads(row.read_text())["measured"]
        assert measured["git"]["dirty"]
        assert measured["git"]["commit"].endswith("f" * 40)
        assert "another" in measured["hardware"]["cpu"]


def test_a_store_elsewhere_is_as_good(tiny_run, tmp_path):
    shutil.copytree(tiny_run / "store", tmp_path / "store")
    run_tiny(ARMS, tmp_path)
    assert logs(tmp_path) == []


# --- runs that end badly -------------------------------------------------------------------------------------------


def test_a_killed_worker_is_one_line_and_the_next_run_completes(start, tmp_path, tiny_run):
    process = start()
    wait_for(lambda: list((tmp_path / "store").glob("jobs/*")))
    wait_for(lambda: workers(process))
    workers(process)[0].send_signal(signal.SIGKILL)
    code, _, err = finish(process)
    assert code == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("harness: ")
    assert "its worker was killed by SIGKILL (memory may have run out: lower runtime.workers" in last
    assert last.endswith(f"its output is in {tmp_path}/run/logs/worker-0-torch.log; the same command then goes on)")
    assert "Traceback" not in err
    here, done = Store(tmp_path / "store"), results(tiny_run / "store")
    for key in filter(lambda key: not here.has(key), done):
        (here.partial(key) / "launch.json").parent.mkdir(parents=True, exist_ok=True)
        (here.partial(key) / "launch.json").write_text("{}")  # of a launch that was killed
    assert finish(start())[0] == 0
    assert results(tmp_path / "store") == done
    trained = [entry.key for entry in here.entries() if entry.manifest["kind"] == "train"]
    assert [key for key in trained if (here.folder(key) / "launch.json").exists()] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(start, number):
    process = start()
    wait_for(lambda: workers(process))
    children = workers(process)
    os.kill(process.pid, number)
    code, _, err = finish(process, 20)
    assert code == 130
    assert err.splitlines()[-1] == (
        "harness: stopped; what is finished is kept, and the same command goes on from here"
    )
    assert "Traceback" not in err
    wait_for(lambda: all(map(ended, children)), 10)


def test_workers_die_with_the_run(start):
    process = start()
    wait_for(lambda: workers(process))
    children = workers(process)
    process.kill()
    finish(process)
    wait_for(lambda: all(map(ended, children)), 10)


def test_what_a_job_refuses_is_the_users(start):
    code, _, err = finish(start("--set", "model.init.architecture=lama"))
    assert code == 2
    assert err.splitlines()[-1].startswith("harness: no 'lama' model can be made from this configuration: ")
    assert err.splitlines()[-1].endswith("(correct model.init.architecture or model.init.config)")
    assert "Traceback" not in err


def test_debug_shows_where(start):
    code, _, err = finish(start("--set", "model.init.architecture=lama", "--debug"))
    assert code != 0
    assert "harness/train/init.py" in err
    assert "UserError" in err


def test_a_missing_engine_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.engines.pool.find_spec", lambda _: None)
    with pytest.raises(UserError, match="the vllm engine is not installed"):
        run_tiny(["im"], tmp_path, settings=["engine.name=vllm"])
    assert logs(tmp_path) == []


def test_a_template_that_drops_a_turn(tmp_path):
    with pytest.raises(UserError) as caught:
        run_tiny([], tmp_path, settings=[f'model.chat_template="{CHAT_DROPS_THE_USER}"'])
    assert "chat template" in str(caught.value)
    kinds = [entry.manifest["kind"] for entry in Store(tmp_path / "store").entries()]
    assert "train" not in kinds


def test_a_full_disk_is_one_line_and_the_next_run_completes(start, tiny_run, mounted):
    place = mounted("size=50m,nr_inodes=60")  # bytes enough, or nothing would be started
    code, _, err = finish(start("--store", place / "store"))
    assert code == 1
    assert err.splitlines()[-1].startswith("harness: the disk ")
    assert "full" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert 1 <= len(results(place / "store")) < 10
    subprocess.run(["mount", "-o", "remount,nr_inodes=100k", place], check=True)
    assert finish(start("--store", place / "store"))[0] == 0
    assert results(place / "store") == results(tiny_run / "store")


def test_a_read_only_store_is_one_line(start, mounted):
    place = mounted("ro")
    code, _, err = finish(start("--store", place / "store"))
    expected = f"{place}/store cannot be written (make it writable, or give another with --store)"
    assert (code, err) == (1, f"harness: {expected}\n")


def kill_tree(process):
    tree = [*workers(process), psutil.Process(process.pid)]
    for one in tree:
        one.kill()
    finish(process)
    wait_for(lambda: all(map(ended, tree)), 10)


def kill_at(start, moments):
    """Kill -9 the whole tree after each of the moments, in seconds, then let one run come to its end."""
    for moment in moments:
        process = start()
        try:
            process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            kill_tree(process)
    code, _, err = finish(start())
    assert code == 0, err


def test_killed_twice_the_results_are_those_of_an_uninterrupted_run(start, tmp_path, tiny_run):
    moments = [random.uniform(1, 10) for _ in range(2)]
    kill_at(start, moments)
    assert results(tmp_path / "store") == results(tiny_run / "store"), f"moments {moments}"


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_killed_ten_times_the_results_are_those_of_an_uninterrupted_run(start, tmp_path, tiny_run):
    for _ in range(10):
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        moment = random.uniform(0.2, 12)
        kill_at(start, [moment])
        assert results(tmp_path / "store") == results(tiny_run / "store"), f"killed after {moment} s"
