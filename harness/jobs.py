"""The jobs of a plan: what each declares (hashed into its key) and what a worker is handed to do it.

A job's key is the digest of its declaration alone. Hardware, paths, micro-batches and the launcher never enter it;
they reach the worker through `harness.context.Context`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pydantic

from harness.api import EarlyStopping
from harness.canonical import Json, digest

Kind = Literal["prepare", "fisher", "train", "merge", "generate", "respond", "evaluate"]

SEMANTICS: Mapping[str, int] = {
    "prepare": 1,
    "fisher": 1,
    "train": 1,
    "merge": 2,
    "generate": 3,
    "respond": 1,
    "evaluate": 2,
}
"""Version of what each kind of job means. Raise it when the core's code changes a job's result."""


class Declaration(pydantic.BaseModel):
    """Base of the declared half of a job: frozen, JSON-able, nothing that differs between machines."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class LoraSettings(Declaration):
    """Train low-rank adapters (LoRA, arXiv:2106.09685) and merge them into the model when the stage ends."""

    rank: int = pydantic.Field(16, ge=1)
    alpha: float = pydantic.Field(32.0, gt=0)
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ("all-linear",)
    """Names of the modules that get adapters; `all-linear` is every linear layer but the head."""
    quantize: Literal["none", "nf4"] = "none"
    """`nf4`: the frozen weights are held in 4 bits while training (QLoRA, arXiv:2305.14314)."""


class TrainSettings(Declaration):
    """Optimisation, the same for every arm unless a stage or `--set ARM:train.x` says otherwise."""

    lr: float = pydantic.Field(2e-5, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = pydantic.Field(0.03, ge=0, le=1)
    """Share of the steps over which the learning rate rises from 0."""
    epochs: float = pydantic.Field(3.0, gt=0)
    batch_size: int = pydantic.Field(128, ge=1)
    """Examples per optimiser step, over all ranks and accumulation."""
    max_length: int = pydantic.Field(2048, ge=8)
    """Tokens; longer conversations are cut on the right and counted."""
    weight_decay: float = pydantic.Field(0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = pydantic.Field(1e-8, gt=0)
    clip: float = pydantic.Field(1.0, ge=0)
    """Largest gradient norm; 0 leaves gradients alone."""
    loss_reduction: Literal["token", "example"] = "token"
    """`token`: the mean over scored tokens of the effective batch; `example`: every example weighs the same."""
    end_of_turn: bool = pydantic.Field(default=True, exclude_if=bool)
    """Whether the token that ends a response is learnt; without it a model is never taught to stop."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    lora: LoraSettings | None = None
    """Train adapters instead of all weights."""
    early_stopping: EarlyStopping | None = pydantic.Field(None, exclude_if=lambda settings: settings is None)
    """Hold examples out, stop where the loss on them falls no more, and keep the model with the lowest."""


class InitModel(Declaration):
    """A model made on the spot: a transformers config, and a byte-level BPE tokenizer trained on the run's data."""

    architecture: str = "llama"
    """`model_type` of a transformers configuration."""
    config: Mapping[str, Any] = pydantic.Field(default_factory=dict)
    """Fields of that configuration; the vocabulary and special tokens are filled in from the tokenizer."""
    vocab_size: int = pydantic.Field(512, ge=270)
    tokenizer_examples: int = pydantic.Field(20_000, ge=1)
    """At most this many examples train the tokenizer."""
    pretrain: Mapping[str, Any] | None = pydantic.Field(None, exclude_if=lambda changes: changes is None)
    """Train it on the data in the role `pretraining` before any arm starts from it, by `train` with these changes."""


class ModelSettings(Declaration):
    """The model that every arm starts from: a hub id at a revision, a folder, `init`, or what a server has."""

    id: str | None = None
    revision: str | None = None
    init: InitModel | None = None
    chat_template: str | None = None
    """Jinja text, a path ending in .jinja, or a name of `harness.data.templates`; None keeps the tokenizer's own."""
    trust_remote_code: bool = False
    base_url: str | None = pydantic.Field(None, exclude_if=lambda url: url is None)
    """Address of the server that has the model under its `id`, `http://localhost:8000/v1`; enters no key."""
    server: str | None = pydantic.Field(None, exclude_if=lambda name: name is None)
    """What that server is called in keys, so that another address can be the same; None: host, port and path."""

    @pydantic.model_validator(mode="after")
    def _one_origin(self) -> ModelSettings:
        if self.id is not None and self.init is not None:
            raise ValueError("a model has an id or init, not both; to replace it whole: --set model=ORG/NAME")
        if self.base_url is not None and (self.id is None or self.revision is not None):
            raise ValueError(
                "a server has its models under an id and no revision: --set model=NAME@http://HOST:PORT/v1"
            )
        return self


class DataDeclaration(Declaration):
    """One dataset as far as a key is concerned: what its rows are, not where they lie."""

    name: str
    plugin: str | None = None
    """`name version` of the plug-in that declares it; None for the user's files and plain hub ids."""
    source: Json
    """The hub id, revision and files; or the arguments of generated examples; or `files`."""
    content: str | None = None
    """SHA-256 over the rows' files, where they can be read at plan time."""
    columns: Json = None
    rows: Json = pydantic.Field(None, exclude_if=lambda rows: rows is None)
    """Which rows take part, where some do not."""
    n: int | None = None
    """Examples, where known."""


class Operation(Declaration):
    """One step of `Derived`, e.g. `sample`."""

    op: str
    amount: int | None = None
    fraction: str | None = None
    """`1/256`."""
    seed: int = 0
    options: Mapping[str, Any] = pydantic.Field(default_factory=dict)


class MixtureItem(Declaration):
    """A dataset and the operations applied to it, first to last."""

    data: DataDeclaration
    ops: tuple[Operation, ...] = ()


class EngineSettings(Declaration):
    """The engine that answers a benchmark's requests, and what about it can change an answer."""

    name: Literal["hf", "vllm", "endpoint"] = "hf"
    """`endpoint` asks the server that has the model."""
    dtype: Literal["float32", "bfloat16"] | None = "float32"
    """None for `endpoint`: it is the server's own."""
    max_length: int | None = None
    """Context in tokens; None takes the model's own."""
    extra: Mapping[str, Any] = pydantic.Field(default_factory=dict, exclude_if=lambda fields: not fields)
    """Further fields of every request of `endpoint`, `{reasoning_effort: low}`; null takes one of its own away."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_served(cls, value: Any) -> Any:
        served = isinstance(value, Mapping) and value.get("name") == "endpoint"
        return {"dtype": None, **value} if served else value

    @pydantic.model_validator(mode="after")
    def _of_this_engine(self) -> EngineSettings:
        if self.name == "endpoint" and (self.dtype is not None or self.max_length is not None):
            raise ValueError("engine.dtype and engine.max_length are the server's own: leave them away")
        if self.name != "endpoint" and (self.dtype is None or self.extra):
            raise ValueError("only the engine endpoint goes without engine.dtype, and has engine.extra")
        return self


class PrepareModel(Declaration):
    """`prepare`: the model every arm starts from, complete with tokenizer and chat template, in `<job>/model/`.

    A model of the hub or a folder is linked, not copied; `init` makes one from `data` and `seed`.
    """

    model: ModelSettings
    content: str | None = None
    """Digest of a local folder's files; None for hub models, whose revision fixes them, and for `init`."""
    data: tuple[MixtureItem, ...] = ()
    """What trains the tokenizer of an `init` model."""
    seed: int = 0


class BenchmarkItems(Declaration):
    """What a benchmark asks, as far as its items are concerned."""

    plugin: str
    """`name version` of the plug-in that asks."""
    questions: Json
    data: tuple[DataDeclaration, ...] = ()


class PrepareData(Declaration):
    """`prepare`: examples chosen, grouped or changed by a plug-in's curation, `<job>/<portion>.jsonl` of chat rows.

    Where it asks for likelihoods, the parent `model` has them, and what the engine said is in `<job>/responses.jsonl`.
    """

    items: tuple[MixtureItem, ...]
    """What is curated; several are taken together."""
    plugin: str
    """`name version` of the plug-in that curates."""
    curation: Json
    """The plug-in's `Curation` with its fields."""
    portions: tuple[str, ...]
    data: tuple[DataDeclaration, ...] = ()
    """What it reads besides."""
    embedder: Json = None
    """The model that embeds: its `name`, or the digest of its folder's files."""
    engine: EngineSettings | None = None
    """What gives likelihoods; None where none are asked for."""
    judge: Json = None
    """Who judges; None where nobody does."""
    benchmarks: Mapping[str, BenchmarkItems] = pydantic.Field(default_factory=dict, exclude_if=lambda found: not found)
    """The run's benchmarks by name, where it looks at them."""
    seed: int = 0

    @property
    def curator(self) -> str:
        """The plug-in that curates."""
        return self.plugin.partition(" ")[0]


class EstimateFisher(Declaration):
    """`fisher`: the diagonal Fisher information of the weights of the parent `model`, as a model of the same form.

    It lies in `<job>/model/`: whatever reads or streams weights finds each one's under its own name.
    """

    items: tuple[MixtureItem, ...]
    """What it is estimated on."""
    max_length: int
    examples: int | None = pydantic.Field(None, exclude_if=lambda n: n is None)
    """At most so many of them all, drawn by the seed; None: every one."""
    labels: Literal["data", "sampled"] = pydantic.Field("data", exclude_if=lambda labels: labels == "data")
    """`data`: the likelihood is of the data's own tokens; `sampled`: of tokens drawn from the model's predictions."""
    seed: int = pydantic.Field(0, exclude_if=lambda seed: seed == 0)


class StageBudget(Declaration):
    """One stage of the arm whose budget is matched."""

    mixture: tuple[MixtureItem, ...]
    epochs: float
    batch_size: int
    max_length: int


class Budget(Declaration):
    """How long the matched baseline trains: as many `unit`s as these stages together, instead of its own epochs."""

    unit: Literal["examples", "tokens", "steps"]
    stages: tuple[StageBudget, ...]


class Train(Declaration):
    """`train`: one stage. Parent `start` holds the model it starts from (and `base`, where the loss compares with it).

    Leaves `<job>/model/`, complete with tokenizer, and `<job>/kept/<share>/model/` for every share below 1 in `keep`.
    """

    mixture: tuple[MixtureItem, ...]
    settings: TrainSettings
    loss: Json
    """Plug-ins that make the loss, with versions and options."""
    objective: Literal["sft", "dpo"] = "sft"
    keep: tuple[float, ...] = (1.0,)
    seed: int = 0
    budget: Budget | None = None

    def items(self) -> tuple[MixtureItem, ...]:
        """All data that it reads: its own, and what the stages of its budget train on."""
        followed = self.budget.stages if self.budget else ()
        return (*self.mixture, *(item for stage in followed for item in stage.mixture))


class Merge(Declaration):
    """`merge`: parents, one per stage name, become one model in `<job>/model/`.

    Parent `base` is the model that their training started from, where the method compares with it.
    """

    method: str = "average"
    """`average`, `mergekit`, or the name of the plug-in that combines."""
    weights: tuple[tuple[str, str], ...] = ()
    """Stage name and exact weight, `1/4`."""
    adapters: Literal["merged", "apart"] = pydantic.Field("merged", exclude_if=lambda how: how == "merged")
    options: Json = pydantic.Field(None, exclude_if=lambda options: options is None)
    """What the method's own fields hold."""
    plugins: tuple[str, ...] = pydantic.Field((), exclude_if=lambda plugins: not plugins)
    """`name version` of the plug-ins whose code combines."""
    seed: int | None = pydantic.Field(None, exclude_if=lambda seed: seed is None)
    """Of methods that draw random numbers."""
    held_out: tuple[MixtureItem, ...] = pydantic.Field((), exclude_if=lambda items: not items)
    """What candidates are scored on, by methods that choose which models they merge."""
    max_length: int | None = pydantic.Field(None, exclude_if=lambda tokens: tokens is None)
    """Tokens after which held-out conversations are cut."""


class Generate(Declaration):
    """`generate`: the conversations of `item` with their last answer written by the model of the parent `model`.

    Leaves `<job>/responses.jsonl` (raw, written as they come) and `<job>/examples.jsonl` (chat rows for training).
    """

    item: MixtureItem
    engine: EngineSettings
    samples: int = pydantic.Field(1, ge=1)
    temperature: float = pydantic.Field(0.0, ge=0)
    top_p: float = pydantic.Field(1.0, gt=0, le=1)
    max_new_tokens: int = pydantic.Field(256, ge=1)
    seed: int = 0


class Respond(Declaration):
    """`respond`: all that a benchmark asks one model (parent `model`). Benchmarks with equal questions share the job.

    Leaves `<job>/responses.jsonl` (raw, written as they come), `<job>/answers.jsonl` (item by item) and
    `<job>/asked.jsonl.gz` (what was asked, for people).
    """

    plugin: str
    """`name version` of the plug-in that asks."""
    questions: Json
    """What is asked: the lm-eval task with the digest of its files, or the plug-in's `Questions` with their fields."""
    data: tuple[DataDeclaration, ...] = ()
    engine: EngineSettings
    limit: int | None = None
    """Only the first so many items; such rows are not publishable."""
    seed: int = 0


class Evaluate(Declaration):
    """`evaluate`: the answers of one model (parent `answers`) to one benchmark, scored by one protocol.

    A scorer that compares has the parent `opponent` too, another model's answers to the same questions. No engine takes
    part. Leaves `<job>/samples.jsonl`.
    """

    benchmark: str
    protocol: str
    plugin: str
    """`name version` of the plug-in that offers the benchmark."""
    scorer: Json
    """How is scored: the lm-eval task with metric and filter, or the plug-in's `Scorer` with its fields."""
    aggregate: Json
    """How the scores become the benchmark's number."""
    data: tuple[DataDeclaration, ...] = ()
    judge: Json = None
    """Who judges; None where nobody does."""


CHECKPOINTS = "checkpoints"
CORPUS = "corpus"
"""Folders of an unfinished `train` job: what it goes on from, and what it trains on."""

ANSWERS = "answers.jsonl"
"""What a `respond` job leaves for those that score."""

ASKED = "asked.jsonl.gz"
"""What a `respond` job asked, for people to read beside the answers."""

EXAMPLES = "examples.jsonl"
"""What a `generate` job leaves for training."""

RESPONSES = "responses.jsonl"
"""What an engine answered, as it came: what a second attempt goes on from."""

MADE = "data:"
"""Prefix of the parent role under which a job finds a dataset that another job made."""


@dataclass(frozen=True)
class Job:
    """A node of the plan. `declared` makes the key; `payload` says how to find the code (arm, stage) that does it."""

    kind: Kind
    label: str
    declared: Json
    parents: Mapping[str, str] = field(default_factory=dict)
    """Role (`model`, `tokenizer`, a stage's name) to key; the keys enter this job's key too."""
    payload: Json = None

    @property
    def curates(self) -> bool:
        """Whether it prepares data, not the model that an arm starts from."""
        return self.kind == "prepare" and "curation" in self.declared

    @property
    def key(self) -> str:
        """SHA-256 of kind, semantic version, declaration and parents' keys."""
        return digest(
            {
                "kind": self.kind,
                "semantics": SEMANTICS[self.kind],
                "declared": self.declared,
                "parents": dict(self.parents),
            }
        )
