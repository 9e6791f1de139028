"""Training curves for people: TensorBoard by default, Weights & Biases and Trackio where asked for.

`metrics.jsonl` is the record; what stands here only shows it, and never ends a training.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from harness.credentials import hidden
from harness.execution import Tracker as Choice
from harness.preflight import EXTRAS

CURVES = "curves"
"""The folder in a job's that holds what trackers write."""

SENT = "sent"
"""The last step that a tracker with a memory of its own was told of."""

_NAMES = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases", "trackio": "Trackio"}
_PATIENCE = 60
"""Seconds that a server may take to answer."""

_KEY = 12
"""Characters of the job's key that tell its run from others."""

Numbers = Mapping[str, float]


class Tracker(Protocol):
    """Somewhere that curves go."""

    def log(self, step: int, numbers: Numbers) -> None:
        """The numbers of one optimiser step."""

    def close(self) -> None:
        """Nothing more will come, for now."""


class TensorBoard:
    """Event files as TensorBoard reads them, one for each attempt at the stage.

    Each is written record by record, so that a kill loses nothing; and each begins by taking back what the attempts
    before it had written beyond the checkpoint that it goes on from.
    """

    def __init__(self, folder: Path, after: int) -> None:
        from tensorboard.compat.proto import event_pb2

        folder.mkdir(parents=True, exist_ok=True)
        attempt = len(list(folder.glob("events.out.tfevents.*")))
        self._file = (folder / f"events.out.tfevents.{attempt:06d}").open("wb", buffering=0)
        self._event = event_pb2.Event
        self._write(self._event(wall_time=time.time(), file_version="brain.Event:2"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(self._event(wall_time=time.time(), step=after + 1, session_log=start))

    def log(self, step: int, numbers: Numbers) -> None:
        """One event with all numbers."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=f"train/{name}", simple_value=value) for name, value in numbers.items()]
        self._write(self._event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        RecordWriter(_Whole(self._file)).write(event.SerializeToString())


class _Whole:
    """Writes everything or raises OSError: a disk that fills up takes a part first."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Once:
    """Steps that were sent are not sent again, whatever the attempt: servers cannot take back what they have."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / SENT
        self._last = int(self._path.read_text() or 0) if self._path.is_file() else 0

    def log(self, step: int, numbers: Numbers) -> None:
        if step > self._last:
            self._last = step
            self._path.write_text(str(step))
            self.send(step, numbers)

    def send(self, step: int, numbers: Numbers) -> None:
        raise NotImplementedError


class WeightsAndBiases(_Once):
    """A run of Weights & Biases, gone on with by later attempts; where it goes is said by WANDB_MODE and its kin."""

    def __init__(self, folder: Path, project: str, key: str, name: str) -> None:
        import wandb

        super().__init__(folder)
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            init_timeout=_PATIENCE,
            finish_timeout=_PATIENCE,
            finish_timeout_raises=True,
        )
        self._run = wandb.init(
            project=project,
            id=key,
            name=name,
            dir=str(folder),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )

    def send(self, step: int, numbers: Numbers) -> None:
        """Into the run's history."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


class Trackio(_Once):
    """A run of Trackio, gone on with by later attempts; where it goes is said by TRACKIO_DIR and its kin."""

    def __init__(self, folder: Path, project: str, key: str, name: str) -> None:
        import trackio

        super().__init__(folder)
        # Runs are told apart by their names alone.
        self._run = trackio.init(
            project=project,
            name=f"{name} {key}",
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def send(self, step: int, numbers: Numbers) -> None:
        """Into the run's history."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()  # type: ignore[no-untyped-call]


class Telemetry:
    """The chosen tracker, whose failures are said once and end nothing but itself."""

    def __init__(
        self, choice: Choice, job: Path, notice: Callable[[str], None], *, label: str = "", project: str = ""
    ) -> None:
        """`job` is the job's folder, whose name is its key; a tracker that was chosen is installed."""
        self._kind = "tensorboard" if choice == "auto" else choice
        self._folder, self._notice = job / CURVES, notice
        self._label, self._project = label or job.name, project or "instruct-harness"
        self._key = job.name[:_KEY]
        self._tracker: Tracker | None = None
        module, remedy = EXTRAS["tensorboard"]
        if choice == "auto" and find_spec(module) is None:
            notice(f"TensorBoard is not installed, so training curves stand in metrics.jsonl alone ({remedy})")
            self._kind = "none"

    def start(self, after: int) -> None:
        """Training goes on after so many steps."""
        if self._kind != "none":
            self._guarded(lambda: self._open(after))

    def log(self, step: int, numbers: Mapping[str, float | None]) -> None:
        """The numbers of one optimiser step; None is left out."""
        tracker = self._tracker
        if tracker is not None:
            known = {name: value for name, value in numbers.items() if value is not None}
            self._guarded(lambda: tracker.log(step, known))

    def close(self) -> None:
        """Training has ended, one way or another."""
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            self._guarded(tracker.close)

    def _open(self, after: int) -> None:
        if self._kind == "tensorboard":
            self._tracker = TensorBoard(self._folder, after)
        else:
            kind = WeightsAndBiases if self._kind == "wandb" else Trackio
            self._tracker = kind(self._folder, self._project, self._key, self._label)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 -- whatever a tracker does, training goes on
            failed, self._tracker = self._tracker, None
            if failed is not None:
                with suppress(Exception):
                    failed.close()
            self._notice(
                f"{_NAMES[self._kind]} follows this stage no further: {_reason(error)}; "
                "training goes on, and metrics.jsonl holds every step"
            )


def _reason(error: Exception) -> str:
    """The first line of an error, without the key that a library may repeat in it."""
    return hidden((str(error).strip().splitlines() or [type(error).__name__])[0])
