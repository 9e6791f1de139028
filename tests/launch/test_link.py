"""Who may speak to a supervisor: those who begin with the launch's id, and nobody else."""

import os
import socket
import threading
from contextlib import suppress

import psutil
import pytest

from harness.launch.link import Exchange, call
from harness.launch.order import Address
from harness.launch.supervisor import _store

ID = "0123456789abcdef" * 2

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def exchange():
    with Exchange(ID, everywhere=False) as exchange:
        yield exchange


def heard(exchange, count):
    """The next so many events, however many waits they take."""
    found = []
    while len(found) < count:
        found += [event for _, event in exchange.events(5)]
    return found


@pytest.mark.parametrize(
    "said",
    [
        b'{"event":"ended","code":0}\n',
        b'{"launch":"' + ID.encode() + b'","event":"ended","code":0}\n',
        ID[:-1].encode() + b"0" + b'{"event":"ended","code":0}\n',
        b"[" * 100_000 + b"\n",
        b"\xff" * 100_000,
        b"",
    ],
)
def test_a_stranger_is_not_believed_and_ends_nothing(exchange, said):
    with socket.create_connection(("127.0.0.1", exchange.port)) as stranger:
        talking = threading.Thread(target=send, args=(stranger, said))
        talking.start()
        link = call(Address("127.0.0.1", exchange.port), ID, event="started")
        assert heard(exchange, 1) == [{"event": "started"}]
        link.close()
        assert heard(exchange, 1) == [None]
        exchange.dismiss(0, well=True)
        talking.join(10)


def send(connection, data):
    with suppress(OSError):  # shown the door
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def test_nobody_waits_for_a_stranger_who_says_nothing(exchange):
    with socket.create_connection(("127.0.0.1", exchange.port)):
        link = call(Address("127.0.0.1", exchange.port), ID, event="started")
        assert heard(exchange, 1) == [{"event": "started"}]
        link.close()
        assert heard(exchange, 1) == [None]
        exchange.dismiss(3600, well=True)


def test_an_id_that_comes_in_pieces_is_an_id(exchange):
    with socket.create_connection(("127.0.0.1", exchange.port)) as caller:
        for piece in (ID[:7], ID[7:]):
            caller.sendall(piece.encode())
            assert list(exchange.events(5)) == []
            assert list(exchange.events(0.1)) == []
        caller.sendall(b'{"event":')
        assert list(exchange.events(5)) == []
        caller.sendall(b'"started"}\n')
        assert heard(exchange, 1) == [{"event": "started"}]


def test_a_launch_on_one_machine_listens_to_this_machine_alone(exchange):
    store = _store(everywhere=False)
    listening = psutil.Process(os.getpid()).net_connections("tcp")
    found = {c.laddr.port: c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN}
    assert (found[exchange.port], found[store.port]) == ("127.0.0.1", "127.0.0.1")
