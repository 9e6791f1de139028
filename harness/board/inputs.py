"""What a run hands to the board: plain data about each arm's jobs, read from the store by the runner.

Nothing here is computed by the board; the rows in `harness.board.rows` are. `publish.write_run(folder, arms, run)`
takes these and writes the whole output folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.api import Total
from harness.api.benchmarks import Need
from harness.board.numbers import DeclaredSuite, Measure
from harness.canonical import Json


@dataclass(frozen=True)
class PluginRecord:
    """One plug-in of an arm, as it was resolved."""

    name: str
    version: str
    distribution: str | None
    """`instruct-harness 0.1.0`; None for a plug-in loaded from a file, which can run but not be published."""
    digest: str
    """SHA-256 of its source."""
    options: Mapping[str, Json] = field(default_factory=dict)
    """Those that differ from their defaults, in JSON form (`{"k": "1/64"}`)."""


@dataclass(frozen=True)
class DataRecord:
    """One dataset that the arm read."""

    name: str
    source: Json
    """Hub id, revision and files; or the arguments of generated examples (`DataDeclaration.source`)."""
    content: str | None
    """SHA-256 over the rows' files, where they were read."""
    n: int | None
    """Examples in the whole dataset, before any sampling."""
    role: str = ""


@dataclass(frozen=True)
class TrainRun:
    """One finished `train` job."""

    stage: str
    key: str
    result: Mapping[str, Json]
    """The manifest's `result`. Needed: `steps`, `examples`, `tokens`, `scored_tokens` (whole numbers, over all epochs).
    Kept as they are: `truncated`, `dropped`, `counts` per dataset, `final_loss`, `template_digest` and any other."""
    measured: Mapping[str, Json] = field(default_factory=dict)
    """The manifest's `measured`. Summed or maximised where present: `seconds`, `device_hours`, `peak_memory_bytes`.
    Noted where true: `restarted`."""


@dataclass(frozen=True)
class MergeRun:
    """One finished `merge` job."""

    key: str
    method: str
    weights: Mapping[str, str] = field(default_factory=dict)
    """Stage name to exact share, `1/4`."""
    measured: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluateRun:
    """One finished `evaluate` job."""

    key: str
    protocol: str
    folder: Path
    """The job's folder in the store; its `samples.jsonl` is read and copied, never changed."""
    score_name: str
    """The key of a sample's `scores` that is the benchmark's number, e.g. `exact_match,strict-match`."""
    result: Mapping[str, Json]
    """The manifest's `result`: `score`, `n_expected` and `samples_sha256` (of samples.jsonl) are checked against the
    samples; counts and metrics are made from the samples again; the rest (template digest, BOS) is kept as it is."""
    measured: Mapping[str, Json] = field(default_factory=dict)
    respond_key: str | None = None
    """The job that asked the model; several benchmarks may share it."""
    respond_measured: Mapping[str, Json] = field(default_factory=dict)
    higher_is_better: bool = True
    total: Total | None = None
    out_of: float = 100
    needs: tuple[Need, ...] = ()
    """What the benchmark cannot be scored without."""

    def measure(self) -> Measure:
        """How its number is made and shown."""
        return Measure(
            protocol=self.protocol,
            score_name=self.score_name,
            higher_is_better=self.higher_is_better,
            total=self.total,
            out_of=self.out_of,
        )


@dataclass(frozen=True)
class SeedRun:
    """One seed of an arm: its training, its merge and its evaluations."""

    seed: int
    evaluations: Mapping[str, EvaluateRun]
    """Benchmark name to job, in the suite's order; the same benchmarks for every seed and every arm."""
    train: tuple[TrainRun, ...] = ()
    """In the order of the strategy's stages; empty for an arm without training."""
    merge: MergeRun | None = None


@dataclass(frozen=True)
class ArmRun:
    """One arm with all its seeds."""

    id: str
    plugins: tuple[PluginRecord, ...]
    seeds: tuple[SeedRun, ...]
    data: tuple[DataRecord, ...] = ()
    baseline: str | None = None
    """Id of the arm this one is compared with: `sft`, or its matched variant. None for a baseline itself."""
    match: str | None = None
    """What budget this arm was given and to match whom, e.g. `tokens of dmt+im`; None for its own epochs."""
    model: Json = None
    """The arm's own starting model; None: the run's."""
    differs: Mapping[str, Json] = field(default_factory=dict)
    """Settings of this arm alone (`--set ARM:train.lr=...`) and those its strategy sets, as `plan` lists them."""


@dataclass(frozen=True)
class GitState:
    """The checkout that the harness ran from."""

    commit: str
    dirty: bool


@dataclass(frozen=True)
class RunInfo:
    """What all arms of a run share."""

    recipe: Json
    """The resolved recipe without what cannot change a result or differs between arms: no arms, seeds, paths of this
    machine, threads or engine memory; data by content. Rows are comparable when their recipes are equal."""
    suite: DeclaredSuite
    """Its digest is made from these and the benchmarks' names, protocols and score names."""
    model: Json
    """Hub id and revision, a folder's content digest, or `init`: `ModelSettings` as JSON, a mapping."""
    engine: Json
    """`EngineSettings` as JSON."""
    command: str
    """As typed, `harness run --plugins im,dmt`."""
    git: GitState | None
    """None outside a checkout, where the distribution's version says what ran."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Distribution to version."""
    hardware: Mapping[str, Json] = field(default_factory=dict)
    """Processor, accelerator, count, memory, operating system."""
    limit: int | None = None
    """Only the first so many items of each benchmark; such rows are not publishable."""
    accepted_source: bool = False
    """`--accept-source` was given; such rows are not publishable."""
