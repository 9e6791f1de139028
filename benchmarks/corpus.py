"""A million conversations tokenised, weighed and packed: seconds, peak memory, size on disk, and the second time.

    python benchmarks/corpus.py --rows 1000000 --single 100000    # about 15 minutes on 2 idle cores, 8 GB of disk

Nine of ten conversations are about as long as GSM8K's, one comes from a long tail. They are made of words with Zipf's
frequencies, in a JSONL file in a temporary folder (`--folder` names another disk). What is timed is what a training
stage does before its first step, in a process of its own: first with one process and with all on a part of the rows,
then on all of them, then once more by a second process that finds everything rendered. Memory is that of the process
and its children together, without file pages, which the system takes back when it needs them, and with them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

MIB = 2**20
TYPICAL = 0.9
"""Share of conversations that are no longer than GSM8K's."""
MAX_LENGTH = 2048
BATCH, MICRO_TOKENS = 128, 8192


# --- what is rendered ----------------------------------------------------------------------------------------------


def sentences(n: int) -> list[str]:
    """Sentences of made-up words, the frequent ones short."""
    draw = np.random.Generator(np.random.PCG64(0))
    letters = np.array(list("eeeetttaaoooinnssrrhlducmfpgwybvk"))
    words = ["".join(draw.choice(letters, size=2 + int(np.log2(rank + 1) / 2))) for rank in range(30_000)]
    shares = 1 / np.arange(1, len(words) + 1)
    drawn = draw.choice(len(words), size=(n, 12), p=shares / shares.sum())
    numbers = draw.integers(1000, size=n)
    return [" ".join(words[i] for i in row) + f" {number}." for row, number in zip(drawn, numbers, strict=True)]


def write_rows(path: Path, n: int) -> None:
    """`n` rows with the columns prompt and completion."""
    said = sentences(50_000)
    draw = np.random.Generator(np.random.PCG64(1))
    with path.open("w") as file:
        for start in range(0, n, 10_000):
            size = min(10_000, n - start)
            typical = draw.poisson(2.5, size=size)
            tail = np.exp(draw.normal(3, 1, size=size)).astype(int)
            answers = 1 + np.where(draw.random(size) < TYPICAL, typical, tail)
            for answer, first in zip(answers.tolist(), draw.integers(len(said), size=size).tolist(), strict=True):
                text = [said[(first + k * 7919) % len(said)] for k in range(2 + answer)]
                row = {"prompt": " ".join(text[:2]), "completion": " ".join(text[2:])}
                file.write(json.dumps(row) + "\n")


def make_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer of 16,384 entries."""
    from harness.data.templates import TEMPLATES
    from harness.data.tokenizer import train_tokenizer

    train_tokenizer(sentences(20_000), 16_384, TEMPLATES["tulu"]).save_pretrained(folder)


# --- what is measured ----------------------------------------------------------------------------------------------


def prepare_stage(work: Path, rows: Path, processes: int) -> dict[str, Any]:
    """What a stage does before its first step; seconds of each part, and what came of it."""
    from harness.api import DataSource, Files, Part, token_loss
    from harness.context import Context
    from harness.data.sources import declare
    from harness.jobs import MixtureItem, Train, TrainSettings
    from harness.train.batches import Steps
    from harness.train.stagedata import SCRATCH, StageData

    source = DataSource(Files((str(rows),)))
    planned = declare("rows", source, None, data_root=None, cache=work / "cache")
    item = MixtureItem(data=planned)
    declared = Train(mixture=(item,), settings=TrainSettings(max_length=MAX_LENGTH, batch_size=BATCH), loss={})
    loss = token_loss(lambda batch: batch.is_part(Part.RESPONSE))
    runtime = {"threads": processes, "cache": str(work / "cache")}
    job = work / f"job-{os.getpid()}"
    data = StageData(declared, {"rows": source}, loss, Context(job, {}, runtime, lambda _: None), work / "model")
    assert data.renderer is not None  # loads the tokenizer, which a stage needs anyway

    clock, spent = [time.perf_counter()], cpu()
    data.renderings.of(item)
    spent = cpu() - spent
    clock.append(time.perf_counter())
    corpus = data.corpus((item,), MAX_LENGTH)
    clock.append(time.perf_counter())
    steps = Steps.of(data.order(corpus), corpus.lengths, BATCH, MICRO_TOKENS)
    clock.append(time.perf_counter())
    filled = np.diff(steps.bounds) > 0
    return {
        **dict(zip(("render", "weigh", "pack"), np.diff(clock).tolist(), strict=True)),
        "cpu": spent,
        "rows": len(corpus),
        "tokens": int(corpus.lengths.sum()),
        "fill": float(corpus.lengths[steps.order].sum() / (filled.sum() * MICRO_TOKENS)),
        "cache": size(work / "cache"),
        "scratch": size(job / SCRATCH),
    }


def cpu() -> float:
    """Seconds that this process and its finished children have computed."""
    return sum(os.times()[:4])


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def memory(pids: Iterator[int]) -> tuple[int, int]:
    """Bytes in memory without and with file pages, all processes together."""
    private = whole = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        found = dict(line.split(":", 1) for line in lines)
        private += 1024 * int(found.get("RssAnon", "0 kB").split()[0])
        whole += 1024 * int(found.get("VmRSS", "0 kB").split()[0])
    return private, whole


def measured(work: Path, rows: Path, processes: int) -> dict[str, Any]:
    """`prepare_stage` in a process of its own, and the highest memory of it with its children."""
    command = [sys.executable, __file__, "--stage", str(work), str(rows), str(processes)]
    threads = {"OMP_NUM_THREADS": str(processes), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads}) as child:
        process, peak = psutil.Process(child.pid), (0, 0)
        while child.poll() is None:
            try:
                family = [child.pid, *(one.pid for one in process.children(recursive=True))]
            except psutil.NoSuchProcess:
                break
            peak = tuple(map(max, peak, memory(iter(family))))
            time.sleep(0.5)
        assert child.stdout is not None
        output = child.stdout.read()
    return {**json.loads(output.splitlines()[-1]), "private": peak[0], "whole": peak[1]}


def line(what: str, found: dict[str, Any]) -> str:
    cells = (
        f"{found['rows']:,}",
        f"{found['tokens'] / 1e6:,.1f}",
        f"{found['render']:,.1f}",
        f"{found['cpu']:,.1f}",
        f"{found['rows'] / found['render']:,.0f}",
        f"{found['tokens'] / found['render'] / 1000:,.0f}",
        f"{found['weigh']:,.1f}",
        f"{found['pack']:,.1f}",
        f"{found['private'] / MIB:,.0f}",
        f"{found['whole'] / MIB:,.0f}",
    )
    return f"| {what} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--single", type=int, default=100_000, help="rows that one process alone renders, too")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--stage", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        work, rows, processes = options.stage
        print(json.dumps(prepare_stage(Path(work), Path(rows), int(processes))))
        return
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        part, rows = folder / "part.jsonl", folder / "rows.jsonl"
        write_rows(part, options.single)
        write_rows(rows, options.rows)
        for work in ("one", "all"):
            make_tokenizer(folder / work / "model")
        print(f"{rows.stat().st_size / 1e9:.2f} GB of JSONL, load {os.getloadavg()[0]:.1f} on {cores} cores")
        print(
            "| | rows | M tokens | render s | CPU s | rows/s | k tokens/s | weigh s | pack s | MiB | with file pages |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        print(line("1 process", measured(folder / "one", part, 1)), flush=True)
        print(line(f"{cores} processes", measured(folder / "all", part, cores)), flush=True)
        found = measured(folder / "all", rows, cores)
        print(line(f"{cores} processes", found), flush=True)
        print(line("the second time", measured(folder / "all", rows, cores)))
        print(
            f"{found['cache'] / 1e9:.2f} GB in the cache, {found['scratch'] / 1e9:.2f} GB while the stage trains; "
            f"{found['fill']:.1%} of the rows of {MICRO_TOKENS} tokens are filled; load {os.getloadavg()[0]:.1f}"
        )


if __name__ == "__main__":
    main()
