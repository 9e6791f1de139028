"""The command line as it is typed: one line for every error, the right exit code, output for people and programs."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness.plugins import dmt

from harness.cli.store import _short
from harness.store import Store


@pytest.fixture
def harness(command, tmp_path):
    """Runs a command to its end in an empty folder; returns exit code, output, errors."""

    def run(*arguments, cwd=None, env=None):
        process = command(*arguments, cwd=cwd or tmp_path, env=env)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return run


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("plan", "--plugins", "imm"), "harness: no method is called 'imm' (did you mean 'im'?)\n"),
        (
            ("run", "--plugins", "dmt,multi_task"),
            ("harness: 'dmt' and 'multi_task' both provide strategy, and an arm has one "
            "(compare them as two arms: --plugins dmt --plugins multi_task)\n"),
        ),
        (("plan", "--set", "dmt.kk=1"), "harness: there is no setting 'dmt.kk' (did you mean 'dmt.k'?)\n"),
        (
            ("plan", "gsm8k-mni"),
            "harness: there is no recipe gsm8k-mni (give a YAML file; did you mean 'gsm8k-mini'?)\n",
        ),
        (
            ("plan", "--seeds", "x"),
            "harness: --seeds x: a number of seeds or a list of them is wanted (write --seeds 3)\n",
        ),
        (("store", "why", "abc"), ("harness: no finished job has a key beginning with 'abc' in .harness "
         "(harness store ls shows them)\n")),
        (("status", "nowhere"), ("harness: there is no folder nowhere (give a run folder, or the folder that holds "
         "them)\n")),
        (("data", "review", "nofile"), ("harness: there is no file nofile (check the path; it is relative to where the "
         "command runs)\n")),
        (("plan", "--plugin", "im"), ("harness: No such option: --plugin (Possible options: --plugins) "
         "(harness plan --help)\n")),
        (("board", "show", "a", "b"), "harness: Got unexpected extra argument(s) (b) (harness board show --help)\n"),
        (("show",), "harness: Missing argument 'RUN' (harness show --help)\n"),
        (("run", "--executor", "pbs"), ("harness: Invalid value for '--executor': 'pbs' is not one of 'local', 'slurm' "
         "(harness run --help)\n")),
        (("plugins", "imm"), "harness: no plug-in is called 'imm' (did you mean 'im'?)\n"),
    ],
)  # fmt: skip
def test_the_users_errors_are_one_line_and_exit_code_2(harness, tmp_path, arguments, expected):
    assert harness(*arguments) == (2, "", expected)
    assert list(tmp_path.iterdir()) == []


def test_what_a_terminal_would_obey_is_spelled_out_in_errors(harness, tmp_path):
    (tmp_path / "evil.jsonl").write_text('{"\\u001b]0;pwned\\u0007x": "\\u202e"}\n')
    code, _, err = harness("data", "show", "evil.jsonl")
    assert (code, r"columns \x1b]0;pwned\x07x (use messages" in err) == (2, True)
    assert "\x1b" not in err


def test_debug_shows_a_traceback(harness):
    code, _, err = harness("plan", "--plugins", "imm", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert "harness/discovery.py" in err


def test_a_folder_without_runs_is_no_error(harness):
    assert harness("status") == (0, "no run in runs; harness run --plugins im,dmt starts one\n", "")


def test_the_version_is_that_of_the_distribution(harness):
    assert harness("--version") == (0, f"harness {importlib.metadata.version('instruct-harness')}\n", "")


@pytest.mark.parametrize("group", [(), ("data",), ("store",), ("board",), ("judge",)])
def test_commands_are_listed_whole_on_a_narrow_terminal(harness, group):
    code, out, err = harness(*group, "--help", env={**os.environ, "COLUMNS": "80"})
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "..." not in out.partition("Commands:")[2]
    assert harness(*group, env={**os.environ, "COLUMNS": "80"}) == (2, out, "")  # what a command of commands does alone


def test_an_empty_dataset(harness, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    code, out, err = harness("run", "--set", "data.general=empty.jsonl")
    assert (code, out) == (2, "")
    assert err == (
        "harness: the dataset empty is empty: no rows in empty.jsonl (give it rows, or leave it out of the recipe)\n"
    )


def test_a_dataset_without_the_needed_columns(harness, tmp_path):
    (tmp_path / "odd.csv").write_text("question,remark\n1,2\n")
    code, _, err = harness("run", "--set", "data.general=odd.csv")
    assert code == 2
    assert err.startswith("harness: ")
    assert err.count("\n") == 1
    assert "question, remark" in err


def test_a_run_folder_that_holds_other_files_is_left_alone(harness, tmp_path):
    precious = tmp_path / "work" / "samples" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("x")
    code, _, err = harness("run", "--out", "work")
    assert (code, err) == (2, "harness: work holds files and no run (give a new folder with --out)\n")
    assert precious.read_text() == "x"


def test_another_plans_results_make_room(tiny_run, tmp_path):
    from harness.testing import run_tiny

    shutil.copytree(tiny_run / "store", tmp_path / "store")
    run_tiny(["im,dmt"], tmp_path)
    assert len(list((tmp_path / "run" / "rows").iterdir())) == 2
    run_tiny([], tmp_path)
    assert len(list((tmp_path / "run" / "rows").iterdir())) == 1


# --- what is shown -------------------------------------------------------------------------------------------------


def test_a_plan_is_shown(harness):
    code, out, err = harness("plan", "--plugins", "im,dmt", "--set", "dmt.k=1/4", "--seeds", "2")
    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "methods: dmt 1.0, im 1.0, sft 1.0"
    assert lines[1] == "recipe: playground, seeds 0, 1, 32 jobs, 0 in the store"
    assert lines[2] == "answers: engine hf in float32, every item of each benchmark"
    assert "dmt+im against sft" in lines
    assert "playground_chat (2,000) + 1/4 of playground_arithmetic: 375 of 1,500" in " ".join(lines)
    assert any("(seed 0)  2 jobs to do" in line for line in lines)
    assert "dmt.k: 1/4" in lines
    assert "stages: specialist -> general" in lines


def test_a_plan_says_where_the_arms_loss_has_no_part(harness):
    _, out, _ = harness("plan", "--plugins", "im,kl,self_refine", "--seeds", "1", "--no-baseline")
    said = " ".join(out.split())
    assert said.count("a loss of its own, without") == 1
    assert "a loss of its own, without im, kl" in said.partition("train refine")[2]
    _, out, _ = harness("plan", "--plugins", "self_refine", "--plugins", "im,kl", "--seeds", "1")
    assert "a loss of its own" not in out


def test_a_plan_names_its_limit(harness):
    _, out, _ = harness("plan", "--set", "limit=20", "--seeds", "1")
    assert "limit 20: the first 20 items of each benchmark" in out
    assert "(seed 0)" not in out


def test_a_plan_as_json_is_what_the_run_keeps(harness, tiny_run):
    arguments = ("plan", "tiny.yaml", "--plugins", "im,dmt", "--store", "store", "--json")
    code, out, _ = harness(*arguments, cwd=tiny_run)
    assert code == 0
    shown = json.loads(out)
    assert shown.pop("estimate")["device_hours"] == 0
    assert shown == json.loads((tiny_run / "run" / "plan.json").read_text())


def test_runs_keep_their_names_in_one_piece(harness, tmp_path):
    name = "instruct-2026-mini-52956f05"
    (tmp_path / "runs" / name).mkdir(parents=True)
    arms = [{"id": f"dmt+im@dmt.k=1/{k}", "seeds": [{"seed": 0}, {"seed": 1}]} for k in (64, 128, 256, 512, 1024)]
    plan = {"jobs": {"0" * 64: {}}, "arms": arms}
    (tmp_path / "runs" / name / "plan.json").write_text(json.dumps(plan))
    code, out, _ = harness("status", env={**os.environ, "COLUMNS": "80"})
    assert (code, out.splitlines()[0]) == (0, f"{name}  0 finished, 0 unfinished, 1 not begun")
    assert out.count("dmt+im@dmt.k=1/") == 5
    assert max(map(len, out.splitlines())) <= 80


def test_status_counts_jobs(harness, tiny_run):
    code, out, _ = harness("status", "run", "--store", "store", cwd=tiny_run)
    assert code == 0
    assert out.splitlines()[0] == "run  16 finished, 0 unfinished, 0 not begun"
    assert out.splitlines()[1].split() == ["sft,", "dmt+im;", "seed", "0"]


def test_a_narrow_terminal_folds_and_cuts_nothing_that_tells_rows_apart(harness, tiny_run):
    narrow = {"COLUMNS": "60"}
    _, jobs, _ = harness("store", "ls", "--store", "store", cwd=tiny_run, env=narrow)
    _, runs, _ = harness("status", "run", "--store", "store", cwd=tiny_run, env=narrow)
    _, data, _ = harness("data", "list", env=narrow)
    assert "…" not in jobs + runs + data
    assert "playground:playground_arithmetic" in data
    assert "(seed 0)" in jobs
    assert max(map(len, (jobs + runs + data).split("\n"))) <= 60


def test_an_unfinished_run_has_no_board_and_says_how_far_it_is(harness, tiny_run, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copy(tiny_run / "run" / "plan.json", tmp_path / "run")
    for action in ("show", "check", "add"):
        code, _, err = harness("board", action, "run", "--store", str(tiny_run / "store"))
        assert code == 2
        assert err.startswith("harness: this run is not finished: 16 of 16 jobs are in ")


def test_plugins_as_json(harness):
    code, out, _ = harness("plugins", "--json")
    assert code == 0
    found = {item["name"]: item for item in json.loads(out)}
    assert found["im"]["slots"] == ["loss_fn"]
    assert found["im"]["paper"] == "arXiv:2405.14394"
    assert [option["name"] for option in found["dmt"]["options"]] == ["k"]
    assert found["dmt"]["options"][0]["default"] == "1/256"


def test_plugins_for_people(harness):
    code, out, _ = harness("plugins", "dmt")
    assert code == 0
    assert "dmt.k default 1/256" in out


def test_a_plugins_benchmarks_are_shown_with_those_that_must_be_named(harness):
    code, out, _ = harness("plugins", "hungarian_exam")
    assert code == 0
    assert "graded by people\n" in "\n".join(line.rstrip() for line in out.split("\n")) + "\n"
    assert "only where it is named" in out


def test_options_of_a_plugin_file_have_the_names_that_set_takes(harness, tmp_path):
    source = Path(dmt.__file__).read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(source.replace('name="dmt"', 'name="mine"'))
    code, out, err = harness("plugins", "./mine.py")
    assert (code, err) == (0, "")
    assert "\nmine.k default 1/256" in out


# --- the store -----------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tiny_run, tmp_path):
    shutil.copytree(tiny_run / "store", tmp_path / "store")
    return Store(tmp_path / "store")


def test_ls(harness, kept):
    code, out, _ = harness("store", "ls", "--store", "store")
    assert code == 0
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[1].endswith("make the llama model (seed 0)")
    assert lines[-1].startswith("16 jobs, ")
    assert {line.split()[0] for line in lines[1:-1]} == {entry.key[:12] for entry in kept.entries()}


def test_why_says_what_two_jobs_differ_in(harness, kept):
    keys = {entry.manifest["label"]: entry.key for entry in kept.entries()}
    pair = keys["sft: train all (seed 0)"], keys["dmt+im: train specialist (seed 0)"]
    code, out, _ = harness("store", "why", pair[0][:12], pair[1][:12], "--store", "store")
    assert code == 0
    places = [line.split()[0] for line in out.splitlines()[1:] if line.strip()]
    assert any(place.startswith("declared.loss") for place in places)
    assert any(place.startswith("declared.mixture") for place in places)
    assert not any(place.startswith("parents") for place in places)
    code, out, _ = harness("store", "why", keys["make the llama model (seed 0)"][:12], "--store", "store")
    assert "is the only prepare job" in out


def test_why_compares_with_the_job_of_the_same_name(harness, kept):
    """One declared differently in several places, against one of another name that is nearer."""
    job = next(entry for entry in kept.entries() if entry.manifest["label"] == "sft: train all (seed 0)")
    twin = kept.root / "jobs" / ("f" * 64)
    shutil.copytree(kept.folder(job.key), twin)
    manifest = json.loads((twin / "manifest.json").read_text())
    manifest["declared"] = dict.fromkeys(manifest["declared"], "changed")
    (twin / "manifest.json").write_text(json.dumps(manifest))
    _, out, _ = harness("store", "why", job.key[:12], "--store", "store")
    assert out.splitlines()[0].split() == ["what", job.key[:12], "f" * 12]


def test_why_shows_where_long_values_begin_to_differ():
    here, there = _short("a" * 200 + "b", "a" * 200 + "c")
    assert here.endswith('ab"')
    assert there.endswith('ac"')


def test_rm_removes_and_the_next_run_does_it_again(harness, kept):
    key = next(entry.key for entry in kept.entries() if entry.manifest["kind"] == "evaluate")
    code, out, _ = harness("store", "rm", key[:12], "--store", "store")
    assert (code, out.partition(",")[0]) == (0, "removed 1 jobs")
    assert not kept.has(key)
    assert len(kept.entries()) == 15


def test_gc_spares_what_a_run_stands_on(harness, kept, tiny_run):
    code, out, _ = harness("store", "gc", "--store", "store", "--dry-run")
    assert (code, out) == (0, "would remove 0 finished and 0 unfinished jobs\n")
    for record in (kept.root / "runs").iterdir():
        record.unlink()
    code, out, _ = harness("store", "gc", "--store", "store", "--dry-run")
    assert out.endswith("would remove 16 finished and 0 unfinished jobs\n")
    code, out, _ = harness("store", "gc", "--store", "store")
    assert out.startswith("removed 16 finished and 0 unfinished jobs, ")
    assert kept.entries() == []
    assert (tiny_run / "run").is_dir()


def test_doctor_tells_of_a_torch_that_does_not_import(command, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libgone.so: cannot open shared object file')")
    process = command("doctor", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("harness: torch imports: OSError: libgone.so: cannot open shared object file (pip install ")
    assert err.count("\n") == 1


def test_head_closes_the_pipe_without_noise(command, tmp_path):
    process = command("plugins", "--json", cwd=tmp_path)
    process.stdout.close()
    process.wait(timeout=60)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_python_runs_the_package(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "harness", "plan", "--set", "lr=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "harness: there is no setting 'lr' (did you mean 'train.lr'?)\n")
