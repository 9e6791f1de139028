"""Sandboxes of several users, each kept by a process of its own."""

import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from harness.api import Execution


@dataclass
class Keeper:
    """A harness that runs as `user`; `run` is its sandbox's."""

    process: subprocess.Popen
    user: int
    tier: str | None
    refused: str | None

    @property
    def pid(self):
        return self.process.pid

    def run(self, code, entry_point="f", checks="def check(f):\n    assert f(1) == 2", timeout=2.0, memory_gib=1.0):
        given = {
            "code": code,
            "entry_point": entry_point,
            "checks": checks,
            "timeout": timeout,
            "memory_gib": memory_gib,
        }
        self.process.stdin.write(json.dumps(given) + "\n")
        self.process.stdin.flush()
        return Execution(**json.loads(self.process.stdout.readline()))

    def told(self, code, *arguments, **limits):
        """The text that the function returns, got out by the checks: what a program has learnt."""
        given = ", ".join(map(repr, arguments))
        return self.run(code, checks=f"def check(f):\n    raise LookupError(str(f({given})))", **limits).detail


@pytest.fixture(scope="session")
def keep():
    """Starts a keeper: `keep(user, tier, *lacking)`."""
    started = []

    def start(user, tier="any", *lacking, path=None):
        if user != os.geteuid() and os.geteuid() != 0:
            pytest.skip(f"only root can be user {user}")
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("keeper.py")), str(user), tier, *lacking],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HARNESS_TEST_SECRET": "in the environment", "PATH": path or os.environ["PATH"]},
        )
        started.append(process)
        hello = json.loads(process.stdout.readline())
        return Keeper(process, user, hello.get("tier"), hello.get("refused"))

    yield start
    for process in started:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=30)


@dataclass
class World:
    """What there is outside: files, sockets and a process of the keeper's user, and whether they were touched."""

    keeper: Keeper
    folder: Path
    secret: str = field(default_factory=lambda: f"secret-{secrets.token_hex(16)}")

    def __post_init__(self):
        self.home, self.outside = self.folder / "home", self.folder / "outside"
        self.shared = Path("/dev/shm", self.secret)
        for place in (self.home, self.outside):
            place.mkdir()
        (self.home / self.secret).write_text(self.secret)
        (self.outside / "file").write_text("as it was")
        # Open to everybody, so that nothing but the walls keeps a program from it.
        for place in (self.folder, *self.folder.rglob("*")):
            os.chown(place, self.keeper.user, self.keeper.user)
            place.chmod(0o777)
        self.before = self._state()
        self.victim = subprocess.Popen(
            ["/bin/sh", "-c", "read _", self.secret],
            stdin=subprocess.PIPE,
            env={"HELD": self.secret},
            user=self.keeper.user,
            start_new_session=True,
        )
        self.victim_before = self._victim_state()
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.datagrams = [
            socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, *[socket.AF_UNIX] * 2)
        ]
        for listener, address in zip(self.datagrams, (("127.0.0.1", 0), self._unix(), self._abstract()), strict=True):
            listener.bind(address)
        Path(self._unix()).chmod(0o777)

    def checks(self):
        """Checks that call the function with where everything is, and tell what it returned."""
        return f"def check(f):\n    raise LookupError(str(f({self._told()!r})))"

    def _told(self):
        return {
            "secret_file": str(self.home / self.secret),
            "home": str(self.home),
            "outside": str(self.outside),
            "file": str(self.outside / "file"),
            "shared": str(self.shared),
            "victim": self.victim.pid,
            "keeper": self.keeper.pid,
            "tcp": self.tcp.getsockname()[1],
            "udp": self.datagrams[0].getsockname()[1],
            "unix": self._unix(),
            "abstract": self._abstract(),
        }

    def _unix(self):
        return str(self.folder / "socket")

    def _abstract(self):
        return f"\0{self.folder}"

    def _state(self):
        files = {path.name: path.lstat() for path in self.outside.iterdir()}
        return {name: (s.st_mode, s.st_size, s.st_mtime_ns) for name, s in files.items()}, self.shared.exists()

    def changed(self):
        return self._state() != self.before

    def heard(self):
        """Whether anything came in at one of the sockets."""
        ready, _, _ = select.select([self.tcp, *self.datagrams], [], [], 0)
        return bool(ready)

    def survivors(self):
        """What lives on of the keeper's programs: orphans become the keeper's."""
        children = psutil.Process(self.keeper.pid).children(recursive=True)
        return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]

    def _victim_state(self):
        process = psutil.Process(self.victim.pid)
        return process.nice(), process.cpu_affinity(), Path(f"/proc/{self.victim.pid}/limits").read_text()

    def victim_hurt(self):
        return self.victim.poll() is not None or self._victim_state() != self.victim_before

    def end(self):
        for process in (*self.survivors(), self.victim):
            process.kill()
        self.victim.wait()
        self.victim.stdin.close()
        for listener in (self.tcp, *self.datagrams):
            listener.close()
        self.shared.unlink(missing_ok=True)
        shutil.rmtree(self.folder)


@pytest.fixture
def world():
    """Makes what surrounds a keeper: `world(keeper)`."""
    made = []

    def make(keeper):
        made.append(World(keeper, Path(tempfile.mkdtemp())))
        return made[-1]

    yield make
    for place in made:
        place.end()
