"""Benchmarks: what a model is asked, in rounds, and how its answers are scored.

Asking and scoring are two jobs. `Questions` ask the model and nothing else; all that they ask about an item is stored
before a `Scorer` sees it, so that a judge, a protocol or a mended parser never costs a second generation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from harness.api.data import Files, Hub, Message
from harness.errors import UserError

Rows = Sequence[Mapping[str, Any]]
Read = Callable[[Hub | Files], Rows]
"""The rows of a dataset that the benchmark declares, all its files together, in order."""


@dataclass(frozen=True)
class LmEvalTask:
    """A benchmark written as an lm-eval task, or as a group or tag of tasks.

    Where a group says how its tasks are averaged, that holds; all tasks weigh the same elsewhere.
    """

    task: str
    """The name of the task, group or tag, found in `tasks/`, in `include` or in `stock`."""
    metric: str
    filter: str = "none"
    """The metric and filter whose number is the benchmark's score, a mean over samples; every other one is reported
    beside it. Translation edit rates, which lm-eval has in percent, are also there as a share: `ter/100`."""
    include: str | None = None
    """A folder of task YAML that the plug-in ships; None for the harness's own `tasks/`."""
    stock: str | None = None
    """A folder of the tasks that come with lm-eval instead, `mmlu/default`."""
    chat: bool = True
    """Whether the prompt goes through the model's chat template."""
    data: tuple[Hub, ...] = ()
    """Hub datasets the task reads, so that their content enters the key and the mirror can hold them."""
    shots: int | None = None
    """Few-shot examples; None keeps the task's own number."""

    @property
    def score(self) -> str:
        """The number that is the benchmark's score, as samples name it."""
        return f"{self.metric},{self.filter}"


# --- asking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """One question of a benchmark. `id` is unique within it and stable; clusters and pairs are formed by it."""

    id: str
    content: Mapping[str, Any]
    """The row, as JSON. Its digest, not its text, is published."""


@dataclass(frozen=True)
class Ask:
    """One answer wanted of the model: to a conversation through a chat template, or as the continuation of a text."""

    prompt: tuple[Message, ...] | str
    max_new_tokens: int
    temperature: float = 0.0
    """0 is greedy. Any other draws by a seed made of the run's, the item's id and the answer's place in its rounds."""
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    """Texts that end the answer and are no part of it. The model's end-of-sequence tokens always end it."""
    template: str | None = None
    """None: the model's own chat template. Else the name of a FastChat conversation template, such as `vicuna_v1.1`."""


@dataclass(frozen=True)
class Reply:
    """What the model said."""

    text: str
    finish: Literal["stop", "length"]
    """`length`: cut off by `max_new_tokens`."""
    tokens: int = 0
    """Tokens generated."""
    prompt_cut: int = 0
    """Tokens lost on the left of a prompt that did not fit."""


Asking = Generator[Sequence[Ask], Sequence[Reply], None]
"""Yields what one round asks about an item, receives the replies in the same order; returns after the last round."""


@dataclass(frozen=True)
class Questions(ABC):
    """The asking half of a benchmark: a frozen dataclass, whose fields are JSON and enter the key."""

    @property
    def data(self) -> tuple[Hub | Files, ...]:
        """What `items` reads; nothing by default."""
        return ()

    @abstractmethod
    def items(self, read: Read) -> Sequence[Item]:
        """All items, in an order that never changes. Pure."""

    @abstractmethod
    def ask(self, item: Item) -> Asking:
        """The rounds of one item. Pure: it is run again on stored replies when an evaluation is resumed."""


# --- scoring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    """An item with all that the model replied, round by round."""

    item: Item
    rounds: tuple[tuple[Reply, ...], ...]

    @property
    def replies(self) -> tuple[Reply, ...]:
        """All replies in order."""
        return tuple(reply for replies in self.rounds for reply in replies)


@dataclass(frozen=True)
class JudgeReply:
    """What the judge sent for one prompt."""

    text: str
    """Its content, without think blocks."""
    logprobs: tuple[tuple[tuple[str, float], ...], ...] = ()
    """Of each token of the reply the likeliest tokens with their log-probabilities (natural), where asked for."""
    finish: str = "stop"
    model: str = ""
    """The model that answered, as the endpoint names it."""


@dataclass(frozen=True)
class JudgePrompt:
    """One judgment to buy. `parse` makes a verdict of a reply, or None where it holds none: then it is asked again."""

    messages: tuple[Message, ...]
    parse: Callable[[JudgeReply], Any]
    max_tokens: int = 2048
    temperature: float = 0.0
    top_logprobs: int | None = None
    revision: str = "1"
    """Of the prompt's template; part of the key of the stored reply."""
    repeat: int = 0
    """Which of several judgments of the same: each is bought by itself."""


@dataclass(frozen=True)
class Verdict:
    """A judgment: what `parse` made of the reply, or why there is nothing."""

    value: Any
    """None unless the outcome is `ok`."""
    outcome: Literal["ok", "judge_unparsed", "judge_refused", "judge_error"]
    text: str = ""
    """The judge's own words."""


@dataclass(frozen=True)
class Execute:
    """Code to run in the sandbox, and the checks of the function that it defines; each in a process of its own.

    The code sees neither the checks nor what comes of them: it is called with plain data (numbers, text, lists, tuples,
    sets, dictionaries), and all that it can do to pass is to return what they want. It has Python's standard library
    and numpy, one thread, no network, and a small empty folder.
    """

    code: str
    """Python that defines `entry_point`."""
    entry_point: str
    """The function's name, under which the checks may call it as well."""
    checks: str
    """Python that defines `check(function)`, which raises where the function is wrong."""
    timeout: float = 3.0
    """Seconds of CPU time, rounded up to whole ones, so that a busy machine makes no answer wrong. A program that
    waits instead is ended after ten times as long."""
    memory_gib: float = 4.0


@dataclass(frozen=True)
class Execution:
    """How a program ended. `sandbox_failure` is ours, and the program was not judged; everything else is its own."""

    outcome: Literal["passed", "failed", "timeout", "memory", "output", "crashed", "sandbox_failure"]
    detail: str = ""
    """One short line without paths: what it raised, or what became of it."""


Missing = Literal[
    "scorer_error", "engine_error", "judge_unparsed", "judge_refused", "judge_error", "sandbox_failure", "ungraded"
]
"""What the apparatus failed to do: the item has no score, and is never counted as wrong."""


@dataclass(frozen=True)
class Scores:
    """What a scorer makes of an item."""

    values: Mapping[str, float]
    """Numbers by name; empty where the apparatus failed."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """What each number weighs in the benchmark's mean; 1 where nothing is said."""
    extracted: Any = None
    """What was read out of the answer, as JSON."""
    unparsed: bool = False
    """Nothing could be read out of the model's answer: scored, and counted."""
    missing: Missing | None = None
    judgments: tuple[Verdict, ...] = ()
    """Kept with the sample, to be read."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """More to be kept with the sample, as JSON."""


Call = JudgePrompt | Execute
Result = Verdict | Execution
Scoring = Generator[Sequence[Call], Sequence[Any], Scores]
"""Yields what it needs judged or executed, receives the results in the same order, and returns the scores."""


@dataclass(frozen=True)
class Total:
    """The benchmark's number is the sum of an item's scores over `out_of`, without the lowest of the groups.

    The rule of the Hungarian exam: of three problems, each in several parts, the best two count.
    """

    out_of: float
    drop_lowest_of: tuple[tuple[str, ...], ...] = ()
    """Item ids of each group."""


@dataclass(frozen=True)
class Mean:
    """The benchmark's number is the weighted mean over its scored items."""


Need = Literal["judge", "sandbox", "opponent", "grades"]
"""What a scorer cannot do without: a judge, a sandbox, another model's answers, or grades that people give."""


@dataclass(frozen=True)
class Scorer(ABC):
    """The scoring half of a benchmark: a frozen dataclass, whose fields are JSON and enter the key."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    @property
    def data(self) -> tuple[Hub | Files, ...]:
        """What `score` reads besides the answers: references, prompts of the judge, grades. Nothing by default.

        Raises UserError where the user has yet to name a file: so it is said before anything runs.
        """
        return ()

    @abstractmethod
    def score(self, response: Response, read: Read, opponent: Response | None) -> Scores | Scoring:
        """The scores of one item, at once or after what it wants judged or run.

        `opponent` is another model's response to it, where the scorer needs one.
        """

    def settle(self, scored: Sequence[tuple[Response, Scores]], read: Read) -> Sequence[Scores]:  # noqa: ARG002
        """The scores once every item has its own, for values that no item has by itself. Unchanged by default."""
        return [scores for _, scores in scored]

    def totals(self, scored: Sequence[tuple[Response, Scores]], read: Read) -> Mapping[str, float]:  # noqa: ARG002
        """Numbers over the whole benchmark that are no mean over items, reported beside the score. None by default."""
        return {}

    def given(self, rows: Rows, read: Read) -> Sequence[tuple[Response, Scores]]:  # noqa: ARG002
        """Answers with the scores that others gave them: the rows of published annotations or of a graded exam.

        Raises UserError for rows that are nothing of the kind, as it does by default.
        """
        raise UserError("this benchmark takes no scores from a file", "let a model answer it: harness run or eval")


@dataclass(frozen=True)
class Benchmark:
    """Questions and how answers to them are scored. Benchmarks with equal questions share the model's answers."""

    questions: Questions
    scorer: Scorer
    score: str
    """Which of the scorer's values is the benchmark's number: a share, 0 to 1."""


@dataclass(frozen=True)
class Evaluator:
    """A benchmark: its name, the protocol that makes its number, and the task that runs it."""

    name: str
    protocol: str
    """`official`, `strict` or a protocol's own name, with a version: `strict-1`. Two protocols never share a column."""
    task: LmEvalTask | Benchmark
    higher_is_better: bool = True
    summary: str = ""
    aggregate: Mean | Total = Mean()
    out_of: float = 100
    """How the score is shown: a share of 0.653 reads 65.3 out of 100 and 6.53 out of 10."""
    optional: bool = False
    """Run only where a recipe or suite names it, `plugin:name`, not where the plug-in alone is named."""

    def needs(self, what: Need) -> bool:
        """Whether scoring takes this."""
        return isinstance(self.task, Benchmark) and what in self.task.scorer.needs
