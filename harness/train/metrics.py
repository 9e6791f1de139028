"""Records of a stage, such as `metrics.jsonl` with a line for each step: none goes beyond what a checkpoint holds."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from harness.canonical import Json

NAME = "metrics.jsonl"


@dataclass(frozen=True)
class Metrics:
    """Those of the stage whose job or checkpoint the folder is; the main process alone writes them."""

    folder: Path
    name: str = NAME

    @property
    def _path(self) -> Path:
        return self.folder / self.name

    @property
    def lines(self) -> list[Json]:
        """All so far."""
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    @property
    def losses(self) -> list[float]:
        """Of all steps so far."""
        return [line["loss"] for line in self.lines]

    def begin(self, found: Path | None) -> None:
        """Anew, or with what a checkpoint's folder holds."""
        if found is None:
            self._path.write_text("")
        else:
            replace(self, folder=found).copy(self.folder)

    def add(self, line: Json) -> None:
        """Those of one more step."""
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def copy(self, folder: Path) -> None:
        """What there is so far, for a checkpoint."""
        shutil.copyfile(self._path, folder / self.name)
