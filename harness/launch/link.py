"""Lines of JSON between a supervisor and its ranks and nodes; an end of the line says that the other one is gone."""

from __future__ import annotations

import hmac
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
        except (TypeError, ValueError):  # none of ours
            return None

    def hang_up(self) -> None:
        """Say no more; the other side learns so at once, and can still be heard."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it."""
        self._socket.close()


def call(address: Address, launch_id: str, **hello: Json) -> Link:
    """Connect, and begin with the launch's id. Raises OSError where nobody answers."""
    connection = socket.create_connection((address.host, address.port), timeout=_CALL_SECONDS)
    connection.settimeout(None)
    link = Link(connection)
    with suppress(OSError):  # gone again, which `heard` tells
        connection.sendall(launch_id.encode())
    link.say(**hello)
    return link


def listening(*, everywhere: bool) -> socket.socket:
    """A socket that listens on a free port, of all interfaces or for this machine alone."""
    dual = everywhere and socket.has_dualstack_ipv6()
    return socket.create_server(
        ("" if everywhere else "127.0.0.1", 0),
        family=socket.AF_INET6 if dual else socket.AF_INET,
        dualstack_ipv6=dual,
    )


class Exchange:
    """The supervisor's side: takes calls, and passes on what is said by those who begin with the launch's id.

    Whoever does not is a stranger: nothing that he sends is looked at, and he is told nothing.
    """

    def __init__(self, launch_id: str, *, everywhere: bool) -> None:
        self._id = launch_id.encode()
        self._listener = listening(everywhere=everywhere)
        self._listener.settimeout(0.0)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._callers: set[Link] = set()
        self._unknown: dict[socket.socket, bytes] = {}
        """With what each has said of the id so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._listener.close()
        for link in self._callers:
            link.close()
        for connection in self._unknown:
            connection.close()

    def dismiss(self, seconds: float, *, well: bool) -> None:
        """Tell all callers that it is over, and whether it went well; wait until they are gone, or so long."""
        self._selector.unregister(self._listener)
        self._listener.close()
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
            if key.fileobj is self._listener:
                self._answer()
            elif isinstance(key.fileobj, Link):
                yield from self._heard(key.fileobj)
            elif isinstance(key.fileobj, socket.socket):
                self._identify(key.fileobj)

    def _answer(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # gone again
            return
        connection.settimeout(0.0)
        self._unknown[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _identify(self, connection: socket.socket) -> None:
        said = self._unknown[connection]
        try:
            more = connection.recv(len(self._id) - len(said))
        except OSError:
            more = b""
        self._unknown[connection] = said + more
        if more and len(said + more) < len(self._id):
            return
        del self._unknown[connection]
        self._selector.unregister(connection)
        if hmac.compare_digest(said + more, self._id):
            connection.settimeout(None)
            link = Link(connection)
            self._callers.add(link)
            self._selector.register(link, selectors.EVENT_READ)
        else:
            connection.close()

    def _heard(self, link: Link) -> Iterator[tuple[Link, dict[str, Any] | None]]:
        heard = link.heard()
        for event in heard or ():
            yield link, event
        if heard is None:
            self._selector.unregister(link)
            self._callers.discard(link)
            link.close()
            yield link, None
