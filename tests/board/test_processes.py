"""Many writers at once, readers beside them, and writers that are killed: real processes on a real folder."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.board import ledger
from harness.board.chain import read_chain
from harness.board.check import check_leaderboards
from harness.board.publish import read_row, write_run
from harness.cli.board import app
from harness.errors import UserError

PROGRAM = str(Path(__file__).with_name("processes.py"))
PATIENCE = 120
"""Seconds after which a process is taken for stuck."""


@pytest.fixture
def start():
    """Starts processes, and kills what is left of them at the end."""
    started = []

    def start(*command):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process, patience=PATIENCE):
    """What it printed, once it has ended well."""
    out, err = process.communicate(timeout=patience)
    assert process.returncode == 0, err
    return out


def make_run(maker, info, folder, arms, *, recipe, n=8):
    """A run folder with that many arms of few items; each recipe has a board of its own."""
    maker.root = folder.with_name(f"{folder.name}-store")
    info = replace(info, recipe={**info.recipe, "name": recipe})
    made = [maker.arm(f"{folder.name}-{number}", {"chat": 0.5}, n=n, baseline=None) for number in range(arms)]
    return [line.row for line in write_run(folder, made, info).lines]


def write_at_once(maker, info, start, tmp_path, *, writers, rows, at_once, patience):
    to, stop = tmp_path / "leaderboards", tmp_path / "stop"
    expected = []
    for number in range(writers):
        expected += make_run(maker, info, tmp_path / f"run{number}", rows, recipe=f"recipe {number % 4}")
    reader = start(PROGRAM, "read", to, stop)
    processes = [start(PROGRAM, "add", tmp_path / f"run{number}", to, at_once) for number in range(writers)]
    for process in processes:
        ended(process, patience)
    stop.touch()
    assert int(ended(reader)) > 0
    assert Counter(entry.row for entry in ledger.read_ledger(to)) == Counter(expected)
    assert shown(to) == set(expected)
    assert check_leaderboards(to) == []


@pytest.mark.timeout(300)
def test_writers_at_once_lose_nothing_and_readers_never_fail(maker, info, start, tmp_path):
    write_at_once(maker, info, start, tmp_path, writers=4, rows=4, at_once=1, patience=PATIENCE)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_thirty_two_writers_of_fifty_rows_lose_nothing(maker, info, start, tmp_path):
    write_at_once(maker, info, start, tmp_path, writers=32, rows=50, at_once=10, patience=3000)


def test_commands_at_once_publish_all_their_rows(maker, info, start, tmp_path):
    """As they are typed, a run folder each."""
    expected = [make_run(maker, info, tmp_path / f"run{number}", 5, recipe="one") for number in range(3)]
    commands = [
        start("-m", "harness", "board", "add", tmp_path / f"run{number}", "--to", tmp_path / "to")
        for number in range(3)
    ]
    for command in commands:
        ended(command)
    assert {entry.row for entry in ledger.read_ledger(tmp_path / "to")} == {row for run in expected for row in run}
    assert check_leaderboards(tmp_path / "to") == []


# --- killed ----------------------------------------------------------------------------------------------------------


def readable(to: Path, known: set[str]) -> None:
    """Whatever a killed command left: a ledger of rows that can be read, and an old or a new board, or none yet."""
    chain = read_chain(to)
    for entry in chain.entries:
        assert read_row(to, entry.row).id in known
    if (to / ledger.BOARD).exists():
        published = ledger.read_published(to)
        assert published.ledger in {*chain.digests}


def killed(process) -> bool:
    """Whether it was killed; it ended well otherwise."""
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in {0, -signal.SIGKILL}, err
    return process.returncode != 0


def again(*command, done=False):
    """The same command, here. Where the killed one was `done` but for its return, there is nothing left to do."""
    result = CliRunner().invoke(app, [str(argument) for argument in command])
    assert isinstance(result.exception, UserError) if done else result.exception is None, result.exception


def shown(to: Path) -> set[str]:
    """The rows on the board."""
    board = to / ledger.BOARD
    return {row for one in ledger.read_published(to).boards for row in one.rows} if board.exists() else set()


@pytest.fixture
def run(maker, info, tmp_path):
    """A run folder with one row, and the row's id."""
    (row,) = make_run(maker, info, tmp_path / "run", 1, recipe="one")
    return tmp_path / "run", row


def killed_at_every_step(start, tmp_path, prepared, *command):
    """Do the command on copies of the folder, killed in place of its first fsync, its second, until it ends unharmed.

    Yields each copy with whether the command was killed.
    """
    for at in itertools.count(1):
        to = tmp_path / f"to{at}"
        if prepared is not None:
            shutil.copytree(prepared, to)
        dead = killed(start(PROGRAM, "die", "fsync", at, "board", *command, to))
        yield to, dead
        if not dead:
            break


@pytest.mark.timeout(300)
def test_add_is_completed_after_a_kill_at_any_step(start, run, tmp_path):
    folder, row = run
    kills = 0
    for to, dead in killed_at_every_step(start, tmp_path, None, "add", folder, "--to"):
        if dead:
            kills += 1
            readable(to, {row})
            again("add", folder, "--to", to, done=shown(to) == {row})
        assert [entry.row for entry in ledger.read_ledger(to)] == [row]
        assert check_leaderboards(to) == []
    assert kills == 8  # samples, row and board: each the file and its folder's names; entry; the ledger's name


@pytest.mark.timeout(300)
def test_retract_is_completed_after_a_kill_at_any_step(start, run, tmp_path):
    folder, row = run
    again("add", folder, "--to", tmp_path / "whole")
    kills = 0
    for to, dead in killed_at_every_step(start, tmp_path, tmp_path / "whole", "retract", row, "--why", "a", "--to"):
        if dead:
            kills += 1
            readable(to, {row})
            again("retract", row, "--why", "a", "--to", to, done=shown(to) == set())
        assert [entry.kind for entry in ledger.read_ledger(to)] == ["add", "retract"]
        assert ledger.read_published(to).boards == ()
        assert check_leaderboards(to) == []
    assert kills == 3


@pytest.mark.timeout(300)
def test_build_leaves_the_old_board_or_the_new_one(start, run, tmp_path):
    folder, row = run
    whole = tmp_path / "whole"
    again("add", folder, "--to", whole)
    new = (whole / ledger.BOARD).read_bytes()
    old = new.replace(b'"suite": "playground"', b'"suite": "an older one"')
    assert old != new
    (whole / ledger.BOARD).write_bytes(old)
    left = []
    for to, dead in itertools.islice(killed_at_every_step(start, tmp_path, whole, "build"), 3):
        assert dead  # the page is written behind the board
        left.append((to / ledger.BOARD).read_bytes())
        readable(to, {row})
        again("build", to)
        assert check_leaderboards(to) == []
    assert left == [old, new, new]


@pytest.mark.timeout(300)
def test_build_leaves_the_old_page_or_the_new_one(start, maker, info, site, tmp_path):
    """Killed in place of each renaming once the page's data is written, which comes to the disk in its own time."""
    public, page = tmp_path / "public", tmp_path / "public-site"
    (old,) = make_run(maker, info, tmp_path / "first", 1, recipe="one")
    (new,) = make_run(maker, info, tmp_path / "second", 1, recipe="one")
    again("add", tmp_path / "first", "--to", public)
    again("build", public)
    shutil.move(page, tmp_path / "old-site")
    again("add", tmp_path / "second", "--to", public)
    found = []
    for at in itertools.count(9):  # after board.json, four schemas and the three downloads
        shutil.copytree(tmp_path / "old-site", page)
        dead = killed(start(PROGRAM, "die", "replace", at, "board", "build", public))
        left = site(page)
        rows = [line["row"] for line in left.content["boards"][0]["lines"]]
        for line in left.content["boards"][0]["lines"]:
            held = json.loads(left.page(line["page"]))
            assert json.loads(held["row"])["id"] == line["row"]
            assert all(left.page(name) for name in held["samples"].values())
        found.append(sorted(rows))
        shutil.rmtree(page)
        if not dead:
            break
    # the new row's samples and the row itself, then the index, then nothing
    assert found == [[old], [old], [old], sorted([old, new])]


def kill_at_random(start, maker, info, tmp_path, kills):
    """`add` and `build` in turn on a growing board, each killed some time after it took a lock."""
    draw, to, rows = random.Random(0), tmp_path / "to", set()
    for number in range(kills):
        command = ["build", to]
        if number % 2 == 0:
            run = tmp_path / f"run{number}"
            rows |= {*make_run(maker, info, run, 5, recipe="one")}
            command = ["add", run, "--to", to]
        for lock in ledger.LOCKS:
            (to / lock).unlink(missing_ok=True)
        process = start("-m", "harness", "board", *command)
        while process.poll() is None and not any((to / lock).exists() for lock in ledger.LOCKS):
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
        process.communicate(timeout=PATIENCE)
        readable(to, rows)
        again(*command, done=command[0] == "add" and shown(to) == rows)
        assert {entry.row for entry in ledger.read_ledger(to)} == rows
        assert check_leaderboards(to) == []


@pytest.mark.timeout(300)
def test_killed_at_random_moments_the_same_command_completes(start, maker, info, tmp_path):
    kill_at_random(start, maker, info, tmp_path, kills=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_fifty_times_the_same_command_completes(start, maker, info, tmp_path):
    kill_at_random(start, maker, info, tmp_path, kills=50)
