"""The store: jobs become visible whole, are resumed, locked, explained and cleared away."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from typer.testing import CliRunner

from harness.cli.store import app
from harness.errors import Failure, UserError
from harness.files import explained, write_whole
from harness.jobs import Job
from harness.store import MANIFEST, Store, differences

MANIFEST_OF = {"kind": "merge", "label": "a job", "declared": {}, "parents": {}, "finished": "2026-01-01T00:00:00"}


def job(n=0, **parents):
    return Job("merge", f"job {n}", {"n": n}, parents)


def finish(store, done, text="done", **manifest):
    with store.working_on(done.key) as folder:
        (folder / "model").mkdir(exist_ok=True)
        (folder / "model" / "weights").write_text(text)
        recorded = {**MANIFEST_OF, "key": done.key, "label": done.label, "declared": done.declared, **manifest}
        store.commit(done, recorded)
    return done.key


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


# --- keys ----------------------------------------------------------------------------------------------------------


def test_a_key_is_kind_declaration_and_parents():
    assert job(1).key == job(1).key
    assert len({job(1).key, job(2).key, job(1, model="x").key, job(1, model="y").key, job(1, start="x").key}) == 5
    assert Job("train", "", {"n": 1}).key != job(1).key
    assert Job("merge", "another label", {"n": 1}, payload={"arm": 1}).key == job(1).key


# --- one job -------------------------------------------------------------------------------------------------------


def test_a_job_becomes_visible_whole(store):
    one = job()
    with store.working_on(one.key) as folder:
        (folder / "half").write_text("x")
        assert not store.has(one.key)
        assert store.started(one.key)
        assert store.manifest(one.key) is None
        store.commit(one, {"label": "a job"})
    assert store.has(one.key)
    assert not store.started(one.key)
    assert store.manifest(one.key) == {"label": "a job"}
    assert sorted(p.name for p in store.folder(one.key).iterdir()) == ["half", MANIFEST]


def test_what_only_an_unfinished_job_needs_is_there_until_everything_else_is_safe(store, monkeypatch):
    one = job()
    with store.working_on(one.key) as folder:
        (folder / "checkpoints" / "step-1").mkdir(parents=True)
        with monkeypatch.context() as patched:
            patched.setattr("harness.store.sync", _pulled)
            with pytest.raises(OSError, match="pulled"):
                store.commit(one, {"label": "a job"}, without=("checkpoints", "corpus"))
        assert (folder / "checkpoints" / "step-1").is_dir()
        store.commit(one, {"label": "a job"}, without=("checkpoints", "corpus"))
    assert [path.name for path in store.folder(one.key).iterdir()] == [MANIFEST]
    assert not list((store.root / "bin").iterdir())


def _pulled(_path):
    raise OSError("the cable was pulled")


def test_what_an_attempt_leaves_the_next_one_finds(store):
    with store.working_on(job().key) as folder:
        (folder / "step-1").write_text("x")
    with store.working_on(job().key) as again:
        assert [p.name for p in again.iterdir()] == ["step-1"]


def test_a_manifest_that_is_damaged(store):
    key = finish(store, job())
    (store.folder(key) / MANIFEST).write_text("{")
    with pytest.raises(Failure) as caught:
        store.manifest(key)
    assert str(caught.value) == (f"the manifest of job {key[:12]} is damaged (remove it: harness store rm {key[:12]})")
    store.remove([store.resolve(key[:12])])
    assert not store.has(key)
    finish(store, job())
    assert store.has(key)


def test_a_job_without_its_manifest_is_done_again(store):
    key = finish(store, job(), "old")
    (store.folder(key) / MANIFEST).unlink()
    assert not store.has(key)
    finish(store, job(), "new")
    assert (store.folder(key) / "model" / "weights").read_text() == "new"


def test_where_locks_do_not_hold_the_loser_discards(store):
    key = finish(store, job(), "first")
    late = store.root / "partial" / key
    late.mkdir(parents=True)
    (late / "model").write_text("second")
    store.commit(job(), MANIFEST_OF)
    assert (store.folder(key) / "model" / "weights").read_text() == "first"
    assert not late.exists()


def _race(root, barrier, results):
    store, one = Store(root), job()
    barrier.wait()
    with store.working_on(one.key) as folder:
        if store.has(one.key):
            folder.rmdir()
            results.put("found it done")
            return
        time.sleep(0.3)
        store.commit(one, MANIFEST_OF)
        results.put("did it")


def test_of_two_processes_one_does_the_job(store):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    racers = [context.Process(target=_race, args=(store.root, barrier, results)) for _ in range(2)]
    for racer in racers:
        racer.start()
    said = sorted(results.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join(60)
    assert said == ["did it", "found it done"]
    assert store.has(job().key)
    assert not store.started(job().key)


def test_a_killed_workers_lock_is_free(store):
    code = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from harness.store import Store
        with Store(Path({str(store.root)!r})).working_on({job().key!r}) as folder:
            (folder / "left").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert store._is_free(job().key)
    with store.working_on(job().key) as folder:
        assert (folder / "left").exists()
        assert not store._is_free(job().key)


def test_who_waits_for_a_job_is_told_so(store, monkeypatch):
    monkeypatch.setattr("harness.files._BETWEEN_WORDS", 0.01)
    said, told = [], threading.Event()

    def second():
        with store.working_on(job().key, told.set):
            said.append("mine now")

    with store.working_on(job().key):
        other = threading.Thread(target=second)
        other.start()
        assert told.wait(60)
        assert said == []
    other.join(60)
    assert said == ["mine now"]


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_whole(path, "one")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


# --- the machine's limits ------------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing(mounted):
    place = mounted("size=256k")
    store = Store(place / "store")
    kept = finish(store, job(1))

    def work():
        with store.working_on(job(2).key) as folder:
            (folder / "step-1").write_text("small")
            (folder / "weights").write_bytes(b"x" * 1_000_000)

    with pytest.raises(Failure) as caught:
        work()
    assert str(caught.value) == (
        f"the disk that holds {store.root} is full "
        "(free some space, or give another place with --store; the same command then goes on)"
    )
    assert store.has(kept)
    (store.root / "partial" / job(2).key / "weights").unlink()
    with store.working_on(job(2).key) as folder:
        assert (folder / "step-1").read_text() == "small"
        store.commit(job(2), MANIFEST_OF)
    assert store.has(job(2).key)


def test_a_read_only_store_can_be_read(mounted):
    place = mounted("size=256k")
    store = Store(place / "store")
    key = finish(store, job(1))
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    assert store.has(key)
    assert [entry.key for entry in store.entries()] == [key]
    for change in (lambda: finish(store, job(2)), lambda: store.remove([key])):
        with pytest.raises(Failure) as caught:
            change()
        assert str(caught.value) == (f"{store.root} cannot be written (make it writable, or give another with --store)")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_folder_without_rights(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(Failure, match="cannot be written"):
        finish(Store(tmp_path / "store"), job())
    tmp_path.chmod(0o700)


def test_a_file_elsewhere_is_not_the_stores_fault(tmp_path):
    elsewhere = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "data.jsonl"))
    with pytest.raises(PermissionError), explained(tmp_path / "store"):
        raise elsewhere
    inside = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "store" / "jobs"))
    with (
        pytest.raises(Failure, match="make it writable, or give another with --out"),
        explained(tmp_path / "store", "--out"),
    ):
        raise inside


def test_other_errors_of_the_system_stay_what_they_are(tmp_path):
    with pytest.raises(IsADirectoryError), explained(tmp_path):
        tmp_path.read_text()


# --- housekeeping --------------------------------------------------------------------------------------------------


def test_entries_are_oldest_first(store):
    late = finish(store, job(1), finished="2026-01-02T00:00:00")
    early = finish(store, job(2), finished="2026-01-01T00:00:00")
    entries = store.entries()
    assert [entry.key for entry in entries] == [early, late]
    assert all(entry.size > len("done") for entry in entries)


def test_a_key_by_its_beginning(store):
    keys = [finish(store, job(n)) for n in range(20)]
    assert store.resolve(keys[3][:12]) == keys[3]
    with pytest.raises(UserError, match="no finished job has a key beginning with 'zz'"):
        store.resolve("zz")
    shared = next(a[0] for a in keys if sum(b[0] == a[0] for b in keys) > 1)
    with pytest.raises(UserError, match=f"jobs have keys beginning with '{shared}'"):
        store.resolve(shared)
    for hostile in ("", "*", "../jobs"):
        with pytest.raises(UserError, match="no finished job"):
            store.resolve(hostile)


def test_garbage_is_what_no_run_stands_on(store, tmp_path):
    wanted, orphan, stale = (finish(store, job(n)) for n in range(3))
    with store.working_on(job(3).key), store.working_on(job(4).key):
        pass
    (tmp_path / "run").mkdir()
    store.record_run(tmp_path / "run", [wanted, job(4).key])
    store.record_run(tmp_path / "gone", [stale])
    (store.root / "bin" / "interrupted").mkdir(parents=True)
    with store.working_on(job(5).key):
        jobs, partials = store.garbage()
        assert jobs == sorted([orphan, stale])
        assert [p.name for p in partials] == [job(3).key]
        freed = store.collect()
    assert freed > 0
    assert [entry.key for entry in store.entries()] == [wanted]
    assert {p.name for p in (store.root / "partial").iterdir()} == {job(4).key, job(5).key}
    assert not any((store.root / "bin").iterdir())


def test_an_empty_store_has_no_garbage(store):
    assert store.garbage() == ([], [])
    assert store.collect() == 0


def test_the_cache_is_told_apart_from_the_jobs_and_cleared_when_asked(store):
    runner = CliRunner()
    assert store.cached == store.clear_cache() == 0
    (store.root / "cache" / "tokens").mkdir(parents=True)
    (store.root / "cache" / "tokens" / "ids").write_bytes(b"1" * 5000)
    assert (
        f"0 jobs, 0 B in {store.root}, and 5 KiB of cache" in runner.invoke(app, ["ls", "--store", store.root]).output
    )
    kept = runner.invoke(app, ["gc", "--store", store.root, "--cache", "--dry-run"]).output
    assert "would remove 0 finished and 0 unfinished jobs and the cache" in kept
    runner.invoke(app, ["gc", "--store", store.root])
    assert store.cached == 5000
    gone = runner.invoke(app, ["gc", "--store", store.root, "--cache"]).output
    assert "removed 0 finished and 0 unfinished jobs and the cache, 5 KiB freed" in gone
    assert store.cached == 0


def test_two_runs_of_one_name_in_different_places_both_count(store, tmp_path):
    keys = [finish(store, job(n)) for n in range(2)]
    for key, place in zip(keys, ("a", "b"), strict=True):
        (tmp_path / place / "run").mkdir(parents=True)
        store.record_run(tmp_path / place / "run", [key])
    assert store.garbage() == ([], [])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, [("a.b[1].c", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [("a", [1], [1, 2])]),
        ({"a": 1}, {"b": 1}, [("a", 1, None), ("b", None, 1)]),
        ({"a": None}, {}, []),
    ],
)
def test_differences(one, other, expected):
    assert differences(one, other) == expected


def test_manifests_are_json_that_people_can_read(store):
    key = finish(store, job(), label="Übung")
    text = (store.folder(key) / MANIFEST).read_text()
    assert "Übung" in text
    assert list(json.loads(text)) == sorted(json.loads(text))
