"""Commands that plan and list import nothing heavy: what they import is asserted, not how long it takes."""

import subprocess
import sys

import pytest

from harness.discovery import installed

HEAVY = (
    "torch",
    "transformers",
    "vllm",
    "datasets",
    "lm_eval",
    "tokenizers",
    "accelerate",
    "scipy",
    "pyarrow",
    "submitit",
)
COMMANDS = (
    ("--help",),
    ("run", "--help"),
    ("plan", "--plugins", "base", "--plugins", "im,dmt", "--factorial"),
    ("plan", "gsm8k-mini", "--plugins", "im,dmt", "--json"),
    ("plugins",),
    ("plugins", "dmt", "--json"),
    ("store", "ls"),
    ("data", "list"),
    ("data", "pull", "playground", "--to", "mirror"),
    ("judge", "cost"),
)
RUN = """
import sys
sys.argv = ["harness", *{arguments!r}]
from harness.cli import main
try:
    main()
except SystemExit as error:
    assert not error.code, error.code
"""
REPORT = "\nprint(sorted({m.partition('.')[0] for m in sys.modules} & set(HEAVY)), file=sys.stderr)"


def imported(code, folder):
    """What of HEAVY the code imports in a fresh process."""
    script = f"import sys\nHEAVY = {HEAVY!r}\n{code}{REPORT}"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.strip()


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_import_nothing_heavy(arguments, tmp_path):
    assert imported(RUN.format(arguments=arguments), tmp_path) == "[]"


def test_reading_samples_imports_nothing_heavy(tiny_run):
    show = ("show", "run", "--store", "store", "--task", "playground_chat", "--diff", "sft", "dmt+im")
    assert imported(RUN.format(arguments=show), tiny_run) == "[]"


def test_a_finished_run_imports_nothing_heavy_but_statistics(tiny_run):
    arguments = ("run", "tiny.yaml", "--plugins", "im,dmt", "--store", "store", "--out", "run")
    assert imported(RUN.format(arguments=arguments), tiny_run) == "[]"


@pytest.mark.parametrize("name", installed())
def test_plugins_import_nothing_heavy(name, tmp_path):
    code = f"from harness.discovery import load_plugin; load_plugin({name!r})"
    assert imported(code, tmp_path) == "[]"


def test_the_help_imports_no_plugin_and_no_pydantic(tmp_path):
    script = (
        RUN.format(arguments=("--help",)) + "\nassert not any(m.startswith('harness.plugins') for m in sys.modules)"
    )
    assert imported(script, tmp_path) == "[]"
