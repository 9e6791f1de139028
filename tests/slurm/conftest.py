"""A SLURM cluster of two nodes on this machine, started for the tests; and submitit's local executor in its place."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.data.resolve import Places
from harness.planner import build, choose_arms
from harness.recipe import load
from harness.run import execute as run_here
from harness.settings import Setting
from harness.slurm.follow import execute
from harness.slurm.queue import Entry
from harness.slurm.submit import SlurmCluster
from harness.store import Store
from harness.testing.tiny import tiny_recipe

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")

CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0,requeue_delay=1
ReturnToService=2
SlurmdTimeout=300
KillWait=2
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_cluster(folder):
    """Start munged, slurmctld and two slurmd with everything they own in `folder`; returns their processes."""
    configuration = folder / "slurm.conf"
    (folder / "state").mkdir()
    for node in ("node1", "node2"):
        (folder / f"spool-{node}").mkdir()
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(host=host, folder=folder, user=getpass.getuser(), ports=free_ports(3))
    configuration.write_text(text)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    munge = [f"--{name}-file={folder / f'munge.{name}'}" for name in ("key", "pid", "log", "seed")]
    commands = (
        ["munged", "--foreground", "--force", *munge, f"--socket={folder}/munge.socket"],
        ["slurmctld", "-D", "-c", "-f", configuration],
        ["slurmd", "-D", "-N", "node1", "-f", configuration],
        ["slurmd", "-D", "-N", "node2", "-f", configuration],
    )
    processes = []
    for command in commands:
        with (folder / f"{len(processes)}-{command[0]}.out").open("w") as out:
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
        wait_for((folder / "munge.socket").exists, 20)
    return processes


def idle_nodes():
    command = ["sinfo", "--noheader", "--states=idle", "--format=%D"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A running cluster of two nodes, which the environment points to; its folder."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        pytest.skip(f"SLURM is not installed: no {missing[0]} (Debian: apt-get install slurm-wlm munge)")
    if os.geteuid() != 0:
        pytest.skip("SLURM's daemons are started as root alone")
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        processes = start_cluster(folder)
        try:
            wait_for(lambda: idle_nodes() == "2", 30)
            yield folder
            subprocess.run(["scancel", "--me", "--signal=KILL", "--full"], check=False)
            subprocess.run(["scancel", "--me"], check=False)
            wait_for(lambda: not squeue("%i"), 30)
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(20)


def squeue(form):
    """A line for each job that has not ended."""
    done = subprocess.run(["squeue", "--noheader", f"--format={form}"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def queue(slurm):  # noqa: ARG001 (it is there)
    """Asks the cluster: `queue("%i %T")`. Jobs that the test leaves behind are cancelled."""
    yield squeue
    subprocess.run(["scancel", "--me"], check=True)
    wait_for(lambda: not squeue("%i"), 30)


class LocalCluster:
    """submitit's local executor as a cluster: it knows no dependencies, and starts everything at once."""

    orders = False

    def __init__(self):
        self.jobs = {}

    def submit(self, attempt, parameters):
        import submitit

        assert "dependency" not in parameters
        executor = submitit.LocalExecutor(attempt.folder, max_num_timeout=100)
        executor.update_parameters(timeout_min=parameters["time"])
        job = executor.submit(attempt)
        self.jobs[job.job_id] = job, Path(attempt.folder)
        return job.job_id

    def entries(self):
        return {i: Entry(i, self._state(job), "None", folder) for i, (job, folder) in self.jobs.items()}

    def _state(self, job):
        if not job.done():
            return "RUNNING"
        return "FAILED" if job.exception() else "COMPLETED"

    def cancel(self, ids):
        for one in ids:
            self.jobs[one][0].cancel()


@pytest.fixture
def local_cluster():
    cluster = LocalCluster()
    yield cluster
    for job, _ in cluster.jobs.values():
        job.cancel()
        job._process.wait(60)


@pytest.fixture(name="wait_for")
def _wait_for():
    return wait_for


class Told:
    """A reporter that remembers."""

    def __init__(self):
        self.lines = []

    def started(self, job, **_):
        self.lines.append(f"starts: {job.label}")

    def progressed(self, job, progress):
        pass

    def noticed(self, job, text):
        self.lines.append(f"{job.label}: {text}")

    def finished(self, job, _):
        self.lines.append(f"done: {job.label}")

    def note(self, text):
        self.lines.append(text)

    def of(self, word):
        """What follows this word, in order."""
        return [line.removeprefix(f"{word}: ") for line in self.lines if line.startswith(f"{word}: ")]


class Run:
    """The plan of `tiny_run`, or some of its jobs, done by a cluster with a store of its own."""

    def __init__(self, folder, make_cluster):
        self.folder = folder
        self.store = Store(folder / "store")
        self.make_cluster = make_cluster
        self.told = Told()

    def plan(self, *settings, only):
        """The jobs of these labels."""
        parsed = [Setting.parse(text) for text in settings]
        recipe = load(str(tiny_recipe(self.folder)), parsed, ["im,dmt"])
        arms = choose_arms(recipe, ["im,dmt"], parsed, baseline=True, factorial=False)
        plan = build(recipe, arms, Places(None, self.folder / "cache"))
        return replace(plan, jobs={key: job for key, job in plan.jobs.items() if job.label in only})

    def follow(self, plan, **more):
        """As `harness run --executor slurm`."""
        places = Places(None, self.folder / "cache")
        execute(plan, self.store, places, self.told, cluster=self.make_cluster(), **more)

    def submissions(self):
        """Ids of all that was ever submitted, in order."""
        scripts = self.store.root.glob("slurm/*/*_submitted.pkl")
        return sorted((path.name.partition("_")[0] for path in scripts), key=int)

    def reached(self, job):
        """From where each of the job's attempts began."""
        lines = (self.store.submission(job.key) / "attempts.jsonl").read_text().splitlines()
        return [json.loads(line)["reached"] for line in lines]

    def steps(self, job):
        """Optimiser steps that the unfinished stage has done."""
        metrics = self.store.partial(job.key) / "metrics.jsonl"
        return len(metrics.read_text().splitlines()) if metrics.exists() else 0

    def results(self):
        return results(self.store)


def results(store):
    return {entry.manifest["label"]: entry.manifest["result"] for entry in store.entries()}


@pytest.fixture
def on_slurm(tmp_path, queue):  # noqa: ARG001 (it is there, and left empty)
    return Run(tmp_path, SlurmCluster)


@pytest.fixture
def on_submitit(tmp_path, local_cluster):
    return Run(tmp_path, lambda: local_cluster)


@pytest.fixture
def expected(tiny_run):
    """By label the results of a local run."""
    return results(Store(tiny_run / "store"))


@pytest.fixture
def prepared(tiny_run, tmp_path):
    """The test's store holds the starting model already."""
    copy_prepared(tiny_run, Store(tmp_path / "store"))


def copy_prepared(tiny_run, store):
    done = Store(tiny_run / "store")
    key = next(entry.key for entry in done.entries() if entry.manifest["kind"] == "prepare")
    shutil.copytree(done.folder(key), store.folder(key), symlinks=True)


LONG = ("train.epochs=10", "runtime.checkpoint_seconds=3600")
"""Settings with which the plain stage takes 150 steps, and no checkpoint of its own accord."""


@pytest.fixture(scope="session")
def long_stage(tmp_path_factory, tiny_run):
    """What 150 uninterrupted steps on this machine give: settings, label and result."""
    run = Run(tmp_path_factory.mktemp("long"), make_cluster=None)
    copy_prepared(tiny_run, run.store)
    label = "sft: train all (seed 0)"
    places = Places(None, run.folder / "cache")
    run_here(run.plan(*LONG, only={label}), run.store, places, run.told, logs=run.folder / "logs")
    return LONG, label, run.results()[label]
