from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = """
import os
from harness.sharding import read_sharding
from harness.train.operators import build
build(read_sharding("zero2"), on_cpu=True)
from deepspeed.accelerator import get_accelerator
assert "deepspeed_shm_comm" in get_accelerator().create_op_builder("ShareMemCommBuilder")._loaded_ops
print(os.environ["TORCH_EXTENSIONS_DIR"])
"""


@pytest.mark.timeout(300)
def test_a_process_killed_while_it_compiled_holds_nobody_up():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("TORCH_EXTENSIONS_DIR", None)
    # As the launchers do it: another ninja would not know what this one has built, and compile anew.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])

    def build():
        command = [sys.executable, "-c", BUILD]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=280).stdout

    baton = Path(build().split()[-1]) / "deepspeed_shm_comm" / "lock"
    baton.touch()
    build()
    assert not baton.exists()
