"""Downloads, by the real client, from a hub of our own on this machine or from none at all."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from harness.api import Hub
from harness.data.hub import download, training_files
from harness.data.sources import from_text, read
from harness.errors import UserError

ROWS = b'{"prompt": "q", "completion": "a"}\n'
COMMIT = "0" * 39 + "1"


class Hubbub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks for: one public dataset, one gated, one without the file."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        path = self.path.split("?")[0]
        if path.startswith("/api/datasets/org/public"):
            tree = [{"type": "file", "path": "data/train.jsonl", "size": len(ROWS), "oid": COMMIT}]
            return self.send(200, json.dumps(tree).encode(), body=body)
        if path.endswith("/org/public/resolve/main/data/train.jsonl"):
            return self.send(200, ROWS, body=body, **{"X-Repo-Commit": COMMIT, "ETag": '"1"'})
        codes = {
            "gated": (403, "GatedRepo"),
            "public": (404, "EntryNotFound"),
            "pinned": (404, "RevisionNotFound"),
            "barred": (451, ""),
        }
        code, error = codes.get(path.removeprefix("/api").split("/")[3], (404, "RepoNotFound"))
        return self.send(code, b"", body=body, **{"X-Error-Code": error})

    def send(self, code, content, *, body, **headers):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hubbub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}", raising=False
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield url
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("hub")
def test_files_are_downloaded_where_the_mirror_has_none():
    assert len(read("mine", from_text("org/public:data/train.jsonl"), data_root=None)) == 1


@pytest.mark.usefixtures("hub")
def test_a_plain_id_means_the_repositorys_training_file():
    (path,) = download(Hub("org/public"))
    assert path.read_bytes() == ROWS


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("asked", "problem", "remedy"),
    [
        (Hub("org/gated", ("train.jsonl",)), "the hub dataset org/gated is gated", "set HF_TOKEN"),
        (Hub("org/absent", ("train.jsonl",)), "the hub has no dataset org/absent", "HARNESS_DATA_ROOT/org/absent/"),
        (Hub("org/public", ("no.jsonl",)), "the hub dataset org/public has no file no.jsonl", "check the file names"),
        (Hub("org/pinned", ("x.jsonl",), "v9"), "the hub dataset org/pinned has no revision v9", "check the revision"),
        (
            Hub("org/barred"),
            "the hub refuses the dataset org/barred: Client error '451",
            "HARNESS_DATA_ROOT/org/barred/",
        ),
    ],
)
def test_what_the_hub_refuses_is_one_line_with_a_remedy(asked, problem, remedy):
    with pytest.raises(UserError) as caught:
        download(asked)
    assert caught.value.problem.startswith(problem)
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_offline_the_remedy_is_the_mirror(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for asked in (Hub("org/name", ("train.jsonl",)), Hub("org/name")):
        with pytest.raises(UserError, match="org/name is neither in the mirror nor in the cache") as caught:
            download(asked)
        assert "HARNESS_DATA_ROOT/org/name/" in caught.value.remedy


def test_training_files_are_the_only_one_or_those_called_train_in_one_folder():
    assert training_files("o/n", ["README.md", "all.json"]) == ("all.json",)
    shards = ["main/train-0.parquet", "main/train-1.parquet", "main/test-0.parquet"]
    assert training_files("o/n", shards) == ("main/train-0.parquet", "main/train-1.parquet")
    for unclear in (["a/train.json", "b/train.json"], ["x.json", "y.json"], ["README.md"]):
        with pytest.raises(UserError, match="name one: o/n:FILE"):
            training_files("o/n", unclear)
