"""`harness board serve`, asked over its socket."""

import http.client
from threading import Thread

import pytest

from harness.board.site.serve import HOST, server
from harness.errors import Failure

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def folder(tmp_path):
    site = tmp_path / "site"
    (site / "page").mkdir(parents=True)
    (site / "index.html").write_text("the page")
    (site / "page" / "ab12.html").write_text("data")
    (site / "board.json").write_text("{}")
    (site / ".hidden.html").write_text("no")
    (site / "page" / ".hidden.html").write_text("no")
    for name in ("plan.py", "plan.json", "notes.html", "page/plan.json"):
        (site / name).write_text("no")
    (tmp_path / "secret.html").write_text("no")
    return site


@pytest.fixture
def ask(folder):
    with server(folder, 0) as serving:
        thread = Thread(target=serving.serve_forever)
        thread.start()

        def ask(path, method="GET", **headers):
            connection = http.client.HTTPConnection(HOST, serving.server_port, timeout=20)
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            connection.close()
            return response, body

        yield ask
        serving.shutdown()
        thread.join()


def test_the_site_is_given_out_with_headers_that_keep_it_to_itself(ask):
    for path, content in (
        ("/", b"the page"),
        ("/index.html?x=1", b"the page"),
        ("/page/ab12.html", b"data"),
        ("/board.json", b"{}"),
    ):
        response, body = ask(path)
        assert (response.status, body) == (200, content)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"] == "frame-ancestors 'self'"
        assert response.headers["Referrer-Policy"] == "no-referrer"
    response, body = ask("/", "HEAD")
    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "8")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/..%2fsecret.html",
        "/page/../../secret.html",
        "/.hidden.html",
        "/plan.py",
        "/plan.json",
        "/notes.html",
        "/page/plan.json",
        "/page/.hidden.html",
        "/page",
        "/nothing.html",
        "//etc/passwd",
        "/page//etc/passwd",
        "/page/ab12.html%00.json",
    ],
)
def test_nothing_else_is(ask, path):
    response, body = ask(path)
    assert response.status == 404
    assert body != b"no"


def test_another_name_for_this_machine_is_another_site(ask):
    """A page of elsewhere whose name was pointed here would otherwise read the board as its own."""
    assert ask("/", Host="evil.example:8000")[0].status == 421
    assert ask("/", Host="localhost:8000")[0].status == 200


def test_only_this_machine_is_answered(folder):
    with server(folder, 0) as serving:
        assert serving.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_named(folder):
    with server(folder, 0) as serving, pytest.raises(Failure, match=f"port {serving.server_port} cannot be used"):
        server(folder, serving.server_port)
