"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[
    str | None,
    typer.Argument(metavar="RECIPE", help="A recipe file or an embedded name; the playground if left out."),
]
ModelsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="Models: ORG/NAME[@REVISION], a folder, or NAME@http://HOST/v1 behind a server.",
        show_default=False,
    ),
]
SuiteOption = Annotated[
    str | None, typer.Option("--suite", metavar="NAME", help="A shipped suite, or a file; harness suites lists them.")
]
EngineOption = Annotated[str | None, typer.Option("--engine", metavar="NAME", help="hf or vllm; as engine.name.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", help="Only the first N items of each benchmark. Not publishable.")
]
PluginsOption = Annotated[
    list[str] | None,
    typer.Option("--plugins", "-p", metavar="NAMES", help="An arm: methods joined by commas. Repeat to compare arms."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="train.lr=1e-4, dmt.k=1/64, or dmt+im:train.lr=1e-4."),
]
EvaluationSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE", help="judge.model=NAME, engine.dtype=bfloat16, mt_bench.repeats=3."
    ),
]
ScoringSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE", help="judge.model=NAME, judge.base_url=URL, or the plug-in's options."
    ),
]
SweepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep", metavar="KEY=A,B,...", help="One arm for each value: dmt.k=0,1/256,1/16. Repeat to multiply."
    ),
]
FactorialOption = Annotated[bool, typer.Option("--factorial", help="Add every part of each combination as an arm.")]
BaselineOption = Annotated[bool, typer.Option("--baseline/--no-baseline", help="Add the plain sft arm.")]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", metavar="N|A,B,...", help="How many seeds (0..N-1), or which.")
]
StoreOption = Annotated[
    Path, typer.Option("--store", envvar="HARNESS_STORE", metavar="DIR", help="Where finished jobs are kept.")
]
BoardOption = Annotated[
    Path, typer.Option("--board", metavar="DIR", help="The published leaderboard in which rows are looked for.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="Run folder; runs/RECIPE-DIGEST if left out.")
]
DataRootOption = Annotated[
    Path | None,
    typer.Option("--data-root", envvar="HARNESS_DATA_ROOT", metavar="DIR", help="Local mirror of hub datasets."),
]
GpusOption = Annotated[
    int | None, typer.Option("--gpus-per-job", metavar="N", help="GPUs of each job; jobs run side by side.")
]
AcceptSourceOption = Annotated[
    bool, typer.Option("--accept-source", help="Use results whose plug-in changed since. Not publishable.")
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="With --executor slurm: submit the jobs, and do not wait for them.")
]
NoJudgeOption = Annotated[
    bool,
    typer.Option("--no-judge", help="Ask judged benchmarks and store the answers; the same without it scores them."),
]
UnsafeCodeOption = Annotated[
    bool,
    typer.Option("--unsafe-code", help="Run generated code with your rights where nothing can shut it in."),
]
RestartStageOption = Annotated[
    bool,
    typer.Option("--restart-stage", help="Begin interrupted training stages anew; their rows say so."),
]


class Executor(StrEnum):
    """Who does the jobs."""

    local = "local"
    slurm = "slurm"


ExecutorOption = Annotated[
    Executor, typer.Option("--executor", help="Who does the jobs: workers on this machine, or a SLURM cluster.")
]

DEFAULT_STORE = Path(".harness")
LEADERBOARDS = Path("leaderboards")
RUNS = Path("runs")
