"""Sending a board to a dataset repository, through the hub's own client and a server of the addresses it asks."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

from harness.board.outlet.contents import Content
from harness.errors import Failure, UserError

TOKEN = "hf_secret"
TARGET = "hf://datasets/owner/board"


class Repository:
    """A dataset repository in memory: files, commits, and what goes wrong."""

    def __init__(self):
        self.files: dict[str, bytes] = {".gitattributes": b""}
        self.commits = [self._name(0)]
        self.messages: list[str] = []
        self.authorizations: set[str | None] = set()
        self.fails: dict[str, tuple[int, str]] = {}
        """Part of an address to the status and the words of its answer."""
        self.ignored = ()
        """Paths that its `.gitignore` matches."""
        self.before_commit = lambda: None

    @staticmethod
    def _name(number):
        return hashlib.sha1(str(number).encode()).hexdigest()

    @property
    def head(self):
        return self.commits[-1]

    def tree(self):
        return [
            {"type": "file", "path": path, "size": len(content), "oid": Content(content).blob}
            for path, content in sorted(self.files.items())
        ]

    def commit(self, lines):
        """Apply all operations, or raise and apply none."""
        header, *operations = [(line["key"], line["value"]) for line in lines]
        assert header[0] == "header"
        self.before_commit()
        if header[1].get("parentCommit") not in (None, self.head):
            raise PermissionError("the repository has moved on")
        files = dict(self.files)
        for kind, value in operations:
            if kind == "deletedFile":
                del files[value["path"]]
            else:
                assert (kind, value["encoding"]) == ("file", "base64")
                files[value["path"]] = base64.b64decode(value["content"])
        self.files = files
        self.messages.append(header[1]["summary"])
        self.commits.append(self._name(len(self.commits)))


class Hub(BaseHTTPRequestHandler):
    """The addresses of one dataset repository, `owner/board`."""

    repository: Repository

    def log_message(self, *_):
        pass

    def answer(self, status, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handled(self):
        """Answer as the repository is told to fail; whether it did."""
        if "owner/board" in self.path:
            self.repository.authorizations.add(self.headers.get("authorization"))
        for part, (status, words) in self.repository.fails.items():
            if part in self.path:
                self.answer(status, {"error": words}, X_Error_Message=words)
                return True
        if "owner/board" not in self.path:
            self.answer(404, {"error": "not found"}, X_Error_Code="RepoNotFound")
            return True
        return False

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if self.handled():
            return
        path, repository = unquote(urlsplit(self.path).path), self.repository
        if "/tree/" in path:
            assert repository.head in path
            self.answer(200, repository.tree())
        elif "/resolve/" in path:
            content = repository.files[path.split(f"/resolve/{repository.head}/")[1]]
            self.answer(200, content, ETag=f'"{Content(content).blob}"', X_Repo_Commit=repository.head)
        else:
            self.answer(200, {"id": "owner/board", "sha": repository.head, "private": False, "siblings": []})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.handled():
            return
        if "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            ignored = self.repository.ignored
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": file["path"] in ignored}
                for file in asked
            ]
            self.answer(200, {"files": modes})
            return
        assert "/commit/" in self.path
        try:
            self.repository.commit([json.loads(line) for line in body.splitlines()])
        except PermissionError as error:
            self.answer(412, {"error": str(error)}, X_Error_Message=str(error))
            return
        oid = self.repository.head
        self.answer(
            200, {"commitOid": oid, "commitUrl": f"http://{self.headers['Host']}/datasets/owner/board/commit/{oid}"}
        )


@pytest.fixture
def board(public, belongs):
    return public, belongs


@contextmanager
def serving(repository):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Hub,), {"repository": repository}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@pytest.fixture
def hub(monkeypatch):
    repository = Repository()
    with serving(repository) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits between its attempts
        yield repository


def test_one_commit_holds_what_belongs_and_nothing_else(public, belongs, hub, do):
    result = do.publish(TARGET, public)
    assert result.stdout == f"{TARGET}: {len(belongs)} added, commit {hub.head[:12]}\n"
    assert hub.files == belongs | {".gitattributes": b""}
    assert hub.messages == ["Publish 2 rows"]
    assert hub.authorizations == {f"Bearer {TOKEN}"}
    assert do.publish(TARGET, public).stdout == f"{TARGET} is up to date\n"
    assert len(hub.messages) == 1


def test_a_dry_run_needs_no_token_and_changes_nothing(public, belongs, hub, monkeypatch, do):
    monkeypatch.delenv("HF_TOKEN")
    result = do.publish(TARGET, public, "--dry-run")
    assert result.stdout.splitlines() == [f"+ {name}" for name in sorted(belongs)]
    assert hub.messages == []
    assert hub.authorizations == {None}
    with pytest.raises(UserError, match="set HF_TOKEN"):
        do.publish(TARGET, public)


def test_a_second_time_sends_what_is_new_and_removes_pages_that_are_gone(run, public, hub, do):
    do.publish(TARGET, public)
    hub.files["site/page/old.html"] = b"of an earlier site"
    before = dict(hub.files)
    do.add(run, public, "dmt+im")
    foretold = do.publish(TARGET, public, "--dry-run").stdout.splitlines()
    do.publish(TARGET, public)
    done = [f"+ {name}" for name in sorted(hub.files.keys() - before.keys())]
    done += [f"~ {name}" for name in sorted(hub.files.keys() & before.keys()) if hub.files[name] != before[name]]
    done += [f"- {name}" for name in sorted(before.keys() - hub.files.keys())]
    assert foretold == done
    assert hub.messages[-1] == "Publish 1 row"


def test_another_ledger_is_not_written_over(run, public, hub, do):
    do.add(run, public.parent / "other", "dmt+im")
    do.publish(TARGET, public.parent / "other")
    before = dict(hub.files)
    with pytest.raises(UserError, match="has entries that this one has not"):
        do.publish(TARGET, public)
    assert hub.files == before


FAILURES = [(500, "out of order"), (403, "not yours to write"), (413, "too large")]


@pytest.mark.parametrize("part", ["/preupload/", "/commit/", "/tree/", "/api/datasets/owner/board"])
@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_hub_that_fails_loses_nothing_and_is_told_in_one_line(board, hub, do, part, failure):
    public, belongs = board
    hub.fails[part] = failure
    here, there = do.files(public), dict(hub.files)
    with pytest.raises(Failure) as error:
        do.publish(TARGET, public)
    assert f"{TARGET} " in error.value.problem
    assert ": {} {}".format(*failure) in error.value.problem
    assert "\n" not in str(error.value)
    assert TOKEN not in str(error.value)
    assert do.files(public) == here
    assert hub.files == there
    hub.fails.clear()
    do.publish(TARGET, public)
    assert hub.files == belongs | {".gitattributes": b""}


def test_a_ledger_that_cannot_be_read_is_not_taken_for_none(run, public, hub, do):
    do.publish(TARGET, public)
    do.add(run, public, "dmt+im")
    hub.fails["/resolve/"] = (404, "gone")
    before = dict(hub.files)
    with pytest.raises(Failure, match="could not be read"):
        do.publish(TARGET, public)
    assert hub.files == before


def test_whoever_commits_in_between_is_not_written_over(public, hub, do):
    def other():
        hub.before_commit = lambda: None
        hub.files["ledger.jsonl"] = b"theirs\n"
        hub.commits.append("f" * 40)

    hub.before_commit = other
    with pytest.raises(Failure, match="did not take the commit: 412 the repository has moved on"):
        do.publish(TARGET, public)
    assert hub.files["ledger.jsonl"] == b"theirs\n"


def test_what_the_repository_ignores_is_missed(public, belongs, hub, do):
    hub.ignored = {name for name in belongs if name.startswith("samples/")}
    with pytest.raises(Failure, match=rf"left out {len(hub.ignored)} of {len(belongs)} files in .*: samples/") as error:
        do.publish(TARGET, public)
    assert ".gitignore" in error.value.remedy
    assert hub.files.keys() == {".gitattributes", *belongs} - hub.ignored
    hub.ignored = ()
    do.publish(TARGET, public)
    assert hub.files == belongs | {".gitattributes": b""}


@pytest.mark.usefixtures("hub")
def test_a_hub_that_is_not_there_is_named(public, monkeypatch, do):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Failure, match=r"hf://datasets/owner/board could not be read: .*onnect"):
        do.publish(TARGET, public)


@pytest.mark.usefixtures("hub")
def test_what_is_no_repository_is_named(public, do):
    with pytest.raises(UserError, match="there is no hf://datasets/owner/other"):
        do.publish("hf://datasets/owner/other", public)
    with pytest.raises(UserError, match="is no dataset repository"):
        do.publish("hf://datasets/board", public)
    with pytest.raises(UserError, match="needs no push"):
        do.publish(TARGET, public, "--push")
