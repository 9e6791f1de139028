"""Runs as the runner hands them over, with real files of samples: scores are drawn once from a fixed seed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from harness.board import ledger
from harness.board.chain import Entry, append, read_chain
from harness.board.files import model_json, write_atomically
from harness.board.inputs import ArmRun, DataRecord, EvaluateRun, GitState, PluginRecord, RunInfo, SeedRun, TrainRun
from harness.board.numbers import DeclaredSuite
from harness.board.rows import row_path
from harness.board.samples import publishable, publishable_digest, samples_file
from harness.board.table import print_board
from harness.canonical import file_digest

SCORE = "exact_match,none"
JUDGE = {"model": "judge-7b-0613", "name": "judge.example/v1", "temperature": 0.0}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_samples(folder: Path, benchmark: str, scores, *, weights=None, outcome="engine_error", alike=()) -> Path:
    """A finished evaluate job's folder; a score of None is an item that the apparatus failed on, with this outcome.

    `alike` are the numbers of the items that a judge was given one answer for.
    """
    folder.mkdir(parents=True)
    lines = [
        {
            "id": f"{benchmark}-{number:04}" if benchmark != "code" else number,
            "doc_sha256": sha256(f"{benchmark} {number}"),
            "prompt_sha256": sha256(f"prompt {benchmark} {number}"),
            "response": f"answer\u2028{number}",
            "finish": "stop" if number % 10 else "length",
            "prompt_cut": False,
            "extracted": str(number),
            "target": "the benchmark's own words",
            "scores": {} if score is None else {SCORE: float(score), "length,none": 3.0, "pair,none": [1, 2]},
            "outcome": outcome if score is None else "scored",
            **({"weights": {SCORE: weights[number]}} if weights else {}),
            **({"alike": True} if number in alike else {}),
        }
        for number, score in enumerate(scores)
    ]
    (folder / "samples.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
    )
    return folder


class Maker:
    """Makes arms: `maker.arm("im", {"chat": 0.9}, seeds=(0, 1))` answers about 90 % of chat right."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def evaluation(self, arm: str, benchmark: str, seed: int, scores, **options) -> EvaluateRun:
        folder = write_samples(self.root / sha256(f"{arm} {benchmark} {seed}")[:16], benchmark, scores, **options)
        scored = [score for score in scores if score is not None]
        return EvaluateRun(
            key=sha256(f"evaluate {arm} {benchmark} {seed}"),
            protocol="strict-1",
            folder=folder,
            score_name=SCORE,
            result={
                "score": sum(scored) / len(scored) if scored else None,
                "n_expected": len(scores),
                "template_digest": sha256("template"),
                "samples_sha256": file_digest(folder / "samples.jsonl"),
            },
            measured={"seconds": 2.0, "peak_memory_bytes": 2000},
        )

    def arm(self, arm: str, shares, *, seeds=(0,), n: int = 200, baseline: str | None = "sft") -> ArmRun:
        runs = []
        for seed in seeds:
            draw = random.Random(f"{arm} {seed}")
            evaluations = {
                name: self.evaluation(arm, name, seed, [int(draw.random() < share) for _ in range(n)])
                for name, share in shares.items()
            }
            train = TrainRun(
                stage="train",
                key=sha256(f"train {arm} {seed}"),
                result={"steps": 100, "examples": 6400, "tokens": 1_250_000, "scored_tokens": 400_000, "truncated": 0},
                measured={"seconds": 60.0, "peak_memory_bytes": 1000},
            )
            runs.append(SeedRun(seed=seed, evaluations=evaluations, train=(train,)))
        return ArmRun(
            id=arm,
            plugins=tuple(
                PluginRecord(name=name, version="1.0", distribution="instruct-harness 0.1.0", digest=sha256(name))
                for name in arm.split("+")
            ),
            seeds=tuple(runs),
            data=(DataRecord("playground-chat", {"generated": {"seed": 0}}, None, 3000, "general"),),
            baseline=None if arm == baseline else baseline,
        )


@pytest.fixture
def judged():
    """The arm with its evaluations of one benchmark said to be judged, by whom the recipe of `judging` names."""

    def judged(arm: ArmRun, benchmark: str, judge=JUDGE) -> ArmRun:
        def by(evaluation: EvaluateRun) -> EvaluateRun:
            return replace(evaluation, result={**evaluation.result, "judge": judge}, needs=("judge",))

        return replace(
            arm,
            seeds=tuple(
                replace(seed, evaluations={**seed.evaluations, benchmark: by(seed.evaluations[benchmark])})
                for seed in arm.seeds
            ),
        )

    return judged


@pytest.fixture
def judging(info):
    return replace(info, recipe={**info.recipe, "judge": JUDGE})


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / "store")


@pytest.fixture
def proposed():
    """Publishes a row without asking `add`: files and a well-formed entry, as a pull request may bring them."""

    def proposed(folder, row, samples, **entry):
        for found in samples.values():
            write_atomically(samples_file(folder, publishable_digest(found)), publishable(found))
        write_atomically(row_path(folder, row.id), model_json(row))
        chain, sha256 = read_chain(folder), file_digest(row_path(folder, row.id))
        known = {"row": row.id, "row_sha256": sha256, "at": datetime.now(UTC).isoformat(), "previous": chain.head}
        append(folder, chain, Entry(**{"kind": "add", **known, **entry}))
        ledger.write_derived(folder)

    return proposed


@pytest.fixture
def info():
    return RunInfo(
        recipe={"suite": "playground", "train": {"lr": 0.002}},
        suite=DeclaredSuite(name="playground"),
        model={"init": {"architecture": "llama"}},
        engine={"name": "hf", "dtype": "float32"},
        command="harness run --plugins im,dmt",
        git=GitState("0" * 40, dirty=False),
        packages={"torch": "2.13.0"},
        hardware={"processor": "test"},
    )


@pytest.fixture
def printed():
    """The board as a terminal of that width shows it."""

    def printed(board, width, **options):
        stream = io.StringIO()
        print_board(board, Console(file=stream, width=width, **options))
        return "\n".join(line.rstrip() for line in stream.getvalue().split("\n"))

    return printed


@pytest.fixture
def arms(maker):
    """Three arms on three skills, one seed: dmt loses chat and dmt+im does not."""
    return [
        maker.arm("sft", {"arithmetic": 0.95, "code": 1.0, "chat": 0.6}),
        maker.arm("dmt", {"arithmetic": 0.9, "code": 0.99, "chat": 0.2}),
        maker.arm("dmt+im", {"arithmetic": 0.95, "code": 1.0, "chat": 0.98}),
    ]


@pytest.fixture
def limited(info):
    return replace(info, limit=10)


@pytest.fixture
def compiled(tmp_path):
    """Compiles LaTeX, which must have no error."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")

    def compiled(text):
        (tmp_path / "doc.tex").write_text(
            rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{text}\end{{document}}",
            encoding="utf-8",
        )
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "doc.tex"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout[-2000:]

    return compiled


class Site:
    """What a browser would find: the content beside the script, and in pages of data."""

    def __init__(self, folder):
        self.folder = folder
        self.index = (folder / "index.html").read_text(encoding="utf-8")

    @property
    def content(self):
        return json.loads(
            re.search(r'<script type="application/json" id="content">(.*?)</script>', self.index, re.DOTALL)[1]
        )

    def page(self, name):
        html = (self.folder / name).read_text(encoding="utf-8")
        packed = re.search(r'<script type="application/gzip" id="content">([\w+/=]*)</script>', html)[1]
        return gzip.decompress(base64.b64decode(packed))


@pytest.fixture
def site():
    """Reads a site as it is on disk, without a browser."""
    return Site
