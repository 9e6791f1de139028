"""Lines of JSON between a supervisor and its ranks and nodes; an end of the line says that the other one is gone."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

from harness.canonical import Json, canonical
from harness.launch.order import Address

_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A machine that loses its power ends no connection; its silence does so after 25 seconds."""

_CALL_SECONDS = 30.0


class Link:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._socket = connection
        self._rest = b""
        self.silent = False
        """Whether it ended because the other machine does not answer."""

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def say(self, **event: Json) -> None:
        """One line; nothing where nobody listens any more, which `heard` tells."""
        self.pass_on(canonical(event).encode())

    def pass_on(self, line: bytes) -> None:
        """What somebody else has put into a line."""
        with suppress(OSError):
            self._socket.sendall(line + b"\n")

    def heard(self) -> list[dict[str, Any]] | None:
        """What has come, once there is something to read; None when the other end is gone."""
        try:
            chunk = self._socket.recv(1 << 16)
        except TimeoutError:
            self.silent = True
            return None
        except OSError:
            return None
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        try:
            return [dict(json.loads(line)) for line in lines]
        except (TypeError, ValueError):  # a stranger
            return None

    def hang_up(self) -> None:
        """Say no more; the other side learns so at once, and can still be heard."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it."""
        self._socket.close()


def call(address: Address, **hello: Json) -> Link:
    """Connect and introduce oneself. Raises OSError where nobody answers."""
    connection = socket.create_connection((address.host, address.port), timeout=_CALL_SECONDS)
    connection.settimeout(None)
    link = Link(connection)
    link.say(**hello)
    return link


class Exchange:
    """The supervisor's side: takes calls, and passes on what is said by those who know the launch's id."""

    def __init__(self, launch_id: str, *, everywhere: bool) -> None:
        """Listen on a free port, of all interfaces or for this machine alone."""
        self._id = launch_id
        dual = everywhere and socket.has_dualstack_ipv6()
        self._listener = socket.create_server(
            ("" if everywhere else "127.0.0.1", 0),
            family=socket.AF_INET6 if dual else socket.AF_INET,
            dualstack_ipv6=dual,
        )
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._callers: set[Link] = set()
        self._known: set[Link] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._listener.close()
        for link in self._callers:
            link.close()

    def dismiss(self, seconds: float, *, well: bool) -> None:
        """Tell all callers that it is over, and whether it went well; wait until they are gone, or so long."""
        for link in self._callers:
            if well:
                link.say(event="over")
            link.hang_up()
        end = time.monotonic() + seconds
        while self._callers and time.monotonic() < end:
            for _ in self.events(end - time.monotonic()):
                pass

    def events(self, seconds: float) -> Iterator[tuple[Link, dict[str, Any] | None]]:
        """Wait so long for something; None is the end of a caller."""
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                link = Link(self._listener.accept()[0])
                self._callers.add(link)
                self._selector.register(link, selectors.EVENT_READ, link)
                continue
            link = key.data
            heard = link.heard()
            for event in heard or ():
                if event.pop("launch", None) == self._id:
                    self._known.add(link)
                if link in self._known:
                    yield link, event
            if heard is None:
                self._selector.unregister(link)
                self._callers.discard(link)
                link.close()
                if link in self._known:
                    yield link, None
