"""The GPUs that this process may use, told without torch; and how they are shared out to jobs that run side by side."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from harness.errors import Failure, UserError
from harness.execution import Execution

VISIBLE = "CUDA_VISIBLE_DEVICES"

_PATIENCE_SECONDS = 30.0
"""Of a driver that has to wake eight GPUs."""


def visible_gpus() -> tuple[str, ...]:
    """Indices or UUIDs, as CUDA_VISIBLE_DEVICES takes them: those it names, else all that nvidia-smi lists."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        gpus: list[str] = []
        for text in named.split(","):
            gpu = text.strip()
            if not gpu or gpu.startswith("-") or gpu == "NoDevFiles":  # CUDA sees nothing from there on
                break
            if gpu in gpus:  # CUDA sees nothing at all then
                raise UserError(f"{VISIBLE}={named} names {gpu} twice", "name each GPU once")
            gpus.append(gpu)
        return tuple(gpus)
    smi = shutil.which("nvidia-smi")
    return () if smi is None else tuple(str(number) for number in range(_listed(smi)))


def _listed(smi: str) -> int:
    """How many GPUs there are. Where that cannot be told nothing is computed on CPUs in their place."""
    remedy = f"mend the driver, or set {VISIBLE}: to the GPUs to use, or to nothing for CPUs"
    try:
        done = subprocess.run([smi, "-L"], capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure(f"nvidia-smi does not answer within {_PATIENCE_SECONDS:g} s", remedy) from None
    said = f"{done.stdout}{done.stderr}".strip()
    if done.returncode != 0 and "No devices" not in said:
        raise Failure(f"nvidia-smi fails: {said.splitlines()[0] if said else 'without a word'}", remedy)
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def shared_out(gpus: Sequence[str], workers: int, gpus_per_job: int | None, execution: Execution) -> list[str | None]:
    """For every job that may run at the same time, its CUDA_VISIBLE_DEVICES; None leaves the environment alone.

    `gpus_per_job` decides how many jobs there are. Where it is None, a launched stage has all GPUs to itself; jobs of
    one device have one each, and share where there are more workers than GPUs.
    """
    if not gpus:
        if gpus_per_job is not None:
            raise UserError(f"jobs of {_gpus(gpus_per_job)} each, and this machine shows no GPU", f"see {VISIBLE}")
        places: list[str | None] = [None] * workers
    else:
        launched = execution.launcher != "none"
        each = gpus_per_job or (len(gpus) if launched else 1)
        if each > len(gpus):
            raise UserError(
                f"jobs of {_gpus(each)} each, and this machine shows {len(gpus)}", f"--gpus-per-job {len(gpus)}"
            )
        if execution.processes > each:
            raise UserError(
                f"train.processes={execution.processes} are one a GPU, and a job has {_gpus(each)}",
                "lower train.processes, or raise --gpus-per-job",
            )
        slices = [",".join(gpus[at : at + each]) for at in range(0, len(gpus) - each + 1, each)]
        fixed = launched or gpus_per_job is not None
        places = [slices[n % len(slices)] for n in range(len(slices) if fixed else max(workers, len(slices)))]
    if execution.nodes > 1 and len(places) > 1:
        raise UserError(
            f"{len(places)} jobs side by side, each on {execution.nodes} nodes, would meet at one rendezvous",
            "leave runtime.workers at 1, and --gpus-per-job out",
        )
    return places


def _gpus(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}"
