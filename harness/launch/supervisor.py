"""A worker's side of a launch: it starts the launcher, listens to the ranks, and makes one outcome of what they say."""

from __future__ import annotations

import platform
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from harness.canonical import canonical
from harness.context import Context, Progress
from harness.data.resolve import Places
from harness.errors import Failure, HarnessError
from harness.estimate.relief import relief_of
from harness.jobs import Job
from harness.launch.launchers import BRINGS_NO_STORE, check, meeting_point, start
from harness.launch.link import Exchange, Link, listening
from harness.launch.order import LOGS, Address, Order
from harness.launch.verdict import Rank, verdict
from harness.machine import killed_for_memory
from harness.processes import end_group, how_it_ended

EVENTS = "events.jsonl"
"""What the ranks of a launch said but for progress: when each was started, on which host, and how it ended."""

START_TIMEOUT = 300.0

_POLL_SECONDS = 0.2

_SETTLE_SECONDS = 1.0
"""From the first bad news to the verdict: time enough for the one that caused it to be heard."""

_LEAVE_SECONDS = 10.0
"""What launchers have to see for themselves that their ranks are done, and the others to go when it is over."""


def launch(job: Job, places: Places, context: Context) -> Mapping[str, Any]:
    """Train the job's stage in `context.execution.world_size` processes; the outcome is that of rank 0.

    Raises what the rank to blame raised, or a Failure naming the rank that died. Every process is gone on the way out.
    """
    execution = context.execution
    check(execution)
    folder = context.folder.absolute()
    shutil.rmtree(folder / LOGS, ignore_errors=True)
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    launch_id = secrets.token_hex(16)
    several = execution.nodes > 1
    host = meeting_point(execution).host if several else "127.0.0.1"
    store = _store(everywhere=several) if execution.launcher in BRINGS_NO_STORE else None
    with Exchange(launch_id, everywhere=several) as exchange:
        order = Order(
            id=launch_id,
            job=job,
            places=Places(*(place.absolute() if place else None for place in (places.data_root, places.cache))),
            parents={role: parent.absolute() for role, parent in context.parents.items()},
            runtime=context.runtime,
            execution=execution,
            supervisor=Address(host, exchange.port),
            store=Address(host, store.port) if store else None,
            working_folder=Path.cwd(),
        )
        path, launcher, well = order.write(folder), None, False
        try:
            launcher = start(order, path, 0)
            with (folder / LOGS / EVENTS).open("w", buffering=1) as events:
                outcome = _Supervisor(order, folder / LOGS, context, exchange, launcher, events).supervise()
            well = True
            return outcome
        finally:
            path.unlink(missing_ok=True)
            if launcher is not None:
                end_group(launcher)
            exchange.dismiss(_LEAVE_SECONDS, well=well)


def _store(*, everywhere: bool) -> Any:
    """Told only a port, the store would listen on all interfaces, to whoever calls."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, but left out of __all__

    listener = listening(everywhere=everywhere)
    port = listener.getsockname()[1]
    return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())


@dataclass
class _Supervisor:
    order: Order
    logs: Path
    context: Context
    exchange: Exchange
    launcher: subprocess.Popen[str]
    events: TextIO
    ranks: dict[Link, Rank] = field(default_factory=dict)
    nodes: dict[Link, str] = field(default_factory=dict)
    taken: dict[int, str] = field(default_factory=dict)
    """By number, the hosts of the nodes that are here."""
    lost: str | None = None
    """What to say of the first launcher that ended before its time."""
    outcome: Mapping[str, Any] | None = None
    troubled_at: float | None = None
    kills: int = field(default_factory=killed_for_memory)
    """Processes that this machine's kernel had killed for memory when the launch began."""

    def supervise(self) -> Mapping[str, Any]:
        patience = self.context.runtime.get("start_timeout") or START_TIMEOUT
        give_up = time.monotonic() + patience
        while not self.finished():
            launched = self.launcher.poll()
            for link, event in self.exchange.events(_POLL_SECONDS):
                self.hear(link, event)
            if launched is not None and not self.finished():
                self.lose(f"the launcher {how_it_ended(launched)}", self.logs / "node-0.log")
            if self.troubled_at is not None and (
                self.all_told() or time.monotonic() - self.troubled_at >= _SETTLE_SECONDS
            ):
                raise self.failure()
            if time.monotonic() >= give_up and len(self.ranks) < self.order.execution.world_size:
                raise self.never_started(patience)
        with suppress(subprocess.TimeoutExpired):
            self.launcher.wait(_LEAVE_SECONDS)
        if self.outcome is None:
            raise Failure(f"{self.order.job.label}: the ranks ended without a result", f"see {self.logs}")
        return self.outcome

    def finished(self) -> bool:
        """Whether every rank has ended, and well."""
        ended = [rank for rank in self.ranks.values() if rank.code == 0]
        return len(ended) == self.order.execution.world_size

    def all_told(self) -> bool:
        """Whether every rank has ended, somehow."""
        return sum(rank.ended for rank in self.ranks.values()) == self.order.execution.world_size

    # --- listening ------------------------------------------------------------------------------------------------

    def hear(self, link: Link, event: dict[str, Any] | None) -> None:
        if event is None:
            self.left(link)
            return
        kind = event.pop("event")
        if kind == "progress":
            self.context.progress(Progress(**event))
        elif kind == "notice":
            self.context.notice(event["text"])
        else:
            self.note(link, kind, event)

    def note(self, link: Link, kind: str, event: dict[str, Any]) -> None:
        """Whatever tells where a rank or a node stands."""
        if kind == "started":
            self.ranks[link] = Rank(event["rank"], event["host"], event["pid"])
        elif kind == "node":
            self.answer(link, event["node"], event["host"])
        elif kind == "launcher":
            self.lose(f"the launcher of {self.nodes[link]} {how_it_ended(event['code'])}", Path(event["log"]))
        elif kind == "done":
            self.outcome = event.pop("outcome") or self.outcome
        else:
            rank = self.ranks[link]
            if kind == "failed":
                rank.failed = event
            else:
                rank.code = event["code"]
            if kind == "failed" or rank.code != 0:
                self.trouble(rank)
        self.record(link, kind, event)

    def answer(self, link: Link, node: int, host: str) -> None:
        """A node starts its ranks when it is welcome: two of one number would start the same."""
        if node in self.taken:
            link.say(event="declined", why=f"node {node} is there already, on {self.taken[node]}")
        else:
            self.taken[node], self.nodes[link] = host, f"node {node} on {host}"
            link.say(event="welcome")

    def left(self, link: Link) -> None:
        """A rank goes when it has said how it ended, a node when it has ended its launcher."""
        rank = self.ranks.get(link)
        if rank is None:
            if link in self.nodes and not self.finished():
                self.lose(f"{self.nodes[link]} is gone", self.logs)
        elif rank.code is None:
            rank.lost, rank.silent = True, link.silent
            self.trouble(rank)
            self.record(link, "lost", {})

    def trouble(self, rank: Rank) -> None:
        now = time.monotonic()
        rank.troubled_at = rank.troubled_at or now
        self.troubled_at = self.troubled_at or now

    def lose(self, what: str, log: Path) -> None:
        self.lost = self.lost or f"{what}{_last_words(log)}"
        self.troubled_at = self.troubled_at or time.monotonic()

    def record(self, link: Link, kind: str, event: Mapping[str, Any]) -> None:
        rank = self.ranks.get(link)
        known = {"rank": rank.number, "host": rank.host} if rank else {}
        self.events.write(canonical({"time": time.time(), "event": kind, **known, **event}) + "\n")

    # --- failing --------------------------------------------------------------------------------------------------

    def failure(self) -> HarnessError:
        short = killed_for_memory() > self.kills
        known = {platform.node(): relief_of(self.order.job, self.order.parents)} if short else None
        found = verdict(self.order.job.label, self.ranks.values(), self.logs, known)
        return found or Failure(f"{self.order.job.label}: {self.lost}", f"the logs of this launch are in {self.logs}")

    def never_started(self, patience: float) -> HarnessError:
        execution, started = self.order.execution, {rank.number for rank in self.ranks.values()}
        absent = [n for n in range(execution.world_size) if n not in started]
        nodes = sorted({n // execution.processes for n in absent} - {0})
        if execution.nodes > 1:
            remedy = (
                f"start `harness node {nodes[0] if nodes else 1} --store DIR` there, and see that "
                f"{meeting_point(execution).host} is this machine and can be reached; "
            )
        else:
            remedy = ""
        return Failure(
            f"{self.order.job.label}: after {patience:g} s, {len(started)} of {execution.world_size} ranks have "
            f"started, and rank {absent[0]} has not",
            f"{remedy}raise runtime.start_timeout if it needs longer; the logs are in {self.logs}",
        )


def _last_words(log: Path) -> str:
    """What a launcher said last that speaks of an error, for a line of ours."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    errors = [line for line in lines if "Error" in line]
    return f": {errors[-1]}" if errors else ""
