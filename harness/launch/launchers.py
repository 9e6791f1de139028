"""The launchers' command lines, and the environment that they hand to their ranks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.devices import VISIBLE
from harness.errors import UserError
from harness.execution import Execution
from harness.launch.order import LOGS, Address, Order

RANK_MODULE = "harness.launch.rank"
GPUS = "HARNESS_GPUS"
"""CUDA_VISIBLE_DEVICES as it was before the launcher; deepspeed's counts from 0 whatever it was given."""

BRINGS_NO_STORE = ("deepspeed", "accelerate")
"""Launchers that would have rank 0 listen on a port which is chosen before it is bound."""


def start(order: Order, path: Path, node: int) -> subprocess.Popen[str]:
    """Start the launcher of one node. It leads a session of its own, and dies with this process."""
    module, *arguments = command(order, path, node)
    log = path.parent / LOGS / f"node-{node}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.processes", str(os.getpid()), module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment(order)},
        )


def environment(order: Order) -> dict[str, str]:
    """What ranks have besides what they inherit; secrets are inherited, and written nowhere."""
    threads = order.runtime.get("threads") or os.cpu_count() or 1
    return {
        "OMP_NUM_THREADS": str(max(1, threads // order.execution.processes)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONSAFEPATH": "1",
        # DeepSpeed compiles its kernels at their first use, with the ninja of this environment.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        **({GPUS: os.environ[VISIBLE]} if VISIBLE in os.environ else {}),
    }


def command(order: Order, path: Path, node: int) -> list[str]:
    """Module and arguments of the launcher on the node of this rank."""
    return [*_LAUNCHERS[order.execution.launcher](order, path, node), RANK_MODULE, str(path)]


def _torchrun(order: Order, path: Path, node: int) -> list[str]:
    execution = order.execution
    if execution.nodes == 1:
        where = ["--standalone"]  # on a free port
    else:
        head = meeting_point(execution)
        where = [
            *("--nnodes", str(execution.nodes), "--node-rank", str(node)),
            *("--master-addr", head.host, "--master-port", str(head.port)),
        ]
    return [
        *("torch.distributed.run", *where, "--nproc-per-node", str(execution.processes)),
        *("--log-dir", _notes(path, node), "--module"),
    ]


def _notes(path: Path, node: int) -> str:
    """A folder for torchrun, which would leave one more in the system's for temporary files at every launch."""
    return str(path.parent / LOGS / f"torchrun-{node}")


def _deepspeed(order: Order, path: Path, node: int) -> list[str]:
    execution, store = order.execution, order.store
    assert store is not None
    if execution.hostfile is not None:
        hostfile = Path(execution.hostfile)
    else:
        # Without one, deepspeed takes whatever lies in /job/hostfile.
        hostfile = path.parent / LOGS / f"hostfile-{node}"
        hostfile.parent.mkdir(exist_ok=True)
        hostfile.write_text("".join(f"node-{n} slots={execution.processes}\n" for n in range(execution.nodes)))
    return [
        "deepspeed.launcher.runner",
        *("--hostfile", str(hostfile), "--num_nodes", str(execution.nodes)),
        *("--num_accelerators", str(execution.processes), "--no_ssh", "--node_rank", str(node)),
        *("--master_addr", store.host, "--master_port", str(store.port), "--no_local_rank", "--module"),
    ]


def _accelerate(order: Order, path: Path, node: int) -> list[str]:
    execution = order.execution
    # On one node the port is one that is taken, our own: accelerate then takes a free one as torchrun does. Any that
    # it were given as free could be gone before it is bound.
    head = order.supervisor if execution.nodes == 1 else meeting_point(execution)
    # Without --multi_gpu accelerate starts one process, whatever number it is given; on CPUs too.
    several = ["--multi_gpu"] if execution.world_size > 1 else []
    return [
        *("accelerate.commands.launch", *several, "--num_processes", str(execution.world_size), "--gpu_ids", "all"),
        *("--num_machines", str(execution.nodes), "--machine_rank", str(node)),
        *("--main_process_ip", head.host, "--main_process_port", str(head.port)),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--log_dir", _notes(path, node), "--module"),
    ]


_LAUNCHERS: Mapping[str, Callable[[Order, Path, int], list[str]]] = {
    "torchrun": _torchrun,
    "deepspeed": _deepspeed,
    "accelerate": _accelerate,
}


# --- many nodes ----------------------------------------------------------------------------------------------------


def check(execution: Execution) -> None:
    """Raise UserError where nodes cannot meet as the recipe says, or a hostfile does not give what it asks for."""
    if execution.nodes > 1:
        meeting_point(execution)
    if execution.hostfile is not None:
        _check_hostfile(Path(execution.hostfile), execution)


def meeting_point(execution: Execution) -> Address:
    """The rendezvous of several nodes."""
    if execution.rendezvous is None:
        raise UserError(
            f"{execution.nodes} nodes need a place to meet", "--set train.rendezvous=HOST:PORT, of the first node"
        )
    host, _, port = execution.rendezvous.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UserError(f"train.rendezvous={execution.rendezvous} is no HOST:PORT", "write node1:29500, for example")
    return Address(host.strip("[]"), int(port))


def _check_hostfile(path: Path, execution: Execution) -> None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(f"cannot read the hostfile {path}: {why}", "lines of HOST slots=N are wanted") from None
    slots: dict[str, int] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\S+)\s+slots=(\d+)(\s+#.*)?", line)
        if match is None:
            raise UserError(f"{path}, line {number}: {line!r} is no HOST slots=N", "correct the hostfile")
        if match[1] in slots:
            raise UserError(f"{path}, line {number}: {match[1]} stands there twice", "correct the hostfile")
        slots[match[1]] = int(match[2])
    if len(slots) < execution.nodes:
        raise UserError(
            f"train.nodes={execution.nodes}, and the hostfile {path} names {len(slots)}", "add hosts, or lower it"
        )
    for host, count in list(slots.items())[: execution.nodes]:
        if count < execution.processes:
            raise UserError(
                f"train.processes={execution.processes} on each node, and {host} has {count} slots in {path}",
                "raise its slots, or lower train.processes",
            )
