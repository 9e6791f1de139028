"""Stages launched for real, and what becomes of them when a process dies, raises, hangs or never starts."""

import os
import platform
import signal

import psutil
import pytest

from harness.execution import Execution
from harness.launch import launchers

HOST = platform.node()
TWO = Execution(launcher="torchrun", processes=2)
GOES_ON = "the same command then goes on)"

pytestmark = pytest.mark.timeout(240)


# --- launches that end well ----------------------------------------------------------------------------------------


def check_finished(stage, launched, ranks=2):
    assert launched.end() is None
    assert launched.outcome["result"]["steps"] == 15
    assert [(event["rank"], event["host"]) for event in stage.started(ranks)] == [(n, HOST) for n in range(ranks)]
    assert sorted((event["rank"], event["code"]) for event in stage.events("ended")) == [(n, 0) for n in range(ranks)]
    assert (stage.folder / "model" / "model.safetensors").is_file()
    assert not (stage.folder / "launch.json").exists()


def test_launches_run_side_by_side_anywhere_and_leave_neither_secrets_nor_litter(stage, another, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_neverwritten")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for each in (stage, another):
        each.store = each.store / 'it\'s $(false); "quoted"\nand `long`'
    launched = stage.begin(Execution(launcher="deepspeed", processes=2))
    beside = another.begin(Execution(launcher="accelerate", processes=2))
    check_finished(stage, launched)
    check_finished(another, beside)
    files = [path for root in (stage.store, another.store) for path in root.rglob("*") if path.is_file()]
    assert [path for path in files if b"hf_neverwritten" in path.read_bytes()] == []
    assert list(tmp_path.glob("torchelastic*")) == []


@pytest.mark.soak
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed", "accelerate"])
@pytest.mark.parametrize("processes", [1, 2])
def test_every_launcher_starts_what_it_is_asked_for(stage, launcher, processes):
    check_finished(stage, stage.begin(Execution(launcher=launcher, processes=processes)), processes)


# --- launches that end badly ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "launcher",
    [
        "torchrun",
        pytest.param("deepspeed", marks=pytest.mark.soak),
        pytest.param("accelerate", marks=pytest.mark.soak),
    ],
)
def test_a_launcher_that_starts_another_number_is_found_out(stage, launcher, monkeypatch):
    asked = launchers.command

    def lie(order, path, node):
        fewer = order.execution.model_copy(update={"processes": 1})
        object.__setattr__(order, "execution", fewer)
        return asked(order, path, node)

    monkeypatch.setattr(launchers, "command", lie)
    said = stage.begin(Execution(launcher=launcher, processes=2)).end()
    assert said.startswith(f"{launcher} started a world of 1 where 2 were promised (look into the launcher's log for")
    assert said.endswith(f"; the log of rank 0 on {HOST} is {stage.ranks}/0.log)")


@pytest.mark.parametrize("who", ["pid", pytest.param("guard", marks=pytest.mark.soak)])
def test_a_killed_rank_is_named(stage, who):
    launched = stage.begin(TWO)
    os.kill(stage.started(2)[1][who], signal.SIGKILL)
    said = launched.end()
    assert said.startswith(f"{stage.label}: rank 1 on {HOST} was killed by SIGKILL (memory may have run out")
    assert said.endswith(f"its log is {stage.ranks}/1.log; {GOES_ON}")


def test_the_error_of_the_rank_that_raised_is_what_is_told(stage, odd, monkeypatch, tmp_path):
    stage.plugin = odd('subprocess.Popen(["sleep", "1000"], cwd=os.environ["LEFT"]); raise KeyError("mislaid")')
    monkeypatch.setenv("LEFT", str(tmp_path))
    said = stage.begin(TWO).end()
    assert said == (
        f"odd: train all (seed 0): rank 1 on {HOST}: KeyError: 'mislaid' (the log of rank 1 on {HOST} is "
        f"{stage.ranks}/1.log)"
    )
    assert "Traceback" in (stage.ranks / "1.log").read_text()
    assert [process for process in psutil.process_iter() if is_there(process, tmp_path)] == []


def is_there(process, folder):
    """Whether it is what a rank has started in this folder."""
    try:
        return process.name() == "sleep" and process.cwd() == str(folder)
    except psutil.Error:
        return False


@pytest.mark.soak
@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("os.abort()", "was killed by SIGABRT"),
        ("os._exit(3)", "ended with exit code 3"),
    ],
)
def test_a_rank_that_dies_amid_its_training_is_named_and_not_its_neighbours(stage, odd, body, how):
    stage.plugin = odd(body)
    assert stage.begin(TWO).end().startswith(f"odd: train all (seed 0): rank 1 on {HOST} {how} (")


@pytest.mark.soak
def test_a_rank_that_hangs_is_named(stage, odd):
    stage.plugin = odd("os.kill(os.getpid(), signal.SIGSTOP)")
    said = stage.begin(TWO, collective_timeout=5.0).end()
    assert said.startswith(f"odd: train all (seed 0): rank 1 on {HOST} hangs: rank 0 waited for it in vain (")


def test_a_launcher_that_dies_is_told(stage):
    launched = stage.begin(TWO)
    guard = psutil.Process(stage.started(2)[0]["guard"])
    guard.parent().kill()
    said = launched.end()
    assert said == f"{stage.label}: the launcher was killed by SIGKILL (the logs of this launch are in {stage.ranks})"


# --- nodes ---------------------------------------------------------------------------------------------------------


def test_two_nodes_train_together_and_one_that_is_there_twice_is_declined(stage, second_node, two_nodes, launches):
    stage.folder.mkdir(parents=True)
    nodes = [second_node("--once"), second_node("--once")]
    assert [node.stderr.readline() for node in nodes] == 2 * [f"node 1 on {HOST} waits for stages in {stage.store}\n"]
    check_finished(stage, stage.begin(two_nodes()))
    launches.wait_for(lambda: any(node.poll() is not None for node in nodes))
    joined, declined = sorted(nodes, key=lambda node: node.poll() is None)
    declined.kill()
    assert joined.returncode == 0
    assert [node.communicate(timeout=60)[1].splitlines() for node in (joined, declined)] == [
        [f"joins: {stage.label}", f"done: {stage.label}"],
        [f"joins: {stage.label}", f"cannot join: {stage.label}: node 1 is there already, on {HOST}"],
    ]


@pytest.mark.soak
@pytest.mark.parametrize("launcher", ["deepspeed", "accelerate"])
def test_two_nodes_train_together_through_other_launchers(stage, second_node, two_nodes, launcher, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("first slots=1\nsecond slots=4\n")
    second_node("--once")
    more = {"hostfile": str(hosts)} if launcher == "deepspeed" else {}
    check_finished(stage, stage.begin(two_nodes(launcher, **more)))


def test_when_the_second_node_is_killed_its_rank_is_named(stage, second_node, two_nodes):
    node = second_node()
    launched = stage.begin(two_nodes())
    rank = stage.started(2)[1]
    guard = psutil.Process(rank["guard"])
    for process in (node, guard.parent(), guard, psutil.Process(rank["pid"])):
        process.kill()
    assert launched.end().startswith(f"{stage.label}: rank 1 on {HOST} was killed by SIGKILL (")


def test_a_node_goes_on_after_a_stage_that_fails(stage, second_node, two_nodes):
    node = second_node("--idle", "3")
    launched = stage.begin(two_nodes())
    os.kill(stage.started(2)[1]["pid"], signal.SIGKILL)
    assert launched.end().startswith(f"{stage.label}: rank 1 on {HOST} was killed by SIGKILL (")
    _, err = node.communicate(timeout=60)
    assert node.returncode == 1
    assert err.splitlines()[-2:] == [
        f"failed: {stage.label}; the first node says why",
        "harness: the last stage failed (the first node says why)",
    ]
    assert "Traceback" not in err


def test_a_node_that_never_comes_is_told(stage, two_nodes):
    said = stage.begin(two_nodes(), start_timeout=2.0).end()
    assert said == (
        f"{stage.label}: after 2 s, 0 of 2 ranks have started, and rank 0 has not (start `harness node 1 --store DIR` "
        "there, and see that 127.0.0.1 is this machine and can be reached; raise runtime.start_timeout if it needs "
        f"longer; the logs are in {stage.ranks})"
    )
