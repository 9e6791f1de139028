"""One rank of a launched stage: `python -m harness.launch.rank ORDER`, as launchers start it.

The process forks before anything heavy is imported. The child trains; the parent stays as its guard. Training code can
hang, be killed, or hold the interpreter for minutes: the guard still tells the supervisor, and still ends the trainer
when the supervisor goes.
"""

from __future__ import annotations

import os
import platform
import selectors
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from harness.canonical import Json, canonical
from harness.context import Context, Progress
from harness.devices import VISIBLE
from harness.errors import Failure, HarnessError, told
from harness.jobs import Train
from harness.launch.launchers import GPUS
from harness.launch.link import Link, call
from harness.launch.order import LOGS, Order
from harness.processes import die_with_parent
from harness.scene import Scene

if TYPE_CHECKING:
    from typing import TextIO

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_PEER_IS_GONE = ("closed by peer", "reset by peer", "broken pipe", "remote process exited", "communicator was aborted")
_PEER_IS_LATE = ("timed out", "timeout")
"""What gloo and NCCL say in a rank that waits for another."""


def main() -> None:
    """Train this rank's part of the stage, under guard."""
    path = Path(sys.argv[-1])
    order = Order.read(path)
    rank = int(os.environ.setdefault("RANK", "0"))  # accelerate sets none of them for one process
    os.environ.setdefault("LOCAL_RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    said, saying = os.pipe()
    guard = os.getpid()
    trainer = os.fork()
    if trainer == 0:
        die_with_parent(guard)
        os.setpgid(0, 0)
        os.close(said)
        _train(order, path.parent, rank, saying)
    os.close(saying)
    try:
        link = call(
            order.supervisor,
            order.id,
            event="started",
            rank=rank,
            pid=trainer,
            guard=guard,
            host=platform.node(),
        )
    except OSError as error:
        _kill(trainer)
        sys.exit(f"rank {rank}: the supervisor at {order.supervisor.host} does not answer: {error}")
    _Guard(trainer, link, said).watch()


# --- the guard -----------------------------------------------------------------------------------------------------


class _Guard:
    """Stands between the trainer and the supervisor until one of them ends."""

    def __init__(self, trainer: int, link: Link, said: int) -> None:
        self.trainer = trainer
        self.link = link
        self.said = said
        self.rest = b""
        self.stopped_by: int | None = None

    def watch(self) -> NoReturn:
        """Pass on what the trainer says, and end as it ended."""
        woken, waking = os.pipe()
        os.set_blocking(waking, False)
        signal.set_wakeup_fd(waking)
        for number in (signal.SIGCHLD, *_STOPPING):
            signal.signal(number, lambda *_: None)  # they arrive through the pipe
        with selectors.DefaultSelector() as selector:
            for source in (self.link, self.said, woken):
                selector.register(source, selectors.EVENT_READ)
            self.reap()  # it may have ended before anybody listened
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self.link and self.link.heard() is None:
                        _kill(self.trainer)
                        sys.exit(1)
                    elif key.fd == self.said:
                        if not self.pass_on():
                            selector.unregister(self.said)
                    elif key.fd == woken:
                        for signalled in os.read(woken, 1 << 10):
                            self.signalled(signalled)

    def pass_on(self) -> bool:
        """What the trainer said; False when it says no more."""
        chunk = os.read(self.said, 1 << 16)
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        for line in lines:
            self.link.pass_on(line)
        return bool(chunk)

    def signalled(self, number: int) -> None:
        """Its end is told; who stops the guard stops the trainer."""
        if number in _STOPPING:
            self.stopped_by = self.stopped_by or number
            _kill_group(self.trainer)
        else:
            self.reap()

    def reap(self) -> None:
        """If the trainer has ended, say how, and end."""
        pid, status, usage = os.wait4(self.trainer, os.WNOHANG)
        if pid == 0:
            return
        os.set_blocking(self.said, False)
        with suppress(BlockingIOError):
            while self.pass_on():
                pass
        _kill_group(self.trainer)  # what it leaves behind
        code = os.waitstatus_to_exitcode(status)
        if self.stopped_by is not None and code == -signal.SIGKILL:
            code = -self.stopped_by
        self.link.say(event="ended", code=code, peak_bytes=usage.ru_maxrss * 1024)
        self.link.close()
        sys.exit(code if code >= 0 else 128 - code)


def _kill(trainer: int) -> None:
    _kill_group(trainer)
    with suppress(ChildProcessError):
        os.waitpid(trainer, 0)


def _kill_group(trainer: int) -> None:
    for kill in (os.killpg, os.kill):  # its group is made in its first moments
        with suppress(ProcessLookupError):
            kill(trainer, signal.SIGKILL)


# --- the trainer ---------------------------------------------------------------------------------------------------


def _train(order: Order, folder: Path, rank: int, saying: int) -> NoReturn:
    with (folder / LOGS / f"{rank}.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    code = 1
    with os.fdopen(saying, "w", buffering=1, encoding="utf-8") as out:
        try:
            outcome = _outcome(order, folder, rank, out)
            _say(out, event="done", outcome=outcome if rank == 0 else None)
            code = 0
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is told
            traceback.print_exc()
            _say(out, event="failed", **_told(error))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by way of the interpreter's end: threads of torch's stores and process groups can abort a process there whose
    # work is done, or hold one up that has failed.
    os._exit(code)


def _told(error: Exception) -> dict[str, Json]:
    if isinstance(error, HarnessError):
        said, because = error, None
    else:
        text = str(error).strip().splitlines()
        said = Failure(f"{type(error).__name__}: {text[0] if text else 'no message'}")
        because = _because_of_others(error)
    return {**told(said), "expected": isinstance(error, HarnessError), "because": because}


def _outcome(order: Order, folder: Path, rank: int, out: TextIO) -> Json:
    _surroundings(order)
    from harness.train.job import train

    scene = Scene(order.job, order.places)

    def progress(now: Progress) -> None:
        if rank == 0:
            _say(out, event="progress", **asdict(now))

    def notice(text: str) -> None:
        if rank == 0:
            _say(out, event="notice", text=text)

    context = Context(
        folder,
        order.parents,
        order.runtime,
        progress,
        order.execution,
        notice,
        order.job.label,
        scene.recipe.name,
    )
    declared = Train.model_validate(order.job.declared)
    return train(declared, scene.sources_of(declared.items(), order.parents), scene.loss(), context)


def _surroundings(order: Order) -> None:
    """Be where the command was given, among as many as were promised, with what the launcher did not set."""
    started, promised = int(os.environ["WORLD_SIZE"]), order.execution.world_size
    if started != promised:
        raise Failure(
            f"{order.execution.launcher} started a world of {started} where {promised} were promised",
            "look into the launcher's log for why; train.processes times train.nodes have to start",
        )
    try:
        os.chdir(order.working_folder)
    except OSError:
        raise Failure(
            f"{order.working_folder} is not there on {platform.node()}",
            "nodes share the folder in which the command is given, and the store",
        ) from None
    if GPUS in os.environ:
        os.environ[VISIBLE] = os.environ[GPUS]
    if order.store is not None:
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = order.store.host, str(order.store.port)
        os.environ["TORCHELASTIC_USE_AGENT_STORE"] = str(True)  # it is there: rank 0 need not open one


def _because_of_others(error: Exception) -> str | None:
    """`gone` or `late` where another rank is to blame, as far as the error tells."""
    import torch

    if not isinstance(error, RuntimeError | torch.distributed.DistError | ConnectionError):
        return None
    text = str(error).lower()
    if any(words in text for words in _PEER_IS_GONE):
        return "gone"
    return "late" if any(words in text for words in _PEER_IS_LATE) else None


def _say(out: TextIO, **event: Json) -> None:
    out.write(canonical(event) + "\n")


if __name__ == "__main__":
    main()
