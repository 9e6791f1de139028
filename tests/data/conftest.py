import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from huggingface_hub import constants
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PIECE = r"\w+|\s|[^\w\s]"
SPECIAL = [
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
]
TEXT = (
    "Be brief. Hi Yes Why? No! hm think / < > [ ] | : \n INST SYS USER ASSISTANT system user assistant model s eot_id"
)


@pytest.fixture(scope="session")
def word_tokenizer():
    """A tokenizer whose tokens can be told by eye: a word, one white space, one mark, or a special token."""

    def make(template):
        pieces = dict.fromkeys(["<unk>", *re.findall(PIECE, TEXT)])
        vocabulary = {piece: index for index, piece in enumerate(pieces)}
        backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), "isolated")
        return PreTrainedTokenizerFast(
            tokenizer_object=backend,
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
            extra_special_tokens=SPECIAL,
            chat_template=template,
        )

    return make


@pytest.fixture(scope="session")
def mirror():
    """The local mirror of real datasets; tests that need it skip where there is none."""
    root = Path(os.environ.get("HARNESS_DATA_ROOT") or Path(__file__).parents[3] / "shared" / "datasets")
    if not root.is_dir():
        pytest.skip("no mirror of datasets: set HARNESS_DATA_ROOT")
    return root


# --- a hub on this machine, for the real client ---------------------------------------------------------------------


@dataclass
class Repository:
    """A dataset of the hub: its commits, each a mapping of names to contents, and what `main` is."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    main: str = ""
    licence: str | None = "mit"
    gated: bool = False
    refusal: tuple[int, str] | None = None


class LocalHub:
    """As much of the hub as a download asks for; it can break answers off in the middle."""

    def __init__(self):
        self.repositories, self.asked, self.cut, self.elsewhere = {}, [], {}, {}
        self.url = ""

    def push(self, id_, files, **facts):
        """A new commit of a dataset, which is then its main; returns it."""
        repository = self.repositories.setdefault(id_, Repository())
        vars(repository).update(facts)
        repository.main = hashlib.sha1(json.dumps([id_, len(repository.commits)]).encode()).hexdigest()
        repository.commits[repository.main] = files
        return repository.main

    def answer(self, path, start):
        """Status, headers and content of what is at a path, from byte `start`."""
        self.asked.append(path)
        if path in self.elsewhere:
            return 200, {}, self.elsewhere[path]
        match = re.match(r"/(?P<api>api/)?datasets/(?P<id>[^/]+/[^/]+)/(revision|resolve)/(?P<rest>.+)", path)
        if match is None:
            return 404, {}, b""
        repository = self.repositories.get(match["id"], Repository(refusal=(404, "RepoNotFound")))
        revision, _, name = match["rest"].partition("/")
        commit = repository.main if revision == "main" else revision
        files = repository.commits.get(commit, {})
        refusals = [
            repository.refusal,
            commit not in repository.commits and (404, "RevisionNotFound"),
            repository.gated and not match["api"] and (403, "GatedRepo"),
            name not in files and not match["api"] and (404, "EntryNotFound"),
        ]
        for code, error in filter(None, refusals):
            return code, {"X-Error-Code": error}, b""
        if match["api"]:
            return 200, {}, self.listed(match["id"], repository, commit)
        content = files[name]
        told = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        if start:
            told["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return 206 if start else 200, told, content[start:]

    def listed(self, id_, repository, commit):
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "blobId": hashlib.sha1(content).hexdigest(),
                "lfs": {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 1},
            }
            for name, content in repository.commits[commit].items()
        ]
        card = {"license": repository.licence} if repository.licence else None
        return json.dumps({"id": id_, "sha": commit, "siblings": siblings, "cardData": card}).encode()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that the real client asks here; its cache is empty."""
    local = LocalHub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send(body=False)

        def do_GET(self):
            self.send(body=True)

        def send(self, *, body):
            path = unquote(self.path.split("?")[0])
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            code, headers, content = local.answer(path, start)
            self.send_response(code)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if not body:
                return
            if local.cut.get(path):
                local.cut[path] -= 1
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            self.wfile.write(content)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    local.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", local.url)
    template = local.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    yield local
    server.shutdown()
    server.server_close()
    thread.join()
