"""Another node than the first: it waits for stages that are launched over the shared store, and takes part in them."""

from __future__ import annotations

import platform
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from harness.launch.launchers import start
from harness.launch.link import Link, call
from harness.launch.order import FILE, LOGS, Order
from harness.processes import end_group

_POLL_SECONDS = 0.5

_LEAVE_SECONDS = 10.0

_ANSWER_SECONDS = 30.0


class JoinError(OSError):
    """This node takes no part in a launch; nothing was started."""


def join(path: Path, node: int) -> bool:
    """Start this node's ranks of a launch, and stay until it is over; returns whether it went well.

    `path` is the launch's order, `node` this node's rank from 1 on. Everything started here is gone on the way out.
    Raises JoinError where the launch is over already, has such a node, or its supervisor cannot be reached.
    """
    order = Order.read(path)
    try:
        link = call(order.supervisor, order.id, event="node", node=node, host=platform.node())
    except OSError as error:
        raise JoinError(f"its supervisor on {order.supervisor.host} does not answer ({error})") from None
    with closing(link):
        _be_welcome(link)
        launcher = start(order, path, node)
        try:
            return _stay(link, launcher, path.parent / LOGS / f"node-{node}.log")
        finally:
            end_group(launcher)


def _be_welcome(link: Link) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(link, selectors.EVENT_READ)
        heard: list[dict[str, Any]] | None = []
        while heard == []:
            heard = link.heard() if selector.select(_ANSWER_SECONDS) else None
    if not heard:
        raise JoinError("it is over")
    if heard[0]["event"] == "declined":
        raise JoinError(heard[0]["why"])


def _stay(link: Link, launcher: subprocess.Popen[str], log: Path) -> bool:
    told = False
    with selectors.DefaultSelector() as selector:
        selector.register(link, selectors.EVENT_READ)
        while True:
            if selector.select(_POLL_SECONDS) and (heard := link.heard()) != []:
                well = heard is not None  # the end of the line says that it failed, or that the supervisor is dead
                with suppress(subprocess.TimeoutExpired):
                    launcher.wait(_LEAVE_SECONDS if well else 0)
                return well
            if launcher.poll() and not told:
                link.say(event="launcher", code=launcher.returncode, log=str(log))
                told = True


def serve(store: Path, node: int, say: Callable[[str], None], *, once: bool, idle: float | None) -> bool:
    """Take part in one launch after another, as they appear in the store; returns whether the last one went well.

    `once` ends after the first, `idle` after so many seconds without one.
    """
    absent = "" if store.is_dir() else ", which is not there yet"
    say(f"node {node} on {platform.node()} waits for stages in {store}{absent}")
    seen: set[tuple[Path, int]] = set()
    well, last = True, time.monotonic()
    while idle is None or time.monotonic() - last < idle:
        for path in _new(store, seen):
            joined = _take_part(path, node, say)
            if joined is not None:
                well, last = joined, time.monotonic()
                if once:
                    return well
        time.sleep(_POLL_SECONDS)
    return well


def _new(store: Path, seen: set[tuple[Path, int]]) -> Iterator[Path]:
    """Orders that were not there before; each launch writes its own anew."""
    for path in sorted(store.glob(f"partial/*/{FILE}")):
        try:
            launch = (path, path.stat().st_mtime_ns)
        except FileNotFoundError:  # over already
            continue
        if launch not in seen:
            seen.add(launch)
            yield path


def _take_part(path: Path, node: int, say: Callable[[str], None]) -> bool | None:
    """Whether the launch went well; None where there is nothing to take part in."""
    try:
        order = Order.read(path)
    except FileNotFoundError:
        return None
    except ValueError:
        say(f"cannot join: {path} is of another version of the harness")
        return None
    label, nodes = order.job.label, order.execution.nodes
    if node >= nodes:
        say(f"not for this node: {label} is trained on {nodes} node{'' if nodes == 1 else 's'}")
        return None
    say(f"joins: {label}")
    try:
        well = join(path, node)
    except OSError as error:
        say(f"cannot join: {label}: {error}")
        return None
    say(f"done: {label}" if well else f"failed: {label}; the first node says why")
    return well
