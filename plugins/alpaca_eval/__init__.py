"""AlpacaEval 1 and 2: 805 instructions, each answer compared by a judge with a reference model's (arXiv:2404.04475).

The package `alpaca_eval` owns the protocol: the judge's prompts, which answer stands first, what a reply means, win
rate, standard error and the length-controlled win rate. Asking, storing and buying judgments is the harness's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, ClassVar

from pydantic import Field

from harness.api import (
    Arm,
    Ask,
    Asking,
    Benchmark,
    Evaluator,
    Hub,
    Item,
    Message,
    Need,
    Options,
    Plugin,
    Questions,
    Read,
    Reply,
    Response,
    Rows,
    Scorer,
    Scores,
    Scoring,
    UserError,
    hookimpl,
    share_alike,
)

from .protocol import Annotator, Pair, annotator, length_controlled, win_rate


class AlpacaEvalOptions(Options):
    """How models are asked, and how often the judge."""

    template: str | None = None
    """None: the model's own chat template. Else a FastChat conversation template: `tulu`, `vicuna_v1.1`."""
    max_new_tokens: int = Field(2048, ge=1)
    """Tokens an answer may have."""
    both_orders: bool = False
    """Judge each pair in both orders, at twice the cost, and report how often the verdicts agree."""


PLUGIN = Plugin(
    name="alpaca_eval",
    version="1.0",
    summary="Answers to 805 instructions against a reference model's, by a judge.",
    paper="https://arxiv.org/abs/2404.04475",
    options=AlpacaEvalOptions,
)

ROWS = 805
REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
DAVINCI = Hub("tatsu-lab/alpaca_eval", ("alpaca_eval.json",), REVISION, ("alpaca_eval_text_davinci_003.json",))
"""The instructions, with the answers of text-davinci-003: the reference of AlpacaEval 1."""
GPT4_TURBO = Hub("tatsu-lab/alpaca_eval", ("alpaca_eval_gpt4_baseline.json",), REVISION)
"""The same instructions, with those of gpt-4-1106-preview: the reference of AlpacaEval 2."""
GAMED = Hub("tatsu-lab/alpaca_eval", ("df_gamed.csv",), REVISION)
"""What length control rests on: how hard each instruction is, and judgments of models told to be brief and verbose."""

REFERENCES: Mapping[Annotator, Hub] = {"alpaca_eval_gpt4": DAVINCI, "weighted_alpaca_eval_gpt4_turbo": GPT4_TURBO}


@hookimpl
def evaluator(arm: Arm) -> Sequence[Evaluator]:
    """`alpaca_eval`, `alpaca_eval_2` and, where it is named, `alpaca_eval_2_lc`, which shares the judgments of 2."""
    if find_spec("alpaca_eval") is None:
        raise UserError("AlpacaEval's protocol is the package alpaca-eval's", "pip install 'instruct-harness[judges]'")
    options = arm.options(AlpacaEvalOptions)
    both = options.both_orders
    protocol = "-".join(filter(None, ("both-orders-1" if both else "official-1", options.template)))
    questions = Instructions(options.max_new_tokens, options.template)
    first = Benchmark(questions, Comparison("alpaca_eval_gpt4", both), "win")
    second = Benchmark(questions, Comparison("weighted_alpaca_eval_gpt4_turbo", both), "win")
    controlled = Benchmark(questions, LengthControlled("weighted_alpaca_eval_gpt4_turbo", both), "lc_win")
    return [
        Evaluator("alpaca_eval", protocol, first, summary="preferred to text-davinci-003"),
        Evaluator("alpaca_eval_2", protocol, second, summary="preferred to gpt-4-1106-preview"),
        Evaluator("alpaca_eval_2_lc", protocol, controlled, summary="the same at equal length", optional=True),
    ]


@dataclass(frozen=True)
class Instructions(Questions):
    """The instructions, answered greedily."""

    max_new_tokens: int
    template: str | None

    @property
    def data(self) -> tuple[Hub, ...]:
        """The instructions."""
        return (DAVINCI,)

    def items(self, read: Read) -> Sequence[Item]:
        """In the file's order, numbered from 0."""
        return [_item(n, row) for n, row in enumerate(read(DAVINCI))]

    def ask(self, item: Item) -> Asking:
        """The instruction alone."""
        message = Message("user", item.content["instruction"])
        yield (Ask((message,), self.max_new_tokens, template=self.template),)


@dataclass(frozen=True)
class Comparison(Scorer):
    """`win`: how surely the judge prefers the model's answer to the reference's, 0 to 1."""

    annotator: Annotator
    both_orders: bool = False
    needs: ClassVar[frozenset[Need]] = frozenset({"judge"})

    @property
    def reference(self) -> Hub:
        """Whose answers the model's are compared with."""
        return REFERENCES[self.annotator]

    @property
    def data(self) -> tuple[Hub, ...]:
        """The reference's answers."""
        return (self.reference,)

    def score(self, response: Response, read: Read, opponent: Response | None) -> Scoring:
        """One judgment, or one in either order; equal answers are a tie without one, as in alpaca_eval."""
        pair = Pair(response.item.content["instruction"], self._reference_output(response.item, read), output(response))
        if pair.reference == pair.answer:
            return Scores({"win": 0.5}, extracted=1.5, detail={"equal_to_reference": True})
        judge = annotator(self.annotator)
        first = judge.puts_answer_first(pair.instruction, (row["instruction"] for row in read(self.reference)))
        orders = (first, not first) if self.both_orders else (first,)
        verdicts = tuple((yield [judge.prompt(pair, answer_first=order) for order in orders]))
        for verdict in verdicts:
            if verdict.outcome != "ok":
                return Scores({}, missing=verdict.outcome, judgments=verdicts)
        wins = [verdict.value - 1 for verdict in verdicts]
        values = {"win": sum(wins) / len(wins)}
        if self.both_orders:
            values["consistent"] = float(_winner(wins[0]) == _winner(wins[1]))
        return Scores(values, extracted=[verdict.value for verdict in verdicts], judgments=verdicts)

    def totals(self, scored: Sequence[tuple[Response, Scores]], read: Read) -> Mapping[str, float]:
        """alpaca_eval's own figures, rates in percent; how alike the outputs are, as some texts win judges over."""
        outputs = [output(response) for response, _ in scored]
        return {
            **win_rate([1 + scores.values["win"] for _, scores in scored if scores.values]),
            "avg_length": sum(map(len, outputs)) / len(outputs),
            "distinct_outputs": float(len(set(outputs))),
            "share_alike": share_alike(outputs),
        }

    def given(self, rows: Rows, read: Read) -> Sequence[tuple[Response, Scores]]:
        """The rows of an `annotations.json` that alpaca_eval wrote, with this benchmark's reference as `output_1`."""
        references = read(self.reference)
        numbers = {row["instruction"]: n for n, row in enumerate(references)}
        return [_annotated(row, numbers, references) for row in rows]

    def _reference_output(self, item: Item, read: Read) -> str:
        row = read(self.reference)[int(item.id)]
        if row["instruction"] != item.content["instruction"]:
            raise UserError(
                f"instruction {item.id} is another in {DAVINCI.files[0]} than in {self.reference.files[0]}",
                f"fetch both files of {DAVINCI.id} at revision {REVISION}",
            )
        return str(row["output"])


@dataclass(frozen=True)
class LengthControlled(Comparison):
    """`lc_win`: what `win` would be of outputs as long as the reference's, by the model that alpaca_eval fits."""

    @property
    def data(self) -> tuple[Hub, ...]:
        """The reference's answers, and what length control rests on."""
        return (self.reference, GAMED)

    def score(self, response: Response, read: Read, opponent: Response | None) -> Scoring:
        """As the plain comparison; what length control rests on is looked for before a judgment is bought."""
        _gamed(read)
        return super().score(response, read, opponent)

    def settle(self, scored: Sequence[tuple[Response, Scores]], read: Read) -> Sequence[Scores]:
        """With `lc_win`, where all 805 instructions are judged: of fewer it is another number, so there is none.

        Raises UserError where fewer were asked.
        """
        if len(scored) < ROWS:
            raise UserError(
                f"a length-controlled win rate needs all {ROWS} instructions, and {len(scored)} were asked",
                "run without a limit; alpaca_eval_2 is the plain win rate",
            )
        judged = {int(response.item.id): (response, scores) for response, scores in scored if scores.values}
        if len(judged) < ROWS:
            return [scores for _, scores in scored]
        references = read(self.reference)
        wins = length_controlled(
            [1 + judged[n][1].values["win"] for n in range(ROWS)],
            [Pair(row["instruction"], row["output"], output(judged[n][0])) for n, row in enumerate(references)],
            _gamed(read),
        )
        return [
            replace(scores, values={**scores.values, "lc_win": wins[int(response.item.id)]})
            for response, scores in scored
        ]

    def totals(self, scored: Sequence[tuple[Response, Scores]], read: Read) -> Mapping[str, float]:
        """As of the plain comparison, and alpaca_eval's figures at equal length; their error is that of a known fit."""
        controlled = win_rate([1 + scores.values["lc_win"] for _, scores in scored if "lc_win" in scores.values])
        names = {"win_rate": "length_controlled_winrate", "standard_error": "lc_standard_error"}
        found = {name: controlled[of] for of, name in names.items()} if controlled else {}
        return {**super().totals(scored, read), **found}


def output(response: Response) -> str:
    """What is judged: the answer without white space around it, as alpaca_eval judges those it generates."""
    return response.replies[0].text.strip()


def _gamed(read: Read) -> Rows:
    try:
        return read(GAMED)
    except UserError as error:
        problem = f"there is no length-controlled win rate without {GAMED.files[0]}: {error.problem}"
        raise UserError(problem, error.remedy) from None


def _item(n: int, row: Mapping[str, Any]) -> Item:
    return Item(str(n), {"instruction": row["instruction"], "dataset": row["dataset"]})


def _winner(win: float) -> int:
    return (win > 0.5) - (win < 0.5)  # noqa: PLR2004 -- a tie


def _annotated(row: Mapping[str, Any], numbers: Mapping[str, int], references: Rows) -> tuple[Response, Scores]:
    missing = [name for name in ("instruction", "output_1", "output_2", "preference") if name not in row]
    if missing:
        raise UserError(f"an annotation has no {', '.join(missing)}", "give an annotations.json of alpaca_eval")
    n = numbers.get(row["instruction"])
    if n is None or references[n]["output"] != row["output_1"]:
        raise UserError(
            f"the annotation of {str(row['instruction'])[:50]!r} is not against {references[0]['generator']}",
            "give annotations in which this benchmark's reference is output_1",
        )
    response = Response(_item(n, references[n]), ((Reply(row["output_2"], "stop"),),))
    if row["preference"] is None:
        return response, Scores({}, missing="judge_unparsed")
    preference = float(row["preference"]) or 1.5  # alpaca_eval wrote ties as 0 once
    return response, Scores({"win": preference - 1}, extracted=[preference])
