"""HumanEval: 164 Python functions to be written from signature and description (Chen et al., 2021, arXiv:2107.03374).

Hub id openai/openai_humaneval, MIT licence; the mirror holds the authors' rows as `test.jsonl`. What a model writes is
run in the sandbox, and the problem's tests are run apart from it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from typing import Any

import pydantic

from harness.api import (
    Arm,
    Ask,
    Asking,
    Benchmark,
    Evaluator,
    Execute,
    Execution,
    Hub,
    Item,
    Message,
    Options,
    Plugin,
    Questions,
    Read,
    Response,
    Scorer,
    Scores,
    Scoring,
    hookimpl,
)


class HumanEvalOptions(Options):
    """What a program may use."""

    timeout: float = pydantic.Field(3.0, gt=0)
    """Seconds of CPU time, rounded up; 3 are HumanEval's own."""


PLUGIN = Plugin(
    name="humaneval",
    version="1.0",
    summary="Python functions to be written, judged by running them.",
    paper="https://arxiv.org/abs/2107.03374",
    options=HumanEvalOptions,
)

PROBLEMS = Hub(
    "openai/openai_humaneval", files=("openai_humaneval/test-00000-of-00001.parquet",), mirror=("test.jsonl",)
)
STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""What begins the next thing after the function: the paper's."""
INSTRUCTION = """\
Complete this Python function. Answer with one code block that holds the whole function and all that it needs.

```python
{prompt}```"""

_BLOCK = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_SAME_EVERY_TIME = "import random\nrandom.seed(0)\n"
"""Some of the tests draw numbers."""


# --- asking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problems(Questions):
    """Every problem, asked `samples` times: as a text to be gone on with, or in the model's chat format."""

    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    chat: bool = False
    max_new_tokens: int = 512

    @property
    def data(self) -> tuple[Hub, ...]:
        """The problems."""
        return (PROBLEMS,)

    def items(self, read: Read) -> Sequence[Item]:
        """One for each problem, `HumanEval/0` and on."""
        return [Item(row["task_id"], row) for row in read(PROBLEMS)]

    def ask(self, item: Item) -> Asking:
        """All samples at once."""
        prompt = item.content["prompt"]
        asked = (Message("user", INSTRUCTION.format(prompt=prompt)),) if self.chat else prompt
        stop = () if self.chat else STOP
        yield [Ask(asked, self.max_new_tokens, self.temperature, self.top_p, stop)] * self.samples


# --- scoring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FunctionalCorrectness(Scorer):
    """Runs every sample and estimates, for each k, how likely one of k is right."""

    ks: tuple[int, ...]
    chat: bool
    timeout: float

    needs = frozenset({"sandbox"})

    def score(self, response: Response, read: Read, opponent: Response | None) -> Scoring:
        """`pass@k` of each k. An answer of a chat without any code is wrong, and the item counts as unparsed."""
        problem = response.item.content
        codes = [code_in(reply.text, problem) if self.chat else reply.text for reply in response.replies]
        programs = [self._program(code, problem) for code in codes if code is not None]
        executions: Sequence[Execution] = (yield programs) if programs else ()
        ended = [f"{ended.outcome}: {ended.detail}".removesuffix(": ") for ended in executions]
        if any(execution.outcome == "sandbox_failure" for execution in executions):
            return Scores({}, missing="sandbox_failure", detail={"executions": ended})
        right = sum(execution.outcome == "passed" for execution in executions)
        return Scores(
            {f"pass@{k}": pass_at_k(len(codes), right, k) for k in self.ks},
            extracted=codes if self.chat else None,
            unparsed=None in codes,
            detail={"executions": ended},
        )

    def _program(self, code: str, problem: Any) -> Execute:
        # The tests call functions that some prompts define: they get the prompt's, not what a model made of them.
        checks = "\n".join((_SAME_EVERY_TIME, problem["prompt"], problem["test"]))
        return Execute(f"{problem['prompt']}{code}", problem["entry_point"], checks, self.timeout)


def pass_at_k(n: int, right: int, k: int) -> float:
    """Chance that of `k` samples, drawn from `n` without putting back, one is among the `right`. Unbiased, and exact.

    Raises ZeroDivisionError where more are drawn than there are.
    """
    return float(1 - Fraction(comb(n - right, k), comb(n, k)))


def code_in(answer: str, problem: Any) -> str | None:
    """What of a chat's answer goes behind the prompt; None where there is no code.

    The first code block that defines the function, else the first, else the whole answer if it defines the function.
    """
    defines = re.compile(rf"^\s*(?:async\s+)?def\s+{re.escape(problem['entry_point'])}\b", re.MULTILINE)
    blocks: list[str] = _BLOCK.findall(answer)
    whole = [code for code in (*blocks, answer) if defines.search(code)]
    if whole:
        return f"\n\n{whole[0]}"  # it takes the place of the prompt's, which has no body but its description
    return blocks[0] if blocks else None


# --- what is offered -----------------------------------------------------------------------------------------------


@hookimpl
def evaluator(arm: Arm) -> Sequence[Evaluator]:
    """`humaneval`, as DMT asks; by name `humaneval_chat`, and `humaneval_t01` and `humaneval_t07`, as IM asks."""
    timeout = arm.options(HumanEvalOptions).timeout

    def offered(name: str, protocol: str, questions: Problems, *, k: int = 1, optional: bool = True) -> Evaluator:
        ks = (1,) if questions.samples == 1 else (1, 10)
        scorer = FunctionalCorrectness(ks, questions.chat, timeout)
        task = Benchmark(questions, scorer, f"pass@{k}")
        return Evaluator(name, protocol, task, summary="Python functions, run and tested", optional=optional)

    return [
        offered("humaneval", "dmt-1", Problems(), optional=False),
        offered("humaneval_chat", "chat-1", Problems(chat=True)),
        offered("humaneval_t01", "im-t0.1-1", Problems(samples=20, temperature=0.1, top_p=0.95)),
        offered("humaneval_t07", "im-t0.7-1", Problems(samples=20, temperature=0.7, top_p=0.95), k=10),
    ]
