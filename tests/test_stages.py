"""A plan of four stages whose third dies goes on with the third, whatever it died of, and ends as if it had not."""

from __future__ import annotations

import json
import os
import textwrap
from contextlib import suppress

import psutil
import pytest
import yaml

from harness.data.resolve import Places
from harness.errors import Failure
from harness.planner import build, choose_arms
from harness.recipe import load
from harness.run import execute
from harness.runfolder import Linked, link_curves, open_run_folder, write_result
from harness.store import Store
from harness.testing.tiny import TINY_RECIPE

FOUR = """
    import os
    from pathlib import Path
    from harness.api import Mixture, Part, Plugin, Stage, hookimpl, token_loss
    from dataclasses import replace

    PLUGIN = Plugin(name="four", version="1.0", summary="One skill after the other, and the first again.")
    SFT = token_loss(lambda batch: batch.is_part(Part.RESPONSE))

    def per_token(model, batch, references):
        losses = SFT.per_token(model, batch, references)
        return losses * float("nan") if Path(os.environ["NAN_FILE"]).exists() else losses

    @hookimpl
    def strategy(arm, data):
        arithmetic, code, chat = (Mixture.of(f"playground_{skill}") for skill in ("arithmetic", "code", "chat"))
        return [
            Stage("first", arithmetic),
            Stage("second", code),
            Stage("third", chat, loss=replace(SFT, per_token=per_token), train={"epochs": 8}),
            Stage("fourth", arithmetic),
        ]
"""


class Watcher:
    """Remembers which jobs were begun and how far each was; `at` happens when the third stage is so far."""

    def __init__(self, at=None, begun=None):
        self.labels, self.first, self.at, self.begun = [], {}, at, begun

    def started(self, job, *, resumed):  # noqa: ARG002 -- a reporter's signature
        self.labels.append(job.label)
        if self.begun and job.payload.get("stage") == "third":
            self.begun()

    def progressed(self, job, progress):
        if job.kind == "train" and progress.unit == "step":
            self.first.setdefault(job.payload["stage"], progress.done)
            if self.at and job.payload["stage"] == "third" and progress.done >= 2:
                self.at()

    def noticed(self, job, text):
        pass

    def finished(self, job, seconds):
        pass


class Run:
    """The run of one folder, as often as wanted."""

    def __init__(self, root, store=None):
        root.mkdir(parents=True, exist_ok=True)
        (root / "four.py").write_text(textwrap.dedent(FOUR))
        recipe = {
            **TINY_RECIPE,
            "options": {"playground": {"arithmetic": 24, "code": 24, "chat": 40}},
            "benchmarks": ["playground"],
            "limit": 2,
        }
        recipe["runtime"] = {"threads": 1, "checkpoint_seconds": 0}
        (root / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        self.root, self.store = root, Store(store or root / "store")
        self.places = Places(None, root / "cache")
        self.arms = [str(root / "four.py")]

    @property
    def plan(self):
        recipe = load(str(self.root / "recipe.yaml"), [], self.arms)
        return build(recipe, choose_arms(recipe, self.arms, [], baseline=False, factorial=False), self.places)

    def go(self, **happens):
        plan, watcher, folder = self.plan, Watcher(**happens), self.root / "run"
        open_run_folder(plan, self.store, folder)
        try:
            execute(plan, self.store, self.places, Linked(watcher, plan, self.store, folder), logs=folder / "logs")
        finally:
            self.watcher = watcher
        write_result(plan, self.store, folder, command="test", accepted_source=False)
        return watcher

    def results(self):
        return {entry.manifest["label"]: entry.manifest["result"] for entry in self.store.entries()}

    def stamps(self):
        """When the files of the finished stages were last written."""
        return {
            path: path.stat().st_mtime_ns
            for entry in self.store.entries()
            if entry.manifest["kind"] == "train"
            for path in self.store.folder(entry.key).rglob("*")
        }


@pytest.fixture(scope="module", autouse=True)
def cause(tmp_path_factory):
    """The file whose being there makes the third stage's loss no number."""
    path = tmp_path_factory.mktemp("cause") / "nan"
    before = os.environ.get("NAN_FILE")
    os.environ["NAN_FILE"] = str(path)
    yield path
    os.environ.pop("NAN_FILE") if before is None else os.environ.__setitem__("NAN_FILE", before)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("whole"))
    run.go()
    return run


def stages_of(labels):
    return [label.split()[2] for label in labels if " train " in label]


def dies_and_goes_on(run, undisturbed, *, match, mend=lambda: None, **happens):
    with pytest.raises(Failure, match=match) as caught:
        run.go(**happens)
    assert stages_of(run.watcher.labels) == ["first", "second", "third"]
    assert sorted(stages_of(run.results())) == ["first", "second"]
    before = run.stamps()
    mend()
    again = run.go()
    assert stages_of(again.labels) == ["third", "fourth"]
    assert {path: stamp for path, stamp in run.stamps().items() if path in before} == before
    assert run.results() == undisturbed.results()
    return caught.value, again


def kill_the_worker():
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # another test's, which has ended and nobody has asked for
            if "harness.worker" in child.cmdline():
                child.kill()


@pytest.mark.timeout(300)
def test_a_third_stage_that_is_killed(undisturbed, tmp_path):
    _, again = dies_and_goes_on(Run(tmp_path), undisturbed, match="third .*was killed by SIGKILL", at=kill_the_worker)
    assert again.first["third"] > 1  # its first steps are not done again


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_third_stage_that_fills_the_disk(undisturbed, tmp_path, mounted):
    place = mounted("size=40m")
    filler = place / "filler"

    def fill():
        free = os.statvfs(place)
        filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 100_000))

    run = Run(tmp_path, place / "store")
    dies_and_goes_on(run, undisturbed, match="disk .*full", begun=fill, mend=filler.unlink)


@pytest.mark.timeout(300)
def test_a_third_stage_whose_loss_is_no_number(undisturbed, tmp_path, cause):
    cause.touch()
    run = Run(tmp_path)
    error, _ = dies_and_goes_on(
        run, undisturbed, match="the loss is nan at step 1 .*harness data batch", mend=cause.unlink
    )
    assert str(run.store.root / "partial") in error.remedy


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_third_stage_that_is_begun_anew_says_so_in_its_row(undisturbed, tmp_path, command):
    run = Run(tmp_path)
    with pytest.raises(Failure, match="SIGKILL"):
        run.go(at=kill_the_worker)
    places = ("--store", run.store.root, "--out", tmp_path / "run")
    arm = ("--plugins", run.arms[0], "--no-baseline")
    process = command("run", tmp_path / "recipe.yaml", *arm, *places, "--restart-stage", cwd=tmp_path)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "restarted: third (seed 0)" in out
    (row,) = (tmp_path / "run" / "rows").iterdir()
    assert json.loads(row.read_text())["measured"]["restarted"] == ["third (seed 0)"]
    assert run.results() == undisturbed.results()


def test_the_curves_of_all_stages_stand_side_by_side_in_the_run_folder(undisturbed):
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    shown = EventMultiplexer().AddRunsFromDirectory(str(undisturbed.root / "run" / "curves")).Reload()
    assert sorted(shown.Runs()) == [f"four/{stage}/seed-0" for stage in ("first", "fourth", "second", "third")]
    steps = [event.step for event in shown.Scalars("four/third/seed-0", "train/loss")]
    assert steps == list(range(1, undisturbed.results()["four: train third (seed 0)"]["steps"] + 1))


def test_the_row_tells_how_its_stages_were_trained(undisturbed):
    (row,) = (undisturbed.root / "run" / "rows").iterdir()
    measured = json.loads(row.read_text())["measured"]
    trained = [job["measured"] for job in measured["jobs"] if job["job"].startswith("train ")]
    assert len(trained) == 4
    for one in trained:
        assert one["tokens_per_second"] > 0
        assert one["peak_memory_bytes"] > 0
        assert one["device_hours"] == pytest.approx(one["seconds"] / 3600)
        told = {name: one[name] for name in ("mfu", "peak_tflops", "world_size", "launcher", "deepspeed", "layout")}
        assert told == {
            "mfu": None,
            "peak_tflops": None,
            "world_size": 1,
            "launcher": "none",
            "deepspeed": None,
            "layout": "packed",
        }
    assert measured["device_hours"] >= sum(one["device_hours"] for one in trained) > 0


def test_links_follow_the_jobs(undisturbed, tmp_path):
    run = Run(tmp_path)
    link_curves(run.plan, run.store, tmp_path / "run")
    link = tmp_path / "run" / "curves" / "four" / "third" / "seed-0"
    key = next(key for key, job in run.plan.jobs.items() if job.payload.get("stage") == "third")
    assert link.resolve() == run.store.root / "partial" / key / "curves"
    link_curves(run.plan, undisturbed.store, tmp_path / "run")
    assert link.resolve() == undisturbed.store.folder(key) / "curves"
    assert list(link.glob("events.out.tfevents.*"))
