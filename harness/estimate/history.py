"""What this store's finished jobs tell of jobs to come: tokens of their data, speed and time on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

from harness.canonical import Json
from harness.inventory import gpus
from harness.jobs import Job
from harness.provenance import cpu_name
from harness.store import MANIFEST, Store

Manifest = Mapping[str, Any]

SAME: Mapping[str, tuple[str, ...]] = {
    "respond": ("plugin", "questions", "engine", "limit"),
    "evaluate": ("benchmark", "protocol", "scorer", "judge"),
}
"""What has to be declared alike for two jobs of a kind to take the same time, for models of one size."""


@dataclass(frozen=True)
class History:
    """The manifests of a store by key, and the plan's jobs, through which a stage's starting model is found."""

    manifests: Mapping[str, Manifest]
    jobs: Mapping[str, Job] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, jobs: Mapping[str, Job]) -> History:
        """Of everything finished in the store; a manifest that cannot be read tells nothing."""
        found = {}
        for path in (store.root / "jobs").glob(f"*/{MANIFEST}"):
            try:
                found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
        return cls(found, jobs)

    @cached_property
    def trained(self) -> list[Manifest]:
        """Finished training stages."""
        return [manifest for manifest in self.manifests.values() if manifest["kind"] == "train"]

    def origin(self, key: str) -> str | None:
        """The `prepare` job that a model descends from; None where a job on the way is not known."""
        while True:
            kind, parents = self._kind(key)
            if kind == "prepare":
                return key
            onwards = parents.get("start") or parents.get("model") or next(iter(parents.values()), None)
            if onwards is None:
                return None
            key = onwards

    def model(self, key: str) -> Json:
        """The declaration of the model that a job descends from, whatever the seed."""
        origin = self.origin(key)
        if origin is None:
            return None
        found = self.jobs[origin].declared if origin in self.jobs else self.manifests[origin]["declared"]
        return {**found, "seed": None}

    def parameters(self, key: str) -> int | None:
        """Of the model that a finished job descends from."""
        origin = self.origin(key)
        result = self.manifests.get(origin or "", {}).get("result", {})
        found: int | None = result.get("parameters")
        return found

    def tokens_per_example(self, data: Json, max_length: int, model: Json) -> float | None:
        """Of a dataset as this model's tokenizer cuts it, counted when it was trained on before."""
        counts = [
            counted
            for manifest in self.trained
            if manifest["declared"]["settings"]["max_length"] == max_length
            and any(item["data"] == data for item in manifest["declared"]["mixture"])
            and (counted := manifest["result"]["datasets"].get(data["name"], {})).get("examples")
            and self.model(manifest["key"]) == model
        ]
        return median(of["tokens"] / of["examples"] for of in counts) if counts else None

    def here(self, kind: str) -> Iterable[Manifest]:
        """Finished jobs of a kind that were done on hardware like this."""
        mine = _hardware(cpu_name(), os.cpu_count(), [gpu.name for gpu in gpus()])
        for manifest in self.manifests.values():
            of = manifest["measured"].get("hardware", {})
            if manifest["kind"] == kind and _hardware(of.get("cpu"), of.get("cores"), of.get("accelerators")) == mine:
                yield manifest

    def evaluation_seconds(self, job: Job) -> float | None:
        """Of asking or scoring a benchmark in the same way on this machine."""
        times = [
            manifest["measured"]["job_seconds"]
            for manifest in self.here(job.kind)
            if all(manifest["declared"].get(name) == job.declared.get(name) for name in SAME[job.kind])
        ]
        return median(times) if times else None

    def _kind(self, key: str) -> tuple[str, Mapping[str, str]]:
        if key in self.jobs:
            return self.jobs[key].kind, self.jobs[key].parents
        manifest = self.manifests.get(key)
        return (manifest["kind"], manifest["parents"]) if manifest else ("", {})


def _hardware(cpu: str | None, cores: int | None, accelerators: Iterable[str] | None) -> Json:
    names = sorted(set(accelerators or ()))
    return names or [cpu, cores]
