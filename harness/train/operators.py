"""DeepSpeed's compiled operators, built once for an environment and by one process at a time."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from filelock import FileLock

from harness.sharding import Sharding

_FOLDER = "TORCH_EXTENSIONS_DIR"
_BATON = "lock"
"""What torch leaves in an operator's folder while it builds, and waits for without end."""


def build(sharding: Sharding, *, on_cpu: bool) -> None:
    """Load what training needs, compiling what was not compiled before: a minute or so, the first time.

    A process that is killed while it compiles leaves torch's baton behind, and every later one would wait for it. Here
    the system's own lock decides who builds, so a baton that is found was left.
    """
    wanted = [
        *(["ShareMemCommBuilder"] if on_cpu else []),
        *(["CPUAdamBuilder"] if sharding.offloads_optimizer else []),
    ]
    if not wanted:
        return
    from deepspeed.accelerator import get_accelerator

    folder = Path(os.environ.setdefault(_FOLDER, str(_of_this_environment())))
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "harness.lock"):
        for baton in folder.glob(f"*/{_BATON}"):
            baton.unlink()
        for name in wanted:
            builder = get_accelerator().create_op_builder(name)
            if builder is not None and builder.is_compatible(verbose=False):
                builder.load(verbose=False)  # DeepSpeed keeps it, and does not build again in this process


def _of_this_environment() -> Path:
    """Environments that shared a folder would compile anew in turn: their operators name files of their own."""
    from torch.utils.cpp_extension import get_default_build_root

    environment = hashlib.sha256(f"{sys.prefix} {sys.version}".encode()).hexdigest()[:12]
    return Path(get_default_build_root()) / f"harness-{environment}"
