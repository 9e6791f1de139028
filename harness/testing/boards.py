"""Boards of made-up rows, as many as wished: what pages, exports and their benchmarks are tried on.

The rows are drawn from a seed and go through the models and the statistics of real ones. Where there are more of them
than `profiles`, several share the samples of one profile: each is a row of its own, compared once.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import Any

from harness.board.board import Board, Line, build_board
from harness.board.intervals import Scores
from harness.board.numbers import DeclaredSuite, Measure, TaskResult, composite, seed_result, suite, task_result
from harness.board.rows import (
    Git,
    JobMeasure,
    Measured,
    Result,
    Row,
    RowData,
    RowEvaluation,
    RowPlugin,
    RowSeed,
    RowStage,
    device_hours,
    result_digest,
)
from harness.board.samples import Sample, publishable, scores_by_item
from harness.canonical import digest

SCORE = "exact_match,none"
BENCHMARKS = ("arithmetic", "code", "chat")
RATIOS = ("0", "1/256", "1/64", "1/16", "1/4", "1")
MODELS = ("example/base-1b", "example/base-3b", "example/base-7b")
DATA = ("gsm8k", "code_alpaca", "tulu", "dolly_3k")
BASELINE = "sft"
_PLAIN = (BASELINE, "base", "im", "neftune")
EXAMPLES = 6000


@dataclass(frozen=True)
class Synthetic:
    """Rows with their samples and their board."""

    rows: tuple[Row, ...]
    samples: Mapping[str, Sequence[Sample]]
    """By the digest that rows hold."""
    board: Board

    def samples_of(self, row: Row, benchmark: str, seed: int) -> Sequence[Sample]:
        """The samples behind one number of a row."""
        return _samples_of(row, self.samples, benchmark, seed)

    def publishable_of(self, row: Row, benchmark: str, seed: int) -> bytes:
        """The same as they are published."""
        return publishable(self.samples_of(row, benchmark, seed))


def synthetic(rows: int, *, seed: int = 0, items: int = 100, seeds: int = 1, profiles: int = 40) -> Synthetic:
    """A board of so many rows: the baseline, sweeps of DMT's k and of the amount of data, then of learning rates.

    Equal arguments give equal boards.
    """
    drawn = random.Random(f"board {seed}")  # noqa: S311 (no secret)
    samples: dict[str, Sequence[Sample]] = {}
    made: list[Row] = []
    for place, arm in zip(range(rows), _arms(), strict=False):
        profile = _profile(place, profiles)
        tasks = made[profile].result.tasks if profile < place else _tasks(arm, drawn, items, seeds, samples)
        made.append(_row(arm, tasks, seeds, drawn))
    board = build_board(made[:profiles], lambda row, name, seed: _scores(row, samples, name, seed))
    return Synthetic(tuple(made), samples, _extended(board, made, profiles))


# --- arms ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Arm:
    methods: tuple[str, ...]
    own: Mapping[str, str]
    model: str
    fraction: float = 1.0

    @property
    def id(self) -> str:
        """As arms are called."""
        words = ",".join(f"{name}={value}" for name, value in sorted(self.own.items()))
        return "+".join(self.methods) + (f"@{words}" if words else "")

    @property
    def baseline(self) -> str | None:
        """Of a sweep over the data, the baseline on as much of it."""
        own = {name: value for name, value in self.own.items() if name.startswith("data.")}
        baseline = _Arm((BASELINE,), own, self.model).id
        return None if self.id == baseline else baseline


def _arms() -> Iterator[_Arm]:
    model = MODELS[0]
    yield from (_Arm((name,), {}, model) for name in _PLAIN)
    for methods, ratio in product((("dmt",), ("dmt", "im")), RATIOS):
        yield _Arm(methods, {"dmt.k": ratio}, model)
    for methods, fraction in product((("sft",), ("im",)), ("1/16", "1/4", "1/2")):
        numerator, denominator = map(int, fraction.split("/"))
        yield _Arm(methods, {"data.specialist.fraction": fraction}, model, numerator / denominator)
    for step in count(1):
        for methods, ratio in product((("dmt",), ("dmt", "im"), ("dmt", "neftune")), RATIOS):
            yield _Arm(methods, {"dmt.k": ratio, "train.lr": f"{step / 1e6:g}"}, MODELS[step % len(MODELS)])


def _chances(arm: _Arm, drawn: random.Random) -> dict[str, float]:
    """How likely a right answer is: much replay keeps the special skills, and little of it the general one."""
    if arm.methods == ("base",):
        return dict.fromkeys(BENCHMARKS, 0.1)
    ratio = arm.own.get("dmt.k", "1/16")
    kept = RATIOS.index(ratio) / (len(RATIOS) - 1)
    special, general = 0.35 + 0.4 * kept, 0.85 - 0.25 * kept
    shift = 0.05 * len(arm.methods) + 0.1 * (arm.fraction - 1) + drawn.uniform(-0.05, 0.05)
    return dict(zip(BENCHMARKS, (special + shift, special + 0.1 + shift, general + shift), strict=True))


# --- rows ----------------------------------------------------------------------------------------------------------


def _tasks(
    arm: _Arm, drawn: random.Random, items: int, seeds: int, samples: dict[str, Sequence[Sample]]
) -> dict[str, TaskResult]:
    """The arm's numbers on freshly drawn answers, which join the `samples`."""
    tasks = {}
    for name, chance in _chances(arm, drawn).items():
        measure = Measure(protocol="strict-1", score_name=SCORE)
        found = [[_sample(name, item, drawn, chance) for item in range(items)] for _ in range(seeds)]
        parts = [seed_result(number, of, measure, items) for number, of in enumerate(found)]
        samples.update({part.samples_sha256: of for part, of in zip(parts, found, strict=True)})
        tasks[name] = task_result(measure, parts, found, one_model=False)
    return tasks


def _sample(benchmark: str, item: int, drawn: random.Random, chance: float) -> Sample:
    right = drawn.random() < chance
    value = item if right else drawn.randrange(1000)
    return {
        "id": f"{benchmark}-{item:04}",
        "doc_sha256": _sha256(f"{benchmark} {item}"),
        "prompt_sha256": _sha256(f"prompt {benchmark} {item}"),
        "response": f"Let me see.\nThe answer is {value}.",
        "finish": "stop",
        "prompt_cut": False,
        "extracted": str(value),
        "scores": {SCORE: float(right)},
        "outcome": "scored",
    }


def _row(arm: _Arm, tasks: dict[str, TaskResult], seeds: int, drawn: random.Random) -> Row:
    trained = arm.methods != ("base",)
    declared = suite(DeclaredSuite(name="synthetic"), tasks)
    recipe = {"suite": "synthetic", "train": {"lr": 0.001}}
    result = Result(
        arm=arm.id,
        plugins=tuple(RowPlugin(name=name, version="1.0", options=_options(arm, name)) for name in arm.methods),
        match=None,
        recipe=recipe,
        recipe_sha256=digest(recipe),
        suite=declared,
        model={"id": arm.model, "revision": "0" * 40},
        engine={"name": "hf", "dtype": "float32"},
        limit=None,
        data=tuple(
            RowData(name=name, role=role, source={"path": name}, content=_sha256(name), n=EXAMPLES)
            for name, role in zip(drawn.sample(DATA, 2), ("specialist", "general"), strict=True)
        ),
        seeds=tuple(_seed(arm, number, tasks, trained=trained) for number in range(seeds)),
        tasks=tasks,
        composite=composite(tasks, declared, one_model=False),
    )
    return Row(id=result_digest(result), result=result, measured=_measured(arm, result, drawn))


def _options(arm: _Arm, plugin: str) -> dict[str, Any]:
    return {name.partition(".")[2]: value for name, value in arm.own.items() if name.startswith(f"{plugin}.")}


def _seed(arm: _Arm, number: int, tasks: Mapping[str, TaskResult], *, trained: bool) -> RowSeed:
    examples = int(EXAMPLES * arm.fraction)
    key = f"{arm.id} {arm.model} {number}"
    stage = RowStage(
        stage="all",
        key=_sha256(f"train {key}"),
        steps=examples // 32,
        examples=examples,
        tokens=40 * examples,
        scored_tokens=20 * examples,
        counts={"final_loss": 0.25},
    )
    evaluations = {name: RowEvaluation(key=_sha256(f"evaluate {name} {key}"), prompts={}) for name in tasks}
    return RowSeed(seed=number, stages=(stage,) if trained else (), merge=None, evaluations=evaluations)


def _measured(arm: _Arm, result: Result, drawn: random.Random) -> Measured:
    """What the jobs took; of one row in eight nobody knows."""
    speed = drawn.uniform(0.02, 0.03) * (1 + 2 * MODELS.index(arm.model)) * 4.0 ** (len(arm.methods) - 1)
    known = drawn.random() > 1 / 8
    jobs = tuple(
        JobMeasure(seed=seed.seed, job=job, key=key, measured={"seconds": speed * examples} if known else {})
        for seed in result.seeds
        for job, key, examples in (
            *((f"train {stage.stage}", stage.key, stage.examples) for stage in seed.stages),
            *((f"evaluate {name}", one.key, 100) for name, one in seed.evaluations.items()),
        )
    )
    return Measured(
        baseline=arm.baseline,
        differs=dict(arm.own),
        command=f"harness run --plugins {','.join(arm.methods)}",
        git=Git(commit="0" * 40, dirty=False),
        packages={"torch": "2.13.0"},
        hardware={"accelerators": []},
        plugin_digests={name: _sha256(name) for name in arm.methods},
        plugin_distributions=dict.fromkeys(arm.methods, "instruct-harness 0.1.0"),
        accepted_source=False,
        seconds=None,
        device_hours=device_hours(jobs),
        peak_bytes=None,
        jobs=jobs,
    )


# --- board ---------------------------------------------------------------------------------------------------------


def _extended(board: Board, rows: Sequence[Row], profiles: int) -> Board:
    """The board with the other rows too, each with the numbers of its profile and ranked among all."""
    by_row = {line.row: line for line in board.lines}
    of = [by_row[rows[_profile(place, profiles)].id] for place in range(len(rows))]
    lines = [line if line.row == row.id else _copied(line, row) for line, row in zip(of, rows, strict=True)]
    lines.sort(key=lambda line: (line.rank or 0, line.arm, line.row))
    ranks = [line.rank or 0 for line in lines]

    def better(rank: int | None) -> int:
        return bisect_left(ranks, rank or 0)

    return board.model_copy(
        update={
            "lines": tuple(
                line.model_copy(
                    update={
                        "rank": better(line.rank) + 1,
                        "rank_low": better(line.rank_low) + 1,
                        "rank_high": better((line.rank_high or 0) + 1),
                    }
                )
                for line in lines
            )
        }
    )


def _profile(place: int, profiles: int) -> int:
    """Whose numbers a row has: its own, or those of one of the swept arms among the profiles."""
    return place if place < profiles else len(_PLAIN) + place % (profiles - len(_PLAIN))


def _copied(line: Line, row: Row) -> Line:
    return line.model_copy(
        update={
            "row": row.id,
            "arm": row.result.arm,
            "examples": row.result.examples_seen(),
            "tokens": row.result.tokens_seen(),
            "device_hours": row.measured.device_hours,
        }
    )


def _samples_of(row: Row, samples: Mapping[str, Sequence[Sample]], benchmark: str, seed: int) -> Sequence[Sample]:
    return samples[next(part.samples_sha256 for part in row.result.tasks[benchmark].seeds if part.seed == seed)]


def _scores(row: Row, samples: Mapping[str, Sequence[Sample]], benchmark: str, seed: int) -> Scores:
    return scores_by_item(_samples_of(row, samples, benchmark, seed), SCORE)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
