"""Rejection-sampling fine-tuning, as GSM8K-RFT was made (Yuan et al., 2023, arXiv:2308.01825).

A model trained on the worked solutions answers each question many times. Of its solutions those stay that reach the
answer of the data and whose `<<a=b>>` equations hold, one for each chain of equations, beside the solutions of the
data. What the arm trains on, from the base again, is then that larger set: all data in one stage, or whatever stages
another strategy of the arm has (`gsm8k_rft,dmt`).

As in the authors' code (OFA-Sys/gsm8k-ScRel), the solutions of the data take no part in that choice. Two things are
stricter here: all sides of `a=b=c` must agree, of which the code looks at the first two; and the answer is the last
after `####`, where the code takes the first.
"""

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import Field

from harness.api import (
    Answered,
    Arm,
    Curated,
    Curation,
    CurationTools,
    Data,
    DataInfo,
    Example,
    Mixture,
    Options,
    Plugin,
    Question,
    Stage,
    UserError,
    final_answer,
    hookimpl,
    in_role,
    questions,
)

SAMPLER = "sampler"
ANSWER = r"####\s*(.+)"
EQUATION = re.compile(r"<<([^<>]*)>>")
LONGEST_EXPRESSION = 200
"""Characters: what is longer is no step of a solution, and may be too deep to read."""


class Gsm8kRftOptions(Options):
    """How often the questions are answered, and what of it is kept."""

    samples: int = Field(100, ge=1)
    """Answers to each question."""
    temperature: float = Field(0.7, gt=0)
    """At which they are drawn."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Probability mass that they are drawn from."""
    max_new_tokens: int = Field(512, ge=1)
    """Longer answers are left out."""
    tolerance: float = Field(1e-3, gt=0)
    """The sides of an equation differ by less than this."""
    role: str = ""
    """Only data of this role are sampled; empty: all but pretraining text."""


PLUGIN = Plugin(
    name="gsm8k_rft",
    version="1.1",
    summary="Rejection sampling: the model's own right solutions, one for each chain of equations, join the data.",
    paper="arXiv:2308.01825",
    options=Gsm8kRftOptions,
)


# --- equations -----------------------------------------------------------------------------------------------------

OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def equations(solution: str) -> tuple[str, ...]:
    """What a solution's `<<...>>` hold, without spaces."""
    return tuple("".join(found.split()) for found in EQUATION.findall(solution))


def holds(equation: str, tolerance: float) -> bool:
    """Whether the sides of `a=b` are arithmetic and differ by less than the tolerance."""
    sides = [_value(side.strip()) for side in equation.split("=")]
    values = [value for value in sides if value is not None]
    return len(values) == len(sides) > 1 and all(abs(value - values[-1]) < tolerance for value in values)


def _value(expression: str) -> float | None:
    """Of sums, differences, products and quotients of decimal numbers; None for anything else. Nothing is executed."""
    if len(expression) > LONGEST_EXPRESSION:
        return None
    try:
        return _evaluated(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError):
        return None


def _evaluated(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluated(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_evaluated(left), _evaluated(right))
    raise ValueError("no arithmetic")


# --- which solutions stay ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RejectionSampling(Curation):
    """The data's solutions, and those of the model that are right, each by another chain of equations."""

    tolerance: float = 1e-3

    def curate(self, examples: Sequence[Example], tools: CurationTools) -> Mapping[str, Sequence[Example]]:
        """All demonstrations, each prompt's followed by the answers that stay."""
        kept: list[Example] = []
        counts = Counter[str](answers=0, wrong=0, miscalculated=0, duplicate=0, kept=0)
        for question in questions(examples):
            right = self._right(question, counts)
            found = distinct(right)
            counts.update(answers=len(question.answers), duplicate=len(right) - len(found), kept=len(found))
            kept += [*question.demonstrations, *found]
        for name, count in counts.items():
            tools.tell(name, count)
        return {"all": kept}

    def _right(self, question: Question, counts: Counter[str]) -> list[Example]:
        """The answers that reach the data's, by equations that hold."""
        wanted = {final_answer(_solution(example), ANSWER) for example in question.demonstrations}
        if None in wanted:
            raise UserError(
                f"the solution of {question.demonstrations[0].id} does not end in `#### answer`",
                "sample only data whose solutions do: --set gsm8k_rft.role=ROLE",
            )
        right = [example for example in question.answers if final_answer(_solution(example), ANSWER) in wanted]
        sound = [
            example
            for example in right
            if all(holds(equation, self.tolerance) for equation in equations(_solution(example)))
        ]
        counts.update(wrong=len(question.answers) - len(right), miscalculated=len(right) - len(sound))
        return sound


def distinct(solutions: Sequence[Example]) -> list[Example]:
    """One solution for each chain of equations, in the order in which the chains first come.

    Of two with one chain, the one stays that lies farther, in summed edit distance, from all others kept so far.
    """
    from rapidfuzz.distance import Levenshtein

    kept: dict[tuple[str, ...], Example] = {}
    for solution in solutions:
        chain = equations(_solution(solution))
        others = [_solution(other) for path, other in kept.items() if path != chain]

        def apart(example: Example, others: Sequence[str] = others) -> int:
            return sum(Levenshtein.distance(_solution(example), other) for other in others)

        if chain not in kept or apart(solution) > apart(kept[chain]):
            kept[chain] = solution
    return list(kept.values())


def _solution(example: Example) -> str:
    return example.messages[-1].content


# --- the strategy --------------------------------------------------------------------------------------------------


@hookimpl(wrapper=True)
def strategy(arm: Arm, data: Mapping[str, DataInfo]) -> Generator[None, Sequence[Stage], Sequence[Stage]]:
    """A stage that learns to solve; then the arm's own stages, from the base, with its solutions among the data."""
    options = arm.options(Gsm8kRftOptions)
    stages = yield
    sampled = in_role(data, options.role)

    def augmented(name: str) -> Data:
        if name not in sampled:
            return name
        answers = Answered(
            name,
            model=SAMPLER,
            samples=options.samples,
            temperature=options.temperature,
            top_p=options.top_p,
            max_new_tokens=options.max_new_tokens,
        )
        return Curated((name, answers), RejectionSampling(options.tolerance), name=f"{name} rft")

    first = replace(stages[0], start="base")
    return [
        Stage(SAMPLER, Mixture.of(*sampled)),
        *(replace(stage, mixture=stage.mixture.on_each(augmented)) for stage in (first, *stages[1:])),
    ]
