"""MT-Bench: 80 questions of two turns, each answer rated by a judge (Zheng et al., 2023, arXiv:2306.05685).

Questions, references and the judge's prompts are FastChat's. A mirror may have them under other names, as
`question.jsonl`, `judge_prompts.jsonl` and `reference_answer_gpt-4.jsonl` of `lmsys/mt_bench`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from harness.api import Arm, Benchmark, Evaluator, Files, Options, Plugin, hookimpl

from .judging import Preferences, Ratings
from .questions import TwoTurns
from .replies import HIGHEST


class MTBenchOptions(Options):
    """How models are asked, and how often their answers are judged."""

    template: str | None = None
    """A FastChat conversation template, such as vicuna_v1.1; without one, the model's own chat template."""
    repeats: int = Field(1, ge=1, le=10)
    """Judgments of each answer, which are averaged."""
    references: str | None = None
    """A file of corrected reference answers, in the form of FastChat's, for mt_bench_corrected."""


PLUGIN = Plugin(
    name="mt_bench",
    version="1.0",
    summary="80 questions of two turns, rated by a judge.",
    paper="https://arxiv.org/abs/2306.05685",
    options=MTBenchOptions,
)


@hookimpl
def evaluator(arm: Arm) -> Sequence[Evaluator]:
    """FastChat's ratings; strict ones; those without wrong references; and preferences over the baseline's answers."""
    options = arm.options(MTBenchOptions)
    questions, repeats = TwoTurns(options.template), options.repeats
    corrected = Files((options.references,)) if options.references else None
    version = "-".join(filter(None, ["1", options.template, f"x{repeats}" if repeats > 1 else None]))

    def rated(name: str, protocol: str, scorer: Ratings, summary: str, *, optional: bool = False) -> Evaluator:
        task = Benchmark(questions, scorer, "rating")
        return Evaluator(name, f"{protocol}-{version}", task, summary=summary, out_of=HIGHEST, optional=optional)

    return [
        rated("mt_bench", "official", Ratings(repeats, "official"), "two turns, rated as FastChat does"),
        rated("mt_bench_strict", "strict", Ratings(repeats), "two turns, each of them rated"),
        rated(
            "mt_bench_corrected",
            "corrected" if corrected else "sound-references",
            Ratings(repeats, sound=True, corrected=corrected),
            f"two turns, rated {'beside corrected' if corrected else 'without wrong'} references",
            optional=True,
        ),
        Evaluator(
            "mt_bench_pairwise",
            f"pairwise-{version}",
            Benchmark(questions, Preferences(repeats), "win_rate"),
            summary="two turns, compared with the baseline's in both orders",
            optional=True,
        ),
    ]
