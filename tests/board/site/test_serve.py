"""`harness board serve`, asked over its socket."""

import http.client
import os
import shutil
from pathlib import Path
from threading import Thread

import pytest

from harness.board.site.pages import data_policy, index_policy
from harness.board.site.serve import HOST, _regular_file, server
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


SECRET = b"what only this user may read"


@pytest.fixture
def linked(folder, tmp_path):
    """Addresses of the site behind which lies what is not in it, or no file."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "cd34.html").write_bytes(SECRET)
    (folder / "page" / "cd34.html").symlink_to(tmp_path / "elsewhere" / "cd34.html")
    (folder / "ledger.jsonl").symlink_to("../elsewhere/cd34.html")
    os.mkfifo(folder / "board.csv")
    (folder / "leaderboard.json").mkdir()
    return ["/page/cd34.html", "/ledger.jsonl", "/board.csv", "/leaderboard.json"]


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
        assert response.headers["Referrer-Policy"] == "no-referrer"
    response, body = ask("/", "HEAD")
    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "8")


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/", index_policy()),
        ("/index.html", index_policy()),
        ("/page/ab12.html", data_policy()),
        ("/board.json", "default-src 'none'"),
        ("/nothing.html", "default-src 'none'"),
    ],
)
def test_what_a_page_may_do_does_not_depend_on_what_it_says(ask, path, policy):
    for method in ("GET", "HEAD"):
        response, _ = ask(path, method)
        assert response.headers["Content-Security-Policy"] == f"{policy}; frame-ancestors 'self'"


def test_no_link_is_followed_and_no_pipe_waited_for(ask, linked):
    for path in linked:
        response, body = ask(path)
        assert response.status == 404, path
        assert SECRET not in body


def test_a_folder_that_is_a_link_is_not_entered(ask, folder, tmp_path):
    shutil.move(folder / "page", tmp_path / "elsewhere")
    (folder / "page").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "cd34.html").write_bytes(SECRET)
    assert (folder / "page" / "cd34.html").read_bytes() == SECRET
    response, body = ask("/page/cd34.html")
    assert (response.status, SECRET in body) == (404, False)


def test_a_site_may_itself_be_reached_by_a_link(folder, tmp_path):
    (tmp_path / "way").symlink_to(folder)
    assert _regular_file(tmp_path / "way", "page/ab12.html") == b"data"


def test_no_file_stays_open(ask, linked):
    def opened():
        return len(list(Path("/dev/fd").iterdir()))

    ask("/")
    before = opened()
    for path in ["/", "/page/ab12.html", "/page/nothing.html", *linked] * 5:
        ask(path)
    assert opened() <= before + 1  # the connection that was closed last


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
